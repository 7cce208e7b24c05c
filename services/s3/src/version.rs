//! A version of an object as it is stored: pure.

use bytes::Bytes;
use pileus_core::{AccountId, Timestamp};
use pileus_platform::blobs::Blob;
use pileus_store::Stored;
use serde::{Deserialize, Serialize};

/// Names stored bytes, layouts and uploads: eight bytes of time, eight of chance.
pub type StoredId = [u8; 16];

/// A version of an object, or a delete marker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectVersion {
    /// What callers call it; `None` is the null version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// Greater for every later version of the same key: nanoseconds of the moved clock, or one more than the last.
    pub order: u64,
    pub modified: Timestamp,
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_delete_marker: bool,
    /// The account that owns the version: the bucket's, but for buckets whose ownership is `ObjectWriter`.
    pub owner: AccountId,
    /// Bytes of the object.
    #[serde(default)]
    pub size: u64,
    /// Without quotation marks.
    #[serde(default)]
    pub etag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<StoredChecksum>,
    /// How many parts it was uploaded in; `None`: in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u32>,
    #[serde(default)]
    pub headers: SystemMetadata,
    /// User metadata: names in lower case, without `x-amz-meta-`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<(String, String)>,
    /// `None` is `STANDARD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legal_hold: Option<bool>,
    #[serde(default)]
    pub encryption: Encryption,
    #[serde(default)]
    pub place: Place,
    /// `x-amz-replication-status`: `PENDING`, `COMPLETED`, `FAILED` or `REPLICA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_status: Option<String>,
    /// The access control list where it is not the private one: XML of `AccessControlPolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<String>,
    /// Until when a version of an archive class can be read, since it was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_until: Option<Timestamp>,
    /// When the version ceased to be the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent_since: Option<Timestamp>,
}

impl Stored for ObjectVersion {}

impl ObjectVersion {
    /// A version without bytes.
    pub fn empty(owner: AccountId, modified: Timestamp) -> ObjectVersion {
        ObjectVersion {
            version_id: None,
            order: 0,
            modified,
            is_delete_marker: false,
            owner,
            size: 0,
            etag: String::new(),
            checksum: None,
            parts: None,
            headers: SystemMetadata::default(),
            metadata: Vec::new(),
            storage_class: None,
            tags: Vec::new(),
            retention: None,
            legal_hold: None,
            encryption: Encryption::default(),
            place: Place::default(),
            replication_status: None,
            acl: None,
            restored_until: None,
            noncurrent_since: None,
        }
    }

    /// `null`, or the version id.
    pub fn version_text(&self) -> &str {
        self.version_id.as_deref().unwrap_or("null")
    }

    pub fn is_restored(&self, now: Timestamp) -> bool {
        self.restored_until.is_some_and(|until| until > now)
    }

    /// `x-amz-restore`
    pub fn restore_header(&self, now: Timestamp) -> Option<String> {
        let until = self.restored_until.filter(|until| *until > now)?;
        Some(format!("ongoing-request=\"false\", expiry-date=\"{}\"", until.to_http_date()))
    }

    pub fn storage_class(&self) -> &str {
        self.storage_class.as_deref().unwrap_or("STANDARD")
    }

    /// `"…"`, as headers and bodies have it.
    pub fn quoted_etag(&self) -> String {
        ["\"", &self.etag, "\""].concat()
    }
}

/// Metadata that S3 itself knows, as sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SystemMetadata {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website_redirect_location: Option<String>,
}

/// A checksum of the whole object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredChecksum {
    /// AWS's name: `CRC64NVME`.
    pub algorithm: String,
    /// In base64; a composite one ends in `-` and the number of parts.
    pub value: String,
    /// Of the checksums of the parts, not of the bytes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_composite: bool,
}

impl StoredChecksum {
    /// `ChecksumType`.
    pub fn kind(&self) -> &'static str {
        if self.is_composite { "COMPOSITE" } else { "FULL_OBJECT" }
    }
}

/// How long a version is locked, and how firmly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    pub mode: RetentionMode,
    pub until: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionMode {
    Governance,
    Compliance,
}

impl RetentionMode {
    pub fn parse(text: &str) -> Option<RetentionMode> {
        match text {
            "GOVERNANCE" => Some(RetentionMode::Governance),
            "COMPLIANCE" => Some(RetentionMode::Compliance),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            RetentionMode::Governance => "GOVERNANCE",
            RetentionMode::Compliance => "COMPLIANCE",
        }
    }
}

/// Whose key protects the bytes. They are always encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encryption {
    /// SSE-S3: this cloud's.
    #[default]
    Managed,
    /// SSE-C: the caller's, who brings it with every request.
    Customer {
        /// MD5 of the key in base64, as the caller sent it.
        key_md5: String,
    },
}

/// Where the bytes of a version are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Place {
    /// There are none.
    #[default]
    Nothing,
    /// In a row of the store.
    Row { id: StoredId, key: WrappedKey },
    /// In one blob.
    Blob(Sealed),
    /// In several blobs, one after the other, which the rows of a layout name.
    Layout {
        id: StoredId,
        /// The offset at which each row of the layout begins.
        starts: Vec<u64>,
    },
}

/// An encrypted blob and the key to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sealed {
    pub blob: Blob,
    pub key: WrappedKey,
    /// Bytes before encryption.
    pub size: u64,
}

/// The key of some bytes, encrypted with the cloud's key or the caller's.
pub type WrappedKey = Bytes;

fn is_false(value: &bool) -> bool {
    !value
}
