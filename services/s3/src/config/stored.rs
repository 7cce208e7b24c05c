//! Configurations as they are kept: one row each, under the number of their bucket.
//!
//! A configuration is kept as the JSON that its modelled shape makes of it, so a member that the model gains later is simply absent
//! from older rows. The bucket's own row tells which kinds are there (`Bucket::configured`): requests that none concerns read none.

use pileus_api_s3 as api;
use pileus_platform::store::Txn;
use pileus_store::{Reader, Space, Stored, Table};
use pileus_wire::codec::{Select, json};
use pileus_wire::schema::{Service, Shape};
use pileus_wire::value::Struct;
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Configured};
use crate::error::S3Error;

/// By bucket, kind and id; the id is empty where a bucket has only one. Ranged over by `ListBucketInventoryConfigurations` and its
/// sisters, and when a bucket is deleted.
pub const CONFIGURATIONS: Table<(u64, u64, String), ConfigurationRow> = Table::new(Space::Meta, *b"Sf");

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigurationRow {
    /// JSON of the shape.
    pub json: String,
}

impl Stored for ConfigurationRow {}

/// A shape of which buckets keep values.
pub trait Configuration: Struct + Default {
    /// Its name in the model.
    const SHAPE: &'static str;
    const KIND: Configured;
}

macro_rules! configurations {
    ($($shape:ident $kind:ident),* $(,)?) => {
        $(impl Configuration for api::$shape {
            const SHAPE: &'static str = stringify!($shape);
            const KIND: Configured = Configured::$kind;
        })*
    };
}

configurations! {
    AccessControlPolicy Acl,
    CORSConfiguration Cors,
    WebsiteConfiguration Website,
    BucketLifecycleConfiguration Lifecycle,
    ReplicationConfiguration Replication,
    NotificationConfiguration Notification,
    BucketLoggingStatus Logging,
    InventoryConfiguration Inventory,
    AnalyticsConfiguration Analytics,
    MetricsConfiguration Metrics,
    IntelligentTieringConfiguration IntelligentTiering,
    Tagging Tagging,
    ServerSideEncryptionConfiguration Encryption,
    AccelerateConfiguration Accelerate,
    RequestPaymentConfiguration RequestPayment,
    PublicAccessBlockConfiguration PublicAccessBlock,
    ObjectLockConfiguration ObjectLock,
}

fn model(service: &str, name: &str) -> Result<(&'static Service, &'static Shape), S3Error> {
    let found = pileus_models::service(service).and_then(|service| Some((service, service.shape(name)?)));
    found.ok_or_else(|| S3Error::Internal(format!("the model has no shape {name}")))
}

/// The JSON of a value of a shape of a service.
pub fn write_json(service: &str, name: &str, value: &dyn Struct) -> Result<String, S3Error> {
    let mut out = Vec::with_capacity(256);
    json::write_structure(&mut out, model(service, name)?.1, Select::All, value);
    String::from_utf8(out)
        .map_err(|_| S3Error::Internal(format!("{name} was written as something else than text")))
}

/// Reads what `write_json` wrote.
pub fn read_json(service: &str, name: &str, text: &str, into: &mut dyn Struct) -> Result<(), S3Error> {
    let (service, shape) = model(service, name)?;
    json::decode(service, shape, Select::All, text.as_bytes(), into)
        .map_err(|fault| S3Error::Internal(format!("a stored {name} cannot be read: {fault}")))
}

pub fn to_json(name: &str, value: &dyn Struct) -> Result<String, S3Error> {
    write_json(api::SERVICE, name, value)
}

pub fn from_json(name: &str, text: &str, into: &mut dyn Struct) -> Result<(), S3Error> {
    read_json(api::SERVICE, name, text, into)
}

/// `None` without a read when the bucket has none.
pub async fn find<C: Configuration>(reader: &impl Reader, bucket: &Bucket) -> Result<Option<C>, S3Error> {
    find_named(reader, bucket, "").await
}

pub async fn find_named<C: Configuration>(
    reader: &impl Reader,
    bucket: &Bucket,
    id: &str,
) -> Result<Option<C>, S3Error> {
    if !bucket.has(C::KIND) {
        return Ok(None);
    }
    let key = (bucket.id, C::KIND as u64, id);
    let Some(row) = CONFIGURATIONS.get(reader, &key).await? else { return Ok(None) };
    let mut value = C::default();
    from_json(C::SHAPE, &row.json, &mut value)?;
    Ok(Some(value))
}

/// Keeps it, and says so in the bucket, which the caller stores.
pub fn put<C: Configuration>(txn: &Txn, bucket: &mut Bucket, id: &str, value: &C) -> Result<(), S3Error> {
    let row = ConfigurationRow { json: to_json(C::SHAPE, value)? };
    CONFIGURATIONS.put(txn, &(bucket.id, C::KIND as u64, id), &row)?;
    bucket.set(C::KIND, true);
    Ok(())
}

/// Text that is no modelled shape: policies.
pub async fn find_text(
    reader: &impl Reader,
    bucket: &Bucket,
    kind: Configured,
) -> Result<Option<String>, S3Error> {
    if !bucket.has(kind) {
        return Ok(None);
    }
    let row = CONFIGURATIONS.get(reader, &(bucket.id, kind as u64, "")).await?;
    Ok(row.map(|row| row.json))
}

pub fn put_text(txn: &Txn, bucket: &mut Bucket, kind: Configured, text: &str) -> Result<(), S3Error> {
    let row = ConfigurationRow { json: text.to_owned() };
    CONFIGURATIONS.put(txn, &(bucket.id, kind as u64, ""), &row)?;
    bucket.set(kind, true);
    Ok(())
}

/// Forgets the one of a kind.
pub fn delete(txn: &Txn, bucket: &mut Bucket, kind: Configured) {
    CONFIGURATIONS.delete(txn, &(bucket.id, kind as u64, ""));
    bucket.set(kind, false);
}

/// A page of those with ids, after `after`, with their ids.
pub async fn list<C: Configuration>(
    reader: &impl Reader,
    bucket: &Bucket,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<(String, C)>, bool), S3Error> {
    if !bucket.has(C::KIND) {
        return Ok((vec![], false));
    }
    let mut range = CONFIGURATIONS.under(&(bucket.id, C::KIND as u64));
    if let Some(after) = after {
        range = range.after(&CONFIGURATIONS.key(&(bucket.id, C::KIND as u64, after)));
    }
    let page = CONFIGURATIONS.scan(reader, &range, limit).await?;
    let mut found = Vec::with_capacity(page.rows.len());
    for ((_, _, id), row) in page.rows {
        let mut value = C::default();
        from_json(C::SHAPE, &row.json, &mut value)?;
        found.push((id, value));
    }
    Ok((found, page.more))
}

/// Forgets all that is configured on a bucket.
pub async fn delete_all(txn: &Txn, bucket: &Bucket) -> Result<(), S3Error> {
    if bucket.configured == 0 {
        return Ok(());
    }
    let mut range = CONFIGURATIONS.under(&(bucket.id,));
    loop {
        let page = CONFIGURATIONS.scan(txn, &range, 500).await?;
        for (key, _) in &page.rows {
            CONFIGURATIONS.delete(txn, key);
        }
        match page.rows.last() {
            Some((last, _)) if page.more => range = range.after(&CONFIGURATIONS.key(last)),
            _ => return Ok(()),
        }
    }
}
