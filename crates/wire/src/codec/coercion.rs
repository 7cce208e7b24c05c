//! What JSON and CBOR decoders do with a value of another type than the model's: convert it, or refuse it in the words of
//! the service's framework.
//!
//! Recorded: the texts of the `Coral` and `DynamoDb` strategies are those that the test suites of dynalite and kinesalite
//! recorded from AWS.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::fault::Fault;
use crate::schema::{Coercion, Kind, Service, Shape};

/// What a decoder found where another type was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    Bool(bool),
    Integer,
    Decimal,
    Text(&'a str),
    List,
    Map,
}

/// Where it was found: inside a list or a map, or as a structure's member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Member,
    Element,
}

/// A body that cannot be read at all: the code alone, no text.
pub fn malformed() -> Fault {
    refusal(String::new())
}

fn refusal(text: impl Into<String>) -> Fault {
    Fault::framework("SerializationException", 400, text)
}

/// Text where a boolean is due; `None` if it does not convert.
pub fn text_to_bool(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") || text == "1" || text.eq_ignore_ascii_case("yes") => {
            Some(true)
        }
        _ if text.eq_ignore_ascii_case("false") || text == "0" || text.eq_ignore_ascii_case("no") => {
            Some(false)
        }
        _ => None,
    }
}

/// The refusal of `found` where `shape` is due.
pub fn refuse(service: &Service, shape: &Shape, found: Found<'_>, place: Place) -> Fault {
    match service.coercion {
        Coercion::Coral => refusal(coral(shape, found)),
        Coercion::DynamoDb => refusal(dynamodb(service, shape, found, place)),
        Coercion::Jackson => malformed(),
    }
}

fn coral(shape: &Shape, found: Found<'_>) -> String {
    match (found, shape.kind) {
        (Found::List, _) => return "Start of list found where not expected".into(),
        (Found::Map, _) => return "Start of structure or map found where not expected.".into(),
        (_, Kind::List) => return "Expected list or null".into(),
        (_, Kind::Map) => return "Expected map or null".into(),
        (_, Kind::Structure | Kind::Union | Kind::EventStream) => return "Expected null".into(),
        (Found::Text(text), Kind::Boolean) => return format!("'{text}' can not be converted to an Boolean"),
        _ => {}
    }
    let class = match found {
        Found::Bool(_) => "java.lang.Boolean",
        Found::Text(_) => "java.lang.String",
        _ => "com.amazon.coral.value.json.numbers.TruncatingBigNumber",
    };
    match shape.kind {
        Kind::Blob => format!("class {class} can not be converted to a Blob"),
        kind => format!("class {class} can not be converted to an {}", java_name(kind)),
    }
}

fn dynamodb(service: &Service, shape: &Shape, found: Found<'_>, place: Place) -> String {
    let token = match found {
        Found::Map => return "Start of structure or map found where not expected".into(),
        Found::List => {
            return format!("Unrecognized collection type {}", java_type(&java_package(service), shape));
        }
        Found::Bool(true) => "TRUE_VALUE",
        Found::Bool(false) => "FALSE_VALUE",
        Found::Integer => "NUMBER_VALUE",
        Found::Decimal => "DECIMAL_VALUE",
        Found::Text(_) => "STRING_VALUE",
    };
    match (shape.kind, found, place) {
        (Kind::List | Kind::Map, _, Place::Element) => PARAMETERIZED.into(),
        (Kind::Structure | Kind::Union, _, Place::Element) => "Unexpected value type in payload".into(),
        (Kind::List | Kind::Map | Kind::Structure | Kind::Union, _, Place::Member) => {
            "Unexpected field type".into()
        }
        (Kind::Blob, ..) => "only base-64-encoded strings are convertible to bytes".into(),
        (Kind::Boolean, Found::Text(_), _) => "Unexpected token received from parser".into(),
        (kind, ..) => format!("{token} cannot be converted to {}", java_name(kind)),
    }
}

/// What DynamoDB says of a scalar where a collection inside a collection is due.
const PARAMETERIZED: &str = "class sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl cannot be cast to class \
    java.lang.Class (sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl and java.lang.Class are in module \
    java.base of loader 'bootstrap')";

fn java_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "Boolean",
        Kind::String => "String",
        Kind::Byte => "Byte",
        Kind::Short => "Short",
        Kind::Integer => "Integer",
        Kind::Long => "Long",
        Kind::Float => "Float",
        Kind::Double => "Double",
        Kind::Timestamp => "Date",
        _ => "Object",
    }
}

/// `com.amazonaws.dynamodb.v20120810.`, from the namespace of the service's errors.
fn java_package(service: &Service) -> String {
    service.error_namespace.replace('#', ".")
}

fn java_type(package: &str, shape: &Shape) -> String {
    match shape.kind {
        Kind::Blob => "class java.nio.ByteBuffer".into(),
        Kind::Map => {
            let value = java_type(package, shape.entry().1.shape);
            format!("java.util.Map<java.lang.String, {}>", value.trim_start_matches("class "))
        }
        Kind::List => {
            let element = java_type(package, shape.element().shape);
            format!("java.util.List<{}>", element.trim_start_matches("class "))
        }
        Kind::Structure | Kind::Union => format!("class {package}{}", shape.name),
        kind => format!("class java.lang.{}", java_name(kind)),
    }
}

/// Unpadded text is let through to the length check, which has its own message.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Base64 text as bytes.
///
/// # Errors
/// `SerializationException` in the service's words.
pub fn base64_to_bytes(service: &Service, text: &str) -> Result<Bytes, Fault> {
    match BASE64.decode(text) {
        Ok(bytes) => Ok(Bytes::from(bytes)),
        Err(_) => Err(refuse_base64(service.coercion, text)),
    }
}

fn refuse_base64(coercion: Coercion, text: &str) -> Fault {
    let body = text.trim_end_matches('=');
    let stranger = body.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '/'));
    let reason = match stranger {
        _ if !text.len().is_multiple_of(4) => {
            format!("Base64 encoded length is expected a multiple of 4 bytes but found: {}", text.len())
        }
        Some(c) if coercion != Coercion::DynamoDb || c != '=' => format!("Invalid Base64 character: '{c}'"),
        // The misspelling is AWS's.
        _ => "Invalid last non-pad Base64 character dectected".into(),
    };
    match coercion {
        Coercion::Coral => refusal(format!("'{text}' can not be converted to a Blob: {reason}")),
        Coercion::DynamoDb => refusal(reason),
        Coercion::Jackson => malformed(),
    }
}
