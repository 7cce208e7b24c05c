//! `GetAccount`, `UpdateAccount`: the role that writes logs, and the account's throttle.
//!
//! Source: API Gateway API Reference, "Account", "UpdateAccount"; API Gateway Developer Guide, "Set up CloudWatch logging for REST
//! APIs in API Gateway".

use pileus_api_apigateway as api;
use pileus_platform::{Access, Cx, Fault};
use pileus_store::Reader;

use super::access;
use super::document::Doc;
use super::keys::ACCOUNTS;
use super::patch::{Rule, entry, patched};
use crate::PRINCIPAL;
use crate::error::GatewayError;

const PATCHES: [Rule; 1] = [entry("cloudwatchRoleArn")];
/// Requests a second, and at once. Source: "Quotas for configuring and running a REST API in API Gateway".
pub const ACCOUNT_RATE: f64 = 10_000.0;
pub const ACCOUNT_BURST: i64 = 5_000;

pub async fn load(
    reader: &impl Reader,
    account: pileus_core::AccountId,
    region: &pileus_core::Region,
) -> Result<api::Account, GatewayError> {
    let found = ACCOUNTS.get(reader, &(account, region.clone())).await?.map(|Doc(row)| row);
    Ok(found.unwrap_or_else(|| api::Account {
        throttle_settings: Some(api::ThrottleSettings {
            burst_limit: Some(ACCOUNT_BURST),
            rate_limit: Some(ACCOUNT_RATE),
        }),
        features: Some(vec!["UsagePlans".to_owned()]),
        api_key_version: Some("4".to_owned()),
        cloudwatch_role_arn: None,
    }))
}

pub async fn get_account(cx: &Cx, _: api::GetAccountRequest) -> Result<api::Account, GatewayError> {
    load(cx.store(), cx.account(), cx.region()).await
}

/// The role is handed to API Gateway, so the caller must be allowed to.
pub fn update_access(cx: &Cx, input: &api::UpdateAccountRequest) -> Result<Vec<Access>, Fault> {
    let mut needed = access::of(cx, "UpdateAccount", input)?;
    for operation in input.patch_operations.iter().flatten() {
        if operation.path.as_deref() == Some("/cloudwatchRoleArn")
            && let Some(role) = operation.value.as_deref().filter(|role| !role.is_empty())
        {
            needed.push(Access::pass_role(role, PRINCIPAL));
        }
    }
    Ok(needed)
}

pub async fn update_account(cx: &Cx, input: api::UpdateAccountRequest) -> Result<api::Account, GatewayError> {
    let operations = input.patch_operations.as_ref();
    let before = load(cx.store(), cx.account(), cx.region()).await?;
    let mut after = patched(&before, operations, &PATCHES)?;
    after.cloudwatch_role_arn = after.cloudwatch_role_arn.filter(|role| !role.is_empty());
    if let Some(role) = after
        .cloudwatch_role_arn
        .as_deref()
        .filter(|_| after.cloudwatch_role_arn != before.cloudwatch_role_arn)
    {
        // AWS tries the role when it is given.
        let bad = || {
            GatewayError::bad(
                "The role ARN does not have required permissions configured. Please grant trust permission for API Gateway and add the required role policy.",
            )
        };
        let source = cx.arn("apigateway", "/account");
        let acting =
            cx.as_service(PRINCIPAL, &source).as_role(role, PRINCIPAL, "BackplaneAssumeRoleSession").await;
        let acting = acting.map_err(|_| bad())?;
        let access = Access::new(
            "logs:CreateLogGroup",
            cx.arn("logs", "log-group:API-Gateway-Execution-Logs_test/test:*").as_str(),
        );
        if !acting.is_allowed("logs", &access).await? {
            return Err(bad());
        }
    }
    let after = &after;
    cx.transact(|txn| async move {
        Ok::<_, GatewayError>(ACCOUNTS.put(
            &txn,
            &(cx.account(), cx.region().clone()),
            &Doc(after.clone()),
        )?)
    })
    .await?;
    Ok(after.clone())
}
