//! Answers of the RPC protocols: awsJson, awsQuery, ec2Query, rpc-v2-cbor, x-amz-cbor-1.1.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::xml::Writer as XmlWriter;
use super::{Select, cbor, events, json};
use crate::protocol::{Protocol, Response, ResponseBody};
use crate::schema::{Kind, Operation, Service};
use crate::value::{Slot, Struct, Val};

pub fn content_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::AwsJson10 => "application/x-amz-json-1.0",
        Protocol::AwsJson11 => "application/x-amz-json-1.1",
        Protocol::RpcV2Cbor => "application/cbor",
        Protocol::AmzCbor11 => "application/x-amz-cbor-1.1",
        Protocol::AwsQuery => "text/xml",
        Protocol::Ec2Query => "text/xml;charset=UTF-8",
        Protocol::RestJson1 => "application/json",
        Protocol::RestXml => "application/xml",
    }
}

/// Writes an output. Takes an event stream out of it.
pub fn encode(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    output: &mut dyn Struct,
    request_id: &str,
) -> Response {
    let shape = operation.output;
    let stream = shape.members().iter().position(|member| member.shape.kind == Kind::EventStream);
    if let Some(at) = stream.filter(|at| output.get(*at).is_present()) {
        let initial = events::initial_response(protocol, shape, output);
        if let Some(Slot::Events(stream)) = output.get_mut(at).map(Val::slot) {
            let shape = shape.members()[at].shape;
            let body = events::frame(service, protocol, shape, Some(initial), stream);
            let body = ResponseBody::Stream(body);
            return response(body, crate::eventstream::CONTENT_TYPE);
        }
    }
    let body = match protocol {
        Protocol::AwsQuery => query(service, operation, output, request_id),
        Protocol::Ec2Query => ec2(service, operation, output, request_id),
        // Operations without output answer with no body at all.
        _ if shape.is_unit() => Vec::new(),
        Protocol::RpcV2Cbor | Protocol::AmzCbor11 => {
            let mut writer = cbor::Writer::new(cbor::Clock::of(protocol));
            writer.structure(shape, Select::All, output);
            writer.out
        }
        _ => {
            let mut out = Vec::with_capacity(256);
            json::write_structure(&mut out, shape, Select::All, output);
            out
        }
    };
    response(ResponseBody::Bytes(Bytes::from(body)), content_type(protocol))
}

fn response(body: ResponseBody, content_type: &'static str) -> Response {
    let mut response = Response::new(StatusCode::OK, Bytes::new());
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.body = body;
    response
}

/// `<XResponse><XResult>..</XResult><ResponseMetadata><RequestId/></ResponseMetadata></XResponse>`.
fn query(
    service: &'static Service,
    operation: &'static Operation,
    output: &dyn Struct,
    request_id: &str,
) -> Vec<u8> {
    let shape = operation.output;
    let root = [operation.name, "Response"].concat();
    let mut xml = XmlWriter::default();
    xml.open(&root, Some(service.xml_namespace));
    if !shape.is_unit() {
        match operation.result_wrapper {
            Some(wrapper) => xml.structure(wrapper, None, shape, Select::All, output),
            None => xml.structure(&[operation.name, "Result"].concat(), None, shape, Select::All, output),
        }
    }
    xml.open("ResponseMetadata", None);
    xml.leaf("RequestId", request_id);
    xml.close("ResponseMetadata");
    xml.close(&root);
    xml.out
}

/// `<XResponse><requestId/>..</XResponse>`; `<return>true</return>` where the operation has no output.
fn ec2(
    service: &'static Service,
    operation: &'static Operation,
    output: &dyn Struct,
    request_id: &str,
) -> Vec<u8> {
    let root = [operation.name, "Response"].concat();
    let mut xml = XmlWriter::default();
    xml.declaration();
    xml.open(&root, Some(service.xml_namespace));
    xml.leaf("requestId", request_id);
    if operation.output.is_unit() {
        xml.leaf("return", "true");
    } else {
        xml.members(operation.output, Select::All, output);
    }
    xml.close(&root);
    xml.out
}
