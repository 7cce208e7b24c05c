//! From requests to inputs, and from outputs and faults to responses, in every protocol.
//!
//! | File                | Holds                                                                              |
//! |---------------------|------------------------------------------------------------------------------------|
//! | `codec/json.rs`     | awsJson bodies, and those of restJson1                                             |
//! | `codec/coercion.rs` | values of wrong types in JSON and CBOR: what converts, how the rest is refused     |
//! | `codec/cbor.rs`     | rpc-v2-cbor and the older `x-amz-cbor-1.1`                                         |
//! | `codec/query.rs`    | form parameters of awsQuery and ec2Query                                           |
//! | `codec/xml.rs`      | restXml bodies, and the answers of the query protocols                             |
//! | `codec/rest.rs`     | HTTP bindings of the REST protocols: labels, query, headers, payloads              |
//! | `codec/rpc.rs`      | answers of the RPC protocols                                                       |
//! | `codec/fault.rs`    | faults, framed as each protocol and service does                                   |
//! | `codec/events.rs`   | events of event streams                                                            |
//! | `codec/client.rs`   | the client's side: requests written, answers read                                  |
//! | `codec/fuzz.rs`     | one entry per decoder that takes bytes from anywhere                               |
//! | `codec/time.rs`, `codec/percent.rs` | timestamps; percent-encoding                                       |

pub mod cbor;
pub mod client;
pub mod coercion;
pub mod events;
pub mod fuzz;
pub mod json;
pub mod percent;
pub mod query;
pub mod time;
pub mod xml;

mod fault;
mod rest;
mod rpc;
#[cfg(test)]
mod tests;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::fault::Fault;
use crate::protocol::{Protocol, Request, Response, ResponseBody};
use crate::schema::{Bind, Coercion, Kind, Member, Operation, Service, Shape, TimeFormat};
use crate::value::{ByteStream, Slot, Struct, Val};

/// Reads a request into an operation's input. A streaming payload is left alone: whoever has the body sets the member
/// that [`streaming_input`] names.
///
/// # Errors
/// What the service's framework says of a request that does not fit its model.
pub fn decode(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    request: &Request<'_>,
    body: Bytes,
    input: &mut dyn Struct,
) -> Result<(), Fault> {
    let shape = operation.input;
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => json::decode(service, shape, Select::All, &body, input),
        Protocol::RpcV2Cbor | Protocol::AmzCbor11 => {
            cbor::decode(service, shape, cbor::Clock::of(protocol), &body, input)
        }
        Protocol::AwsQuery | Protocol::Ec2Query => {
            query::decode(protocol, shape, request.query, &body, input)?;
            from_path(shape, request, input)
        }
        Protocol::RestJson1 | Protocol::RestXml => {
            rest::decode(service, operation, protocol, request, body, input)
        }
    }
}

/// What routing read from the path of a query request (a queue's URL) stands in for a parameter that is absent.
fn from_path(shape: &'static Shape, request: &Request<'_>, input: &mut dyn Struct) -> Result<(), Fault> {
    for (name, text) in request.labels {
        if let Some((at, member)) = shape.member(name).filter(|(at, _)| !input.get(*at).is_present()) {
            let slot = input.get_mut(at).ok_or_else(|| mismatch(member))?;
            let _ = xml::parse_scalar(member, text, TimeFormat::DateTime, slot)?;
        }
    }
    Ok(())
}

/// Index of the input's streaming blob, if it has one.
pub fn streaming_input(operation: &'static Operation) -> Option<usize> {
    let (at, member) = rest::payload(operation.input)?;
    (member.is_streaming && member.shape.kind == Kind::Blob).then_some(at)
}

/// Writes an output. Streams are taken out of it: the body is then framed events, or the payload as it comes. An output
/// that does not fit its protocol becomes an `InternalFailure` that says so.
pub fn encode(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    output: &mut dyn Struct,
    request_id: &str,
) -> Response {
    let mut response = if protocol.is_rest() {
        match rest::encode(service, operation, protocol, output) {
            Ok(response) => response,
            Err(fault) => {
                return encode_fault(Some(service), Some(operation), protocol, &fault, request_id, false);
            }
        }
    } else {
        rpc::encode(service, operation, protocol, output, request_id)
    };
    if let ResponseBody::Bytes(body) = &response.body {
        set_crc32(Some(service), protocol, body, &mut response.headers);
    }
    set_request_id(Some(service), protocol, request_id, &mut response.headers);
    response
}

/// Writes a fault. `service` and `operation` are `None` when the request could not be routed that far.
pub fn encode_fault(
    service: Option<&'static Service>,
    operation: Option<&'static Operation>,
    protocol: Protocol,
    fault: &Fault,
    request_id: &str,
    is_head: bool,
) -> Response {
    let mut response = fault::encode(service, operation, protocol, fault, request_id, is_head);
    set_request_id(service, protocol, request_id, &mut response.headers);
    response
}

fn set_header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn set_request_id(
    service: Option<&'static Service>,
    protocol: Protocol,
    request_id: &str,
    headers: &mut HeaderMap,
) {
    if service.is_some_and(is_s3) {
        set_header(headers, "x-amz-request-id", request_id);
        set_header(headers, "x-amz-id-2", &extended_request_id(request_id));
    } else {
        set_header(headers, "x-amzn-requestid", request_id);
        if service.is_some_and(|service| service.service_id == "Kinesis") {
            set_header(headers, "x-amz-id-2", &extended_request_id(request_id));
        }
    }
    if protocol == Protocol::RpcV2Cbor {
        set_header(headers, "smithy-protocol", "rpc-v2-cbor");
    }
}

/// DynamoDB's clients check their answers against this.
fn set_crc32(service: Option<&'static Service>, protocol: Protocol, body: &[u8], headers: &mut HeaderMap) {
    let is_json = matches!(protocol, Protocol::AwsJson10 | Protocol::AwsJson11);
    if is_json && service.is_some_and(|service| service.coercion == Coercion::DynamoDb) {
        headers.insert("x-amz-crc32", HeaderValue::from(crc32fast::hash(body)));
    }
}

/// S3's second request id: opaque text of 76 characters.
fn extended_request_id(request_id: &str) -> String {
    let bytes: Vec<u8> = request_id.bytes().cycle().take(56).collect();
    BASE64_STANDARD.encode(bytes)
}

/// S3 itself, whose errors and timestamps differ from those of other restXml services.
fn is_s3(service: &'static Service) -> bool {
    service.service_id == "S3"
}

/// How deep a value may be nested.
pub const MAX_DEPTH: usize = 128;

/// Which members of a structure travel in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// All: RPC protocols, and everything below the top level.
    All,
    /// Those without a binding: the body of a REST request.
    Body,
    /// Those of a REST answer, where labels and query parameters have no place of their own.
    Answer,
    /// Those that are not headers of an event.
    Event,
}

impl Select {
    #[inline]
    pub fn takes(self, member: &Member) -> bool {
        match self {
            Select::All => true,
            Select::Body => member.bind == Bind::Body,
            Select::Answer => {
                matches!(member.bind, Bind::Body | Bind::Label(_) | Bind::Query(_) | Bind::QueryMap)
            }
            Select::Event => !member.is_event_header,
        }
    }
}

/// What one message may make us allocate, by estimate: small elements of large structures must not turn a megabyte on
/// the wire into gigabytes.
pub struct Budget {
    left: u64,
}

impl Budget {
    pub fn new(body_len: usize) -> Budget {
        Budget { left: 64 * 1024 * 1024 + 32 * body_len as u64 }
    }

    /// Accounts for one more value of this shape.
    ///
    /// # Errors
    /// `SerializationException` when the budget is spent.
    #[inline]
    pub fn charge(&mut self, shape: &Shape) -> Result<(), Fault> {
        let size = match shape.kind {
            Kind::Structure => 32 * shape.members().len() as u64,
            _ => 32,
        };
        match self.left.checked_sub(size) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                Err(Fault::framework("SerializationException", 400, "The request holds too many values."))
            }
        }
    }
}

/// The slot is not of the schema's kind: generated types and schema have come apart.
pub(crate) fn mismatch(member: &Member) -> Fault {
    let text = format!("The type of `{}` does not fit its shape `{}`.", member.name, member.shape.name);
    Fault::framework("InternalFailure", 500, text)
}

/// Fills a blob's slot, whether it is held in memory or streamed.
pub(crate) fn put_blob(member: &Member, into: &mut dyn Val, bytes: Bytes) -> Result<(), Fault> {
    match into.slot() {
        Slot::Blob(slot) => *slot = bytes,
        Slot::Bytes(slot) => *slot = ByteStream::once(bytes),
        _ => return Err(mismatch(member)),
    }
    Ok(())
}

/// Position of the first byte that `is_wanted`. Whole blocks are tested without branches, so that the compiler uses vector
/// instructions: `is_wanted` should have none either.
#[inline]
pub(crate) fn find(bytes: &[u8], is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks::<32>();
    let is_clean = |block: &&[u8; 32]| !block.iter().fold(false, |found, byte| found | is_wanted(*byte));
    let start = blocks.iter().take_while(is_clean).count() * 32;
    bytes[start..].iter().position(|byte| is_wanted(*byte)).map(|offset| start + offset)
}

/// The words for floats that are not finite.
pub(crate) fn special_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

pub(crate) fn special_float_name(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

/// Appends a decimal integer.
pub(crate) fn write_integer(out: &mut Vec<u8>, value: i64) {
    serde_json::to_writer(out, &value).expect("an integer is JSON and a vector takes all bytes");
}

/// Appends a finite float in the shortest form that reads back the same; single precision for that kind.
pub(crate) fn write_float(out: &mut Vec<u8>, kind: Kind, value: f64) {
    let single = value as f32;
    let written = if kind == Kind::Float && single.is_finite() {
        serde_json::to_writer(out, &single)
    } else {
        serde_json::to_writer(out, &value)
    };
    written.expect("a float is JSON and a vector takes all bytes");
}
