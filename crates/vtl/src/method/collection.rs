//! `java.util.List` and `java.util.Map`.

use super::{equal, position};
use crate::VtlError;
use crate::render::text;
use crate::value::{Heap, ListId, MapId, Value};

pub(super) fn on_list(
    heap: &mut Heap,
    list: ListId,
    name: &str,
    arguments: &[Value],
) -> Result<Value, VtlError> {
    let length = heap.items(list).len();
    Ok(match (name, arguments) {
        ("size" | "length", []) => Value::Int(length as i64),
        ("isEmpty", []) => Value::Bool(length == 0),
        ("get", [Value::Int(at)]) => {
            position(length, *at).map_or(Value::Null, |at| heap.items(list)[at].clone())
        }
        ("add", [value]) => {
            heap.push(list, value.clone())?;
            Value::Bool(true)
        }
        ("add", [Value::Int(at), value]) => {
            heap.charge(size_of::<Value>())?;
            if let Some(at) = usize::try_from(*at).ok().filter(|at| *at <= length) {
                heap.items_mut(list).insert(at, value.clone());
            }
            Value::Null
        }
        ("addAll", [Value::List(other)]) => {
            let items = heap.items(*other).to_vec();
            heap.charge(items.len() * size_of::<Value>())?;
            heap.items_mut(list).extend(items);
            Value::Bool(true)
        }
        ("set", [Value::Int(at), value]) => match position(length, *at) {
            Some(at) => std::mem::replace(&mut heap.items_mut(list)[at], value.clone()),
            None => Value::Null,
        },
        ("remove", [Value::Int(at)]) => {
            position(length, *at).map_or(Value::Null, |at| heap.items_mut(list).remove(at))
        }
        ("remove", [value]) => match index_of(heap, list, value) {
            Some(at) => {
                heap.items_mut(list).remove(at);
                Value::Bool(true)
            }
            None => Value::Bool(false),
        },
        ("clear", []) => {
            heap.items_mut(list).clear();
            Value::Null
        }
        ("contains", [value]) => Value::Bool(index_of(heap, list, value).is_some()),
        ("indexOf", [value]) => Value::Int(index_of(heap, list, value).map_or(-1, |at| at as i64)),
        ("containsAll", [Value::List(other)]) => {
            let other = heap.items(*other);
            Value::Bool(other.iter().all(|value| index_of(heap, list, value).is_some()))
        }
        ("subList", [Value::Int(from), Value::Int(to)]) => {
            let range = usize::try_from(*from).ok().zip(usize::try_from(*to).ok());
            let part = range.and_then(|(from, to)| heap.items(list).get(from..to)).map(<[Value]>::to_vec);
            match part {
                Some(part) => heap.list(part)?,
                None => Value::Null,
            }
        }
        ("iterator" | "listIterator" | "toArray", []) => Value::List(list),
        _ => Value::Null,
    })
}

fn index_of(heap: &Heap, list: ListId, value: &Value) -> Option<usize> {
    heap.items(list).iter().position(|item| equal(heap, item, value))
}

pub(super) fn on_map(
    heap: &mut Heap,
    map: MapId,
    name: &str,
    arguments: &[Value],
) -> Result<Value, VtlError> {
    let key = arguments.first().map(|key| text(heap, key)).unwrap_or_default();
    Ok(match (name, arguments) {
        ("get", [_]) => heap.get(map, &key).cloned().unwrap_or(Value::Null),
        ("getOrDefault", [_, other]) => heap.get(map, &key).cloned().unwrap_or_else(|| other.clone()),
        ("put", [_, value]) => heap.put(map, key, value.clone())?.unwrap_or(Value::Null),
        ("putIfAbsent", [_, value]) => match heap.get(map, &key) {
            Some(known) => known.clone(),
            None => heap.put(map, key, value.clone())?.unwrap_or(Value::Null),
        },
        ("putAll", [Value::Map(other)]) => {
            for (key, value) in heap.entries(*other).clone() {
                heap.put(map, key, value)?;
            }
            Value::Null
        }
        ("remove", [_]) => heap.entries_mut(map).shift_remove(key.as_str()).unwrap_or(Value::Null),
        ("containsKey", [_]) => Value::Bool(heap.get(map, &key).is_some()),
        ("containsValue", [value]) => {
            Value::Bool(heap.entries(map).values().any(|known| equal(heap, known, value)))
        }
        ("size", []) => Value::Int(heap.entries(map).len() as i64),
        ("isEmpty", []) => Value::Bool(heap.entries(map).is_empty()),
        ("clear", []) => {
            heap.entries_mut(map).clear();
            Value::Null
        }
        ("keySet", []) => {
            let keys = heap.entries(map).keys().cloned().map(Value::Str).collect();
            heap.list(keys)?
        }
        ("values", []) => {
            let values = heap.entries(map).values().cloned().collect();
            heap.list(values)?
        }
        ("entrySet", []) => {
            let mut entries = Vec::new();
            for (key, value) in heap.entries(map).clone() {
                let entry = heap.map()?;
                heap.put(entry, "key", Value::Str(key))?;
                heap.put(entry, "value", value)?;
                entries.push(Value::Map(entry));
            }
            heap.list(entries)?
        }
        ("getKey", []) => heap.get(map, "key").cloned().unwrap_or(Value::Null),
        ("getValue", []) => heap.get(map, "value").cloned().unwrap_or(Value::Null),
        _ => Value::Null,
    })
}
