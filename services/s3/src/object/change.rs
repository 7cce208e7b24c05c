//! Changes of a version in its place: tags, lock, list, restores. The bytes stay.

use pileus_platform::Cx;

use crate::bucket::Bucket;
use crate::effects::{self, Event, ObjectChange};
use crate::error::S3Error;
use crate::keys::CURRENT;
use crate::object::new::key;
use crate::object::write::{self, find_version};
use crate::version::ObjectVersion;

/// A version that a request names.
pub struct Named<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    pub version: Option<&'a str>,
}

impl<'a> Named<'a> {
    /// # Errors
    /// What is wrong with the key.
    pub fn of(
        bucket: Option<&'a str>,
        of_key: Option<&'a str>,
        version: Option<&'a str>,
    ) -> Result<Named<'a>, S3Error> {
        Ok(Named { bucket: bucket.unwrap_or_default(), key: key(of_key)?, version })
    }
}

/// Changes the version in a transaction, and tells of `events`. The bucket and the version as they are then.
///
/// # Errors
/// `NoSuchKey`, `NoSuchVersion`; `MethodNotAllowed` for a delete marker; what `body` refuses.
pub async fn change<F>(
    cx: &Cx,
    named: &Named<'_>,
    events: &[Event],
    body: F,
) -> Result<(Bucket, ObjectVersion), S3Error>
where
    F: Fn(&Bucket, &mut ObjectVersion) -> Result<(), S3Error> + Send + Sync,
{
    let body = &body;
    cx.transact(|txn| async move {
        let bucket = Bucket::load(&txn, named.bucket).await?;
        let key = named.key;
        let (mut version, is_current) = match named.version {
            None => {
                let current = CURRENT.get(&txn, &(bucket.id, key)).await?;
                (current.ok_or_else(|| S3Error::NoSuchKey { key: key.to_owned() })?, true)
            }
            Some(id) => find_version(&txn, &bucket, key, id)
                .await?
                .ok_or_else(|| S3Error::NoSuchVersion { key: key.to_owned(), version: id.to_owned() })?,
        };
        if version.is_delete_marker {
            return Err(S3Error::MethodNotAllowed { method: "PUT", resource: "DeleteMarker" });
        }
        body(&bucket, &mut version)?;
        for event in events {
            let change = ObjectChange { bucket: &bucket, key, event: *event, version: &version };
            effects::object_changed(cx, &txn, &change).await?;
        }
        write::store(&txn, &bucket, key, &version, is_current)?;
        Ok((bucket, version))
    })
    .await
}
