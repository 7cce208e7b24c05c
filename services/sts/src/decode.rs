//! `DecodeAuthorizationMessage`: why a request was refused, for those who may know.

use pileus_api_sts::{DecodeAuthorizationMessageRequest, DecodeAuthorizationMessageResponse};
use pileus_platform::Cx;

use crate::error::StsError;

/// # Errors
/// `InvalidAuthorizationMessageException` for what this cloud did not encode.
///
/// Source: STS API Reference, "DecodeAuthorizationMessage".
pub async fn decode_authorization_message(
    cx: &Cx,
    input: DecodeAuthorizationMessageRequest,
) -> Result<DecodeAuthorizationMessageResponse, StsError> {
    let encoded = input.encoded_message.unwrap_or_default();
    let decoded = cx.platform().sealer().decode_authorization_message(&encoded);
    let decoded = decoded.ok_or(StsError::InvalidAuthorizationMessage)?;
    Ok(DecodeAuthorizationMessageResponse { decoded_message: Some(decoded) })
}
