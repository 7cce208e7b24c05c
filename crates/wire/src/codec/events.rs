//! Events of event streams: each is a message of its own, framed by [`crate::eventstream`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::xml::Writer as XmlWriter;
use super::{Select, cbor, fault, json, rest};
use crate::eventstream::{HeaderValue, Message};
use crate::fault::Fault;
use crate::protocol::Protocol;
use crate::schema::{Kind, Member, Service, Shape};
use crate::value::{BoxStream, ByteStream, Event, EventStream, Struct, View};

/// Turns a stream of events into a stream of framed messages. `initial` goes first. A fault ends the stream, as the last
/// message.
pub fn frame(
    service: &'static Service,
    protocol: Protocol,
    shape: &'static Shape,
    initial: Option<Bytes>,
    events: &mut EventStream,
) -> ByteStream {
    match events.take() {
        Some(events) => ByteStream::new(Frames { service, protocol, shape, initial, events: Some(events) }),
        None => ByteStream::once(initial.unwrap_or_default()),
    }
}

struct Frames {
    service: &'static Service,
    protocol: Protocol,
    shape: &'static Shape,
    initial: Option<Bytes>,
    events: Option<BoxStream<Event, Fault>>,
}

impl Stream for Frames {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(initial) = self.initial.take() {
            return Poll::Ready(Some(Ok(initial)));
        }
        let Some(events) = &mut self.events else { return Poll::Ready(None) };
        let message = match ready!(events.as_mut().poll_next(context)) {
            None => {
                self.events = None;
                return Poll::Ready(None);
            }
            Some(Ok(event)) => frame_event(self.protocol, self.shape, &*event),
            Some(Err(fault)) => {
                self.events = None;
                frame_fault(self.service, self.protocol, self.shape, &fault)
            }
        };
        Poll::Ready(Some(Ok(message)))
    }
}

/// The first message of RPC protocols: the output's other members.
pub fn initial_response(protocol: Protocol, shape: &'static Shape, output: &dyn Struct) -> Bytes {
    let (content_type, payload) = document(protocol, shape, Select::All, output);
    encode(Message::event("initial-response", content_type, payload))
}

/// One event; `shape` is the stream's union.
pub fn frame_event(protocol: Protocol, shape: &'static Shape, event: &dyn Struct) -> Bytes {
    let set = event.active().or_else(|| (0..shape.members().len()).find(|i| event.get(*i).is_present()));
    let member = set.and_then(|at| shape.members().get(at).map(|member| (at, member)));
    let Some((at, member)) = member else {
        return encode(Message::error("InternalFailure", "An event without a type."));
    };
    let View::Struct(value) = event.get(at).view() else {
        return encode(Message::event(member.name, "application/octet-stream", Bytes::new()));
    };
    let (content_type, payload) = payload(protocol, member.shape, value);
    let mut message = match member.shape.error {
        Some(_) => Message::exception(member.name, content_type, payload),
        None => Message::event(member.name, content_type, payload),
    };
    for (i, member) in member.shape.members().iter().enumerate().filter(|(_, member)| member.is_event_header)
    {
        if let Some(value) = header(member, value.get(i).view()) {
            message.headers.push((member.name.to_owned(), value));
        }
    }
    encode(message)
}

/// A fault: an exception if the stream's union knows it, else an error.
fn frame_fault(service: &'static Service, protocol: Protocol, shape: &'static Shape, fault: &Fault) -> Bytes {
    let error = service.error(&fault.code);
    let known = error.and_then(|error| shape.members().iter().find(|member| member.shape.name == error.name));
    match known {
        Some(member) => {
            let (content_type, payload) = fault::event_payload(protocol, member.shape, fault);
            encode(Message::exception(member.name, content_type, payload))
        }
        None => encode(Message::error(&fault.code, &fault.message)),
    }
}

fn payload(protocol: Protocol, shape: &'static Shape, value: &dyn Struct) -> (&'static str, Bytes) {
    let explicit = shape.members().iter().enumerate().find(|(_, member)| member.is_event_payload);
    let Some((at, member)) = explicit else {
        let has_members = shape.members().iter().any(|member| !member.is_event_header);
        return if has_members || protocol != Protocol::RestXml {
            document(protocol, shape, Select::Event, value)
        } else {
            ("application/octet-stream", Bytes::new())
        };
    };
    match value.get(at).view() {
        View::Absent | View::Stream => ("application/octet-stream", Bytes::new()),
        View::Blob(bytes) => ("application/octet-stream", bytes.clone()),
        View::Str(text) => ("text/plain", Bytes::copy_from_slice(text.as_bytes())),
        View::Struct(inner) => document(protocol, member.shape, Select::All, inner),
        view => {
            let mut out = Vec::new();
            json::write_value(&mut out, member, view);
            ("application/json", out.into())
        }
    }
}

/// A structure in the protocol's body format.
pub(super) fn document(
    protocol: Protocol,
    shape: &'static Shape,
    select: Select,
    value: &dyn Struct,
) -> (&'static str, Bytes) {
    match protocol {
        Protocol::RpcV2Cbor | Protocol::AmzCbor11 => {
            let mut writer = cbor::Writer::new(cbor::Clock::of(protocol));
            writer.structure(shape, select, value);
            (super::rpc::content_type(protocol), writer.out.into())
        }
        Protocol::RestXml | Protocol::AwsQuery | Protocol::Ec2Query => {
            let mut xml = XmlWriter::default();
            xml.structure(shape.xml_name.unwrap_or(shape.name), None, shape, select, value);
            ("application/xml", xml.out.into())
        }
        _ => {
            let mut out = Vec::with_capacity(256);
            json::write_structure(&mut out, shape, select, value);
            let content_type = if protocol.is_rest() {
                rest::document_type(protocol)
            } else {
                super::rpc::content_type(protocol)
            };
            (content_type, out.into())
        }
    }
}

fn header(member: &Member, view: View<'_>) -> Option<HeaderValue> {
    Some(match (member.shape.kind, view) {
        (_, View::Bool(value)) => HeaderValue::Bool(value),
        (Kind::Byte, View::Int(value)) => HeaderValue::Byte(value as i8),
        (Kind::Short, View::Int(value)) => HeaderValue::Short(value as i16),
        (Kind::Integer, View::Int(value)) => HeaderValue::Int(value as i32),
        (_, View::Int(value)) => HeaderValue::Long(value),
        (_, View::Blob(value)) => HeaderValue::Bytes(value.clone()),
        (_, View::Str(value)) => HeaderValue::String(value.to_owned()),
        (_, View::Time(value)) => HeaderValue::Timestamp(value),
        _ => return None,
    })
}

/// A message that breaks the format's limits becomes an error message, which does not.
fn encode(message: Message) -> Bytes {
    message.encode().unwrap_or_else(|error| {
        let text = error.to_string();
        Message::error("InternalFailure", &text).encode().expect("a short error message is within all limits")
    })
}
