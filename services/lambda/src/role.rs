//! Execution roles: really assumed, so a role that does not trust Lambda is refused when a function is made, and a function has what
//! its role gives.

use std::sync::Arc;

use pileus_api_sts::{ASSUME_ROLE, AssumeRoleRequest};
use pileus_core::{AccountId, Arn, BoxFuture, Region};
use pileus_platform::{Cx, Platform};
use pileus_sandbox::{Credentials, CredentialsProvider};

use crate::error::LambdaError;

pub const PRINCIPAL: &str = "lambda.amazonaws.com";
/// Source: AWS Lambda Developer Guide, "Defining Lambda function permissions with an execution role". Chosen: the length of a session;
/// an environment ends before it.
const SESSION_SECONDS: i64 = 12 * 3_600;

/// Whether Lambda may assume the role.
///
/// # Errors
/// `InvalidParameterValueException` with AWS's sentence.
pub async fn check(cx: &Cx, role: &str, function_name: &str) -> Result<(), LambdaError> {
    let source = Arn::parse(role).map_err(|_| cannot_assume())?;
    let as_lambda = cx.as_service(PRINCIPAL, &source);
    as_lambda.as_role(role, PRINCIPAL, function_name).await.map(|_| ()).map_err(|_| cannot_assume())
}

fn cannot_assume() -> LambdaError {
    LambdaError::invalid("The role defined for the function cannot be assumed by Lambda.")
}

/// Acts with the function's role: for what Lambda does on a function's behalf (logs, destinations, polling).
///
/// # Errors
/// When the role is gone or trusts Lambda no more.
pub async fn assume(cx: &Cx, role: &str, function_name: &str) -> Result<Cx, LambdaError> {
    Ok(cx.as_role(role, PRINCIPAL, function_name).await?)
}

/// Of a session: the function's name. STS takes no name of one character.
///
/// Chosen: what stands for such a name.
fn session_name(function_name: &str) -> String {
    if function_name.len() < 2 { format!("{function_name}_") } else { function_name.to_owned() }
}

/// Credentials of a function's environments: a session of its role from STS, asked for when an environment starts.
pub struct RoleCredentials {
    pub platform: Platform,
    pub account: AccountId,
    pub region: Region,
    pub role: Arc<str>,
    pub function_name: Arc<str>,
}

impl CredentialsProvider for RoleCredentials {
    fn credentials(&self) -> BoxFuture<'static, Result<Credentials, String>> {
        let cx = Cx::background(&self.platform, PRINCIPAL, self.account, self.region.clone());
        let request = AssumeRoleRequest {
            role_arn: Some(self.role.to_string()),
            role_session_name: Some(session_name(&self.function_name)),
            duration_seconds: Some(SESSION_SECONDS),
            ..AssumeRoleRequest::default()
        };
        Box::pin(async move {
            let shorter = AssumeRoleRequest { duration_seconds: Some(3_600), ..request.clone() };
            // A role may allow less than the longest session; every role allows an hour.
            let answer = match cx.call(ASSUME_ROLE, request).await {
                Ok(answer) => Ok(answer),
                Err(_) => cx.call(ASSUME_ROLE, shorter).await,
            };
            let issued = answer.map_err(|fault| fault.to_string())?.credentials.unwrap_or_default();
            Ok(Credentials {
                access_key_id: issued.access_key_id.unwrap_or_default(),
                secret_access_key: issued.secret_access_key.unwrap_or_default(),
                session_token: issued.session_token.unwrap_or_default(),
                expires: issued.expiration,
            })
        })
    }
}
