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
//! | `codec/time.rs`, `codec/percent.rs` | timestamps; percent-encoding                                       |

pub mod coercion;
pub mod json;
pub mod percent;
pub mod query;
pub mod time;
pub mod xml;

use bytes::Bytes;

use crate::fault::Fault;
use crate::schema::{Bind, Kind, Member, Shape};
use crate::value::{ByteStream, Slot, Val};

/// How deep a value may be nested.
pub const MAX_DEPTH: usize = 128;

/// Which members of a structure travel in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// All: RPC protocols, and everything below the top level.
    All,
    /// Those without a binding: the body of a REST message.
    Body,
}

impl Select {
    #[inline]
    pub fn takes(self, member: &Member) -> bool {
        self == Select::All || member.bind == Bind::Body
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
            None => Err(Fault::framework("SerializationException", 400, "The request holds too many values.")),
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
