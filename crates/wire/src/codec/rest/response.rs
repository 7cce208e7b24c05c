//! Answers of the REST protocols.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::super::xml::Writer;
use super::super::{Select, events, is_s3, json};
use super::{has_body, headers, payload};
use crate::fault::Fault;
use crate::protocol::{Protocol, Response, ResponseBody};
use crate::schema::{Bind, Kind, Member, Operation, Service, Shape};
use crate::value::{Slot, Struct, View};

/// Writes status, headers and body of an output. Takes streams out of it.
///
/// # Errors
/// `InternalFailure` when a member does not fit into its header.
pub fn encode(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    output: &mut dyn Struct,
) -> Result<Response, Fault> {
    let shape = operation.output;
    let mut fields = HeaderMap::new();
    headers::write(shape, output, &mut fields)?;
    let mut status = status(operation, output);
    // S3's models do not say that part of an object is answered as such.
    if is_s3(service) && status == StatusCode::OK && fields.contains_key(http::header::CONTENT_RANGE) {
        status = StatusCode::PARTIAL_CONTENT;
    }
    let body = match payload(shape) {
        Some((at, member)) => write_payload(service, protocol, at, member, output, &mut fields),
        None if has_body(protocol, shape, Select::Answer) && status != StatusCode::NO_CONTENT => {
            set_type(&mut fields, document_type(protocol));
            ResponseBody::Bytes(document(service, operation, protocol, output))
        }
        None => {
            if !shape.is_unit() && status != StatusCode::NO_CONTENT && !is_s3(service) {
                set_type(&mut fields, document_type(protocol));
            }
            ResponseBody::Bytes(Bytes::new())
        }
    };
    Ok(Response { status, headers: fields, body })
}

fn status(operation: &'static Operation, output: &dyn Struct) -> StatusCode {
    let bound = operation.output.members().iter().position(|member| member.bind == Bind::Status);
    let own = bound.and_then(|at| match output.get(at).view() {
        View::Int(value) => u16::try_from(value).ok().and_then(|code| StatusCode::from_u16(code).ok()),
        _ => None,
    });
    own.or_else(|| StatusCode::from_u16(operation.status).ok()).unwrap_or(StatusCode::OK)
}

/// The members without a binding as a document.
fn document(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    output: &dyn Struct,
) -> Bytes {
    let shape = operation.output;
    if protocol != Protocol::RestXml {
        let mut out = Vec::with_capacity(256);
        json::write_structure(&mut out, shape, Select::Answer, output);
        return out.into();
    }
    let mut xml = Writer { always_millis: is_s3(service), ..Writer::default() };
    xml.declaration();
    let namespace = root_namespace(service, shape, None);
    match shape.members() {
        [only] if operation.has_unwrapped_output => {
            let name = shape.xml_name.unwrap_or(only.xml);
            match output.get(0).view() {
                View::Absent => {
                    xml.open(name, namespace);
                    xml.close(name);
                }
                view => xml.root(name, namespace, only, view),
            }
        }
        _ => xml.structure(shape.xml_name.unwrap_or(shape.name), namespace, shape, Select::Answer, output),
    }
    xml.out.into()
}

/// The namespace of a root element: the member's, the shape's, the service's.
fn root_namespace(service: &'static Service, shape: &Shape, member: Option<&Member>) -> Option<&'static str> {
    let own = member.and_then(|member| member.xml_namespace).or(shape.xml_namespace);
    own.or(Some(service.xml_namespace).filter(|uri| !uri.is_empty()))
}

fn write_payload(
    service: &'static Service,
    protocol: Protocol,
    at: usize,
    member: &'static Member,
    output: &mut dyn Struct,
    fields: &mut HeaderMap,
) -> ResponseBody {
    match output.get(at).view() {
        View::Absent => ResponseBody::Bytes(Bytes::new()),
        View::Stream => {
            let slot = output.get_mut(at).map(|value| value.slot());
            match slot {
                Some(Slot::Bytes(stream)) => {
                    set_type(fields, "application/octet-stream");
                    match stream.take_whole() {
                        Some(bytes) => ResponseBody::Bytes(bytes),
                        None => ResponseBody::Stream(std::mem::take(stream)),
                    }
                }
                Some(Slot::Events(stream)) => {
                    set_type(fields, crate::eventstream::CONTENT_TYPE);
                    ResponseBody::Stream(events::frame(service, protocol, member.shape, None, stream))
                }
                _ => ResponseBody::Bytes(Bytes::new()),
            }
        }
        View::Blob(bytes) => {
            set_type(fields, "application/octet-stream");
            ResponseBody::Bytes(bytes.clone())
        }
        View::Str(text) => {
            set_type(fields, "text/plain");
            ResponseBody::Bytes(Bytes::copy_from_slice(text.as_bytes()))
        }
        view if protocol == Protocol::RestXml && member.shape.kind != Kind::Document => {
            set_type(fields, document_type(protocol));
            let mut xml = Writer { always_millis: is_s3(service), ..Writer::default() };
            xml.declaration();
            let name = super::payload_element(member);
            xml.root(name, root_namespace(service, member.shape, Some(member)), member, view);
            ResponseBody::Bytes(xml.out.into())
        }
        view => {
            set_type(fields, "application/json");
            let mut out = Vec::with_capacity(256);
            json::write_value(&mut out, member, view);
            ResponseBody::Bytes(out.into())
        }
    }
}

pub fn document_type(protocol: Protocol) -> &'static str {
    if protocol == Protocol::RestXml { "application/xml" } else { "application/json" }
}

/// Sets the content type unless a member already did.
fn set_type(fields: &mut HeaderMap, content_type: &'static str) {
    fields.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
}
