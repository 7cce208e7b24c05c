//! What S3 does with requests beyond their operations: answers to browsers' cross-origin questions, and lines of access logs.
//!
//! Source: Amazon S3 User Guide, "Using cross-origin resource sharing (CORS)", "How does Amazon S3 evaluate the CORS configuration on
//! a bucket?"; Amazon S3 API Reference, "OPTIONS object".

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, StatusCode};
use pileus_api_s3 as api;
use pileus_platform::{BoxFuture, Edge, Ending, Exchange, Fault, Platform};
use pileus_wire::codec::{self, percent};
use pileus_wire::protocol::{Protocol, Response};
use pileus_wire::route::{HostKind, classify_host};

use crate::bucket::Bucket;
use crate::config::stored;
use crate::cors::{self, Headers, Question};
use crate::error::S3Error;
use crate::logging;

pub struct S3Edge;

/// What a request's address names.
pub struct Named<'a> {
    pub bucket: Cow<'a, str>,
    /// Empty for the bucket itself.
    pub key: Cow<'a, str>,
    /// The host is S3's own, so the answer is as well.
    pub is_s3_host: bool,
}

/// Reads the address of a request to S3; `None` for one that names no bucket.
pub fn named<'a>(platform: &'a Platform, host: &'a str, path: &'a str) -> Option<Named<'a>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let in_path = |is_s3_host| {
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let (bucket, key) = (percent::decode(bucket)?, percent::decode(key)?);
        (!bucket.is_empty()).then_some(Named { bucket, key, is_s3_host })
    };
    match classify_host(&platform.config().hosts, host) {
        HostKind::S3Bucket { bucket, .. } => {
            Some(Named { bucket: Cow::Borrowed(bucket), key: percent::decode(path)?, is_s3_host: true })
        }
        HostKind::Endpoint { prefix: "s3", .. } => in_path(true),
        HostKind::Bare | HostKind::Foreign(_) => in_path(false),
        _ => None,
    }
}

impl Edge for S3Edge {
    fn preflight<'a>(
        &'a self,
        platform: &'a Platform,
        exchange: &'a Exchange,
    ) -> BoxFuture<'a, Option<Response>> {
        Box::pin(async move {
            let named = named(platform, &exchange.host, &exchange.path)?;
            let found = match Bucket::find(platform.store(), &named.bucket).await {
                Ok(found) => found,
                Err(error) => return Some(refusal(S3Error::from(error).into(), exchange)),
            };
            if found.is_none() && !named.is_s3_host {
                return None;
            }
            Some(match preflight(platform, exchange, &named, found.as_ref()).await {
                Ok(headers) => {
                    let mut response = Response::new(StatusCode::OK, bytes::Bytes::new());
                    insert(&mut response, headers);
                    if let Ok(id) = HeaderValue::try_from(&*exchange.request_id) {
                        response.headers.insert("x-amz-request-id", id);
                    }
                    response
                }
                Err(error) => refusal(error.into(), exchange),
            })
        })
    }

    fn watches(&self, platform: &Platform) -> bool {
        platform.state::<logging::Lines>().is_wanted()
    }

    fn answered<'a>(
        &'a self,
        platform: &'a Platform,
        exchange: &'a Exchange,
        ending: &'a Ending,
        response: &'a mut Response,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(named) = named(platform, &exchange.host, &exchange.path) else { return };
            let bucket = match Bucket::find(platform.store(), &named.bucket).await {
                Ok(Some(bucket)) => bucket,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(bucket = &*named.bucket, %error, "a bucket could not be read for its CORS and log");
                    return;
                }
            };
            if let Some(origin) = &exchange.origin {
                let question = Question { origin, method: exchange.method.as_str(), headers: "" };
                match rules(platform, &bucket).await {
                    Ok(rules) => {
                        if let Some(headers) = cors::answer(&rules, question, false) {
                            insert(response, headers);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(bucket = %bucket.name, %error, "CORS rules could not be read")
                    }
                }
            }
            logging::note(platform, &bucket, &named.key, exchange, ending, response);
        })
    }
}

async fn rules(platform: &Platform, bucket: &Bucket) -> Result<Vec<api::CORSRule>, S3Error> {
    let found = stored::find::<api::CORSConfiguration>(platform.store(), bucket).await?;
    Ok(found.and_then(|found| found.cors_rules).unwrap_or_default())
}

async fn preflight(
    platform: &Platform,
    exchange: &Exchange,
    named: &Named<'_>,
    bucket: Option<&Bucket>,
) -> Result<Headers, S3Error> {
    let bad = |message: String| S3Error::refused("BadRequest", 400, message);
    let forbidden = |message: &'static str| {
        let kind = if named.key.is_empty() { "BUCKET" } else { "OBJECT" };
        S3Error::refused("AccessForbidden", 403, message)
            .with("Method", exchange.wanted_method.clone().unwrap_or_default())
            .with("ResourceType", kind)
    };
    let origin = exchange.origin.as_deref().ok_or_else(|| bad(cors::NO_ORIGIN.to_owned()))?;
    let method = exchange.wanted_method.as_deref();
    let known = ["GET", "PUT", "HEAD", "POST", "DELETE"];
    let method =
        method.filter(|method| known.contains(method)).ok_or_else(|| bad(cors::bad_method(method)))?;
    let Some(bucket) = bucket else { return Err(forbidden(cors::NO_BUCKET)) };
    let rules = rules(platform, bucket).await?;
    if rules.is_empty() {
        return Err(forbidden(cors::NOT_ENABLED));
    }
    let question = Question { origin, method, headers: &exchange.wanted_headers };
    cors::answer(&rules, question, true).ok_or_else(|| forbidden(cors::NOT_ALLOWED))
}

fn refusal(fault: Fault, exchange: &Exchange) -> Response {
    let service = pileus_models::service(api::SERVICE);
    codec::encode_fault(service, None, Protocol::RestXml, &fault, &exchange.request_id, false)
}

/// Sets headers of an answer.
pub fn insert(response: &mut Response, headers: Headers) {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers.insert(HeaderName::from_static(name), value);
        }
    }
}
