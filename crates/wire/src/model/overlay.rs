//! Overlays: what AWS really does, laid over what its model says.

use super::read::{
    check_members, header_lines, member_line, operation_line, operation_tokens, shape_line, shape_tokens,
};
use super::{KINDS, Model, ModelError, value_of};

/// Applies the overlay's text to `model`.
///
/// # Errors
/// The first line that does not follow the grammar, or that changes what the model does not have.
pub fn overlay(model: &mut Model, text: &'static str) -> Result<(), ModelError> {
    let body = header_lines(&mut model.header, text)?;
    let mut current = None;
    for (at, line) in text.lines().enumerate().skip(body) {
        apply(model, &mut current, line).map_err(|reason| ModelError { line: at + 1, reason })?;
    }
    check_members(&model.shapes)
}

/// `current` is the shape that member lines belong to.
fn apply(model: &mut Model, current: &mut Option<&'static str>, line: &'static str) -> Result<(), String> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    if let Some(rest) = line.strip_prefix(' ') {
        let owner = current.ok_or("a member before the first shape")?;
        let member = member_line(rest)?;
        let owner = position(model, owner)?;
        let members = &mut model.shapes[owner].members;
        match members.iter_mut().find(|old| old.name == member.name) {
            Some(old) => *old = member,
            None => members.push(member),
        }
        return Ok(());
    }
    *current = None;
    let (word, rest) = line.split_once(' ').ok_or("a line of one word")?;
    match word {
        "set" => set(model, current, rest)?,
        "pin" => {
            let (name, values) = rest.split_once(" = ").ok_or("`pin` wants ` = ` and values")?;
            let at = position(model, name)?;
            model.shapes[at].printed_values = values.split('|').collect();
        }
        "kind" => {
            let (name, kind) = rest.split_once(' ').ok_or("`kind` wants a shape and a kind")?;
            let at = position(model, name)?;
            model.shapes[at].kind = value_of(&KINDS, kind).ok_or_else(|| format!("no kind `{kind}`"))?;
        }
        "last" => {
            let (name, member) = rest.split_once(' ').ok_or("`last` wants a shape and a member")?;
            let at = position(model, name)?;
            let members = &mut model.shapes[at].members;
            let found = members.iter().position(|candidate| candidate.name == member);
            let found = found.ok_or_else(|| format!("`{name}` has no member `{member}`"))?;
            let member = members.remove(found);
            members.push(member);
        }
        "op" => {
            let operation = operation_line(rest)?;
            model.operations.retain(|old| old.name != operation.name);
            model.operations.push(operation);
        }
        _ => {
            let shape = shape_line(word, rest)?;
            *current = Some(shape.name);
            match model.shapes.binary_search_by(|old| old.name.cmp(shape.name)) {
                Ok(at) => model.shapes[at] = shape,
                Err(at) => model.shapes.insert(at, shape),
            }
        }
    }
    Ok(())
}

fn set(model: &mut Model, current: &mut Option<&'static str>, rest: &'static str) -> Result<(), String> {
    let (what, rest) = rest.split_once(' ').ok_or("`set` wants `op` or `shape`")?;
    let (name, tokens) = rest.split_once(' ').unwrap_or((rest, ""));
    match what {
        "op" => {
            let found = model.operations.iter_mut().find(|operation| operation.name == name);
            let operation = found.ok_or_else(|| format!("the model has no operation `{name}`"))?;
            operation_tokens(operation, tokens.split(' '))
        }
        "shape" => {
            let at = position(model, name)?;
            *current = Some(name);
            shape_tokens(&mut model.shapes[at], tokens)
        }
        _ => Err(format!("`set` cannot set `{what}`")),
    }
}

fn position(model: &Model, name: &str) -> Result<usize, String> {
    let found = model.shapes.binary_search_by(|shape| shape.name.cmp(name));
    found.map_err(|_| format!("the model has no shape `{name}`"))
}
