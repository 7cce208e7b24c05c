//! `RestoreObject`
//!
//! Source: Amazon S3 API Reference, "RestoreObject". Chosen: a restore is done at once; AWS takes minutes to hours.

use std::time::Duration;

use pileus_api_s3::{RestoreObjectOutput, RestoreObjectRequest};
use pileus_platform::{Cx, Timestamp};

use crate::effects::Event;
use crate::error::S3Error;
use crate::object::change::{Named, change};

const DAY: u64 = 86_400;

/// `RestoreObject`: a copy for some days, which end at midnight.
pub async fn restore_object(cx: &Cx, input: RestoreObjectRequest) -> Result<RestoreObjectOutput, S3Error> {
    let request = input.restore_request.as_ref().ok_or(S3Error::MalformedXml)?;
    if request.r#type.is_some() || request.select_parameters.is_some() || request.output_location.is_some() {
        return Err(S3Error::lacking("RestoreObject with Type SELECT"));
    }
    let tier = request.tier.as_deref().or_else(|| {
        request.glacier_job_parameters.as_ref().and_then(|parameters| parameters.tier.as_deref())
    });
    let days = match request.days.and_then(|days| u64::try_from(days).ok()) {
        Some(days) if days >= 1 => days,
        _ => return Err(S3Error::MalformedXml),
    };
    let named = Named::of(input.bucket.as_deref(), input.key.as_deref(), input.version_id.as_deref())?;
    change(cx, &named, &[Event::RestorePost, Event::RestoreCompleted], |_, version| {
        match (version.storage_class(), tier) {
            ("DEEP_ARCHIVE", Some("Expedited")) => {
                Err(S3Error::invalid("Retrieval option is not supported by this storage class"))
            }
            ("GLACIER" | "DEEP_ARCHIVE", None | Some("Standard" | "Bulk" | "Expedited")) => {
                version.restored_until = Some(end(cx.now(), days));
                Ok(())
            }
            ("GLACIER" | "DEEP_ARCHIVE", Some(_)) => Err(S3Error::MalformedXml),
            (class, _) => Err(S3Error::refused(
                "InvalidObjectState",
                403,
                "Restore is not allowed for the object's current storage class",
            )
            .with("StorageClass", class)),
        }
    })
    .await?;
    Ok(RestoreObjectOutput::default())
}

/// The midnight after the last of the days.
fn end(now: Timestamp, days: u64) -> Timestamp {
    let day = DAY as i64;
    let today = now.as_secs().saturating_add(day - 1).div_euclid(day);
    Timestamp::from_secs(today.saturating_mul(day)) + Duration::from_secs(days.saturating_mul(DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_ends_at_midnight() {
        let day = DAY as i64;
        assert_eq!(end(Timestamp::from_secs(10 * day + 5), 2), Timestamp::from_secs(13 * day));
        assert_eq!(end(Timestamp::from_secs(10 * day), 1), Timestamp::from_secs(11 * day));
    }
}
