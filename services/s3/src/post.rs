//! `PostObject`: uploads by a browser's form.
//!
//! Source: Amazon S3 API Reference, "POST Object", "Authenticating Requests: Browser-Based Uploads Using POST", "POST Policy".

pub mod form;

use pileus_api_s3::{PostObjectOutput, PostObjectRequest, PostResponse, Tagging};
use pileus_platform::{Cx, Fault};
use pileus_wire::codec::{Select, xml};
use pileus_wire::post_policy::{self, Policy, PolicyError, SignedPolicy, field};
use pileus_wire::sigv4::{AuthError, Rules, uri_encode};
use pileus_wire::value::Map;

use crate::access::{self, Making};
use crate::acl::Headers as AclHeaders;
use crate::bucket::Bucket;
use crate::checksum::Headers as ChecksumHeaders;
use crate::condition::WriteConditions;
use crate::data::{self, MAX_PUT, Receiver};
use crate::effects::Event;
use crate::encryption::Wrapping;
use crate::error::S3Error;
use crate::object::new::{NewObject, key};
use crate::object::put::{DEFAULT_CHECKSUM, Put, shown_version};
use crate::object::tagging;
use crate::version::SystemMetadata;
use form::Form;

/// Who signed the form's policy.
enum Claim {
    Nobody,
    V4(SignedPolicy),
    V2,
}

fn refused(error: &PolicyError) -> S3Error {
    let description = error.describe();
    let fault = Fault::framework(description.code, description.status, description.message);
    description.extras.into_iter().fold(fault, |fault, (name, value)| fault.with_extra(name, value)).into()
}

/// `PostObject`
pub async fn post_object(cx: &Cx, mut input: PostObjectRequest) -> Result<PostObjectOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let boundary = form::boundary(input.content_type.as_deref())?;
    let mut form = Form::new(std::mem::take(&mut input.body), &boundary);
    let mut fields = form.fields().await?;
    let file_name = form.file_name().to_owned();
    if field(&fields, "bucket").is_none() {
        fields.push(("bucket".to_owned(), bucket.name.clone()));
    }
    for (name, value) in &mut fields {
        if name.eq_ignore_ascii_case("key") {
            *value = post_policy::expand_filename(value, &file_name);
        }
    }
    let given = |name: &str| field(&fields, name);
    let Some(asked_key) = given("key") else {
        return Err(refused(&PolicyError::MissingField { name: "key" }));
    };
    let key = key(Some(asked_key))?;
    let claim = match post_policy::claim(&fields) {
        Err(PolicyError::Auth(AuthError::SigV2)) => Claim::V2,
        claim => claim.map_err(|error| refused(&error))?.map_or(Claim::Nobody, Claim::V4),
    };
    let mut sizes = (0, u64::MAX);
    let mut policy = None;
    let signer = match &claim {
        Claim::Nobody => cx.clone(),
        Claim::V4(signed) => {
            let rules = Rules::s3().in_region(bucket.region.as_str());
            signed.check_scope(&rules).map_err(|error| refused(&error))?;
            cx.as_signer_of(signed).await?
        }
        Claim::V2 => {
            let needed = |name: &'static str| given(name).ok_or(refused(&PolicyError::MissingField { name }));
            let (key, signature) = (needed("AWSAccessKeyId")?, needed("signature")?);
            let document = needed("policy")?;
            cx.as_signer_of_v2(key, document, signature, given("x-amz-security-token")).await?
        }
    };
    if let Some(document) = given("policy") {
        let read = Policy::parse(document).map_err(|error| refused(&error))?;
        let conditioned: Vec<_> =
            fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("bucket")).cloned().collect();
        read.evaluate(&conditioned, &bucket.name, cx.now()).map_err(|error| refused(&error))?;
        sizes = read.size_range();
        policy = Some(read);
    }
    let cx = &signer.with_region(bucket.region.clone());
    let acl = AclHeaders { canned: given("acl"), ..AclHeaders::default() };
    let making = Making {
        acl,
        storage_class: given("x-amz-storage-class"),
        server_side_encryption: given("x-amz-server-side-encryption"),
        ..Making::default()
    };
    for access in making.needed(cx, &bucket, key) {
        cx.authorise("s3", &access).await?;
    }
    let tags = match given("tagging") {
        Some(document) => {
            cx.authorise("s3", &access::on_object("s3:PutObjectTagging", &bucket, key)).await?;
            tags_of(document)?
        }
        None => Vec::new(),
    };
    let wrapping = Wrapping::wanted(
        given("x-amz-server-side-encryption"),
        given("x-amz-server-side-encryption-aws-kms-key-id"),
        [
            given("x-amz-server-side-encryption-customer-algorithm"),
            given("x-amz-server-side-encryption-customer-key"),
            given("x-amz-server-side-encryption-customer-key-MD5"),
        ],
    )?;
    let wanted = ChecksumHeaders {
        crc32: given("x-amz-checksum-crc32"),
        crc32c: given("x-amz-checksum-crc32c"),
        crc64nvme: given("x-amz-checksum-crc64nvme"),
        sha1: given("x-amz-checksum-sha1"),
        sha256: given("x-amz-checksum-sha256"),
        unknown: None,
        algorithm: given("x-amz-checksum-algorithm"),
    }
    .wanted()?;
    let metadata = Map(fields.iter().filter_map(of_metadata).collect());
    let new = NewObject {
        headers: SystemMetadata {
            content_type: given("content-type").map(str::to_owned),
            cache_control: given("cache-control").map(str::to_owned),
            content_disposition: given("content-disposition").map(str::to_owned),
            content_encoding: given("content-encoding").map(str::to_owned),
            content_language: None,
            expires: given("expires").map(str::to_owned),
            website_redirect_location: given("x-amz-website-redirect-location").map(str::to_owned),
        },
        metadata: Some(&metadata),
        storage_class: given("x-amz-storage-class"),
        acl,
        ..NewObject::default()
    };
    let mut version = new.version(cx, &bucket).await?;
    version.tags = tags;
    let limit = sizes.1.min(MAX_PUT);
    let algorithm = wanted.as_ref().map_or(DEFAULT_CHECKSUM, |wanted| wanted.algorithm);
    let mut receiver = Receiver::new(cx, algorithm);
    while let Some(piece) = form.next().await? {
        if receiver.size + piece.len() as u64 > limit {
            return Err(data::too_large(receiver.size + piece.len() as u64, limit));
        }
        receiver.take(cx, piece).await?;
    }
    if let Some(policy) = &policy {
        policy.check_size(receiver.size).map_err(|error| refused(&error))?;
    }
    let incoming = receiver.finish(cx, &wrapping).await?;
    if let Some(Err(error)) = wanted.as_ref().map(|wanted| wanted.check(&incoming.checksum)) {
        incoming.discard(cx).await;
        return Err(error);
    }
    let conditions = WriteConditions::default();
    let put = Put { bucket: &bucket.name, key, conditions, event: Event::CreatedPost };
    let (bucket, version) = put.commit(cx, incoming, version, &wrapping).await?;
    let encoded = key.split('/').map(|part| uri_encode(part.as_bytes())).collect::<Vec<_>>().join("/");
    let mut output = PostObjectOutput {
        status: Some(204),
        e_tag: Some(version.quoted_etag()),
        location: Some(format!("{}/{}/{encoded}", cx.endpoint(), bucket.name)),
        version_id: shown_version(&bucket, &version),
        server_side_encryption: version.encryption.server_side(),
        ..PostObjectOutput::default()
    };
    if let Some(target) = given("success_action_redirect").or(given("redirect")).filter(|it| is_url(it)) {
        let joint = if target.contains('?') { '&' } else { '?' };
        let (bucket, key) = (uri_encode(bucket.name.as_bytes()), uri_encode(key.as_bytes()));
        let etag = uri_encode(version.quoted_etag().as_bytes());
        output.status = Some(303);
        output.location = Some(format!("{target}{joint}bucket={bucket}&key={key}&etag={etag}"));
        return Ok(output);
    }
    match given("success_action_status") {
        Some("200") => output.status = Some(200),
        Some("201") => {
            output.status = Some(201);
            output.body = Some(PostResponse {
                location: output.location.clone(),
                bucket: Some(bucket.name.clone()),
                key: Some(key.to_owned()),
                e_tag: output.e_tag.clone(),
            });
        }
        _ => {}
    }
    Ok(output)
}

fn is_url(text: &str) -> bool {
    ["http://", "https://"].iter().any(|start| text.starts_with(start))
}

/// The fields of user metadata.
fn of_metadata((name, value): &(String, String)) -> Option<(String, String)> {
    let name = name.to_ascii_lowercase();
    name.strip_prefix("x-amz-meta-").map(|name| (name.to_owned(), value.clone()))
}

fn tags_of(document: &str) -> Result<Vec<(String, String)>, S3Error> {
    let shape = pileus_models::service("s3").and_then(|service| service.shape("Tagging"));
    let shape = shape.ok_or_else(|| S3Error::Internal("the model has no shape Tagging".to_owned()))?;
    let mut tagging = Tagging::default();
    xml::decode(shape, Select::All, document.as_bytes(), &mut tagging)?;
    tagging::read(Some(&tagging))
}
