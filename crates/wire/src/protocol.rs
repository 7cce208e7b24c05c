//! The protocols, and what passes between a listener and the codecs.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::value::ByteStream;

/// How a request is written, and so how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    AwsJson10,
    AwsJson11,
    RestJson1,
    RestXml,
    AwsQuery,
    Ec2Query,
    RpcV2Cbor,
    /// `application/x-amz-cbor-1.1`: awsJson with CBOR bodies, as older Kinesis clients send.
    AmzCbor11,
}

impl Protocol {
    pub fn is_rest(self) -> bool {
        matches!(self, Protocol::RestJson1 | Protocol::RestXml)
    }
}

/// A request as the codecs see it. Path and query are as sent, still percent-encoded.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a Method,
    /// Begins with `/`; no query.
    pub path: &'a str,
    /// Without the `?`; empty if there is none.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// Values of the URI template's labels, percent-decoded, in the template's order; filled by routing (REST only).
    pub labels: &'a [(&'static str, String)],
}

impl<'a> Request<'a> {
    /// A header as text; `None` if absent or not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A response before it is handed to the listener.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: ResponseBody,
}

#[derive(Debug)]
pub enum ResponseBody {
    Bytes(Bytes),
    /// A streaming payload, or framed event-stream messages.
    Stream(ByteStream),
}

impl Response {
    pub fn new(status: StatusCode, body: Bytes) -> Response {
        Response { status, headers: HeaderMap::new(), body: ResponseBody::Bytes(body) }
    }
}
