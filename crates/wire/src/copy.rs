//! Reading one value over into another of the same shape: a dynamic value into a generated type, or back.

use crate::schema::{Kind, Shape};
use crate::value::{Slot, Struct, Val, View};

/// Copies every present member of `from` into `into`. Both follow `shape`. Streams are not copied: they have one reader.
pub fn copy(shape: &'static Shape, from: &dyn Struct, into: &mut dyn Struct) {
    let is_union = matches!(shape.kind, Kind::Union | Kind::EventStream);
    for at in 0..shape.members().len() {
        if is_union && from.active().is_some_and(|active| active != at) {
            continue;
        }
        let value = from.get(at);
        if value.is_present()
            && let Some(target) = into.get_mut(at)
        {
            copy_value(shape.members()[at].shape, value, target);
        }
    }
}

fn copy_value(shape: &'static Shape, from: &dyn Val, into: &mut dyn Val) {
    let view = from.view();
    if matches!(view, View::Absent | View::Stream) {
        return;
    }
    match (view, into.slot()) {
        (View::Bool(value), Slot::Bool(slot)) => *slot = value,
        (View::Int(value), Slot::Int(slot)) => *slot = value,
        (View::Float(value), Slot::Float(slot)) => *slot = value,
        (View::Str(value), Slot::Str(slot)) => value.clone_into(slot),
        (View::Blob(value), Slot::Blob(slot)) => *slot = value.clone(),
        (View::Time(value), Slot::Time(slot)) => *slot = value,
        (View::Document(value), Slot::Document(slot)) => *slot = value.clone(),
        (View::List(list), Slot::List(slot)) => {
            for at in 0..list.len() {
                copy_value(shape.element().shape, list.get(at), slot.push());
            }
        }
        (View::Map(map), Slot::Map(slot)) => {
            for at in 0..map.len() {
                let (key, value) = map.entry(at);
                copy_value(shape.entry().1.shape, value, slot.push(key.to_owned()));
            }
            slot.finish();
        }
        (View::Struct(value), Slot::Struct(slot)) => copy(shape, value, slot),
        // Different shapes: a caller's fault, and nothing is lost by leaving the target empty.
        _ => {}
    }
}
