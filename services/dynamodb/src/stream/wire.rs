//! Items in the shapes of the streams' API.

use pileus_api_dynamodbstreams as api;
use pileus_wire::value::Map;

use crate::number::Number;
use crate::value::{Item, Value};

pub fn item(item: &Item) -> Map<api::AttributeValue> {
    Map(item.iter().map(|(name, value)| (name.clone(), attribute(value))).collect())
}

fn attribute(value: &Value) -> api::AttributeValue {
    let mut wire = api::AttributeValue::default();
    match value {
        Value::S(text) => wire.s = Some(text.clone()),
        Value::N(number) => wire.n = Some(number.to_string()),
        Value::B(bytes) => wire.b = Some(bytes.clone()),
        Value::Ss(set) => wire.ss = Some(set.iter().cloned().collect()),
        Value::Ns(set) => wire.ns = Some(set.iter().map(Number::to_string).collect()),
        Value::Bs(set) => wire.bs = Some(set.iter().cloned().collect()),
        Value::M(map) => wire.m = Some(item(map)),
        Value::L(list) => wire.l = Some(list.iter().map(attribute).collect()),
        Value::Null => wire.null = Some(true),
        Value::Bool(value) => wire.bool = Some(*value),
    }
    wire
}
