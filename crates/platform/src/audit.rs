//! One record per request, whatever became of it.

use std::time::Duration;

use pileus_wire::schema;
use pileus_wire::value::Struct;

use crate::Fault;
use crate::cx::Cx;

/// Receives a record of every request and every call between services, after it is answered.
pub trait AuditSink: Send + Sync + 'static {
    fn record(&self, record: &AuditRecord<'_>);
}

pub struct AuditRecord<'a> {
    pub cx: &'a Cx,
    pub api: &'static schema::Service,
    pub operation: &'static schema::Operation,
    pub outcome: Result<&'a dyn Struct, &'a Fault>,
    pub took: Duration,
}
