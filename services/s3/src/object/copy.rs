//! `CopyObject`
//!
//! Source: Amazon S3 API Reference, "CopyObject". Recorded: the sentences.

use std::ops::Range;
use std::sync::Arc;

use pileus_api_s3::{CopyObjectOutput, CopyObjectRequest, CopyObjectResult};
use pileus_platform::{Cx, Fault};
use pileus_wire::checksum::Algorithm;
use pileus_wire::sigv4::percent_decode;

use crate::bucket::{Bucket, Versioning};
use crate::checksum;
use crate::condition::{ReadConditions, Verdict, WriteConditions};
use crate::data::{self, Incoming, MAX_PUT};
use crate::effects::Event;
use crate::encryption::{CustomerHeaders, Wrapping};
use crate::error::S3Error;
use crate::object::get;
use crate::object::new::{key, new_object, refuse_event_hold};
use crate::object::put::{DEFAULT_CHECKSUM, Put, shown_version};
use crate::version::ObjectVersion;

/// What `x-amz-copy-source` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    pub bucket: String,
    pub key: String,
    pub version: Option<String>,
}

impl CopySource {
    /// `bucket/key`, percent-encoded, with or without a slash before it, `?versionId=` after it.
    ///
    /// # Errors
    /// `InvalidArgument`; `NotImplemented` for access points.
    pub fn parse(text: Option<&str>) -> Result<CopySource, S3Error> {
        let text = text.unwrap_or_default();
        let invalid = |message: &'static str| S3Error::argument("x-amz-copy-source", text, message);
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let path = path.strip_prefix('/').unwrap_or(path);
        let decoded =
            String::from_utf8(percent_decode(path)).map_err(|_| invalid("Invalid copy source encoding."))?;
        if decoded.starts_with("arn:") {
            return Err(S3Error::lacking("x-amz-copy-source with an access point"));
        }
        let wrong = "Invalid copy source object key";
        let (bucket, key) = decoded.split_once('/').ok_or_else(|| invalid(wrong))?;
        if bucket.is_empty() {
            return Err(invalid("Invalid copy source bucket name"));
        }
        if key.is_empty() {
            return Err(invalid(wrong));
        }
        let version = match query.split_once('=') {
            Some(("versionId", version)) if !version.is_empty() => Some(
                String::from_utf8(percent_decode(version))
                    .map_err(|_| invalid("Invalid version id specified"))?,
            ),
            None if query.is_empty() => None,
            _ => return Err(invalid("Version id cannot be the empty string")),
        };
        Ok(CopySource { bucket: bucket.to_owned(), key: key.to_owned(), version })
    }

    /// The object to copy from, once its conditions hold; and how to read it.
    ///
    /// # Errors
    /// `NoSuchBucket`, `NoSuchKey`, `NoSuchVersion`, `PreconditionFailed`, what is wrong with the keys of its encryption.
    pub async fn load(
        &self,
        cx: &Cx,
        conditions: &ReadConditions<'_>,
        customer: CustomerHeaders<'_>,
    ) -> Result<Source, S3Error> {
        let bucket = Bucket::load(cx.store(), &self.bucket).await?;
        let found = get::load(cx, &bucket, &self.key, self.version.as_deref(), "PUT").await;
        let version = found.map_err(|error| match error.code() {
            "MethodNotAllowed" => S3Error::invalid(
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            ),
            _ => error,
        })?;
        match conditions.judge(&version.etag, version.modified) {
            Verdict::Go => {}
            Verdict::Failed(condition) => {
                return Err(S3Error::PreconditionFailed { condition: of_source(condition) });
            }
            Verdict::NotModified => {
                let condition = match conditions.if_none_match {
                    Some(_) => "x-amz-copy-source-If-None-Match",
                    None => "x-amz-copy-source-If-Modified-Since",
                };
                return Err(S3Error::PreconditionFailed { condition });
            }
        }
        if matches!(version.storage_class(), "GLACIER" | "DEEP_ARCHIVE") && !version.is_restored(cx.now()) {
            return Err(S3Error::refused(
                "ObjectNotInActiveTierError",
                403,
                "The source object of the COPY operation is not in the active tier and is only stored in Amazon Glacier.",
            ));
        }
        let wrapping = Wrapping::to_read(&version.encryption, customer)?;
        Ok(Source { bucket, version, wrapping })
    }
}

fn of_source(condition: &str) -> &'static str {
    match condition {
        "If-Match" => "x-amz-copy-source-If-Match",
        _ => "x-amz-copy-source-If-Unmodified-Since",
    }
}

/// An object to copy from.
pub struct Source {
    pub bucket: Bucket,
    pub version: Arc<ObjectVersion>,
    pub wrapping: Wrapping,
}

impl Source {
    /// Part of its bytes, or all of them, as bytes of their own: linked where that can be, else copied.
    ///
    /// # Errors
    /// As `data::read`.
    pub async fn copied(
        &self,
        cx: &Cx,
        range: Range<u64>,
        wrapping: &Wrapping,
        algorithm: Algorithm,
    ) -> Result<Incoming, S3Error> {
        if range == (0..self.version.size)
            && let Some(linked) = Incoming::linked(cx, &self.version, wrapping, algorithm).await?
        {
            return Ok(linked);
        }
        let body = data::read(cx, self.bucket.id, &self.version.place, &self.wrapping, range).await?;
        data::receive(cx, body, wrapping, algorithm, MAX_PUT).await.map_err(of_read)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Copy,
    Replace,
}

fn directive(name: &'static str, value: Option<&str>) -> Result<Directive, S3Error> {
    match value {
        None | Some("COPY") => Ok(Directive::Copy),
        Some("REPLACE") => Ok(Directive::Replace),
        Some(other) => {
            let what = if name == "x-amz-tagging-directive" { "tagging" } else { "metadata" };
            Err(S3Error::argument(name, other, format!("Unknown {what} directive.")))
        }
    }
}

/// `CopyObject`
pub async fn copy_object(cx: &Cx, input: CopyObjectRequest) -> Result<CopyObjectOutput, S3Error> {
    refuse_event_hold!(input);
    if input.annotation_directive.is_some() {
        return Err(S3Error::lacking("x-amz-annotation-directive"));
    }
    let key = key(input.key.as_deref())?;
    let source = CopySource::parse(input.copy_source.as_deref())?;
    let metadata = directive("x-amz-metadata-directive", input.metadata_directive.as_deref())?;
    let tagging = directive("x-amz-tagging-directive", input.tagging_directive.as_deref())?;
    let wrapping = Wrapping::wanted(
        input.server_side_encryption.as_deref(),
        input.ssekms_key_id.as_deref(),
        [
            input.sse_customer_algorithm.as_deref(),
            input.sse_customer_key.as_deref(),
            input.sse_customer_key_md5.as_deref(),
        ],
    )?;
    let algorithm = input.checksum_algorithm.as_deref().map(checksum::algorithm).transpose()?;
    let conditions = WriteConditions {
        if_match: input.if_match.as_deref(),
        if_none_match: input.if_none_match.as_deref(),
    };
    conditions.check_form()?;
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let same = source.bucket == bucket.name && source.key == key && source.version.is_none();
    let changes = metadata == Directive::Replace
        || input.storage_class.is_some()
        || input.website_redirect_location.is_some()
        || input.server_side_encryption.is_some()
        || input.sse_customer_algorithm.is_some()
        || input.copy_source_sse_customer_algorithm.is_some();
    if same && !changes {
        return Err(S3Error::invalid(
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let of_source = ReadConditions {
        if_match: input.copy_source_if_match.as_deref(),
        if_none_match: input.copy_source_if_none_match.as_deref(),
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    let customer = [
        input.copy_source_sse_customer_algorithm.as_deref(),
        input.copy_source_sse_customer_key.as_deref(),
        input.copy_source_sse_customer_key_md5.as_deref(),
    ];
    let from = source.load(cx, &of_source, customer).await?;
    if from.version.size > MAX_PUT {
        return Err(S3Error::invalid(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PUT}"
        )));
    }
    let mut version = new_object!(input).version(cx, &bucket).await?;
    if metadata == Directive::Copy {
        let redirect = version.headers.website_redirect_location.take();
        version.headers = from.version.headers.clone();
        version.headers.website_redirect_location = redirect;
        version.metadata = from.version.metadata.clone();
    }
    if tagging == Directive::Copy {
        version.tags = from.version.tags.clone();
    }
    let kept = from.version.checksum.as_ref().and_then(|sum| Algorithm::from_name(&sum.algorithm));
    let algorithm = algorithm.or(kept).unwrap_or(DEFAULT_CHECKSUM);
    let incoming = from.copied(cx, 0..from.version.size, &wrapping, algorithm).await?;
    let put = Put { bucket: &bucket.name, key, conditions, event: Event::CreatedCopy };
    let (bucket, version) = put.commit(cx, incoming, version, &wrapping).await?;
    let mut result = CopyObjectResult {
        e_tag: Some(version.quoted_etag()),
        last_modified: Some(version.modified),
        ..CopyObjectResult::default()
    };
    checksum::answer!(result, &version.checksum);
    Ok(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: copied_version(&from),
        version_id: shown_version(&bucket, &version),
        server_side_encryption: version.encryption.server_side(),
        sse_customer_algorithm: version.encryption.customer_algorithm(),
        sse_customer_key_md5: version.encryption.customer_key_md5(),
        ..CopyObjectOutput::default()
    })
}

/// `x-amz-copy-source-version-id`
pub fn copied_version(from: &Source) -> Option<String> {
    (from.bucket.versioning != Versioning::Never).then(|| from.version.version_text().to_owned())
}

/// The source broke off: a fault of ours, whatever it was that a body's end would be for a caller.
fn of_read(error: S3Error) -> S3Error {
    match error.code() {
        "IncompleteBody" => {
            Fault::receiver("InternalError", "We encountered an internal error. Please try again.").into()
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_bucket_a_key_and_perhaps_a_version() {
        let source = |bucket: &str, key: &str, version: Option<&str>| {
            Ok(CopySource { bucket: bucket.into(), key: key.into(), version: version.map(str::to_owned) })
        };
        let cases = [
            ("b/k", source("b", "k", None)),
            ("/b/k/l", source("b", "k/l", None)),
            ("b%2Fk%20x", source("b", "k x", None)),
            ("b/k+x", source("b", "k+x", None)),
            ("b/k?versionId=v%3D", source("b", "k", Some("v="))),
            ("b//k", source("b", "/k", None)),
            ("b", Err("InvalidArgument")),
            ("b/", Err("InvalidArgument")),
            ("/", Err("InvalidArgument")),
            ("b/k?versionId=", Err("InvalidArgument")),
            ("b/%FF", Err("InvalidArgument")),
            ("arn:aws:s3:us-east-1:123456789012:accesspoint/x/object/k", Err("NotImplemented")),
        ];
        for (text, expected) in cases {
            let got = CopySource::parse(Some(text)).map_err(|error| error.code().to_owned());
            assert_eq!(got, expected.map_err(str::to_owned), "{text}");
        }
    }
}
