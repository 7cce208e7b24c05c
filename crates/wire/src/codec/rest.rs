//! HTTP bindings of restJson1 and restXml: which member travels in path, query, headers, status or body.

mod headers;
mod request;
mod response;

pub use headers::{read as read_headers, write as write_headers};
pub use request::decode;
pub use response::{document_type, encode};

use super::Select;
use crate::protocol::Protocol;
use crate::schema::{Bind, Member, Shape};

/// The member that is the whole body.
pub fn payload(shape: &'static Shape) -> Option<(usize, &'static Member)> {
    shape.members().iter().enumerate().find(|(_, member)| member.bind == Bind::Payload)
}

/// Whether messages of this shape have a document as body: if any member travels there; of JSON, also if the model names
/// the shape at all.
pub fn has_body(protocol: Protocol, shape: &'static Shape, select: Select) -> bool {
    let has_members = shape.members().iter().any(|member| select.takes(member));
    has_members || (select == Select::Answer && protocol == Protocol::RestJson1 && !shape.is_unit())
}

/// Root element of a payload: the member's own name, where it has one, else the shape's.
pub fn payload_element(member: &'static Member) -> &'static str {
    if member.xml == member.name { member.shape.xml_name.unwrap_or(member.shape.name) } else { member.xml }
}
