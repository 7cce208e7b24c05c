//! `GetBucketAcl`, `PutBucketAcl`, and the rules that both kinds of lists share.
//!
//! Source: Amazon S3 API Reference, "PutBucketAcl", "GetBucketAcl".

use pileus_api_s3 as api;
use pileus_platform::Cx;
use pileus_store::Reader;
use pileus_wire::value::Unit;

use super::public_access::{self, Block};
use super::{change, stored};
use crate::acl::{self, Headers, Of, Refusal};
use crate::bucket::{Bucket, Configured, Ownership};
use crate::error::S3Error;
use crate::owner::canonical_id;

/// A refusal as callers see it.
pub fn refused(refusal: Refusal) -> S3Error {
    match refusal.argument {
        Some((name, value)) if refusal.code == "InvalidArgument" => {
            S3Error::argument(name, value, refusal.message)
        }
        _ if refusal.code == "AccessDenied" => S3Error::AccessDenied,
        _ => S3Error::refused(refusal.code, 400, refusal.message),
    }
}

/// What a bucket whose owner owns everything says to lists.
fn not_supported() -> S3Error {
    S3Error::refused("AccessControlListNotSupported", 400, "The bucket does not allow ACLs")
}

/// The list that a request sets on a bucket or an object; `None` where lists are off and the request says no more than that.
/// `owner` is the canonical id of the object's owner.
///
/// # Errors
/// `AccessControlListNotSupported`; `AccessDenied` for a public list where those are blocked; what is wrong with the list.
pub async fn requested(
    reader: &impl Reader,
    bucket: &Bucket,
    of: Of,
    owner: &str,
    headers: Headers<'_>,
    body: Option<api::AccessControlPolicy>,
) -> Result<Option<api::AccessControlPolicy>, S3Error> {
    let bucket_owner = canonical_id(bucket.owner);
    if bucket.ownership == Ownership::BucketOwnerEnforced {
        let says_nothing = match &body {
            Some(list) => *list == acl::private(&bucket_owner),
            None => headers.says_nothing(&bucket_owner),
        };
        return if says_nothing { Ok(None) } else { Err(not_supported()) };
    }
    let list = match body {
        Some(_) if !headers.is_empty() => {
            return Err(S3Error::refused("UnexpectedContent", 400, "This request does not support content"));
        }
        Some(list) => {
            acl::check(&list, of, owner).map_err(refused)?;
            list
        }
        None if headers.is_empty() => {
            let message = "Your request was missing a required header";
            return Err(S3Error::refused("MissingSecurityHeader", 400, message)
                .with("MissingHeaderName", "x-amz-acl"));
        }
        None => headers.read(of, owner, &bucket_owner).map_err(refused)?,
    };
    if acl::is_public(&list) && public_access::effective(reader, bucket).await?.block_public_acls {
        return Err(S3Error::AccessDenied);
    }
    Ok(Some(list))
}

/// `PutBucketAcl`
pub async fn put_bucket_acl(cx: &Cx, input: api::PutBucketAclRequest) -> Result<Unit, S3Error> {
    let input = &input;
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        let headers = Headers {
            canned: input.acl.as_deref(),
            full_control: input.grant_full_control.as_deref(),
            read: input.grant_read.as_deref(),
            read_acp: input.grant_read_acp.as_deref(),
            write: input.grant_write.as_deref(),
            write_acp: input.grant_write_acp.as_deref(),
        };
        let owner = canonical_id(bucket.owner);
        let body = input.access_control_policy.clone();
        if let Some(list) = requested(&txn, &bucket, Of::Bucket, &owner, headers, body).await? {
            stored::put(&txn, &mut bucket, "", &list)?;
            bucket.store(&txn)?;
        }
        Ok(())
    })
    .await
}

/// `GetBucketAcl`
pub async fn get_bucket_acl(
    cx: &Cx,
    input: api::GetBucketAclRequest,
) -> Result<api::GetBucketAclOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let list = of_bucket(cx.store(), &bucket).await?;
    Ok(api::GetBucketAclOutput { owner: list.owner, grants: list.grants })
}

pub async fn of_bucket(reader: &impl Reader, bucket: &Bucket) -> Result<api::AccessControlPolicy, S3Error> {
    let private = acl::private(&canonical_id(bucket.owner));
    if bucket.ownership == Ownership::BucketOwnerEnforced {
        return Ok(private);
    }
    Ok(stored::find(reader, bucket).await?.unwrap_or(private))
}

/// What a new bucket begins with: its block of public access, and the list that the request named.
pub fn of_new_bucket(
    txn: &pileus_platform::store::Txn,
    bucket: &mut Bucket,
    request: &api::CreateBucketRequest,
) -> Result<(), S3Error> {
    stored::put(txn, bucket, "", &Block::ALL.show())?;
    let headers = Headers {
        canned: request.acl.as_deref(),
        full_control: request.grant_full_control.as_deref(),
        read: request.grant_read.as_deref(),
        read_acp: request.grant_read_acp.as_deref(),
        write: request.grant_write.as_deref(),
        write_acp: request.grant_write_acp.as_deref(),
    };
    if headers.is_empty() || bucket.ownership == Ownership::BucketOwnerEnforced {
        return Ok(());
    }
    let owner = canonical_id(bucket.owner);
    let list = headers.read(Of::Bucket, &owner, &owner).map_err(refused)?;
    if acl::is_public(&list) {
        return Err(S3Error::refused(
            "InvalidBucketAclWithBlockPublicAccessError",
            400,
            "Bucket cannot have public ACLs set with BlockPublicAccess enabled",
        ));
    }
    stored::put(txn, bucket, "", &list)?;
    debug_assert!(bucket.has(Configured::Acl), "a list that was put is there");
    Ok(())
}

/// The list of an object as its row keeps it.
pub fn of_object(kept: Option<&str>, owner: &str) -> Result<api::AccessControlPolicy, S3Error> {
    let Some(text) = kept else { return Ok(acl::private(owner)) };
    let mut list = api::AccessControlPolicy::default();
    stored::from_json("AccessControlPolicy", text, &mut list)?;
    Ok(list)
}

/// As an object's row keeps a list.
pub fn to_object(list: &api::AccessControlPolicy) -> Result<String, S3Error> {
    stored::to_json("AccessControlPolicy", list)
}
