//! Faults as responses: code, status and members, framed as each protocol and service does.
//!
//! Source: Smithy, "AWS JSON 1.0 protocol", "AWS restJson1 protocol", "AWS query protocol", "AWS EC2 query protocol",
//! "Smithy RPC v2 CBOR protocol" and "AWS query compatible trait"; Amazon S3 API Reference, "Error responses".
//! Recorded: the key `Message` of framework faults, in the tests of dynalite and kinesalite.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::xml::Writer as XmlWriter;
use super::{Select, cbor, is_s3, json, rest, rpc, set_header};
use crate::fault::{Fault, Origin};
use crate::protocol::{Protocol, Response, ResponseBody};
use crate::schema::{Kind, Member, Operation, Service, Shape};
use crate::value::{Struct, View};

/// Frames a fault. `service` is `None` when the request could not be routed.
pub fn encode(
    service: Option<&'static Service>,
    operation: Option<&'static Operation>,
    protocol: Protocol,
    fault: &Fault,
    request_id: &str,
    is_head: bool,
) -> Response {
    let view = FaultView::new(service, operation, fault);
    let body = match protocol {
        Protocol::AwsQuery => view.query(request_id),
        Protocol::Ec2Query => view.ec2(request_id),
        Protocol::RestXml if service.is_some_and(is_s3) => view.s3(request_id),
        Protocol::RestXml => view.query(request_id),
        Protocol::RpcV2Cbor | Protocol::AmzCbor11 => view.cbor(protocol),
        Protocol::RestJson1 => view.json(None, Select::Body),
        Protocol::AwsJson10 | Protocol::AwsJson11 => view.json(Some(view.qualified_code()), Select::All),
    };
    let status = view.status();
    let has_no_body = is_head || status == StatusCode::NOT_MODIFIED || status == StatusCode::NO_CONTENT;
    let mut response = Response::new(status, if has_no_body { Bytes::new() } else { body.into() });
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(rpc::content_type(protocol)));
    if protocol.is_rest()
        && let (Some(shape), Some(members)) = (view.shape, view.members())
    {
        // What does not fit into a header must not hide the fault itself.
        let _ = rest::write_headers(shape, members, &mut response.headers);
    }
    if protocol == Protocol::RestJson1 {
        set_header(&mut response.headers, "x-amzn-errortype", view.code());
    }
    for (name, value) in &fault.headers {
        set_header(&mut response.headers, name, value);
    }
    let is_query_compatible = service.is_some_and(|service| service.is_query_compatible);
    if is_query_compatible && !matches!(protocol, Protocol::AwsQuery | Protocol::Ec2Query) {
        let text = format!("{};{}", view.query_code(), view.side());
        set_header(&mut response.headers, "x-amzn-query-error", &text);
    }
    if let ResponseBody::Bytes(body) = &response.body {
        super::set_crc32(service, protocol, body, &mut response.headers);
    }
    response
}

/// A modelled error as an event's payload.
pub fn event_payload(protocol: Protocol, shape: &'static Shape, fault: &Fault) -> (&'static str, Bytes) {
    let view = FaultView { service: None, shape: Some(shape), fault };
    match protocol {
        Protocol::RpcV2Cbor | Protocol::AmzCbor11 => {
            (rpc::content_type(protocol), view.cbor(protocol).into())
        }
        Protocol::RestXml => {
            let mut xml = XmlWriter::default();
            xml.open(shape.name, None);
            view.xml_members(&mut xml);
            xml.close(shape.name);
            ("application/xml", xml.out.into())
        }
        _ => (rpc::content_type(protocol), view.json(None, Select::All).into()),
    }
}

/// A fault beside what the model says of it.
struct FaultView<'a> {
    service: Option<&'static Service>,
    shape: Option<&'static Shape>,
    fault: &'a Fault,
}

impl<'a> FaultView<'a> {
    fn new(
        service: Option<&'static Service>,
        operation: Option<&'static Operation>,
        fault: &'a Fault,
    ) -> FaultView<'a> {
        // Of shapes that share a code, the operation's own is meant.
        let own = operation.and_then(|operation| {
            operation.errors.iter().copied().find(|shape| {
                let codes = shape.error.as_ref().map(|error| [error.code, error.query_code]);
                shape.name == fault.code || codes.is_some_and(|codes| codes.contains(&Some(&*fault.code)))
            })
        });
        FaultView { service, shape: own.or_else(|| service?.error(&fault.code)), fault }
    }

    fn traits(&self) -> Option<&'static crate::schema::ErrorTraits> {
        self.shape.and_then(|shape| shape.error.as_ref())
    }

    /// Name in JSON and CBOR, and in `x-amzn-errortype`: the shape's.
    fn code(&self) -> &str {
        self.shape.map_or(&self.fault.code, |shape| shape.name)
    }

    /// Code in XML.
    fn xml_code(&self) -> &str {
        match self.traits().and_then(|error| error.code) {
            Some(code) => code,
            None if self.service.is_some_and(|service| service.is_query_compatible) => self.query_code(),
            None => self.code(),
        }
    }

    /// Code for clients of the service's former query protocol.
    fn query_code(&self) -> &str {
        if let Some(error) = self.traits() {
            return error.query_code.or(error.code).unwrap_or(self.code());
        }
        match &*self.fault.code {
            "AccessDeniedException" => "AccessDenied",
            "ExpiredTokenException" => "ExpiredToken",
            "IncompleteSignatureException" => "IncompleteSignature",
            "InvalidParameterValueException" => "InvalidParameterValue",
            "InvalidSignatureException" => "SignatureDoesNotMatch",
            "MissingAuthenticationTokenException" => "MissingAuthenticationToken",
            "MissingRequiredParameterException" => "MissingParameter",
            "UnrecognizedClientException" => "InvalidClientTokenId",
            code => code,
        }
    }

    /// The code with the namespace of the layer that found the fault.
    fn qualified_code(&self) -> String {
        let Some(service) = self.service else { return self.code().to_owned() };
        let framework = service.framework_namespace;
        let prefix = match self.fault.origin {
            Origin::Modelled if self.shape.is_some() => service.error_namespace.to_owned(),
            Origin::Modelled if self.fault.code != service.validation.code => framework.to_owned(),
            Origin::Modelled | Origin::Validation => framework.replace(".service#", ".validate#"),
            Origin::Availability => framework.replace(".service#", ".availability#"),
            Origin::Framework => framework.to_owned(),
        };
        prefix + self.code()
    }

    fn status(&self) -> StatusCode {
        let modelled = self.traits().map_or(0, |error| error.status);
        let number = match (self.fault.status, modelled) {
            (0, 0) if self.is_sender_fault() => 400,
            (0, 0) => 500,
            (0, modelled) => modelled,
            (own, _) => own,
        };
        StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn is_sender_fault(&self) -> bool {
        self.fault.is_sender_fault && self.traits().is_none_or(|error| error.is_sender_fault)
    }

    fn side(&self) -> &'static str {
        if self.is_sender_fault() { "Sender" } else { "Receiver" }
    }

    fn members(&self) -> Option<&'a dyn Struct> {
        self.fault.members.as_deref()
    }

    /// The shape's own message member.
    fn message_member(&self) -> Option<(usize, &'static Member)> {
        let members = self.shape?.members().iter().enumerate();
        members.into_iter().find(|(_, member)| {
            member.name.eq_ignore_ascii_case("message") && member.shape.kind == Kind::String
        })
    }

    /// The message and its key in JSON and CBOR; `None` if there is none to send.
    fn message(&self) -> Option<(&'static str, &str)> {
        let own = self.message_member();
        let is_in_members = own.is_some_and(|(at, _)| self.members().is_some_and(|m| m.get(at).is_present()));
        if is_in_members || (self.fault.message.is_empty() && !own.is_some_and(|(_, m)| m.is_required)) {
            return None;
        }
        let key = match own {
            Some((_, member)) => member.json,
            None if is_framework_with_capital(&self.fault.code) => "Message",
            None => "message",
        };
        Some((key, &self.fault.message))
    }

    /// Lambda's errors say whose fault it is in a member of their own.
    fn lambda_type(&self) -> Option<(&'static str, &'static str)> {
        let (at, member) =
            self.shape?.member("Type").filter(|(_, member)| member.shape.kind == Kind::String)?;
        let is_set = self.members().is_some_and(|members| members.get(at).is_present());
        (!is_set).then_some((member.json, if self.is_sender_fault() { "User" } else { "Service" }))
    }

    fn json(&self, qualified_code: Option<String>, select: Select) -> Vec<u8> {
        let mut out = vec![b'{'];
        let pair = |out: &mut Vec<u8>, key: &str, value: &str| {
            if out.len() > 1 {
                out.push(b',');
            }
            json::write_string(out, key);
            out.push(b':');
            json::write_string(out, value);
        };
        if let Some(code) = qualified_code {
            pair(&mut out, "__type", &code);
        }
        if select == Select::Body
            && let Some((key, value)) = self.lambda_type()
        {
            pair(&mut out, key, value);
        }
        if let Some((key, text)) = self.message() {
            pair(&mut out, key, text);
        }
        for (key, value) in &self.fault.extras {
            pair(&mut out, key, value);
        }
        if let (Some(shape), Some(members)) = (self.shape, self.members()) {
            let is_first = out.len() == 1;
            json::write_members(&mut out, shape, select, members, is_first);
        }
        out.push(b'}');
        out
    }

    fn cbor(&self, protocol: Protocol) -> Vec<u8> {
        let mut writer = cbor::Writer::new(cbor::Clock::of(protocol));
        writer.begin_map();
        writer.text("__type");
        writer.text(&self.qualified_code());
        let message = self.message();
        let extras = self.fault.extras.iter().map(|(key, value)| (&**key, &**value));
        for (key, value) in message.into_iter().chain(extras) {
            writer.text(key);
            writer.text(value);
        }
        if let (Some(shape), Some(members)) = (self.shape, self.members()) {
            writer.members(shape, Select::All, members);
        }
        writer.end_map();
        writer.out
    }

    fn query(&self, request_id: &str) -> Vec<u8> {
        let mut xml = XmlWriter::default();
        let namespace = self.service.map_or("", |service| service.xml_namespace);
        xml.open("ErrorResponse", Some(namespace));
        xml.open("Error", None);
        xml.leaf("Type", self.side());
        xml.leaf("Code", self.xml_code());
        self.xml_members(&mut xml);
        xml.close("Error");
        xml.leaf("RequestId", request_id);
        xml.close("ErrorResponse");
        xml.out
    }

    fn ec2(&self, request_id: &str) -> Vec<u8> {
        let mut xml = XmlWriter::default();
        xml.declaration();
        xml.open("Response", None);
        xml.open("Errors", None);
        xml.open("Error", None);
        xml.leaf("Code", self.xml_code());
        self.xml_members(&mut xml);
        xml.close("Error");
        xml.close("Errors");
        xml.leaf("RequestID", request_id);
        xml.close("Response");
        xml.out
    }

    fn s3(&self, request_id: &str) -> Vec<u8> {
        let mut xml = XmlWriter { always_millis: true, ..XmlWriter::default() };
        xml.declaration();
        xml.open("Error", None);
        xml.leaf("Code", self.xml_code());
        self.xml_members(&mut xml);
        xml.leaf("RequestId", request_id);
        xml.leaf("HostId", &super::extended_request_id(request_id));
        xml.close("Error");
        xml.out
    }

    /// Message, modelled members and extras, as siblings.
    fn xml_members(&self, xml: &mut XmlWriter) {
        let own = self.message_member();
        let in_members =
            own.zip(self.members()).and_then(|((at, _), members)| match members.get(at).view() {
                View::Str(text) => Some(text),
                _ => None,
            });
        let message = in_members.unwrap_or(&self.fault.message);
        if !message.is_empty() || own.is_some_and(|(_, member)| member.is_required) {
            // AWS writes `Message` here whatever the shape calls it.
            xml.leaf("Message", message);
        }
        for (key, value) in &self.fault.extras {
            xml.leaf(key, value);
        }
        if let (Some(shape), Some(members)) = (self.shape, self.members()) {
            for (at, member) in shape.members().iter().enumerate() {
                if own.is_none_or(|(message, _)| message != at) && Select::Body.takes(member) {
                    xml.element(member.xml, member, members.get(at).view());
                }
            }
        }
    }
}

/// The framework's own faults whose message is called `Message`.
fn is_framework_with_capital(code: &str) -> bool {
    matches!(code, "SerializationException" | "AccessDeniedException")
}
