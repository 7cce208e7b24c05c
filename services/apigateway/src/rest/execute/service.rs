//! Actions of other services as integrations: `arn:aws:apigateway:{region}:{service}:{action|path}/{..}`.
//!
//! What the mapping made is read as the service reads a request, by its own protocol, and takes the way of every call between
//! services: validated, authorised as the integration's role, recorded.
//!
//! Source: API Gateway API Reference, "Integration" (uri); API Gateway Developer Guide, "Tutorial: Create a REST API with an AWS
//! integration". Recorded: services of the query protocol answer in JSON here.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method as Verb, header};
use pileus_core::Region;
use pileus_platform::{Cx, Fault};
use pileus_wire::dynamic::{Blobs, DynStruct, to_json};
use pileus_wire::protocol::{Protocol, Request, Response, ResponseBody};
use pileus_wire::route::{FormPeek, route};
use pileus_wire::schema::{Operation, Service};
use pileus_wire::value::{ByteStream, Slot, Struct};
use pileus_wire::{codec, value};
use serde_json::json;

use super::call::{Call, last};
use super::compiled::Method;
use super::integrate::{Answer, Outgoing, query_text, source_arn};
use super::refusal::Refusal;
use crate::invoke::backend::MAX_ANSWER;
use crate::invoke::{InvokeError, acting, within};

/// Credentials that stand for the caller of the API.
const CALLER: &str = "arn:aws:iam::*:user/*";

/// The parts of an integration's address.
struct Address<'u> {
    region: &'u str,
    service: &'u str,
    /// An operation, or a path.
    target: Target<'u>,
}

enum Target<'u> {
    Action(&'u str),
    Path(&'u str),
}

fn read(uri: &str) -> Option<Address<'_>> {
    let mut parts = uri.splitn(6, ':');
    let (arn, _, apigateway) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, service, rest) = (parts.next()?, parts.next()?, parts.next()?);
    // `subdomain.s3`
    let service = service.rsplit('.').next().unwrap_or(service);
    let target = match rest.split_once('/').unwrap_or((rest, "")) {
        ("action", name) => Target::Action(name.split(['&', '?']).next().unwrap_or_default()),
        ("path", path) => Target::Path(path),
        _ => return None,
    };
    (arn == "arn" && apigateway == "apigateway").then_some(Address { region, service, target })
}

/// Our API of the name that AWS's addresses have.
fn find(name: &str) -> Option<&'static Service> {
    let entries = || pileus_models::all().iter();
    let by_name = entries().find(|entry| entry.name == name);
    let by_endpoint = || entries().find(|entry| entry.header.endpoint_prefix == name);
    let by_signature = || entries().find(|entry| entry.header.signing_name == name);
    by_name.or_else(by_endpoint).or_else(by_signature).map(pileus_models::Entry::service)
}

/// # Errors
/// For integrations that name nothing, and roles that cannot be assumed. What the service refuses is an answer.
pub async fn call(call: &mut Call, method: &Method, uri: &str, out: Outgoing) -> Result<Answer, Refusal> {
    let address = read(uri).ok_or_else(|| Refusal::internal(format!("Invalid endpoint address: {uri}")))?;
    let service = find(address.service)
        .ok_or_else(|| Refusal::internal(format!("{} is no service of this cloud", address.service)))?;
    let region = Region::parse(address.region).unwrap_or(call.cx.region().clone());
    let cx = match method.integration.credentials.as_deref().filter(|role| !role.is_empty()) {
        None => return Err(Refusal::internal("Execution failed due to configuration error: API Gateway does not have permission to assume the provided role: the integration names none")),
        Some(CALLER) => call.cx.clone(),
        Some(role) => acting(&call.cx, Some(role), &source_arn(call)?).await.map_err(|error| {
            Refusal::internal(format!("Execution failed due to configuration error: API Gateway does not have permission to assume the provided role: {error}"))
        })?,
    };
    let cx = cx.with_region(region);
    let meant = meaning(service, &address, method, out).map_err(Refusal::internal)?;
    let work = async { Ok(perform(&cx, meant).await) };
    let answer = within(&cx, method.timeout, work).await.map_err(|error| match error {
        InvokeError::TimedOut => Refusal::timed_out(),
        other => Refusal::internal(other.to_string()),
    })?;
    call.trail.info(&call.cx, || format!("Received response. Status: {}", answer.status));
    Ok(answer)
}

/// A request as a service reads it.
struct Meant {
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    verb: Verb,
    path: String,
    query: String,
    headers: HeaderMap,
    labels: Vec<(&'static str, String)>,
    body: Bytes,
}

fn meaning(
    service: &'static Service,
    address: &Address<'_>,
    method: &Method,
    out: Outgoing,
) -> Result<Meant, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &out.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
        {
            headers.append(name, value);
        }
    }
    let content_type = last(&out.headers, "content-type").unwrap_or_default().to_ascii_lowercase();
    let is_form = content_type.starts_with("application/x-www-form-urlencoded");
    match address.target {
        Target::Action(name) => {
            let operation = service
                .operation(name)
                .ok_or_else(|| format!("{} has no operation {name}", address.service))?;
            let has_query = service.protocols.contains(&Protocol::AwsQuery);
            let as_query = has_query
                && (is_form
                    || !out.query.is_empty()
                    || service.protocols.first() == Some(&Protocol::AwsQuery));
            let protocol = match as_query {
                true => Protocol::AwsQuery,
                false => service.protocols.first().copied().unwrap_or(Protocol::AwsJson10),
            };
            if protocol.is_rest() {
                return Err(format!("{} is called by its path, not by an action", address.service));
            }
            let (mut query, mut body) = (query_text(&out.query), out.body);
            if as_query {
                let form = if is_form { String::from_utf8_lossy(&body).into_owned() } else { String::new() };
                body = [query.as_str(), form.as_str()]
                    .iter()
                    .filter(|part| !part.is_empty())
                    .copied()
                    .collect::<Vec<_>>()
                    .join("&")
                    .into();
                query.clear();
            } else if body.is_empty() {
                body = Bytes::from_static(b"{}");
            }
            Ok(Meant {
                service,
                operation,
                protocol,
                verb: Verb::POST,
                path: "/".to_owned(),
                query,
                headers,
                labels: Vec::new(),
                body,
            })
        }
        Target::Path(path) => {
            let verb = method.integration.http_method.as_deref().unwrap_or("POST");
            let verb = Verb::try_from(verb).map_err(|_| format!("{verb} is no method"))?;
            let host = format!("{}.{}.amazonaws.com", service.endpoint_prefix, address.region);
            headers.insert(header::HOST, HeaderValue::try_from(host).map_err(|error| error.to_string())?);
            let (path, own) = path.split_once('?').unwrap_or((path, ""));
            let path = format!("/{}", path.trim_start_matches('/'));
            let query = [own.to_owned(), query_text(&out.query)].into_iter().filter(|part| !part.is_empty());
            let query = query.collect::<Vec<_>>().join("&");
            let form = is_form.then(|| FormPeek::read(&out.body));
            let request =
                Request { method: &verb, path: &path, query: &query, headers: &headers, labels: &[] };
            let hosts = pileus_wire::route::Hosts::default();
            let routed =
                route(pileus_models::catalog(), &hosts, &request, Some(service.signing_name), form.as_ref());
            let routed = routed
                .map_err(|error| format!("{} {path} means no operation: {}", verb, error.into_fault()))?;
            let (service, operation, protocol, labels) =
                (routed.service, routed.operation, routed.protocol, routed.labels);
            Ok(Meant { service, operation, protocol, verb, path, query, headers, labels, body: out.body })
        }
    }
}

async fn perform(cx: &Cx, meant: Meant) -> Answer {
    let Meant { service, operation, protocol, .. } = meant;
    match run(cx, meant).await {
        Ok(mut output) => {
            if protocol == Protocol::AwsQuery {
                return in_json(operation, output.as_ref(), cx.request_id());
            }
            taken(codec::encode(service, operation, protocol, output.as_mut(), cx.request_id())).await
        }
        Err(fault) => {
            let response =
                codec::encode_fault(Some(service), Some(operation), protocol, &fault, cx.request_id(), false);
            let status = response.status.as_u16();
            let mut answer = taken(response).await;
            if protocol == Protocol::AwsQuery {
                let kind = if fault.is_sender_fault { "Sender" } else { "Receiver" };
                let error = json!({ "Code": fault.code, "Message": fault.message, "Type": kind });
                let body = json!({ "Error": error, "RequestId": cx.request_id() });
                answer = json_answer(status, body);
            }
            answer
        }
    }
}

fn json_answer(status: u16, body: serde_json::Value) -> Answer {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Answer { status, headers, body: body.to_string().into(), message: None }
}

/// `{"SendMessageResponse": {"SendMessageResult": {..}, "ResponseMetadata": {"RequestId": ..}}}`
fn in_json(operation: &'static Operation, output: &dyn Struct, request_id: &str) -> Answer {
    let name = operation.name;
    let mut inner = json!({ "ResponseMetadata": { "RequestId": request_id } });
    if !operation.output.is_unit() {
        inner[format!("{name}Result")] = to_json(operation.output, output, Blobs::Base64);
    }
    let mut body = json!({});
    body[format!("{name}Response")] = inner;
    json_answer(200, body)
}

async fn run(cx: &Cx, meant: Meant) -> Result<Box<dyn Struct>, Fault> {
    let Meant { service, operation, protocol, verb, path, query, headers, labels, body } = meant;
    let request = Request { method: &verb, path: &path, query: &query, headers: &headers, labels: &labels };
    let mut input = new_input(service, operation);
    codec::decode(service, operation, protocol, &request, body.clone(), input.as_mut())?;
    if let Some(at) = codec::streaming_input(operation)
        && let Some(Slot::Bytes(slot)) = input.get_mut(at).map(value::Val::slot)
    {
        *slot = ByteStream::once(body);
    }
    cx.call_dynamic(service.name, operation.name, input).await
}

/// A dynamic value; in the operation's own type where a stream must pass, which has one reader and cannot be copied.
fn new_input(service: &Service, operation: &'static Operation) -> Box<dyn Struct> {
    match (service.name, operation.name) {
        ("s3", "PutObject") => Box::new(pileus_api_s3::PutObjectRequest::default()),
        _ => Box::new(DynStruct::new(operation.input)),
    }
}

async fn taken(response: Response) -> Answer {
    let headers = response.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let headers = headers.collect();
    let status = response.status.as_u16();
    let body = match response.body {
        ResponseBody::Bytes(bytes) => bytes,
        ResponseBody::Stream(mut stream) => {
            let mut collected = BytesMut::new();
            if let Some(mut stream) = stream.take() {
                while let Some(Ok(bytes)) = stream.next().await {
                    if collected.len() + bytes.len() > MAX_ANSWER {
                        let body = json!({ "message": "the answer is longer than 10 MB" });
                        return json_answer(500, body);
                    }
                    collected.extend_from_slice(&bytes);
                }
            }
            collected.freeze()
        }
    };
    Answer { status, headers, body, message: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_service_and_an_action_or_a_path() {
        let cases = [
            ("arn:aws:apigateway:us-east-1:dynamodb:action/PutItem", Some(("dynamodb", "action PutItem"))),
            ("arn:aws:apigateway:us-east-1:sqs:path/123456789012/q", Some(("sqs", "path 123456789012/q"))),
            ("arn:aws:apigateway:us-east-1:bucket.s3:path/key", Some(("s3", "path key"))),
            ("arn:aws:apigateway:us-east-1:sns:action/Publish&TopicArn=x", Some(("sns", "action Publish"))),
            ("arn:aws:apigateway:us-east-1:sns:other/x", None),
            ("https://example.com/path/x", None),
        ];
        for (uri, expected) in cases {
            let got = read(uri).map(|address| {
                let target = match address.target {
                    Target::Action(name) => format!("action {name}"),
                    Target::Path(path) => format!("path {path}"),
                };
                (address.service, target)
            });
            let got = got.as_ref().map(|(service, target)| (*service, target.as_str()));
            assert_eq!(got, expected, "{uri}");
        }
        for (name, ours) in [
            ("sqs", "sqs"),
            ("dynamodb", "dynamodb"),
            ("states", "stepfunctions"),
            ("s3", "s3"),
            ("events", "events"),
        ] {
            assert_eq!(find(name).map(|service| service.name), Some(ours), "{name}");
        }
    }
}
