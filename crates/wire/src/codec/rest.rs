//! HTTP bindings of restJson1 and restXml: which member travels in path, query, headers, status or body.

mod headers;
mod request;
mod response;

pub use headers::{read as read_headers, write as write_headers};
pub use request::decode;
pub use response::{document_type, encode};

use crate::schema::{Bind, Member, Shape};

/// The member that is the whole body.
pub fn payload(shape: &'static Shape) -> Option<(usize, &'static Member)> {
    shape.members().iter().enumerate().find(|(_, member)| member.bind == Bind::Payload)
}

/// Whether messages of this shape have a structure as body: members without a binding and no payload.
pub fn has_body(shape: &'static Shape) -> bool {
    let is_empty = shape.members().is_empty() && !shape.is_unit();
    is_empty || shape.members().iter().any(|member| member.bind == Bind::Body)
}

/// Root element of a payload: the member's own name, where it has one, else the shape's.
pub fn payload_element(member: &'static Member) -> &'static str {
    if member.xml == member.name { member.shape.xml_name.unwrap_or(member.shape.name) } else { member.xml }
}
