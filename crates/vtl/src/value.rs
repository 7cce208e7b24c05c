//! Values while a template runs.
//!
//! Lists and maps are numbers into the [`Heap`]: two variables may share one, as in Java, and a list may hold itself without
//! anything leaking or recursing when the run ends.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Number, Value as Json};

use crate::VtlError;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Arc<str>),
    List(ListId),
    Map(MapId),
    /// An object of the host's: `$input`, `$util`.
    Host(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListId(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapId(u32);

#[derive(Debug, Default)]
pub(crate) struct List {
    pub items: Vec<Value>,
    /// From a JSON document: such lists print as JSON, those of the template as Java prints them.
    pub is_json: bool,
}

pub(crate) type Map = IndexMap<Arc<str>, Value>;

/// Deeper values than this do not print, and do not become JSON.
pub(crate) const MAX_DEPTH: usize = 128;
/// Nor do values that name each other so often that they unfold into more.
const MAX_NODES: usize = 4_000_000;

/// Every list and map of one run, and the count of what was made.
#[derive(Debug)]
pub struct Heap {
    lists: Vec<List>,
    maps: Vec<Map>,
    left: usize,
}

impl Value {
    pub fn text(text: impl Into<Arc<str>>) -> Value {
        Value::Str(text.into())
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }
}

impl Heap {
    pub fn new(bytes: usize) -> Heap {
        Heap { lists: Vec::new(), maps: Vec::new(), left: bytes }
    }

    /// # Errors
    /// `Limit` when more was made than a run may.
    pub fn charge(&mut self, bytes: usize) -> Result<(), VtlError> {
        self.left = self.left.checked_sub(bytes).ok_or(VtlError::Limit("memory"))?;
        Ok(())
    }

    pub fn string(&mut self, text: impl Into<Arc<str>>) -> Result<Value, VtlError> {
        let text = text.into();
        self.charge(text.len())?;
        Ok(Value::Str(text))
    }

    pub fn list(&mut self, items: Vec<Value>) -> Result<Value, VtlError> {
        self.new_list(items, false)
    }

    pub(crate) fn new_list(&mut self, items: Vec<Value>, is_json: bool) -> Result<Value, VtlError> {
        self.charge(48 + items.len() * size_of::<Value>())?;
        let id = u32::try_from(self.lists.len()).map_err(|_| VtlError::Limit("memory"))?;
        self.lists.push(List { items, is_json });
        Ok(Value::List(ListId(id)))
    }

    pub fn map(&mut self) -> Result<MapId, VtlError> {
        self.charge(96)?;
        let id = u32::try_from(self.maps.len()).map_err(|_| VtlError::Limit("memory"))?;
        self.maps.push(Map::new());
        Ok(MapId(id))
    }

    pub fn items(&self, id: ListId) -> &[Value] {
        self.lists.get(id.0 as usize).map_or(&[], |list| &list.items)
    }

    pub(crate) fn is_json(&self, id: ListId) -> bool {
        self.lists.get(id.0 as usize).is_some_and(|list| list.is_json)
    }

    /// For changes that do not add.
    pub(crate) fn items_mut(&mut self, id: ListId) -> &mut Vec<Value> {
        &mut self.lists[id.0 as usize].items
    }

    pub fn push(&mut self, id: ListId, value: Value) -> Result<(), VtlError> {
        self.charge(size_of::<Value>())?;
        self.items_mut(id).push(value);
        Ok(())
    }

    pub(crate) fn entries(&self, id: MapId) -> &Map {
        &self.maps[id.0 as usize]
    }

    pub(crate) fn entries_mut(&mut self, id: MapId) -> &mut Map {
        &mut self.maps[id.0 as usize]
    }

    pub fn get(&self, id: MapId, key: &str) -> Option<&Value> {
        self.entries(id).get(key)
    }

    /// The value that was there before.
    pub fn put(
        &mut self,
        id: MapId,
        key: impl Into<Arc<str>>,
        value: Value,
    ) -> Result<Option<Value>, VtlError> {
        let key = key.into();
        self.charge(key.len() + 64)?;
        Ok(self.entries_mut(id).insert(key, value))
    }

    /// A document as values.
    ///
    /// # Errors
    /// `Limit`. A document is as deep as `serde_json` lets it be, 128 levels.
    pub fn from_json(&mut self, json: &Json) -> Result<Value, VtlError> {
        Ok(match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => from_number(number),
            Json::String(text) => self.string(text.as_str())?,
            Json::Array(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(self.from_json(item)?);
                }
                self.new_list(values, true)?
            }
            Json::Object(entries) => {
                let map = self.map()?;
                for (key, value) in entries {
                    let value = self.from_json(value)?;
                    self.put(map, key.as_str(), value)?;
                }
                Value::Map(map)
            }
        })
    }

    /// `None` for what is too deep, or holds itself.
    pub fn to_json(&self, value: &Value) -> Option<Json> {
        self.json(value, MAX_DEPTH, &mut MAX_NODES.clone())
    }

    fn json(&self, value: &Value, depth: usize, left: &mut usize) -> Option<Json> {
        let depth = depth.checked_sub(1)?;
        *left = left.checked_sub(1)?;
        Some(match value {
            Value::Null | Value::Host(_) => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => Json::from(*value),
            Value::Float(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Value::Str(text) => Json::from(&**text),
            Value::List(id) => Json::Array(
                self.items(*id).iter().map(|item| self.json(item, depth, left)).collect::<Option<_>>()?,
            ),
            Value::Map(id) => {
                let entries = self.entries(*id).iter();
                let entries =
                    entries.map(|(key, item)| Some((key.to_string(), self.json(item, depth, left)?)));
                Json::Object(entries.collect::<Option<_>>()?)
            }
        })
    }
}

fn from_number(number: &Number) -> Value {
    match number.as_i64() {
        Some(value) => Value::Int(value),
        None => Value::Float(number.as_f64().unwrap_or_default()),
    }
}
