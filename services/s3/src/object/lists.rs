//! `PutObjectAcl`, `GetObjectAcl`
//!
//! Source: Amazon S3 API Reference, "PutObjectAcl", "GetObjectAcl".

use pileus_api_s3::{GetObjectAclOutput, GetObjectAclRequest, PutObjectAclOutput, PutObjectAclRequest};
use pileus_platform::Cx;

use crate::acl::{Headers, Of};
use crate::bucket::Bucket;
use crate::config;
use crate::effects::Event;
use crate::error::S3Error;
use crate::object::change::{Named, change};
use crate::object::get;
use crate::object::new::key;
use crate::owner::canonical_id;

/// `PutObjectAcl`
pub async fn put_object_acl(cx: &Cx, input: PutObjectAclRequest) -> Result<PutObjectAclOutput, S3Error> {
    let named = Named::of(input.bucket.as_deref(), input.key.as_deref(), input.version_id.as_deref())?;
    let bucket = Bucket::load(cx.store(), named.bucket).await?;
    let version = get::load(cx, &bucket, named.key, named.version, "PUT").await?;
    let headers = Headers {
        canned: input.acl.as_deref(),
        full_control: input.grant_full_control.as_deref(),
        read: input.grant_read.as_deref(),
        read_acp: input.grant_read_acp.as_deref(),
        write: input.grant_write.as_deref(),
        write_acp: input.grant_write_acp.as_deref(),
    };
    let owner = canonical_id(version.owner);
    let body = input.access_control_policy.clone();
    let list = config::acl::requested(cx.store(), &bucket, Of::Object, &owner, headers, body).await?;
    let kept = &list.as_ref().map(config::acl::to_object).transpose()?;
    change(cx, &named, &[Event::AclPut], |_, version| {
        version.acl.clone_from(kept);
        Ok(())
    })
    .await?;
    Ok(PutObjectAclOutput::default())
}

/// `GetObjectAcl`
pub async fn get_object_acl(cx: &Cx, input: GetObjectAclRequest) -> Result<GetObjectAclOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let key = key(input.key.as_deref())?;
    let version = get::load(cx, &bucket, key, input.version_id.as_deref(), "GET").await?;
    let list = config::acl::of_object(version.acl.as_deref(), &canonical_id(version.owner))?;
    Ok(GetObjectAclOutput { owner: list.owner, grants: list.grants, request_charged: None })
}
