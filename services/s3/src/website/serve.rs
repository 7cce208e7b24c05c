//! Requests to a website's host: what a browser gets. Objects are read as the public reads them, so policies and lists decide.
//!
//! Source: Amazon S3 User Guide, "Website endpoints", "Key differences between a website endpoint and a REST API endpoint". Recorded:
//! the headers of errors and the form of their pages.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use pileus_api_s3 as api;
use pileus_platform::{Caller, Cx, DataRequest, Fault, Service};
use pileus_wire::codec::{self, percent, time};
use pileus_wire::protocol::{Protocol, Response, ResponseBody};
use pileus_wire::route::{HostKind, classify_host};

use super::route::{self, Elsewhere, Here};
use crate::bucket::Bucket;
use crate::config::stored;
use crate::cors::{self, Question};
use crate::error::S3Error;

pub fn add(service: Service) -> Service {
    service.data_plane(owns, answer)
}

fn owns(host: &HostKind<'_>) -> bool {
    matches!(host, HostKind::S3Website { .. })
}

/// An error as the page tells it.
struct Trouble {
    status: u16,
    code: String,
    message: String,
    /// `Key`, `BucketName`, ..
    facts: Vec<(&'static str, String)>,
}

impl Trouble {
    fn new(status: u16, code: &str, message: &str, fact: (&'static str, &str)) -> Trouble {
        Trouble {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
            facts: vec![(fact.0, fact.1.to_owned())],
        }
    }

    fn of(fault: &Fault, key: &str) -> Trouble {
        let status = match fault.status {
            0 if fault.is_sender_fault => 400,
            0 => 500,
            status => status,
        };
        let facts = match status {
            404 => vec![("Key", key.to_owned())],
            _ => vec![],
        };
        let message = match fault.code.as_ref() {
            // The public is not told why.
            "AccessDenied" => "Access Denied".to_owned(),
            _ => fault.message.clone(),
        };
        Trouble { status, code: fault.code.to_string(), message, facts }
    }
}

/// Answers a request to `<bucket>.s3-website.<region>.<domain>`.
async fn answer(request: DataRequest) -> Response {
    let platform = request.platform().clone();
    let host = request.host().to_owned();
    let HostKind::S3Website { bucket, .. } = classify_host(&platform.config().hosts, &host) else {
        let trouble =
            Trouble::new(404, "NoSuchBucket", "The specified bucket does not exist", ("BucketName", ""));
        return page(&trouble, None, &request);
    };
    let found = match Bucket::find(platform.store(), bucket).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let trouble = Trouble::new(
                404,
                "NoSuchBucket",
                "The specified bucket does not exist",
                ("BucketName", bucket),
            );
            return page(&trouble, None, &request);
        }
        Err(error) => return page(&Trouble::of(&S3Error::from(error).into(), ""), None, &request),
    };
    let mut response = match serve(&request, &found, &host).await {
        Ok(response) => response,
        Err(error) => page(&Trouble::of(&error.into(), ""), None, &request),
    };
    if request.inbound.headers.contains_key(header::ORIGIN)
        && let Err(error) = cross(&request, &found, &mut response).await
    {
        tracing::warn!(bucket = %found.name, %error, "a website's rules for other origins could not be read");
    }
    response
}

async fn serve(request: &DataRequest, bucket: &Bucket, host: &str) -> Result<Response, S3Error> {
    let inbound = &request.inbound;
    let method = inbound.method.as_str();
    if method == "OPTIONS" {
        // `cross` finds what it may say.
        return Ok(Response::new(StatusCode::FORBIDDEN, Bytes::new()));
    }
    if !["GET", "HEAD"].contains(&method) {
        let message = "The specified method is not allowed against this resource.";
        let trouble = Trouble::new(405, "MethodNotAllowed", message, ("Method", method));
        return Ok(page(&trouble, None, request));
    }
    let store = request.platform().store();
    let Some(site) = stored::find::<api::WebsiteConfiguration>(store, bucket).await? else {
        let message = "The specified bucket does not have a website configuration";
        let trouble = Trouble::new(404, "NoSuchWebsiteConfiguration", message, ("BucketName", &bucket.name));
        return Ok(page(&trouble, None, request));
    };
    let path = inbound.path.strip_prefix('/').unwrap_or(&inbound.path);
    let Some(path_key) = percent::decode(path) else {
        let trouble = Trouble::new(400, "InvalidURI", "Couldn't parse the specified URI.", ("URI", path));
        return Ok(page(&trouble, None, request));
    };
    let here = Here { scheme: if inbound.is_secure { "https" } else { "http" }, host };
    if let Some(to) = route::before(&site, here, &path_key) {
        return Ok(redirect(&to));
    }
    let cx = request.cx(Caller::anonymous(bucket.owner), bucket.region.clone());
    let key = route::object_key(&site, &path_key);
    let fault = match get(&cx, bucket, &key, request, Ask::AsAsked).await {
        Ok(response) => return Ok(response),
        Err(fault) if fault.status == 304 => {
            return Ok(Response::new(StatusCode::NOT_MODIFIED, Bytes::new()));
        }
        Err(fault) => fault,
    };
    // A folder without its slash, if it has an index document.
    if let Some(index) = route::folder_index(&site, &path_key)
        && fault.code != "PreconditionFailed"
        && get(&cx, bucket, &index, request, Ask::Whole).await.is_ok()
    {
        return Ok(redirect(&Elsewhere { status: 302, location: format!("/{path}/") }));
    }
    let trouble = Trouble::of(&fault, &key);
    if let Some(to) = route::on_error(&site, here, &path_key, trouble.status) {
        return Ok(redirect(&to));
    }
    let is_the_clients = (400..500).contains(&trouble.status) && trouble.code != "PreconditionFailed";
    let Some(error_key) = route::error_key(&site).filter(|_| is_the_clients) else {
        return Ok(page(&trouble, None, request));
    };
    match get(&cx, bucket, error_key, request, Ask::Whole).await {
        Ok(mut response) => {
            response.status = StatusCode::from_u16(trouble.status).unwrap_or(StatusCode::NOT_FOUND);
            describe(&trouble, &mut response);
            Ok(response)
        }
        Err(other) => Ok(page(&trouble, Some(&Trouble::of(&other, error_key)), request)),
    }
}

/// Whether the conditions and ranges of the request are for this object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    AsAsked,
    Whole,
}

async fn get(
    cx: &Cx,
    bucket: &Bucket,
    key: &str,
    request: &DataRequest,
    ask: Ask,
) -> Result<Response, Fault> {
    let mut input = api::GetObjectRequest {
        bucket: Some(bucket.name.clone()),
        key: Some(key.to_owned()),
        ..api::GetObjectRequest::default()
    };
    if ask == Ask::AsAsked {
        let headers = &request.inbound.headers;
        let text =
            |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
        let date = |name| text(name).and_then(|date| time::parse_http_date(&date));
        input.range = text(header::RANGE);
        input.if_match = text(header::IF_MATCH);
        input.if_none_match = text(header::IF_NONE_MATCH);
        input.if_modified_since = date(header::IF_MODIFIED_SINCE);
        input.if_unmodified_since = date(header::IF_UNMODIFIED_SINCE);
    }
    let mut output = cx.call(api::GET_OBJECT, input).await?;
    if let Some(location) = output.website_redirect_location.take() {
        return Ok(redirect(&Elsewhere { status: 301, location }));
    }
    let unknown = || Fault::receiver("InternalError", "S3 has no model");
    let service = pileus_models::service(api::SERVICE).ok_or_else(unknown)?;
    let operation = service.operation("GetObject").ok_or_else(unknown)?;
    let mut response = codec::encode(service, operation, Protocol::RestXml, &mut output, cx.request_id());
    if request.inbound.method == Method::HEAD {
        response.body = ResponseBody::Bytes(Bytes::new());
    }
    Ok(response)
}

fn redirect(to: &Elsewhere) -> Response {
    let status = StatusCode::from_u16(to.status).unwrap_or(StatusCode::MOVED_PERMANENTLY);
    let mut response = Response::new(status, Bytes::new());
    if let Ok(location) = HeaderValue::try_from(&to.location) {
        response.headers.insert(header::LOCATION, location);
    }
    response.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// The page that tells of an error.
fn page(trouble: &Trouble, custom: Option<&Trouble>, request: &DataRequest) -> Response {
    let status = StatusCode::from_u16(trouble.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let facts = |trouble: &Trouble| {
        let mut facts = vec![("Code", trouble.code.clone()), ("Message", trouble.message.clone())];
        facts.extend(trouble.facts.iter().cloned());
        facts
    };
    let (own, other) = (facts(trouble), custom.map(facts));
    let mut own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    own.push(("RequestId", &request.request_id));
    let other: Option<Vec<(&str, &str)>> =
        other.as_ref().map(|facts| facts.iter().map(|(name, value)| (*name, value.as_str())).collect());
    let reason = status.canonical_reason().unwrap_or_default();
    let text = route::error_page(trouble.status, reason, &own, other.as_deref());
    let body = if request.inbound.method == Method::HEAD { Bytes::new() } else { Bytes::from(text) };
    let mut response = Response::new(status, body);
    response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(id) = HeaderValue::try_from(&*request.request_id) {
        response.headers.insert("x-amz-request-id", id);
    }
    describe(trouble, &mut response);
    response
}

fn describe(trouble: &Trouble, response: &mut Response) {
    let mut insert = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers.insert(name, value);
        }
    };
    insert("x-amz-error-code", &trouble.code);
    insert("x-amz-error-message", &trouble.message);
    for (name, value) in &trouble.facts {
        if *name == "Key" {
            insert("x-amz-error-detail-key", value);
        }
    }
}

/// What a page of another origin is told.
async fn cross(request: &DataRequest, bucket: &Bucket, response: &mut Response) -> Result<(), S3Error> {
    let headers = &request.inbound.headers;
    let text =
        |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let found = stored::find::<api::CORSConfiguration>(request.platform().store(), bucket).await?;
    let rules = found.and_then(|found| found.cors_rules).unwrap_or_default();
    let is_preflight = request.inbound.method == Method::OPTIONS;
    let question = Question {
        origin: text(header::ORIGIN),
        method: if is_preflight {
            text(header::ACCESS_CONTROL_REQUEST_METHOD)
        } else {
            request.inbound.method.as_str()
        },
        headers: if is_preflight { text(header::ACCESS_CONTROL_REQUEST_HEADERS) } else { "" },
    };
    if let Some(answer) = cors::answer(&rules, question, is_preflight) {
        if is_preflight {
            response.status = StatusCode::OK;
        }
        crate::edge::insert(response, answer);
    }
    Ok(())
}
