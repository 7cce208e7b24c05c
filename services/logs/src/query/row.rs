//! An event, and the fields that are found in it: those of the system, of JSON, and of Lambda's own lines.
//!
//! Source: Amazon CloudWatch Logs User Guide, "Supported logs and discovered fields".

use std::cell::OnceCell;
use std::sync::Arc;

use serde_json::Value as Json;

use super::value::Value;
use crate::address::Address;
use crate::event::position::{Pointer, Position};

/// What the events of a group share.
#[derive(Debug)]
pub struct Source {
    arn: String,
    group: u64,
    /// `000000000000:/aws/lambda/f`
    log: String,
    is_lambda: bool,
}

impl Source {
    pub fn new(address: &Address, group: u64) -> Source {
        Source {
            arn: address.arn(),
            group,
            log: format!("{}:{}", address.account.as_str(), address.name),
            is_lambda: address.name.starts_with("/aws/lambda/"),
        }
    }
}

/// An event as it was stored.
#[derive(Debug)]
pub struct Origin {
    pub source: Arc<Source>,
    pub stream_name: String,
    pub stream: u64,
    pub position: Position,
    pub ingested_at: i64,
    pub message: String,
}

impl Origin {
    fn pointer(&self) -> String {
        let pointer = Pointer {
            group_arn: self.source.arn.clone(),
            group: self.source.group,
            stream: self.stream,
            stream_name: self.stream_name.clone(),
            position: self.position,
        };
        pointer.write()
    }
}

/// A row that commands work on.
#[derive(Debug, Default)]
pub struct Row {
    /// None behind `stats`.
    pub origin: Option<Origin>,
    /// Fields that commands have added; the last of a name counts.
    pub added: Vec<(String, Value)>,
    json: OnceCell<Option<Json>>,
}

impl Row {
    pub fn new(origin: Origin) -> Row {
        Row { origin: Some(origin), ..Row::default() }
    }

    pub fn get(&self, name: &str) -> Value {
        if let Some((_, value)) = self.added.iter().rev().find(|(added, _)| added == name) {
            return value.clone();
        }
        let Some(origin) = &self.origin else { return Value::Null };
        match name {
            "@message" => Value::Text(origin.message.clone()),
            "@timestamp" => Value::Time(origin.position.at),
            "@ingestionTime" => Value::Time(origin.ingested_at),
            "@logStream" => Value::Text(origin.stream_name.clone()),
            "@log" => Value::Text(origin.source.log.clone()),
            "@ptr" => Value::Text(origin.pointer()),
            _ => {
                let lambda = origin.source.is_lambda.then(|| lambda_field(&origin.message, name)).flatten();
                let found = lambda.map(Value::Text);
                found.or_else(|| json_field(self.json(), name)).unwrap_or(Value::Null)
            }
        }
    }

    pub fn set(&mut self, name: &str, value: Value) {
        self.added.push((name.to_owned(), value));
    }

    /// Every field of an event and its value, in the order in which they stand.
    pub fn all_fields(&self) -> Vec<(String, String)> {
        let Some(origin) = &self.origin else { return Vec::new() };
        let system = ["@ingestionTime", "@log", "@logStream", "@message", "@timestamp"];
        let lambda = LAMBDA_FIELDS.iter().map(|(name, _)| *name).chain(["@requestId", "@type"]);
        let lambda = lambda.filter(|_| origin.source.is_lambda);
        let named = system.into_iter().chain(lambda);
        let mut fields: Vec<_> =
            named.filter_map(|name| Some((name.to_owned(), self.get(name).text()?))).collect();
        if let Some(json) = self.json() {
            flatten(json, String::new(), &mut fields);
        }
        fields
    }

    fn json(&self) -> Option<&Json> {
        let parse = || find_json(&self.origin.as_ref()?.message);
        self.json.get_or_init(parse).as_ref()
    }
}

/// The first object in JSON within the text.
fn find_json(text: &str) -> Option<Json> {
    let start = text.find('{')?;
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Json>();
    values.next()?.ok().filter(Json::is_object)
}

/// `a.b.0.c`. A name may itself have points. One that begins with `@` is asked for with another `@`.
fn json_field(json: Option<&Json>, name: &str) -> Option<Value> {
    let name = match name.strip_prefix('@') {
        Some(rest) if rest.starts_with('@') => rest,
        Some(_) => return None,
        None => name,
    };
    leaf(walk(json?, name)?).map(Value::Text)
}

fn walk<'j>(json: &'j Json, path: &str) -> Option<&'j Json> {
    let step = |key: &str| match json {
        Json::Object(members) => members.get(key),
        Json::Array(elements) => elements.get(key.parse::<usize>().ok()?),
        _ => None,
    };
    if let Some(found) = step(path) {
        return Some(found);
    }
    let points = path.match_indices('.').map(|(at, _)| at);
    points.filter_map(|at| walk(step(&path[..at])?, &path[at + 1..])).next()
}

fn leaf(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(value) => Some(if *value { "1" } else { "0" }.to_owned()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Fields beyond these are not discovered.
const MAX_FIELDS: usize = 200;

fn flatten(json: &Json, name: String, fields: &mut Vec<(String, String)>) {
    if fields.len() >= MAX_FIELDS {
        return;
    }
    let child = |key: &str| match (name.is_empty(), key.starts_with('@')) {
        (true, true) => format!("@{key}"),
        (true, false) => key.to_owned(),
        (false, _) => format!("{name}.{key}"),
    };
    match json {
        Json::Object(members) => members.iter().for_each(|(key, value)| flatten(value, child(key), fields)),
        Json::Array(elements) => {
            for (at, value) in elements.iter().enumerate() {
                flatten(value, child(&at.to_string()), fields);
            }
        }
        other => fields.extend(leaf(other).map(|text| (name, text))),
    }
}

/// Fields of the line `REPORT`, and what stands before their values there.
const LAMBDA_FIELDS: [(&str, &str); 5] = [
    ("@duration", "\tDuration: "),
    ("@billedDuration", "\tBilled Duration: "),
    ("@memorySize", "\tMemory Size: "),
    ("@maxMemoryUsed", "\tMax Memory Used: "),
    ("@initDuration", "\tInit Duration: "),
];

fn lambda_field(message: &str, name: &str) -> Option<String> {
    let kind = ["START", "END", "REPORT", "INIT_START"]
        .into_iter()
        .find(|kind| message.strip_prefix(kind).is_some_and(|rest| rest.starts_with(' ')));
    match name {
        "@type" => kind.map(str::to_owned),
        "@requestId" => {
            if let Some((_, rest)) = message.split_once("RequestId: ") {
                return rest.split_whitespace().next().map(str::to_owned);
            }
            message.split('\t').take(4).map(str::trim).find(|part| is_uuid(part)).map(str::to_owned)
        }
        _ => {
            let (_, before) = LAMBDA_FIELDS.iter().find(|(field, _)| *field == name)?;
            if kind != Some("REPORT") {
                return None;
            }
            let (_, rest) = message.split_once(before)?;
            let number: f64 = rest.split_whitespace().next()?.parse().ok()?;
            // Memory is counted in bytes.
            let is_memory = name == "@memorySize" || name == "@maxMemoryUsed";
            Value::Number(if is_memory { number * 1e6 } else { number }).text()
        }
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
