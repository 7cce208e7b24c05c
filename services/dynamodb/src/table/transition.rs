//! States that tables pass through. Nothing here takes time, so a table is `ACTIVE` at once; but where the operator wants AWS's limits,
//! a new table is `CREATING` for a while and a changed one `UPDATING`, in the cloud's time, and programs that do not wait fail as they
//! would on AWS.
//!
//! Source: API Reference, "TableDescription" (`TableStatus`), "CreateTable", "UpdateTable", "DeleteTable". Recorded: the sentences.

use std::time::Duration;

use pileus_core::Timestamp;
use pileus_platform::{Cx, LimitsProfile};
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::table::describe::Moment;
use crate::table::{self, Table};

const TAKES: Duration = Duration::from_secs(5);

/// A state that a table is in until a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    pub is_new: bool,
    /// Milliseconds since 1970.
    pub until: i64,
}

/// The transition that a request begins, if it begins one.
pub fn begin(cx: &Cx, is_new: bool) -> Option<Transition> {
    let until = (cx.now() + TAKES).as_millis();
    (cx.limits() == LimitsProfile::Aws).then_some(Transition { is_new, until })
}

fn of(table: &Table, now: Timestamp) -> Option<Transition> {
    table.record.transition.filter(|transition| now.as_millis() < transition.until)
}

/// Whether requests on items do not know the table yet.
pub fn is_being_created(table: &Table, now: Timestamp) -> bool {
    of(table, now).is_some_and(|transition| transition.is_new)
}

/// What `DescribeTable` shows.
pub fn moment(table: &Table, now: Timestamp) -> Moment {
    match of(table, now) {
        Some(Transition { is_new: true, .. }) => Moment::Creating,
        Some(_) => Moment::Updating,
        None => Moment::Later,
    }
}

/// # Errors
/// `ResourceInUseException` for a table that is not `ACTIVE`.
pub fn check(table: &Table, now: Timestamp) -> Result<(), DynamoError> {
    let what = match of(table, now) {
        Some(transition) if transition.is_new => "created",
        Some(_) => "updated",
        None => return Ok(()),
    };
    let text = format!("Attempt to change a resource which is still in use: Table is being {what}");
    Err(table::in_use(&table.address.name, &text))
}
