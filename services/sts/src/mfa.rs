//! Codes from multi-factor devices.
//!
//! Source: IAM User Guide, "Secure API access with MFA". The texts are those that callers of AWS have reported.

use pileus_platform::{Access, CallerKind, Cx, MfaCheck};

use crate::error::StsError;

/// What a trust policy may ask of a request that brings a code. The operation itself checks the code before it answers, so what
/// is claimed here holds for every request that succeeds.
pub fn claimed(access: Access) -> Access {
    access.with("aws:MultiFactorAuthPresent", "true").with("aws:MultiFactorAuthAge", "0")
}

/// Checks and uses up the caller's code; `false` when the request brings none.
///
/// # Errors
/// `AccessDenied` for a wrong code, for a device that is not the caller's, and for callers who have none; `ValidationError` for one
/// parameter without the other.
pub async fn check(cx: &Cx, serial_number: Option<&str>, code: Option<&str>) -> Result<bool, StsError> {
    let (serial_number, code) = match (serial_number, code) {
        (None, None) => return Ok(false),
        (Some(serial_number), Some(code)) => (serial_number, code),
        _ => {
            let text = "SerialNumber and TokenCode must be given together.".to_owned();
            return Err(StsError::Validation(text));
        }
    };
    let caller = cx.caller();
    let outcome = match caller.kind {
        CallerKind::Root | CallerKind::User { .. } if caller.session.is_none() => {
            cx.platform().identities().verify_mfa(caller, serial_number, code, cx.now()).await?
        }
        // Sessions have no devices of their own.
        _ => MfaCheck::NoSuchDevice,
    };
    let text = match outcome {
        MfaCheck::Accepted => return Ok(true),
        MfaCheck::WrongCode => "MultiFactorAuthentication failed with invalid MFA one time pass code. ",
        MfaCheck::NoSuchDevice => {
            "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user."
        }
    };
    Err(StsError::AccessDenied(text.to_owned()))
}
