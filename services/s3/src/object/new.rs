//! What a request says of the object that it makes: metadata, tags, lock, list, storage class.
//!
//! Source: Amazon S3 API Reference, "PutObject", "CreateMultipartUpload", "CopyObject"; Amazon S3 User Guide, "Working with object
//! metadata", "Locking objects with Object Lock". Recorded: the sentences.

use pileus_api_s3 as api;
use pileus_core::AccountId;
use pileus_platform::store::Store;
use pileus_platform::{Cx, Timestamp};
use pileus_wire::codec::percent;
use pileus_wire::value::Map;

use crate::acl::{Headers as AclHeaders, Of};
use crate::bucket::{Bucket, Configured, Ownership};
use crate::config;
use crate::error::S3Error;
use crate::object::write::seconds;
use crate::owner::canonical_id;
use crate::version::{ObjectVersion, Retention, RetentionMode, SystemMetadata};

/// Bytes of a key in UTF-8.
const MAX_KEY: usize = 1_024;
/// Bytes of names and values together.
const MAX_METADATA: usize = 2 << 10;
pub const MAX_TAGS: usize = 10;

/// What a request says of a new object.
#[derive(Debug, Default)]
pub struct NewObject<'a> {
    pub headers: SystemMetadata,
    pub metadata: Option<&'a Map<String>>,
    pub storage_class: Option<&'a str>,
    pub tagging: Option<&'a str>,
    pub lock_mode: Option<&'a str>,
    pub lock_until: Option<Timestamp>,
    pub legal_hold: Option<&'a str>,
    pub acl: AclHeaders<'a>,
}

/// Of a request whose type has these members.
macro_rules! new_object {
    ($input:expr) => {
        $crate::object::new::NewObject {
            headers: $crate::version::SystemMetadata {
                content_type: $input.content_type.clone(),
                cache_control: $input.cache_control.clone(),
                content_disposition: $input.content_disposition.clone(),
                content_encoding: $input.content_encoding.clone(),
                content_language: $input.content_language.clone(),
                expires: $input.expires.clone(),
                website_redirect_location: $input.website_redirect_location.clone(),
            },
            metadata: $input.metadata.as_ref(),
            storage_class: $input.storage_class.as_deref(),
            tagging: $input.tagging.as_deref(),
            lock_mode: $input.object_lock_mode.as_deref(),
            lock_until: $input.object_lock_retain_until_date,
            legal_hold: $input.object_lock_legal_hold_status.as_deref(),
            acl: $crate::acl::Headers {
                canned: $input.acl.as_deref(),
                full_control: $input.grant_full_control.as_deref(),
                read: $input.grant_read.as_deref(),
                read_acp: $input.grant_read_acp.as_deref(),
                write: None,
                write_acp: $input.grant_write_acp.as_deref(),
            },
        }
    };
}
pub(crate) use new_object;

/// Parameters of newer features that we lack, by name.
macro_rules! refuse_event_hold {
    ($input:expr) => {
        if $input.object_lock_event_hold.is_some()
            || $input.object_lock_event_hold_duration_days.is_some()
            || $input.object_lock_event_hold_duration_years.is_some()
        {
            return Err($crate::error::S3Error::lacking("x-amz-object-lock-event-hold"));
        }
    };
}
pub(crate) use refuse_event_hold;

/// A key of 1 to 1,024 bytes.
///
/// # Errors
/// `KeyTooLongError`, `InvalidRequest` for an empty one.
pub fn key(key: Option<&str>) -> Result<&str, S3Error> {
    match key {
        None | Some("") => Err(S3Error::argument("key", "", "The key must not be empty")),
        Some(key) if key.len() > MAX_KEY => {
            Err(S3Error::refused("KeyTooLongError", 400, "Your key is too long")
                .with("Size", key.len().to_string())
                .with("MaxSizeAllowed", MAX_KEY.to_string()))
        }
        Some(key) => Ok(key),
    }
}

impl NewObject<'_> {
    /// The version to come, still without bytes.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub async fn version(&self, cx: &Cx, bucket: &Bucket) -> Result<ObjectVersion, S3Error> {
        let store = cx.store();
        let owner = self.owner(cx, bucket);
        let mut version = ObjectVersion::empty(owner, seconds(cx.now()));
        version.headers = self.headers.clone();
        check_redirect(version.headers.website_redirect_location.as_deref())?;
        version.metadata = metadata(self.metadata)?;
        version.storage_class = storage_class(self.storage_class)?;
        version.tags = self.tagging.map_or(Ok(Vec::new()), tags_of_header)?;
        self.lock(store, bucket, cx.now(), &mut version).await?;
        version.acl = self.acl(store, bucket, owner).await?;
        Ok(version)
    }

    fn owner(&self, cx: &Cx, bucket: &Bucket) -> AccountId {
        let gives_away = self.acl.canned == Some("bucket-owner-full-control");
        match bucket.ownership {
            Ownership::BucketOwnerEnforced => bucket.owner,
            Ownership::BucketOwnerPreferred if gives_away => bucket.owner,
            Ownership::BucketOwnerPreferred | Ownership::ObjectWriter => cx.account(),
        }
    }

    async fn acl(&self, store: &Store, bucket: &Bucket, owner: AccountId) -> Result<Option<String>, S3Error> {
        if self.acl.is_empty() {
            return Ok(None);
        }
        let owner = canonical_id(owner);
        let list = config::acl::requested(store, bucket, Of::Object, &owner, self.acl, None).await?;
        list.as_ref().map(config::acl::to_object).transpose()
    }

    /// # Errors
    /// `InvalidRequest` on a bucket without object lock; `InvalidArgument`.
    async fn lock(
        &self,
        store: &Store,
        bucket: &Bucket,
        now: Timestamp,
        version: &mut ObjectVersion,
    ) -> Result<(), S3Error> {
        let is_asked_for = self.lock_mode.is_some() || self.lock_until.is_some() || self.legal_hold.is_some();
        if is_asked_for && !bucket.has_object_lock {
            return Err(S3Error::invalid("Bucket is missing Object Lock Configuration"));
        }
        version.legal_hold = self.legal_hold.map(legal_hold).transpose()?;
        version.retention = match (self.lock_mode, self.lock_until) {
            (Some(mode), Some(until)) => Some(retention(mode, until, now)?),
            (None, None) if bucket.has(Configured::ObjectLock) => {
                config::settings::default_retention(store, bucket, now).await?
            }
            (None, None) => None,
            (mode, _) => {
                let name = match mode {
                    Some(_) => "x-amz-object-lock-mode",
                    None => "x-amz-object-lock-retain-until-date",
                };
                return Err(S3Error::argument(
                    name,
                    mode.unwrap_or_default(),
                    "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
                ));
            }
        };
        Ok(())
    }
}

/// # Errors
/// `InvalidArgument` for an unknown mode, or a date in the past.
pub fn retention(mode: &str, until: Timestamp, now: Timestamp) -> Result<Retention, S3Error> {
    let mode = RetentionMode::parse(mode)
        .ok_or_else(|| S3Error::argument("x-amz-object-lock-mode", mode, "Unknown wormMode directive."))?;
    if until <= now {
        return Err(S3Error::argument(
            "x-amz-object-lock-retain-until-date",
            until.to_iso8601(),
            "The retain until date must be in the future!",
        ));
    }
    Ok(Retention { mode, until })
}

/// # Errors
/// `InvalidArgument`
pub fn legal_hold(status: &str) -> Result<bool, S3Error> {
    match status {
        "ON" => Ok(true),
        "OFF" => Ok(false),
        other => Err(S3Error::argument(
            "x-amz-object-lock-legal-hold",
            other,
            "Legal Hold must be either of 'ON' or 'OFF'",
        )),
    }
}

fn metadata(given: Option<&Map<String>>) -> Result<Vec<(String, String)>, S3Error> {
    let Some(given) = given else { return Ok(Vec::new()) };
    let metadata: Vec<_> =
        given.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MAX_METADATA {
        return Err(S3Error::refused(
            "MetadataTooLarge",
            400,
            "Your metadata headers exceed the maximum allowed metadata size",
        )
        .with("Size", size.to_string())
        .with("MaxSizeAllowed", MAX_METADATA.to_string()));
    }
    Ok(metadata)
}

/// `None` is `STANDARD`.
///
/// # Errors
/// `InvalidStorageClass`
pub fn storage_class(name: Option<&str>) -> Result<Option<String>, S3Error> {
    match name {
        None | Some("STANDARD") => Ok(None),
        Some(
            name @ ("REDUCED_REDUNDANCY"
            | "STANDARD_IA"
            | "ONEZONE_IA"
            | "INTELLIGENT_TIERING"
            | "GLACIER"
            | "DEEP_ARCHIVE"
            | "GLACIER_IR"),
        ) => Ok(Some(name.to_owned())),
        Some(name) => {
            Err(S3Error::refused("InvalidStorageClass", 400, "The storage class you specified is not valid")
                .with("StorageClassRequested", name))
        }
    }
}

fn check_redirect(location: Option<&str>) -> Result<(), S3Error> {
    match location {
        Some(location) if !["/", "http://", "https://"].iter().any(|start| location.starts_with(start)) => {
            Err(S3Error::refused(
                "InvalidRedirectLocation",
                400,
                "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
            ))
        }
        _ => Ok(()),
    }
}

/// `x-amz-tagging`: pairs as in a query.
///
/// # Errors
/// `InvalidArgument`, `InvalidTag`, `BadRequest` for too many.
pub fn tags_of_header(header: &str) -> Result<Vec<(String, String)>, S3Error> {
    let mut tags = Vec::new();
    for pair in header.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = percent::decode_form(key).zip(percent::decode_form(value));
        let (key, value) = decoded.ok_or_else(|| bad_tagging(header))?;
        if tags.iter().any(|(other, _): &(String, String)| *other == key) {
            return Err(bad_tagging(header));
        }
        tags.push((key.into_owned(), value.into_owned()));
    }
    check_tags(&tags)?;
    Ok(tags)
}

fn bad_tagging(header: &str) -> S3Error {
    S3Error::argument(
        "x-amz-tagging",
        header,
        "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
    )
}

/// # Errors
/// `InvalidTag`, `BadRequest` for too many.
pub fn check_tags(tags: &[(String, String)]) -> Result<(), S3Error> {
    if tags.len() > MAX_TAGS {
        return Err(S3Error::refused("BadRequest", 400, "Object tags cannot be greater than 10"));
    }
    let tags: Vec<_> = tags
        .iter()
        .map(|(key, value)| api::Tag { key: Some(key.clone()), value: Some(value.clone()) })
        .collect();
    config::settings::check_tags(&tags, MAX_TAGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_as_a_query() {
        let read = |header| tags_of_header(header).map_err(|error| error.code().to_owned());
        let pairs = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(read(""), pairs(&[]));
        assert_eq!(read("a=1&b%20c=d+e&f"), pairs(&[("a", "1"), ("b c", "d e"), ("f", "")]));
        assert_eq!(read("a=1&a=2"), Err("InvalidArgument".to_owned()));
        assert_eq!(read("aws:a=1"), Err("InvalidTag".to_owned()));
        assert_eq!(read("a=%FF"), Err("InvalidArgument".to_owned()));
        let many: Vec<String> = (0..11).map(|i| format!("k{i}=v")).collect();
        assert_eq!(read(&many.join("&")), Err("BadRequest".to_owned()));
    }

    #[test]
    fn keys_have_bytes_up_to_1024() {
        assert!(key(Some(&"é".repeat(512))).is_ok());
        assert_eq!(
            key(Some(&"a".repeat(1_025))).map_err(|e| e.code().to_owned()),
            Err("KeyTooLongError".to_owned())
        );
        assert!(key(Some("")).is_err() && key(None).is_err());
    }
}
