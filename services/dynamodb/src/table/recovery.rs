//! `DescribeContinuousBackups`, `UpdateContinuousBackups`: point-in-time recovery is off, and cannot be switched on yet.

use pileus_api_dynamodb as api;
use pileus_platform::Cx;

use crate::error::DynamoError;
use crate::state::Dynamo;
use crate::table::Address;

async fn check(cx: &Cx, name: Option<&str>) -> Result<(), DynamoError> {
    let name = name.unwrap_or_default();
    let address = Address::parse(cx, name)?;
    match cx.state::<Dynamo>().find(cx.store(), &address).await? {
        Some(_) => Ok(()),
        None => {
            Err(DynamoError::modelled("TableNotFoundException", format!("Table not found: {}", address.name)))
        }
    }
}

fn switched_off() -> api::ContinuousBackupsDescription {
    api::ContinuousBackupsDescription {
        continuous_backups_status: Some("ENABLED".to_owned()),
        point_in_time_recovery_description: Some(api::PointInTimeRecoveryDescription {
            point_in_time_recovery_status: Some("DISABLED".to_owned()),
            ..api::PointInTimeRecoveryDescription::default()
        }),
    }
}

pub async fn describe_continuous_backups(
    cx: &Cx,
    input: api::DescribeContinuousBackupsInput,
) -> Result<api::DescribeContinuousBackupsOutput, DynamoError> {
    check(cx, input.table_name.as_deref()).await?;
    Ok(api::DescribeContinuousBackupsOutput { continuous_backups_description: Some(switched_off()) })
}

pub async fn update_continuous_backups(
    cx: &Cx,
    input: api::UpdateContinuousBackupsInput,
) -> Result<api::UpdateContinuousBackupsOutput, DynamoError> {
    check(cx, input.table_name.as_deref()).await?;
    let specification = input.point_in_time_recovery_specification.unwrap_or_default();
    if specification.point_in_time_recovery_enabled == Some(true) {
        return Err(DynamoError::unsupported("Point-in-time recovery"));
    }
    Ok(api::UpdateContinuousBackupsOutput { continuous_backups_description: Some(switched_off()) })
}
