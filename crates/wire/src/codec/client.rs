//! The client's side of every codec: requests written, answers read. For round-trip tests and for calls to other nodes.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::query::{write_form, write_scalar};
use super::xml::{self, Writer as XmlWriter, parse_scalar};
use super::{Select, cbor, coercion, json, mismatch, percent, put_blob, rest, rpc, set_header};
use crate::fault::Fault;
use crate::protocol::Protocol;
use crate::schema::{Bind, Kind, Member, Operation, Service, Shape, TimeFormat};
use crate::value::{Slot, Struct, View};

/// A request before it is signed. Streaming payloads are not in it: their body comes after.
#[derive(Debug)]
pub struct ClientRequest {
    pub method: Method,
    /// Percent-encoded, beginning with `/`.
    pub path: String,
    /// Without the `?`.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Writes an input as a request. What no header can carry is left out.
pub fn encode_request(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    input: &dyn Struct,
) -> ClientRequest {
    if protocol.is_rest() {
        return rest_request(operation, protocol, input);
    }
    let mut request = ClientRequest {
        method: Method::POST,
        path: "/".to_owned(),
        query: String::new(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(rpc::content_type(protocol)));
    let shape = operation.input;
    match protocol {
        Protocol::AwsQuery | Protocol::Ec2Query => {
            let mut body = format!("Action={}&Version={}", operation.name, service.api_version).into_bytes();
            write_form(&mut body, protocol, shape, input);
            request.body = body.into();
            set_header(
                &mut request.headers,
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            );
        }
        Protocol::RpcV2Cbor | Protocol::AmzCbor11 => {
            let mut writer = cbor::Writer::new(cbor::Clock::of(protocol));
            writer.structure(shape, Select::All, input);
            request.body = writer.out.into();
        }
        _ => {
            let mut body = Vec::with_capacity(256);
            json::write_structure(&mut body, shape, Select::All, input);
            request.body = body.into();
        }
    }
    if protocol == Protocol::RpcV2Cbor {
        request.path = format!("/service/{}/operation/{}", service.target_prefix, operation.name);
        set_header(&mut request.headers, "smithy-protocol", "rpc-v2-cbor");
    } else if !matches!(protocol, Protocol::AwsQuery | Protocol::Ec2Query) {
        let target = format!("{}.{}", service.target_prefix, operation.name);
        set_header(&mut request.headers, "x-amz-target", &target);
    }
    request
}

fn rest_request(operation: &'static Operation, protocol: Protocol, input: &dyn Struct) -> ClientRequest {
    let shape = operation.input;
    let mut headers = HeaderMap::new();
    let _ = rest::write_headers(shape, input, &mut headers);
    let (path, query) = uri(operation, input);
    let body = match rest::payload(shape) {
        Some((at, member)) => {
            let (body, content_type) = payload(protocol, member, input.get(at).view());
            if let Some(content_type) = content_type {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
            }
            body
        }
        None if rest::has_body(protocol, shape, Select::Body) => {
            let content_type = HeaderValue::from_static(rest::document_type(protocol));
            headers.entry(CONTENT_TYPE).or_insert(content_type);
            let mut out = Vec::with_capacity(256);
            if protocol == Protocol::RestXml {
                let mut xml = XmlWriter::default();
                let name = operation.input_element.or(shape.xml_name).unwrap_or(shape.name);
                let namespace = operation.input_namespace.or(shape.xml_namespace);
                xml.structure(name, namespace, shape, Select::Body, input);
                out = xml.out;
            } else {
                json::write_structure(&mut out, shape, Select::Body, input);
            }
            out.into()
        }
        None => Bytes::new(),
    };
    let method = Method::from_bytes(operation.method.as_bytes()).unwrap_or(Method::POST);
    ClientRequest { method, path, query, headers, body }
}

fn payload(protocol: Protocol, member: &'static Member, view: View<'_>) -> (Bytes, Option<&'static str>) {
    match view {
        View::Absent | View::Stream => (Bytes::new(), None),
        View::Blob(bytes) => (bytes.clone(), Some("application/octet-stream")),
        View::Str(text) => (Bytes::copy_from_slice(text.as_bytes()), Some("text/plain")),
        view if protocol == Protocol::RestXml && member.shape.kind != Kind::Document => {
            let mut xml = XmlWriter::default();
            let namespace = member.xml_namespace.or(member.shape.xml_namespace);
            xml.root(rest::payload_element(member), namespace, member, view);
            (xml.out.into(), Some("application/xml"))
        }
        view => {
            let mut out = Vec::new();
            json::write_value(&mut out, member, view);
            (out.into(), Some("application/json"))
        }
    }
}

/// Path and query with labels and parameters filled in.
fn uri(operation: &'static Operation, input: &dyn Struct) -> (String, String) {
    let (template, literal) = operation.uri.split_once('?').unwrap_or((operation.uri, ""));
    let members = operation.input.members();
    let mut path = Vec::new();
    for segment in template.split('/').skip(1) {
        path.push(b'/');
        let label = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let Some(label) = label else {
            path.extend_from_slice(segment.as_bytes());
            continue;
        };
        let (name, keep): (_, &[u8]) = match label.strip_suffix('+') {
            Some(name) => (name, b"/"),
            None => (label, b""),
        };
        let bound = members.iter().position(|member| member.bind == Bind::Label(name));
        if let Some(at) = bound {
            let mut text = Vec::new();
            write_scalar(&mut text, &members[at], input.get(at).view(), TimeFormat::DateTime);
            percent::encode(&mut path, &text, keep);
        }
    }
    let mut query = literal.as_bytes().to_vec();
    for (at, member) in members.iter().enumerate() {
        match (&member.bind, input.get(at).view()) {
            (Bind::Query(name), View::List(list)) => {
                for i in 0..list.len() {
                    parameter(&mut query, name, member.shape.element(), list.get(i).view());
                }
            }
            (Bind::Query(_), View::Absent) => {}
            (Bind::Query(name), view) => parameter(&mut query, name, member, view),
            (Bind::QueryMap, View::Map(map)) => {
                let (_, value) = member.shape.entry();
                for i in 0..map.len() {
                    match map.entry(i) {
                        (key, val) if value.shape.kind == Kind::List => {
                            let View::List(list) = val.view() else { continue };
                            for i in 0..list.len() {
                                parameter(&mut query, key, value.shape.element(), list.get(i).view());
                            }
                        }
                        (key, val) => parameter(&mut query, key, value, val.view()),
                    }
                }
            }
            _ => {}
        }
    }
    let text = |bytes| String::from_utf8(bytes).expect("percent-encoded text is ASCII");
    (text(path), text(query))
}

fn parameter(query: &mut Vec<u8>, name: &str, member: &'static Member, view: View<'_>) {
    if !query.is_empty() {
        query.push(b'&');
    }
    percent::encode(query, name.as_bytes(), b"");
    query.push(b'=');
    let mut text = Vec::new();
    write_scalar(&mut text, member, view, TimeFormat::DateTime);
    percent::encode(query, &text, b"");
}

/// The labels of a URI template that `path` fills, percent-decoded, in the template's order. Empty if it does not fit.
pub fn labels(template: &'static str, path: &str) -> Vec<(&'static str, String)> {
    let template = template.split_once('?').map_or(template, |(path, _)| path);
    let wanted: Vec<&'static str> = template.split('/').skip(1).collect();
    let given: Vec<&str> = path.split('/').skip(1).collect();
    let mut labels = Vec::new();
    let mut at = 0;
    for (i, segment) in wanted.iter().copied().enumerate() {
        let Some(label) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            at += 1;
            continue;
        };
        let (name, count) = match label.strip_suffix('+') {
            Some(name) => (name, given.len().saturating_sub(at + wanted.len() - i - 1).max(1)),
            None => (label, 1),
        };
        let Some(segments) = given.get(at..at + count) else { return Vec::new() };
        let text = segments.join("/");
        let Some(decoded) = percent::decode(&text).map(Cow::into_owned) else { return Vec::new() };
        labels.push((name, decoded));
        at += count;
    }
    labels
}

/// Reads a successful answer. A streaming payload is left alone.
///
/// # Errors
/// When the body is not what the protocol and the schema say.
pub fn decode_response(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    status: StatusCode,
    headers: &HeaderMap,
    body: Bytes,
    output: &mut dyn Struct,
) -> Result<(), Fault> {
    let shape = operation.output;
    match protocol {
        Protocol::RestJson1 | Protocol::RestXml => {
            rest_answer(service, operation, protocol, status, headers, body, output)
        }
        Protocol::AwsJson10 | Protocol::AwsJson11 => json::decode(service, shape, Select::All, &body, output),
        Protocol::RpcV2Cbor | Protocol::AmzCbor11 => {
            cbor::decode(service, shape, cbor::Clock::of(protocol), &body, output)
        }
        Protocol::Ec2Query => xml::decode(shape, Select::All, &body, output),
        Protocol::AwsQuery if shape.is_unit() => Ok(()),
        Protocol::AwsQuery => {
            let mut reader = xml::Reader::new(&body)?;
            reader.root()?;
            let default = [operation.name, "Result"].concat();
            let wrapper = operation.result_wrapper.unwrap_or(&default);
            while let Some(child) = reader.child()? {
                if child.local_name().as_ref() == wrapper {
                    reader.structure(shape, Select::All, &child, output)?;
                } else {
                    reader.skip()?;
                }
            }
            Ok(())
        }
    }
}

fn rest_answer(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    status: StatusCode,
    headers: &HeaderMap,
    body: Bytes,
    output: &mut dyn Struct,
) -> Result<(), Fault> {
    let shape: &'static Shape = operation.output;
    rest::read_headers(shape, headers, output, &|member, _, _| mismatch(member))?;
    let bound = shape.members().iter().position(|member| member.bind == Bind::Status);
    if let Some(at) = bound {
        let member = &shape.members()[at];
        let slot = output.get_mut(at).ok_or_else(|| mismatch(member))?;
        let _ = parse_scalar(member, status.as_str(), TimeFormat::DateTime, slot)?;
    }
    match rest::payload(shape) {
        Some((_, member)) if member.is_streaming || body.is_empty() => Ok(()),
        Some((at, member)) => {
            let slot = output.get_mut(at).ok_or_else(|| mismatch(member))?;
            match member.shape.kind {
                Kind::Blob => put_blob(member, slot, body),
                Kind::String => {
                    let Slot::Str(slot) = slot.slot() else { return Err(mismatch(member)) };
                    *slot = String::from_utf8(body.into()).map_err(|_| coercion::malformed())?;
                    Ok(())
                }
                Kind::Document => json::decode_value(service, member, &body, slot),
                _ if protocol == Protocol::RestXml => xml::decode_value(member, &body, slot),
                _ => json::decode_value(service, member, &body, slot),
            }
        }
        None if body.is_empty() => Ok(()),
        None if protocol == Protocol::RestXml => match shape.members() {
            [only] if operation.has_unwrapped_output => {
                let slot = output.get_mut(0).ok_or_else(|| mismatch(only))?;
                xml::decode_value(only, &body, slot)?;
                if matches!(slot.view(), View::Str("")) {
                    slot.clear();
                }
                Ok(())
            }
            _ => xml::decode(shape, Select::Answer, &body, output),
        },
        None => json::decode(service, shape, Select::Answer, &body, output),
    }
}
