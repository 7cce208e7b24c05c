//! Bucket policies: `PutBucketPolicy`, `GetBucketPolicy`, `DeleteBucketPolicy`, `GetBucketPolicyStatus`, and what holds for a bucket's
//! ARN when a request is judged: the policy, and what access control lists say.
//!
//! Source: Amazon S3 User Guide, "Bucket policies for Amazon S3", "The meaning of \"public\""; Amazon S3 API Reference,
//! "PutBucketPolicy". Recorded: the sentences.

pub mod document;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use pileus_api_s3 as api;
use pileus_core::AccountId;
use pileus_iam::Policy;
use pileus_platform::{CallerKind, Cx, Fault, ResourcePolicy};
use pileus_wire::value::Unit;
use serde_json::{Value, json};

use crate::acl::{self, Asker, Of};
use crate::bucket::{Bucket, Configured, Ownership};
use crate::config::{acl as lists, change, missing, public_access, stored};
use crate::control::access_point;
use crate::error::S3Error;
use crate::keys::CURRENT;
use crate::known;
use crate::owner::canonical_id;

/// `PutBucketPolicy`
pub async fn put_bucket_policy(cx: &Cx, input: api::PutBucketPolicyRequest) -> Result<Unit, S3Error> {
    let text = &input.policy.unwrap_or_default();
    let bucket = input.bucket.as_deref();
    change(cx, bucket, |txn, mut bucket| async move {
        let is_public = document::check(text, &bucket.arn())
            .map_err(|message| S3Error::refused("MalformedPolicy", 400, message))?;
        if is_public && public_access::effective(&txn, &bucket).await?.block_public_policy {
            return Err(S3Error::refused(
                "AccessDenied",
                403,
                format!(
                    "User: {} is not authorized to perform: s3:PutBucketPolicy on resource: \"{}\" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.",
                    cx.caller().arn,
                    bucket.arn()
                ),
            ));
        }
        stored::put_text(&txn, &mut bucket, Configured::Policy, text)?;
        Ok(bucket.store(&txn)?)
    })
    .await
}

async fn text_of(cx: &Cx, bucket: &Bucket) -> Result<String, S3Error> {
    let found = stored::find_text(cx.store(), bucket, Configured::Policy).await?;
    found.ok_or_else(|| missing("NoSuchBucketPolicy", "The bucket policy does not exist", &bucket.name))
}

/// `GetBucketPolicy`
pub async fn get_bucket_policy(
    cx: &Cx,
    input: api::GetBucketPolicyRequest,
) -> Result<api::GetBucketPolicyOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    Ok(api::GetBucketPolicyOutput { policy: Some(text_of(cx, &bucket).await?) })
}

/// `GetBucketPolicyStatus`
pub async fn get_bucket_policy_status(
    cx: &Cx,
    input: api::GetBucketPolicyStatusRequest,
) -> Result<api::GetBucketPolicyStatusOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let is_public = document::is_public(&text_of(cx, &bucket).await?);
    Ok(api::GetBucketPolicyStatusOutput {
        policy_status: Some(api::PolicyStatus { is_public: Some(is_public) }),
    })
}

/// `DeleteBucketPolicy`
pub async fn delete_bucket_policy(cx: &Cx, input: api::DeleteBucketPolicyRequest) -> Result<Unit, S3Error> {
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        stored::delete(&txn, &mut bucket, Configured::Policy);
        Ok(bucket.store(&txn)?)
    })
    .await
}

/// Policies that were compiled, by their text.
#[derive(Default)]
pub struct Compiled(RwLock<HashMap<String, Arc<Policy>>>);

/// Kept until there are too many; then all are forgotten, which only costs time.
const MOST_COMPILED: usize = 256;

impl Compiled {
    pub fn get(&self, text: &str) -> Result<Arc<Policy>, S3Error> {
        if let Some(policy) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Ok(policy.clone());
        }
        let policy =
            Policy::parse(text).map_err(|error| S3Error::Internal(format!("a stored policy: {error}")))?;
        let policy = Arc::new(policy);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_COMPILED {
            all.clear();
        }
        all.insert(text.to_owned(), policy.clone());
        Ok(policy)
    }
}

/// The policy that holds for a bucket, an object or an access point by its ARN.
pub async fn resource_policy(cx: &Cx, arn: &str) -> Result<Option<ResourcePolicy>, Fault> {
    let Some(text) = effective(cx, arn).await? else { return Ok(None) };
    let policy = cx.state::<Compiled>().get(&text)?;
    Ok(Some(ResourcePolicy { name: "bucket policy".into(), policy, must_allow: false }))
}

/// Bucket and key in `arn:aws:s3:::bucket/key`.
fn parts(arn: &str) -> Option<(&str, Option<&str>)> {
    let rest = arn.splitn(6, ':').nth(5)?;
    Some(match rest.split_once('/') {
        Some((bucket, key)) => (bucket, Some(key)),
        None => (rest, None),
    })
}

async fn effective(cx: &Cx, arn: &str) -> Result<Option<String>, S3Error> {
    if let Some(policy) = access_point::policy_of(cx, arn).await? {
        return Ok(policy);
    }
    let Some((name, key)) = parts(arn) else { return Ok(None) };
    let Some(bucket) = known::find(cx, name).await? else { return Ok(None) };
    let mut policy = stored::find_text(cx.store(), &bucket, Configured::Policy).await?;
    if policy.is_some() && is_restricted(cx, &bucket, policy.as_deref()).await? {
        policy = None;
    }
    let given = match bucket.ownership {
        Ownership::BucketOwnerEnforced => vec![],
        _ => from_lists(cx, &bucket, key).await?,
    };
    if given.is_empty() {
        return Ok(policy);
    }
    Ok(Some(merged(policy.as_deref(), given)))
}

/// Whether a public policy does not hold for this caller: `RestrictPublicBuckets` leaves it to the bucket's account and to services.
async fn is_restricted(cx: &Cx, bucket: &Bucket, policy: Option<&str>) -> Result<bool, S3Error> {
    if !is_stranger(cx, bucket.owner) || !policy.is_some_and(document::is_public) {
        return Ok(false);
    }
    Ok(public_access::effective(cx.store(), bucket).await?.restrict_public_buckets)
}

/// Whether the caller is neither of the owner's account nor a service.
pub fn is_stranger(cx: &Cx, owner: AccountId) -> bool {
    let caller = cx.caller();
    match caller.kind {
        CallerKind::Service { .. } => false,
        CallerKind::Anonymous => true,
        _ => caller.account != owner,
    }
}

/// What the lists of the bucket and of the object give to the caller.
async fn from_lists(cx: &Cx, bucket: &Bucket, key: Option<&str>) -> Result<Vec<Value>, S3Error> {
    let caller = cx.caller();
    let is_anonymous = caller.kind == CallerKind::Anonymous;
    let canonical_id = canonical_id(caller.account);
    let asker = Asker { canonical_id: &canonical_id, account: caller.account.as_str(), is_anonymous };
    let of_bucket = stored::find::<api::AccessControlPolicy>(cx.store(), bucket).await?;
    let of_object = match key {
        Some(key) => CURRENT.get(cx.store(), &(bucket.id, key)).await?,
        None => None,
    };
    let of_object = of_object.and_then(|version| Some((version.acl?, version.owner)));
    if of_bucket.is_none() && of_object.is_none() {
        return Ok(vec![]);
    }
    let ignore = public_access::effective(cx.store(), bucket).await?.ignore_public_acls;
    let mut given = vec![];
    if let Some(list) = of_bucket {
        given.extend(acl::statements(&list, Of::Bucket, &bucket.arn(), asker, ignore));
    }
    if let (Some((kept, owner)), Some(key)) = (of_object, key) {
        let list = lists::of_object(Some(&kept), &crate::owner::canonical_id(owner))?;
        given.extend(acl::statements(&list, Of::Object, &literal(&bucket.object_arn(key)), asker, ignore));
    }
    Ok(given)
}

/// An ARN that a policy takes as it stands: its wildcards and variables are the key's own characters.
fn literal(arn: &str) -> String {
    let mut out = String::with_capacity(arn.len());
    for c in arn.chars() {
        match c {
            '*' => out.push_str("${*}"),
            '?' => out.push_str("${?}"),
            '$' => out.push_str("${$}"),
            other => out.push(other),
        }
    }
    out
}

/// One document of a policy and more statements.
pub fn merged(policy: Option<&str>, more: Vec<Value>) -> String {
    let own = policy.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let mut document = own.unwrap_or_else(|| json!({ "Version": "2012-10-17", "Statement": [] }));
    let statements = match document["Statement"].take() {
        Value::Array(list) => list,
        Value::Null => vec![],
        one => vec![one],
    };
    document["Statement"] = Value::Array(statements.into_iter().chain(more).collect());
    document.to_string()
}
