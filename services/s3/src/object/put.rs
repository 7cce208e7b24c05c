//! `PutObject`
//!
//! Source: Amazon S3 API Reference, "PutObject".

use std::sync::Arc;

use pileus_api_s3::{PutObjectOutput, PutObjectRequest};
use pileus_platform::Cx;
use pileus_wire::checksum::Algorithm;

use crate::bucket::{Bucket, Versioning};
use crate::checksum;
use crate::condition::WriteConditions;
use crate::data::{self, Incoming, MAX_PUT};
use crate::effects::Event;
use crate::encryption::Wrapping;
use crate::error::S3Error;
use crate::keys::CURRENT;
use crate::known;
use crate::lifecycle;
use crate::object::new::{key, new_object, refuse_event_hold};
use crate::object::write;
use crate::version::{Encryption, ObjectVersion, StoredChecksum};

/// The checksum of objects whose upload named none.
pub const DEFAULT_CHECKSUM: Algorithm = Algorithm::Crc64Nvme;

/// `PutObject`
pub async fn put_object(cx: &Cx, mut input: PutObjectRequest) -> Result<PutObjectOutput, S3Error> {
    refuse_event_hold!(input);
    if input.write_offset_bytes.is_some() {
        return Err(S3Error::lacking("x-amz-write-offset-bytes"));
    }
    let body = std::mem::take(&mut input.body);
    let key = key(input.key.as_deref())?;
    let length = input.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
    if length > MAX_PUT {
        return Err(data::too_large(length, MAX_PUT));
    }
    let wrapping = Wrapping::wanted(
        input.server_side_encryption.as_deref(),
        input.ssekms_key_id.as_deref(),
        [
            input.sse_customer_algorithm.as_deref(),
            input.sse_customer_key.as_deref(),
            input.sse_customer_key_md5.as_deref(),
        ],
    )?;
    let wanted = checksum::headers!(input, input.checksum_algorithm.as_deref()).wanted()?;
    let md5 = checksum::content_md5(input.content_md5.as_deref())?;
    let conditions = WriteConditions {
        if_match: input.if_match.as_deref(),
        if_none_match: input.if_none_match.as_deref(),
    };
    conditions.check_form()?;
    let is_locked = input.object_lock_mode.is_some() || input.object_lock_legal_hold_status.is_some();
    if is_locked && wanted.is_none() && md5.is_none() {
        return Err(S3Error::invalid(
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters",
        ));
    }
    let bucket = known::load_authorised(cx, input.bucket.as_deref()).await?;
    let version = new_object!(input).version(cx, &bucket).await?;
    let algorithm = wanted.as_ref().map_or(DEFAULT_CHECKSUM, |wanted| wanted.algorithm);
    let incoming = data::receive(cx, body, &wrapping, algorithm, MAX_PUT).await?;
    let proved = checksum::check_md5(md5.as_ref(), &incoming.md5)
        .and_then(|()| wanted.as_ref().map_or(Ok(()), |wanted| wanted.check(&incoming.checksum)));
    if let Err(error) = proved {
        incoming.discard(cx).await;
        return Err(error);
    }
    let put = Put { bucket: &bucket.name, key, conditions, event: Event::CreatedPut };
    let (bucket, version) = put.commit(cx, incoming, version, &wrapping).await?;
    let mut output = PutObjectOutput {
        e_tag: Some(version.quoted_etag()),
        version_id: shown_version(&bucket, &version),
        server_side_encryption: version.encryption.server_side(),
        sse_customer_algorithm: version.encryption.customer_algorithm(),
        sse_customer_key_md5: version.encryption.customer_key_md5(),
        ..PutObjectOutput::default()
    };
    checksum::answer!(output, &version.checksum);
    output.expiration = lifecycle::expiration(cx.store(), &bucket, key, &version).await?;
    Ok(output)
}

/// `x-amz-version-id`: none in buckets that never had versions.
pub fn shown_version(bucket: &Bucket, version: &ObjectVersion) -> Option<String> {
    (bucket.versioning != Versioning::Never).then(|| version.version_text().to_owned())
}

/// Where bytes that have come go.
pub struct Put<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    pub conditions: WriteConditions<'a>,
    pub event: Event,
}

impl Put<'_> {
    /// Makes the bytes the current version of the key. The bucket and the version as they are then.
    ///
    /// # Errors
    /// `NoSuchBucket` when the bucket was deleted meanwhile; `PreconditionFailed`, `NoSuchKey` of conditions.
    pub async fn commit(
        &self,
        cx: &Cx,
        incoming: Incoming,
        mut version: ObjectVersion,
        wrapping: &Wrapping,
    ) -> Result<(Arc<Bucket>, ObjectVersion), S3Error> {
        version.size = incoming.size;
        version.encryption = wrapping.encryption();
        version.etag = match version.encryption {
            Encryption::Managed => incoming.md5.hex(),
            // Not the MD5 of what the caller alone may know.
            Encryption::Customer { .. } => cx.ids().hex(32),
        };
        version.checksum = Some(StoredChecksum::full(&incoming.checksum));
        version.place = incoming.place.clone();
        let (kept, template) = (&incoming, &version);
        let done = cx
            .transact(|txn| async move {
                let bucket = known::load_in(cx, &txn, self.bucket).await?;
                let present = CURRENT.get(&txn, &(bucket.id, self.key)).await?;
                self.conditions.judge(self.key, present.as_ref())?;
                kept.keep(&txn, &bucket, self.key)?;
                let new = template.clone();
                let put = write::put(cx, &txn, &bucket, self.key, present, new, self.event).await?;
                Ok::<_, S3Error>((bucket, put))
            })
            .await;
        match done {
            Ok((bucket, (version, freed))) => {
                freed.delete(cx).await;
                Ok((bucket, version))
            }
            Err(error) => {
                // A commit whose end nobody knows may have happened: then the sweeper decides.
                if !matches!(error, S3Error::Store(_)) {
                    incoming.discard(cx).await;
                }
                Err(error)
            }
        }
    }
}
