//! Items as DynamoDB JSON: pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_api_dynamodb as api;
use pileus_wire::value::Map;
use serde_json::{Map as Object, Value as Json};

use crate::number::Number;
use crate::value::{Item, Value, item_from_wire};

/// `{"pk": {"S": "a"}}`
pub fn item(item: &Item) -> Json {
    Json::Object(item.iter().map(|(name, value)| (name.clone(), write(value))).collect())
}

fn write(value: &Value) -> Json {
    let text = |text: &str| Json::String(text.to_owned());
    let inner = match value {
        Value::S(string) => text(string),
        Value::N(number) => text(&number.to_string()),
        Value::B(bytes) => text(&STANDARD.encode(bytes)),
        Value::Bool(value) => Json::Bool(*value),
        Value::Null => Json::Bool(true),
        Value::Ss(set) => set.iter().map(|one| text(one)).collect(),
        Value::Ns(set) => set.iter().map(|one: &Number| text(&one.to_string())).collect(),
        Value::Bs(set) => set.iter().map(|one| text(&STANDARD.encode(one))).collect(),
        Value::L(list) => list.iter().map(write).collect(),
        Value::M(map) => item(map),
    };
    Json::Object(Object::from_iter([(value.type_name().to_owned(), inner)]))
}

/// Reads what [`item`] wrote, or someone else.
///
/// # Errors
/// What is wrong with it.
pub fn read_item(json: &Json) -> Result<Item, String> {
    let object = json.as_object().ok_or("an item is not an object")?;
    let wire = object.iter().map(|(name, value)| Ok((name.clone(), read(value, 0)?)));
    let wire = wire.collect::<Result<Vec<_>, String>>()?;
    item_from_wire(Map(wire)).map_err(|error| error.to_string())
}

fn strings(json: &Json) -> Result<Vec<String>, String> {
    let list = json.as_array().ok_or("a set is not a list")?;
    list.iter()
        .map(|one| one.as_str().map(str::to_owned).ok_or_else(|| "a member of a set is no string".to_owned()))
        .collect()
}

fn bytes(text: &str) -> Result<bytes::Bytes, String> {
    STANDARD.decode(text).map(Into::into).map_err(|error| format!("a binary is not base64: {error}"))
}

fn read(json: &Json, depth: usize) -> Result<api::AttributeValue, String> {
    if depth > crate::value::MAX_DEPTH + 1 {
        return Err("Nesting Levels have exceeded supported limits".to_owned());
    }
    let object = json.as_object().ok_or("an attribute value is not an object")?;
    let mut wire = api::AttributeValue::default();
    for (kind, inner) in object {
        let text = || inner.as_str().map(str::to_owned).ok_or_else(|| format!("{kind} is no string"));
        match kind.as_str() {
            "S" => wire.s = Some(text()?),
            "N" => wire.n = Some(text()?),
            "B" => wire.b = Some(bytes(&text()?)?),
            "BOOL" => wire.bool = Some(inner.as_bool().ok_or("BOOL is no boolean")?),
            "NULL" => wire.null = Some(inner.as_bool().ok_or("NULL is no boolean")?),
            "SS" => wire.ss = Some(strings(inner)?),
            "NS" => wire.ns = Some(strings(inner)?),
            "BS" => {
                let all = strings(inner)?;
                wire.bs = Some(all.iter().map(|one| bytes(one)).collect::<Result<_, _>>()?);
            }
            "L" => {
                let list = inner.as_array().ok_or("L is no list")?;
                wire.l = Some(list.iter().map(|one| read(one, depth + 1)).collect::<Result<_, _>>()?);
            }
            "M" => {
                let map = inner.as_object().ok_or("M is no object")?;
                let map = map.iter().map(|(name, one)| Ok((name.clone(), read(one, depth + 1)?)));
                wire.m = Some(Map(map.collect::<Result<_, String>>()?));
            }
            other => return Err(format!("{other} is no type of an attribute value")),
        }
    }
    Ok(wire)
}
