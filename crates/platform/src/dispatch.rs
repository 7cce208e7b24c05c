//! What requests from outside and calls between services share: validate, authorise, handle, record.

use std::any::Any;

use pileus_wire::copy::copy;
use pileus_wire::dynamic::DynStruct;
use pileus_wire::schema::{Operation, Service as Api};
use pileus_wire::validate::validate;
use pileus_wire::value::Struct;

use crate::audit::AuditRecord;
use crate::cx::Cx;
use crate::platform::Platform;
use crate::service::Entry;
use crate::{Fault, authz};

/// A caller's to know of, not a fault of the node's.
const NOT_IMPLEMENTED: u16 = 501;

/// An empty input of the operation: its generated type if we implement it, else a dynamic value.
pub(crate) fn new_input(
    platform: &Platform,
    api: &'static Api,
    operation: &'static Operation,
) -> Box<dyn Struct> {
    match entry(platform, api, operation).and_then(|entry| entry.new_input) {
        Some(new) => new(),
        None => Box::new(DynStruct::new(operation.input)),
    }
}

/// Runs an operation and records what became of it.
pub(crate) async fn dispatch(
    cx: &Cx,
    api: &'static Api,
    operation: &'static Operation,
    input: Box<dyn Struct>,
) -> Result<Box<dyn Struct>, Fault> {
    let started = cx.clock().monotonic();
    let outcome = perform(cx, api, operation, input).await;
    let took = cx.clock().monotonic().saturating_sub(started);
    let code = outcome.as_ref().err().map(|fault| fault.code.as_ref());
    cx.platform().metrics().record(api.name, operation.name, code, took);
    if let Err(fault) = &outcome
        && !fault.is_sender_fault
        && fault.status != NOT_IMPLEMENTED
    {
        tracing::warn!(
            request_id = cx.request_id(),
            service = api.name,
            operation = operation.name,
            code = %fault.code,
            "{}",
            fault.message
        );
    }
    if !cx.platform().audit().is_empty() {
        let outcome = outcome.as_ref().map(|output| output.as_ref());
        let record = AuditRecord { cx, api, operation, outcome, took };
        cx.platform().audit().iter().for_each(|sink| sink.record(&record));
    }
    outcome
}

async fn perform(
    cx: &Cx,
    api: &'static Api,
    operation: &'static Operation,
    input: Box<dyn Struct>,
) -> Result<Box<dyn Struct>, Fault> {
    let entry = entry(cx.platform(), api, operation);
    let input = in_own_type(entry, operation, input);
    validate(api, operation, input.as_ref())?;
    authz::authorise(cx, api, operation, entry, input.as_ref()).await?;
    match entry.and_then(|entry| entry.run.as_ref()) {
        Some(run) => run(cx, input).await,
        None => Err(not_implemented(api, operation)),
    }
}

fn entry<'a>(platform: &'a Platform, api: &Api, operation: &Operation) -> Option<&'a Entry> {
    platform.service(api.name)?.operations.get(operation.name)
}

/// A dynamic value is read over into the generated type that the handler takes.
fn in_own_type(entry: Option<&Entry>, operation: &Operation, input: Box<dyn Struct>) -> Box<dyn Struct> {
    let is_dynamic = (input.as_ref() as &dyn Any).is::<DynStruct>();
    match entry.and_then(|entry| entry.new_input) {
        Some(new) if is_dynamic => {
            let mut typed = new();
            copy(operation.input, input.as_ref(), typed.as_mut());
            typed
        }
        _ => input,
    }
}

/// Chosen: AWS has no answer for "this cloud lacks the operation", so it is HTTP's own, and says what is missing.
fn not_implemented(api: &Api, operation: &Operation) -> Fault {
    let message = format!(
        "pileus does not implement {}:{} yet. docs/COVERAGE.md lists what it does.",
        api.name, operation.name
    );
    Fault::framework("NotImplemented", NOT_IMPLEMENTED, message)
}
