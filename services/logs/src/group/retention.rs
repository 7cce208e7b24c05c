//! `PutRetentionPolicy`, `DeleteRetentionPolicy`. Readers hide what is too old at once; the sweeper removes it.

use pileus_api_logs::{DeleteRetentionPolicyRequest, PutRetentionPolicyRequest};
use pileus_platform::Cx;
use pileus_wire::value::Unit;

use crate::address::Address;
use crate::error::LogsError;
use crate::limits;

use super::change;

pub async fn put_retention_policy(cx: &Cx, input: PutRetentionPolicyRequest) -> Result<Unit, LogsError> {
    let days = input.retention_in_days.unwrap_or_default();
    if !limits::RETENTION_DAYS.contains(&days) {
        let allowed = limits::RETENTION_DAYS.map(|days| days.to_string()).join(", ");
        return Err(LogsError::invalid(format!(
            "1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: [{allowed}]"
        )));
    }
    set(cx, input.log_group_name, Some(days)).await
}

pub async fn delete_retention_policy(
    cx: &Cx,
    input: DeleteRetentionPolicyRequest,
) -> Result<Unit, LogsError> {
    set(cx, input.log_group_name, None).await
}

async fn set(cx: &Cx, name: Option<String>, days: Option<i64>) -> Result<Unit, LogsError> {
    let address = Address::named(cx, &name.unwrap_or_default());
    change(cx, &address, |record| {
        record.retention_days = days;
        Ok(())
    })
    .await
}
