//! `DescribeContinuousBackups`, `UpdateContinuousBackups`: point-in-time recovery.
//!
//! While it is on, every change leaves a record with the item before and after it, in the commit of the change, under the
//! generation of the table's recovery. The sweeper removes records that are too old.
//!
//! Source: Developer Guide, "Point-in-time backups for DynamoDB"; API Reference, "UpdateContinuousBackups".

use std::time::Duration;

use pileus_api_dynamodb as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Stored, Txn};
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::keys::HISTORIES;
use crate::state::Dynamo;
use crate::table::{self, Address, Record, Recovery};

/// The longest period, and the one that nobody asked for otherwise.
pub const MAX_DAYS: u32 = 35;
const DAY: Duration = Duration::from_secs(86_400);
/// How far the latest restorable moment lies behind the present. Chosen: AWS says five minutes and means its own delay.
const BEHIND: Duration = Duration::from_secs(1);

/// What the sweeper must know of a table's records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct History {
    pub days: u32,
}

impl Stored for History {}

/// Between which moments a table can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub earliest: Timestamp,
    pub latest: Timestamp,
}

impl Window {
    /// Clients name whole seconds.
    pub fn earliest_second(&self) -> Timestamp {
        Timestamp::from_secs(self.earliest.as_secs())
    }
}

pub fn window(settings: &Recovery, now: Timestamp) -> Window {
    let since = Timestamp::from_millis(settings.since);
    let earliest = since.max(now - DAY * settings.days);
    Window { earliest, latest: earliest.max(now - BEHIND) }
}

pub fn no_table(name: &str) -> DynamoError {
    DynamoError::modelled("TableNotFoundException", format!("Table not found: {name}"))
}

fn describe(recovery: Option<&Recovery>, now: Timestamp) -> api::ContinuousBackupsDescription {
    let window = recovery.map(|settings| window(settings, now));
    let status = if recovery.is_some() { "ENABLED" } else { "DISABLED" };
    api::ContinuousBackupsDescription {
        continuous_backups_status: Some("ENABLED".to_owned()),
        point_in_time_recovery_description: Some(api::PointInTimeRecoveryDescription {
            point_in_time_recovery_status: Some(status.to_owned()),
            recovery_period_in_days: recovery.map(|settings| i64::from(settings.days)),
            earliest_restorable_date_time: window.map(|window| window.earliest),
            latest_restorable_date_time: window.map(|window| window.latest),
        }),
    }
}

pub async fn describe_continuous_backups(
    cx: &Cx,
    input: api::DescribeContinuousBackupsInput,
) -> Result<api::DescribeContinuousBackupsOutput, DynamoError> {
    let address = Address::parse(cx, input.table_name.as_deref().unwrap_or_default())?;
    let table = cx.state::<Dynamo>().find(cx.store(), &address).await?;
    let table = table.ok_or_else(|| no_table(&address.name))?;
    let description = describe(table.record.recovery.as_ref(), cx.now());
    Ok(api::DescribeContinuousBackupsOutput { continuous_backups_description: Some(description) })
}

/// `UpdateContinuousBackups`: what was kept is given up when recovery is switched off.
pub async fn update_continuous_backups(
    cx: &Cx,
    input: api::UpdateContinuousBackupsInput,
) -> Result<api::UpdateContinuousBackupsOutput, DynamoError> {
    let address = &Address::parse(cx, input.table_name.as_deref().unwrap_or_default())?;
    let wanted = input.point_in_time_recovery_specification.unwrap_or_default();
    let is_on = wanted.point_in_time_recovery_enabled.unwrap_or(false);
    if !is_on && wanted.recovery_period_in_days.is_some() {
        return Err(DynamoError::validation(
            "RecoveryPeriodInDays can only be specified when PointInTimeRecoveryEnabled is true",
        ));
    }
    let days = wanted.recovery_period_in_days.and_then(|days| u32::try_from(days).ok());
    let dynamo = cx.state::<Dynamo>();
    let recovery = cx
        .transact(|txn| async move {
            let table = dynamo.find(&txn, address).await?.ok_or_else(|| no_table(&address.name))?;
            if table.is_restoring() {
                return Err(DynamoError::modelled(
                    "ContinuousBackupsUnavailableException",
                    format!("Backups are being enabled for the table: {}. Please retry later", address.name),
                ));
            }
            let mut record = table.record.clone();
            match (&mut record.recovery, is_on) {
                (Some(present), true) => present.days = days.unwrap_or(present.days),
                (recovery @ None, true) => {
                    let (generation, since) = (cx.rng().next_u64(), cx.now().as_millis());
                    *recovery = Some(Recovery { generation, since, days: days.unwrap_or(MAX_DAYS) });
                }
                (_, false) => end(&txn, &mut record)?,
            }
            if let Some(recovery) = &record.recovery {
                HISTORIES.put(&txn, &recovery.generation, &History { days: recovery.days })?;
            }
            table::store(&txn, address, &record)?;
            Ok::<_, DynamoError>(record.recovery)
        })
        .await?;
    let description = describe(recovery.as_ref(), cx.now());
    Ok(api::UpdateContinuousBackupsOutput { continuous_backups_description: Some(description) })
}

/// Switches recovery off; its records go to the sweeper.
pub fn end(txn: &Txn, record: &mut Record) -> Result<(), DynamoError> {
    let Some(recovery) = record.recovery.take() else { return Ok(()) };
    HISTORIES.delete(txn, &recovery.generation);
    table::discard(txn, recovery.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_can_be_restored_since_recovery_began_and_not_longer_than_its_days() {
        let recovery = |days| Recovery { generation: 1, since: 1_000_000, days };
        let day = 86_400;
        let cases = [
            // now, days, earliest, latest
            (1_000, 35, 1_000, 1_000),
            (1_010, 35, 1_000, 1_009),
            (1_000 + 35 * day, 35, 1_000, 999 + 35 * day),
            (1_000 + 36 * day, 35, 1_000 + day, 999 + 36 * day),
            (1_000 + 36 * day, 1, 1_000 + 35 * day, 999 + 36 * day),
        ];
        for (now, days, earliest, latest) in cases {
            let got = window(&recovery(days), Timestamp::from_secs(now));
            let expected =
                Window { earliest: Timestamp::from_secs(earliest), latest: Timestamp::from_secs(latest) };
            assert_eq!(got, expected, "{now} {days}");
        }
    }
}
