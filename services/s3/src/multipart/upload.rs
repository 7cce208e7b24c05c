//! `CreateMultipartUpload`, `AbortMultipartUpload`
//!
//! Source: Amazon S3 API Reference, "CreateMultipartUpload", "AbortMultipartUpload".

use pileus_api_s3::{
    AbortMultipartUploadOutput, AbortMultipartUploadRequest, CreateMultipartUploadOutput,
    CreateMultipartUploadRequest,
};
use pileus_platform::store::Txn;
use pileus_platform::{Cx, Timestamp};
use pileus_store::due::NewJob;
use pileus_store::{Reader, StoreError, Stored};
use pileus_wire::checksum::Algorithm;
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::checksum;
use crate::data::nanos;
use crate::encryption::{CustomerHeaders, Wrapping};
use crate::error::S3Error;
use crate::keys::{UPLOADS, WORK};
use crate::lifecycle;
use crate::object::new::{key, new_object, refuse_event_hold};
use crate::object::put::DEFAULT_CHECKSUM;
use crate::version::{Encryption, ObjectVersion, StoredId};

/// An upload in progress.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upload {
    /// Its parts are kept under this, and the object's layout will be.
    pub id: StoredId,
    pub initiated: Timestamp,
    /// ARN of who began it.
    pub initiator: String,
    /// The object to come, without bytes.
    pub object: ObjectVersion,
    pub checksum: UploadChecksum,
    /// The caller asked for this checksum; else it is S3's choice.
    #[serde(default)]
    pub has_chosen_checksum: bool,
}

impl Stored for Upload {}

/// The checksum of the object to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadChecksum {
    /// AWS's name.
    pub algorithm: String,
    pub is_composite: bool,
}

impl UploadChecksum {
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::from_name(&self.algorithm).unwrap_or(DEFAULT_CHECKSUM)
    }

    pub fn kind(&self) -> &'static str {
        if self.is_composite { "COMPOSITE" } else { "FULL_OBJECT" }
    }

    /// # Errors
    /// `InvalidRequest` for a type that the algorithm does not have, or without an algorithm.
    ///
    /// Source: Amazon S3 User Guide, "Checking object integrity for data uploads in Amazon S3".
    fn choose(algorithm: Option<&str>, kind: Option<&str>) -> Result<(UploadChecksum, bool), S3Error> {
        let Some(name) = algorithm else {
            if kind.is_some() {
                return Err(S3Error::invalid(
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
                ));
            }
            let algorithm = DEFAULT_CHECKSUM.name().to_owned();
            return Ok((UploadChecksum { algorithm, is_composite: false }, false));
        };
        let algorithm = checksum::algorithm(name)?;
        let cannot = |kind: &str| {
            let name = algorithm.name().to_ascii_lowercase();
            S3Error::invalid(format!(
                "The {kind} checksum type cannot be used with the {name} checksum algorithm."
            ))
        };
        let is_composite = match kind {
            None => algorithm != Algorithm::Crc64Nvme,
            Some("COMPOSITE") if algorithm == Algorithm::Crc64Nvme => return Err(cannot("COMPOSITE")),
            Some("COMPOSITE") => true,
            Some("FULL_OBJECT") if !algorithm.combines() => return Err(cannot("FULL_OBJECT")),
            Some("FULL_OBJECT") => false,
            Some(other) => {
                return Err(S3Error::argument(
                    "x-amz-checksum-type",
                    other,
                    "Value for x-amz-checksum-type header is invalid.",
                ));
            }
        };
        Ok((UploadChecksum { algorithm: algorithm.name().to_owned(), is_composite }, true))
    }
}

impl Upload {
    /// # Errors
    /// `NoSuchUpload`
    pub async fn load(
        reader: &impl Reader,
        bucket: &Bucket,
        key: &str,
        upload: &str,
    ) -> Result<Upload, S3Error> {
        let found = UPLOADS.get(reader, &(bucket.id, key, upload)).await?;
        found.ok_or_else(|| S3Error::NoSuchUpload { upload: upload.to_owned() })
    }

    /// How its parts are encrypted, by a request with these headers.
    ///
    /// # Errors
    /// `InvalidRequest` for other keys than those that the upload began with.
    pub fn wrapping(&self, customer: CustomerHeaders<'_>) -> Result<Wrapping, S3Error> {
        let wrapping = Wrapping::wanted(None, None, customer)?;
        match (&self.object.encryption, &wrapping) {
            (Encryption::Managed, Wrapping::Managed) => Ok(wrapping),
            (Encryption::Customer { key_md5 }, Wrapping::Customer(key)) if *key_md5 == key.md5 => {
                Ok(wrapping)
            }
            (Encryption::Customer { .. }, Wrapping::Managed) => Err(S3Error::invalid(
                "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.",
            )),
            _ => Err(S3Error::invalid(
                "The provided encryption parameters did not match the ones used originally.",
            )),
        }
    }
}

/// The text of an upload id, whose beginning is the id that its parts are kept under, and sorts by time.
fn upload_id(cx: &Cx) -> (StoredId, String) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&nanos(cx.now()).to_be_bytes());
    cx.rng().fill(&mut bytes[8..]);
    let mut id = StoredId::default();
    id.copy_from_slice(&bytes[..16]);
    (id, hex::encode(bytes))
}

/// The id under which the parts of an upload were kept, also after its end.
pub fn stored_id_of(upload_id: &str) -> Option<StoredId> {
    let bytes = hex::decode(upload_id).ok()?;
    if bytes.len() == 32 { bytes.first_chunk().copied() } else { None }
}

/// `CreateMultipartUpload`
pub async fn create_multipart_upload(
    cx: &Cx,
    input: CreateMultipartUploadRequest,
) -> Result<CreateMultipartUploadOutput, S3Error> {
    refuse_event_hold!(input);
    let key = key(input.key.as_deref())?;
    let wrapping = Wrapping::wanted(
        input.server_side_encryption.as_deref(),
        input.ssekms_key_id.as_deref(),
        [
            input.sse_customer_algorithm.as_deref(),
            input.sse_customer_key.as_deref(),
            input.sse_customer_key_md5.as_deref(),
        ],
    )?;
    let (checksum, is_chosen) =
        UploadChecksum::choose(input.checksum_algorithm.as_deref(), input.checksum_type.as_deref())?;
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let mut object = new_object!(input).version(cx, &bucket).await?;
    object.encryption = wrapping.encryption();
    let (id, text) = upload_id(cx);
    let upload = Upload {
        id,
        initiated: cx.now(),
        initiator: cx.caller().arn.to_string(),
        object,
        checksum,
        has_chosen_checksum: is_chosen,
    };
    let (name, kept, upload_id) = (bucket.name.as_str(), &upload, text.as_str());
    cx.transact(|txn| async move {
        let bucket = Bucket::load(&txn, name).await?;
        UPLOADS.put(&txn, &(bucket.id, key, upload_id), kept).map_err(S3Error::from)
    })
    .await?;
    let abortion = lifecycle::abortion(cx.store(), &bucket, key, upload.initiated).await?;
    let (abort_date, abort_rule_id) = abortion.unzip();
    Ok(CreateMultipartUploadOutput {
        abort_date,
        abort_rule_id,
        bucket: Some(bucket.name),
        key: Some(key.to_owned()),
        server_side_encryption: upload.object.encryption.server_side(),
        sse_customer_algorithm: upload.object.encryption.customer_algorithm(),
        sse_customer_key_md5: upload.object.encryption.customer_key_md5(),
        checksum_type: is_chosen.then(|| upload.checksum.kind().to_owned()),
        checksum_algorithm: is_chosen.then_some(upload.checksum.algorithm),
        upload_id: Some(text),
        ..CreateMultipartUploadOutput::default()
    })
}

/// `AbortMultipartUpload`
pub async fn abort_multipart_upload(
    cx: &Cx,
    input: AbortMultipartUploadRequest,
) -> Result<AbortMultipartUploadOutput, S3Error> {
    if input.if_match_initiated_time.is_some() {
        return Err(S3Error::lacking("x-amz-if-match-initiated-time"));
    }
    let key = key(input.key.as_deref())?;
    let (name, upload) = (input.bucket.as_deref().unwrap_or_default(), input.upload_id.as_deref());
    cx.transact(|txn| async move {
        let bucket = Bucket::load(&txn, name).await?;
        abort(cx, &txn, &bucket, key, upload.unwrap_or_default()).await
    })
    .await?;
    Ok(AbortMultipartUploadOutput::default())
}

/// Ends an upload; its parts go soon after.
///
/// # Errors
/// `NoSuchUpload`
pub async fn abort(cx: &Cx, txn: &Txn, bucket: &Bucket, key: &str, upload: &str) -> Result<(), S3Error> {
    let found = Upload::load(txn, bucket, key, upload).await?;
    UPLOADS.delete(txn, &(bucket.id, key, upload));
    Ok(remove_parts(txn, cx.now(), bucket.id, &found.id, &Kept::none())?)
}

/// The kind of job that removes the parts of an upload that has ended.
pub const REMOVE_PARTS: &str = "parts";

/// Parts whose bytes have become the object's, as a bit for each number.
pub struct Kept(Vec<u8>);

impl Kept {
    pub fn none() -> Kept {
        Kept(Vec::new())
    }

    pub fn read(bits: &[u8]) -> Kept {
        Kept(bits.to_vec())
    }

    pub fn add(&mut self, number: u32) {
        let at = (number / 8) as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        self.0[at] |= 1 << (number % 8);
    }

    pub fn has(&self, number: u32) -> bool {
        self.0.get((number / 8) as usize).is_some_and(|bits| bits & (1 << (number % 8)) != 0)
    }
}

/// Has the rows of an upload's parts removed, and the bytes of those that are not kept.
///
/// # Errors
/// Faults of the store.
pub fn remove_parts(
    txn: &Txn,
    due: Timestamp,
    bucket: u64,
    upload: &StoredId,
    kept: &Kept,
) -> Result<(), StoreError> {
    let payload = [&bucket.to_be_bytes()[..], upload, &kept.0].concat();
    let job =
        NewJob { kind: REMOVE_PARTS, id: &hex::encode(upload), due, destination: "", payload: &payload };
    WORK.add(txn, &job)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_parts_are_bits() {
        let mut kept = Kept::none();
        for number in [1, 8, 10_000] {
            kept.add(number);
        }
        let kept = Kept::read(&kept.0);
        for number in [1, 8, 10_000] {
            assert!(kept.has(number) && !kept.has(number + 1), "{number}");
        }
        assert!(!Kept::none().has(1));
    }

    #[test]
    fn the_checksum_follows_from_algorithm_and_type() {
        let cases = [
            (None, None, Ok(("CRC64NVME", false))),
            (Some("CRC32"), None, Ok(("CRC32", true))),
            (Some("CRC32"), Some("FULL_OBJECT"), Ok(("CRC32", false))),
            (Some("CRC64NVME"), None, Ok(("CRC64NVME", false))),
            (Some("SHA256"), None, Ok(("SHA256", true))),
            (Some("SHA256"), Some("FULL_OBJECT"), Err("InvalidRequest")),
            (Some("CRC64NVME"), Some("COMPOSITE"), Err("InvalidRequest")),
            (None, Some("COMPOSITE"), Err("InvalidRequest")),
            (Some("CRC32"), Some("X"), Err("InvalidArgument")),
        ];
        for (algorithm, kind, expected) in cases {
            let got = UploadChecksum::choose(algorithm, kind);
            let got = got.as_ref().map(|(sum, _)| (sum.algorithm.as_str(), sum.is_composite));
            assert_eq!(got.map_err(|error| error.code()), expected, "{algorithm:?} {kind:?}");
        }
    }
}
