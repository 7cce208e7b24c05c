//! The words that generated code writes as `w::..`. Shapes are named `Option`, `None` and `All`: it may use no prelude name.

pub use std::boxed::Box;
pub use std::option::Option;
pub use std::string::String;
pub use std::vec::Vec;

pub use bytes::Bytes;
pub use pileus_core::Timestamp;

pub use crate::operation::Operation;
pub use crate::value::{ABSENT, ByteStream, Document, EventStream, Map, Struct, Unit, Val};

use crate::schema::{Service, Shape};

/// Hash (FNV-1a) of a shape's member names and kinds in their order: what a generated struct is coupled to.
pub fn fingerprint(shape: &Shape) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for member in shape.members() {
        add(member.name.as_bytes());
        add(&[0, member.shape.kind as u8, u8::from(member.shape.is_sparse), u8::from(member.is_streaming)]);
    }
    hash
}

/// The shapes whose fingerprint is not what the generated code was made from: regenerate it.
pub fn stale<'a>(service: &Service, fingerprints: &[(&'a str, u64)]) -> Vec<&'a str> {
    let is_stale = |name: &str, print: u64| service.shape(name).map(fingerprint) != Some(print);
    fingerprints.iter().filter(|(name, print)| is_stale(name, *print)).map(|(name, _)| *name).collect()
}
