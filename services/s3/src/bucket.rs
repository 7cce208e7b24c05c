//! Buckets.
//!
//! Source: Amazon S3 API Reference, "CreateBucket", "HeadBucket", "ListBuckets", "DeleteBucket", "GetBucketLocation".

pub mod name;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as TOKEN;
use pileus_api_s3::{
    Bucket as ListedBucket, CreateBucketOutput, CreateBucketRequest, DeleteBucketRequest,
    GetBucketLocationOutput, GetBucketLocationRequest, HeadBucketOutput, HeadBucketRequest,
    ListBucketsOutput, ListBucketsRequest,
};
use pileus_core::{AccountId, Region, Timestamp};
use pileus_platform::store::{KeyRange, Txn};
use pileus_platform::{Cx, LimitsProfile};
use pileus_store::due::NewJob;
use pileus_store::{StoreError, Stored};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::control::access_point;
use crate::effects;
use crate::error::S3Error;
use crate::keys::{BUCKETS, CURRENT, OLDER, OWNED, UPLOADS, WORK};
use crate::owner;
use crate::sweep::REMOVE_UPLOADS;

/// Buckets that an account may have. Source: Amazon S3 User Guide, "Bucket quotas, limitations, and restrictions".
const MAX_BUCKETS: usize = 10_000;

/// A bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Everything in the bucket is kept under this: a bucket that is deleted and made again has another one.
    pub id: u64,
    pub name: String,
    pub owner: AccountId,
    pub region: Region,
    pub created: Timestamp,
    #[serde(default)]
    pub versioning: Versioning,
    /// `MfaDelete` of the versioning configuration.
    #[serde(default)]
    pub has_mfa_delete: bool,
    #[serde(default)]
    pub has_object_lock: bool,
    #[serde(default)]
    pub ownership: Ownership,
    /// What is configured, as bits of `Configured`: one read of the bucket tells which configurations need reading.
    #[serde(default)]
    pub configured: u64,
    /// The ARN of the access point by which a request reached the bucket.
    #[serde(skip)]
    pub via: Option<String>,
}

impl Stored for Bucket {}

/// What `ListBuckets` tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnedBucket {
    pub region: Region,
    pub created: Timestamp,
}

impl Stored for OwnedBucket {}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    /// It was never switched on.
    #[default]
    Never,
    Enabled,
    Suspended,
}

/// Who owns objects that other accounts put.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    #[default]
    BucketOwnerEnforced,
    BucketOwnerPreferred,
    ObjectWriter,
}

impl Ownership {
    pub fn parse(text: &str) -> Option<Ownership> {
        match text {
            "BucketOwnerEnforced" => Some(Ownership::BucketOwnerEnforced),
            "BucketOwnerPreferred" => Some(Ownership::BucketOwnerPreferred),
            "ObjectWriter" => Some(Ownership::ObjectWriter),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Ownership::BucketOwnerEnforced => "BucketOwnerEnforced",
            Ownership::BucketOwnerPreferred => "BucketOwnerPreferred",
            Ownership::ObjectWriter => "ObjectWriter",
        }
    }
}

/// Configurations of a bucket, each a bit of `Bucket::configured`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Configured {
    Policy = 0,
    Acl = 1,
    Cors = 2,
    Website = 3,
    Lifecycle = 4,
    Replication = 5,
    Notification = 6,
    Logging = 7,
    Inventory = 8,
    Analytics = 9,
    Metrics = 10,
    IntelligentTiering = 11,
    Tagging = 12,
    Encryption = 13,
    Accelerate = 14,
    RequestPayment = 15,
    PublicAccessBlock = 16,
    /// The default retention of object lock.
    ObjectLock = 17,
}

impl Bucket {
    pub fn has(&self, what: Configured) -> bool {
        self.configured & (1 << what as u8) != 0
    }

    pub fn set(&mut self, what: Configured, is_there: bool) {
        if is_there {
            self.configured |= 1 << what as u8;
        } else {
            self.configured &= !(1 << what as u8);
        }
    }

    /// The bucket's ARN.
    pub fn arn(&self) -> String {
        format!("arn:{}:s3:::{}", self.region.partition(), self.name)
    }

    /// The ARN of an object in it.
    pub fn object_arn(&self, key: &str) -> String {
        ["arn:", self.region.partition(), ":s3:::", &self.name, "/", key].concat()
    }

    pub async fn find(reader: &impl pileus_store::Reader, name: &str) -> Result<Option<Bucket>, StoreError> {
        match BUCKETS.get(reader, &name).await? {
            None if access_point::may_be(name) => access_point::bucket(reader, name).await,
            found => Ok(found),
        }
    }

    /// # Errors
    /// `NoSuchBucket`.
    pub async fn load(reader: &impl pileus_store::Reader, name: &str) -> Result<Bucket, S3Error> {
        let found = Bucket::find(reader, name).await?;
        found.ok_or_else(|| S3Error::NoSuchBucket { bucket: name.to_owned() })
    }

    /// As it is changed: tracked, so that the change is of what was read.
    pub fn store(&self, txn: &Txn) -> Result<(), StoreError> {
        BUCKETS.put(txn, &self.name, self)
    }
}

/// `CreateBucket`
pub async fn create_bucket(cx: &Cx, input: CreateBucketRequest) -> Result<CreateBucketOutput, S3Error> {
    let name = input.bucket.as_deref().unwrap_or_default();
    if !name::is_valid(name) {
        return Err(S3Error::InvalidBucketName { bucket: name.to_owned() });
    }
    let configuration = input.create_bucket_configuration.as_ref();
    if configuration.is_some_and(|it| it.location.is_some() || it.bucket.is_some()) {
        return Err(S3Error::lacking("directory buckets"));
    }
    if input.bucket_namespace.as_deref().is_some_and(|namespace| namespace != "global") {
        return Err(S3Error::lacking("x-amz-bucket-namespace"));
    }
    let constraint = configuration.and_then(|it| it.location_constraint.as_deref());
    let region = location(cx.region(), constraint)?;
    let ownership = match input.object_ownership.as_deref() {
        None => Ownership::default(),
        Some(text) => Ownership::parse(text).ok_or_else(|| {
            S3Error::argument(
                "x-amz-object-ownership",
                text,
                "Invalid x-amz-object-ownership header: ".to_owned() + text,
            )
        })?,
    };
    if ownership == Ownership::BucketOwnerEnforced && sets_acl(&input) {
        return Err(S3Error::refused(
            "InvalidBucketAclWithObjectOwnership",
            400,
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        ));
    }
    let id = cx.store().sequence("s3/bucket", 1).await?.start;
    let (input, region) = (&input, &region);
    cx.transact(|txn| async move {
        let name = input.bucket.as_deref().unwrap_or_default();
        if let Some(found) = Bucket::find(&txn, name).await? {
            return again(cx, &found);
        }
        check_quota(cx, &txn).await?;
        let mut bucket = Bucket {
            id,
            name: name.to_owned(),
            owner: cx.account(),
            region: region.clone(),
            created: cx.now(),
            has_object_lock: input.object_lock_enabled_for_bucket == Some(true),
            versioning: match input.object_lock_enabled_for_bucket {
                Some(true) => Versioning::Enabled,
                _ => Versioning::Never,
            },
            has_mfa_delete: false,
            ownership,
            configured: 0,
            via: None,
        };
        effects::bucket_created(cx, &txn, &mut bucket, input).await?;
        bucket.store(&txn)?;
        let owned = OwnedBucket { region: bucket.region, created: bucket.created };
        OWNED.put(&txn, &(bucket.owner, name), &owned).map_err(S3Error::from)
    })
    .await?;
    let name = input.bucket.as_deref().unwrap_or_default();
    Ok(CreateBucketOutput {
        location: Some(match region.as_str() {
            "us-east-1" => format!("/{name}"),
            _ => format!("http://{name}.s3.amazonaws.com/"),
        }),
        bucket_arn: Some(format!("arn:{}:s3:::{name}", region.partition())),
    })
}

/// The bucket is there already. In us-east-1 its owner may make it again, and nothing changes.
fn again(cx: &Cx, found: &Bucket) -> Result<(), S3Error> {
    let bucket = found.name.clone();
    match found.owner == cx.account() {
        true if found.region == Region::us_east_1() && *cx.region() == found.region => Ok(()),
        true => Err(S3Error::BucketAlreadyOwnedByYou { bucket }),
        false => Err(S3Error::BucketAlreadyExists { bucket }),
    }
}

async fn check_quota(cx: &Cx, txn: &Txn) -> Result<(), S3Error> {
    if cx.limits() != LimitsProfile::Aws {
        return Ok(());
    }
    let mut range = OWNED.under(&(cx.account(),));
    let mut count = 0;
    while count < MAX_BUCKETS {
        let page = OWNED.scan(&txn.untracked(), &range, 1_000).await?;
        count += page.rows.len();
        match page.rows.last() {
            Some((last, _)) if page.more => range = range.after(&OWNED.key(last)),
            _ => return Ok(()),
        }
    }
    Err(S3Error::refused("TooManyBuckets", 400, "You have attempted to create more buckets than allowed"))
}

fn sets_acl(input: &CreateBucketRequest) -> bool {
    let grants = [
        &input.grant_full_control,
        &input.grant_read,
        &input.grant_read_acp,
        &input.grant_write,
        &input.grant_write_acp,
    ];
    input.acl.as_deref().is_some_and(|acl| acl != "private") || grants.iter().any(|grant| grant.is_some())
}

/// Where a new bucket lies: where the request was sent, unless that is us-east-1, from which buckets are made anywhere.
///
/// Source: Amazon S3 API Reference, "CreateBucket", "Error responses". Recorded: the sentences.
fn location(sent_to: &Region, constraint: Option<&str>) -> Result<Region, S3Error> {
    let illegal = |what: &str| {
        S3Error::refused(
            "IllegalLocationConstraintException",
            400,
            format!(
                "The {what} location constraint is incompatible for the region specific endpoint this request was sent to."
            ),
        )
    };
    let invalid = |text: &str| {
        S3Error::refused("InvalidLocationConstraint", 400, "The specified location-constraint is not valid")
            .with("LocationConstraint", text)
    };
    let is_east = *sent_to == Region::us_east_1();
    match constraint.filter(|text| !text.is_empty()) {
        None if is_east => Ok(Region::us_east_1()),
        None => Err(illegal("unspecified")),
        Some("us-east-1") if is_east => Err(invalid("us-east-1")),
        Some(text) => {
            let region = Region::parse(if text == "EU" { "eu-west-1" } else { text });
            let region = region.filter(|region| is_region(region.as_str())).ok_or_else(|| invalid(text))?;
            if is_east || region == *sent_to { Ok(region) } else { Err(illegal(text)) }
        }
    }
}

/// Whether the text has the form of AWS's region codes: `ap-northeast-2`, `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match parts.as_slice() {
        [area, direction, number] => is_word(area) && is_word(direction) && is_number(number),
        [area, part, direction, number] => {
            is_word(area) && is_word(part) && is_word(direction) && is_number(number)
        }
        _ => false,
    }
}

/// `HeadBucket`
pub async fn head_bucket(cx: &Cx, input: HeadBucketRequest) -> Result<HeadBucketOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    Ok(HeadBucketOutput {
        bucket_arn: Some(bucket.arn()),
        bucket_region: Some(bucket.region.as_str().to_owned()),
        access_point_alias: Some(false),
        ..HeadBucketOutput::default()
    })
}

/// `GetBucketLocation`: nothing for us-east-1.
pub async fn get_bucket_location(
    cx: &Cx,
    input: GetBucketLocationRequest,
) -> Result<GetBucketLocationOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let constraint = (bucket.region != Region::us_east_1()).then(|| bucket.region.as_str().to_owned());
    Ok(GetBucketLocationOutput { location_constraint: constraint })
}

/// `ListBuckets`: those of the caller's account, by name; all in one page unless `max-buckets` says otherwise.
pub async fn list_buckets(cx: &Cx, input: ListBucketsRequest) -> Result<ListBucketsOutput, S3Error> {
    let limit = match input.max_buckets {
        None => usize::MAX,
        Some(limit @ 1..=10_000) => limit as usize,
        Some(limit) => {
            let message = "Argument max-buckets must be an integer between 1 and 10000";
            return Err(S3Error::argument("max-buckets", limit.to_string(), message));
        }
    };
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let start = OWNED.builder().key(&(cx.account(),)).str_prefix(prefix).build();
    let mut range = KeyRange::prefix(start);
    if let Some(token) = input.continuation_token.as_deref() {
        let last = TOKEN.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let last = last.ok_or_else(|| {
            S3Error::argument("continuation-token", token, "The continuation token provided is incorrect")
        })?;
        range = range.after(&OWNED.key(&(cx.account(), last)));
    }
    let mut output = ListBucketsOutput {
        owner: Some(owner::owner(cx.account())),
        prefix: input.prefix.clone(),
        buckets: Some(Vec::new()),
        ..ListBucketsOutput::default()
    };
    let listed = output.buckets.get_or_insert_default();
    loop {
        let page = OWNED.scan(cx.store(), &range, 1_000).await?;
        for ((account, name), owned) in page.rows {
            range = range.after(&OWNED.key(&(account, name.as_str())));
            if input.bucket_region.as_deref().is_some_and(|region| region != owned.region.as_str()) {
                continue;
            }
            if listed.len() == limit {
                let last = listed.last().and_then(|bucket| bucket.name.as_deref()).unwrap_or_default();
                output.continuation_token = Some(TOKEN.encode(last));
                return Ok(output);
            }
            listed.push(ListedBucket {
                bucket_arn: None,
                bucket_region: Some(owned.region.as_str().to_owned()),
                creation_date: Some(owned.created),
                name: Some(name),
            });
        }
        if !page.more {
            return Ok(output);
        }
    }
}

/// `DeleteBucket`: an empty one; uploads in progress go with it.
pub async fn delete_bucket(cx: &Cx, input: DeleteBucketRequest) -> Result<Unit, S3Error> {
    let input = &input;
    cx.transact(|txn| async move {
        let name = input.bucket.as_deref().unwrap_or_default();
        let bucket = Bucket::load(&txn, name).await?;
        let current = CURRENT.scan(&txn, &CURRENT.under(&(bucket.id,)), 1).await?;
        let older = OLDER.scan(&txn, &OLDER.under(&(bucket.id,)), 1).await?;
        if !older.rows.is_empty() {
            return Err(S3Error::refused(
                "BucketNotEmpty",
                409,
                "The bucket you tried to delete is not empty. You must delete all versions in the bucket.",
            )
            .with("BucketName", name));
        }
        if !current.rows.is_empty() {
            return Err(S3Error::BucketNotEmpty { bucket: name.to_owned() });
        }
        if !UPLOADS.scan(&txn, &UPLOADS.under(&(bucket.id,)), 1).await?.rows.is_empty() {
            let (id, payload) = (bucket.id.to_string(), bucket.id.to_be_bytes());
            let (kind, due) = (REMOVE_UPLOADS, cx.now());
            WORK.add(&txn, &NewJob { kind, id: &id, due, destination: "", payload: &payload })?;
        }
        effects::bucket_deleted(&txn, &bucket).await?;
        BUCKETS.delete(&txn, &name);
        OWNED.delete(&txn, &(bucket.owner, name));
        Ok(Unit)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_bucket_is_made_follows_from_where_it_was_asked_for() {
        let cases = [
            ("us-east-1", None, Ok("us-east-1")),
            ("us-east-1", Some("eu-west-1"), Ok("eu-west-1")),
            ("us-east-1", Some("EU"), Ok("eu-west-1")),
            ("us-east-1", Some("us-east-1"), Err("InvalidLocationConstraint")),
            ("us-east-1", Some("nowhere"), Err("InvalidLocationConstraint")),
            ("eu-west-1", Some("eu-west-1"), Ok("eu-west-1")),
            ("eu-west-1", None, Err("IllegalLocationConstraintException")),
            ("eu-west-1", Some("us-west-2"), Err("IllegalLocationConstraintException")),
        ];
        for (sent_to, constraint, expected) in cases {
            let got = location(&Region::parse(sent_to).unwrap(), constraint);
            let got = got.as_ref().map(Region::as_str).map_err(S3Error::code);
            assert_eq!(got, expected, "{sent_to} {constraint:?}");
        }
    }

    #[test]
    fn configurations_are_bits() {
        let mut bucket = Bucket {
            id: 1,
            name: "b".into(),
            owner: AccountId::DEFAULT,
            region: Region::us_east_1(),
            created: Timestamp::from_secs(0),
            versioning: Versioning::Never,
            has_mfa_delete: false,
            has_object_lock: false,
            ownership: Ownership::default(),
            configured: 0,
            via: None,
        };
        bucket.set(Configured::Policy, true);
        bucket.set(Configured::ObjectLock, true);
        bucket.set(Configured::Policy, false);
        assert!(!bucket.has(Configured::Policy) && bucket.has(Configured::ObjectLock));
    }
}
