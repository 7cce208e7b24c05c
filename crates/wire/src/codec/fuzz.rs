//! One entry per decoder that takes bytes from anywhere: for fuzzing, here and in the fuzz targets.
//!
//! The first two bytes choose the operation; the rest is the request. Nothing may panic, allocate beyond the decoder's
//! limits, or take more than linear time.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::client;
use crate::dynamic::{Blobs, DynStruct, to_json};
use crate::fault::Fault;
use crate::protocol::{Protocol, Request};
use crate::schema::{Operation, Service};

/// awsJson bodies.
pub fn json(service: &'static Service, bytes: &[u8]) {
    let _ = decode(service, Protocol::AwsJson10, bytes);
}

/// rpc-v2-cbor bodies, and those of x-amz-cbor-1.1.
pub fn cbor(service: &'static Service, bytes: &[u8]) {
    let _ = decode(service, Protocol::RpcV2Cbor, bytes);
    let _ = decode(service, Protocol::AmzCbor11, bytes);
}

/// Form parameters of awsQuery and ec2Query.
pub fn query(service: &'static Service, bytes: &[u8]) {
    let _ = decode(service, Protocol::AwsQuery, bytes);
    let _ = decode(service, Protocol::Ec2Query, bytes);
}

/// restJson1: a line with the URI, lines with headers, an empty line, the body.
pub fn rest_json(service: &'static Service, bytes: &[u8]) {
    let _ = decode(service, Protocol::RestJson1, bytes);
}

/// restXml, in the same form.
pub fn rest_xml(service: &'static Service, bytes: &[u8]) {
    let _ = decode(service, Protocol::RestXml, bytes);
}

/// Answers, as the client's side reads them: the body alone.
pub fn answers(service: &'static Service, bytes: &[u8]) {
    let Some((operation, body)) = operation(service, bytes) else { return };
    for protocol in [Protocol::AwsQuery, Protocol::Ec2Query, Protocol::RestXml, Protocol::RestJson1] {
        let mut output = DynStruct::new(operation.output);
        let (headers, body) = (HeaderMap::new(), Bytes::copy_from_slice(body));
        let status = StatusCode::OK;
        let _ = client::decode_response(service, operation, protocol, status, &headers, body, &mut output);
    }
}

/// Decodes a request in the form that the functions above take.
///
/// # Errors
/// What the decoder says.
pub fn decode(
    service: &'static Service,
    protocol: Protocol,
    bytes: &[u8],
) -> Result<serde_json::Value, Fault> {
    let nothing = || Fault::framework("SerializationException", 400, "");
    let (operation, rest) = operation(service, bytes).ok_or_else(nothing)?;
    let (head, body) = if protocol.is_rest() { split_head(rest) } else { ("/", rest) };
    let mut lines = head.lines();
    let uri = lines.next().unwrap_or("/");
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.trim().as_bytes())) {
            headers.append(name, value);
        }
    }
    let labels = client::labels(operation.uri, path);
    let request = Request { method: &Method::POST, path, query, headers: &headers, labels: &labels };
    let mut input = DynStruct::new(operation.input);
    let body = Bytes::copy_from_slice(body);
    super::decode(service, operation, protocol, &request, body, &mut input)?;
    Ok(to_json(operation.input, &input, Blobs::Base64))
}

fn operation<'a>(service: &'static Service, bytes: &'a [u8]) -> Option<(&'static Operation, &'a [u8])> {
    let (choice, rest) = bytes.split_at_checked(2)?;
    let at = usize::from(u16::from_be_bytes([choice[0], choice[1]]));
    Some((service.operations.get(at % service.operations.len().max(1))?, rest))
}

fn split_head(bytes: &[u8]) -> (&str, &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 2..]));
    (std::str::from_utf8(head).unwrap_or("/"), body)
}
