//! Access points: other names of a bucket, each with a policy of its own.

use pileus_platform::Cx;

use crate::error::S3Error;

/// The policy of the access point with this ARN (or of an object by it): `None` when the ARN is no access point's.
pub async fn policy_of(_cx: &Cx, _arn: &str) -> Result<Option<Option<String>>, S3Error> {
    Ok(None)
}
