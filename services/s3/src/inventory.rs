//! Inventory: what a bucket holds, written into another bucket day by day or week by week.
//!
//! Source: Amazon S3 User Guide, "Cataloging and analyzing your data with S3 Inventory"; Amazon S3 API Reference,
//! "PutBucketInventoryConfiguration".

pub mod worker;

use pileus_api_s3 as api;
use pileus_platform::Cx;

use crate::error::S3Error;
use crate::replication::rules::bucket_name;

/// The columns that may be asked for, in the order in which they are written.
pub const FIELDS: [&str; 11] = [
    "Size",
    "LastModifiedDate",
    "StorageClass",
    "ETag",
    "IsMultipartUploaded",
    "ReplicationStatus",
    "EncryptionStatus",
    "ObjectLockRetainUntilDate",
    "ObjectLockMode",
    "ObjectLockLegalHoldStatus",
    "ChecksumAlgorithm",
];

/// # Errors
/// `MalformedXML`, `InvalidS3DestinationBucket`, `NotImplemented` for what is not here.
pub async fn check(_: &Cx, _: Option<&str>, given: &api::InventoryConfiguration) -> Result<(), S3Error> {
    let destination = given.destination.as_ref().and_then(|it| it.s3_bucket_destination.as_ref());
    let destination = destination.ok_or(S3Error::MalformedXml)?;
    if bucket_name(destination.bucket.as_deref().unwrap_or_default()).is_none() {
        return Err(S3Error::refused("InvalidS3DestinationBucket", 400, "Invalid bucket ARN."));
    }
    match destination.format.as_deref() {
        Some("CSV") => {}
        Some(other @ ("ORC" | "Parquet")) => {
            return Err(S3Error::lacking(format!("inventory in the format {other}")));
        }
        _ => return Err(S3Error::MalformedXml),
    }
    if destination.encryption.as_ref().is_some_and(|encryption| encryption.ssekms.is_some()) {
        return Err(S3Error::lacking("inventory under a KMS key"));
    }
    if !matches!(given.included_object_versions.as_deref(), Some("All" | "Current"))
        || given.is_enabled.is_none()
    {
        return Err(S3Error::MalformedXml);
    }
    let frequency = given.schedule.as_ref().and_then(|schedule| schedule.frequency.as_deref());
    if !matches!(frequency, Some("Daily" | "Weekly")) {
        return Err(S3Error::MalformedXml);
    }
    match given.optional_fields.iter().flatten().find(|field| !FIELDS.contains(&field.as_str())) {
        Some(field) => Err(S3Error::lacking(format!("the inventory field {field}"))),
        None => Ok(()),
    }
}
