//! S3: the bucket is in the host or the first segment of the path, the rest of the path is the key, to the last slash.
//!
//! Source: Amazon S3 User Guide, "Virtual hosting of buckets" and "Referencing access points".

use std::borrow::Cow;

use super::rest::{self, Candidate, Matched};
use super::{Clues, HostKind};
use crate::schema::Service;

pub(super) const SERVICE: &str = "s3";
const CONTROL: &str = "s3control";

/// The operation on the service, a bucket or an object.
pub(super) fn find<'a>(service: &'static Service, clues: &Clues<'_, 'a>) -> Option<Matched<'a>> {
    let request = clues.request;
    let path = request.path.strip_prefix('/').unwrap_or(request.path);
    let mut labels = Vec::with_capacity(2);
    let host_bucket = bucket_in_host(&clues.host);
    let first_is_plain = host_bucket.is_some();
    let key = match host_bucket {
        Some(bucket) => {
            labels.push(bucket);
            path
        }
        None if path.is_empty() => "",
        None => {
            let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
            if bucket.is_empty() {
                return None;
            }
            labels.push(Cow::Borrowed(bucket));
            key
        }
    };
    if !key.is_empty() {
        labels.push(Cow::Borrowed(key));
    }
    if let Some(matched) = literal_path(service, clues) {
        return Some(matched);
    }
    let is_express = is_express(clues);
    let candidates = &rest::table(service).by_labels[labels.len()];
    let fits = |candidate: &&Candidate| is_express == (candidate.operation.name == "ListDirectoryBuckets");
    let candidate = match labels.len() {
        0 => rest::best(candidates.iter().filter(fits), request),
        _ => rest::best(candidates, request),
    }?;
    Some(Matched { operation: candidate.operation, names: &candidate.labels, raw: labels, first_is_plain })
}

/// What a request is about, in the words of S3's errors.
pub(super) fn resource(clues: &Clues<'_, '_>) -> &'static str {
    let path = clues.request.path.strip_prefix('/').unwrap_or(clues.request.path);
    let in_host = matches!(clues.host, HostKind::S3Bucket { .. } | HostKind::S3AccessPoint { .. });
    match path.split_once('/') {
        _ if in_host => {
            if path.is_empty() {
                "BUCKET"
            } else {
                "OBJECT"
            }
        }
        _ if path.is_empty() => "SERVICE",
        Some((_, key)) if !key.is_empty() => "OBJECT",
        _ => "BUCKET",
    }
}

/// `POST /WriteGetObjectResponse`: no bucket has such a name.
fn literal_path<'a>(service: &'static Service, clues: &Clues<'_, 'a>) -> Option<Matched<'a>> {
    let is_upper = clues.request.path.as_bytes().get(1).is_some_and(u8::is_ascii_uppercase);
    if !is_upper {
        return None;
    }
    rest::find(service, clues.request, clues.request.path).filter(|matched| matched.raw.is_empty())
}

fn bucket_in_host<'a>(host: &HostKind<'a>) -> Option<Cow<'a, str>> {
    match host {
        HostKind::S3Bucket { bucket, .. } if bucket.bytes().any(|b| b.is_ascii_uppercase()) => {
            Some(Cow::Owned(bucket.to_ascii_lowercase()))
        }
        HostKind::S3Bucket { bucket, .. } => Some(Cow::Borrowed(bucket)),
        HostKind::S3AccessPoint { name, account, region, is_object_lambda } => {
            let service = if *is_object_lambda { "s3-object-lambda" } else { "s3" };
            let region = region.unwrap_or("us-east-1");
            let partition = match region {
                region if region.starts_with("cn-") => "aws-cn",
                region if region.starts_with("us-gov-") => "aws-us-gov",
                _ => "aws",
            };
            Some(Cow::Owned(format!("arn:{partition}:{service}:{region}:{account}:accesspoint/{name}")))
        }
        _ => None,
    }
}

fn is_express(clues: &Clues<'_, '_>) -> bool {
    let by_host = match clues.host {
        HostKind::Endpoint { prefix, .. } => prefix.starts_with("s3express-control"),
        HostKind::S3Bucket { is_express, .. } => is_express,
        _ => false,
    };
    by_host || clues.scope == Some("s3express")
}

/// S3 Control signs as S3 does; its requests say whose account or Outpost they are about, and its paths begin with its version.
pub(super) fn may_be_control(service: &Service, clues: &Clues<'_, '_>) -> bool {
    if service.name != CONTROL {
        return true;
    }
    match clues.host {
        HostKind::S3Control { .. } => true,
        HostKind::S3Bucket { .. } | HostKind::S3AccessPoint { .. } => false,
        _ => {
            let headers = clues.request.headers;
            clues.request.path.starts_with("/v20180820/")
                && (headers.contains_key("x-amz-account-id") || headers.contains_key("x-amz-outpost-id"))
        }
    }
}

/// Whether a request that no signature or host gives to a service may be S3's: an older signature, or a method on a path
/// that a bucket policy may have opened to everyone.
pub(super) fn may_be_anonymous(clues: &Clues<'_, '_>) -> bool {
    let request = clues.request;
    let is_older_signature = request.header("authorization").is_some_and(|text| text.starts_with("AWS "))
        || rest::has_query(request.query, "AWSAccessKeyId", None);
    let is_named_otherwise = clues.target.is_some() || clues.rpc.is_some() || clues.form.action.is_some();
    let has_path = request.path.len() > 1;
    let is_open = match request.method.as_str() {
        "GET" | "HEAD" => true,
        "PUT" | "DELETE" => has_path,
        "POST" => has_path && clues.content_type != "application/x-www-form-urlencoded",
        _ => false,
    };
    is_older_signature || (is_open && !is_named_otherwise)
}
