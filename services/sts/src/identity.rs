//! Who am I?

use pileus_api_sts::{
    GetAccessKeyInfoRequest, GetAccessKeyInfoResponse, GetCallerIdentityRequest, GetCallerIdentityResponse,
};
use pileus_core::AccountId;
use pileus_platform::Cx;

use crate::error::StsError;

/// `GetCallerIdentity`: account, ARN and unique id of whoever signed the request.
///
/// Source: STS API Reference, "GetCallerIdentity".
pub async fn get_caller_identity(
    cx: &Cx,
    _: GetCallerIdentityRequest,
) -> Result<GetCallerIdentityResponse, StsError> {
    let caller = cx.caller();
    Ok(GetCallerIdentityResponse {
        user_id: Some(caller.user_id.to_string()),
        account: Some(caller.account.to_string()),
        arn: Some(caller.arn.to_string()),
    })
}

/// `GetAccessKeyInfo`: the account that a key belongs to, whether or not the key is active.
///
/// # Errors
/// `ValidationError` for a key that nobody knows; `AccessDenied` for sessions of users without MFA and of federated users, which may
/// ask STS for little else than who they are.
///
/// Source: STS API Reference, "GetAccessKeyInfo".
pub async fn get_access_key_info(
    cx: &Cx,
    input: GetAccessKeyInfoRequest,
) -> Result<GetAccessKeyInfoResponse, StsError> {
    if cx.caller().session.as_ref().is_some_and(|session| !session.reaches_iam()) {
        let text = "Cannot call GetAccessKeyInfo with session credentials".to_owned();
        return Err(StsError::AccessDenied(text));
    }
    let id = input.access_key_id.unwrap_or_default();
    let key = cx.platform().identities().access_key(&id).await?;
    let account = match key {
        Some(key) => key.account,
        None if *id == *cx.caller().access_key_id => cx.account(),
        None => return Err(StsError::Validation(format!("Invalid AccessKeyId: {id}"))),
    };
    Ok(GetAccessKeyInfoResponse { account: Some(AccountId::to_string(&account)) })
}
