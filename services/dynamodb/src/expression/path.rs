//! Document paths: `a.b[1].#c`.
//!
//! Source: Amazon DynamoDB Developer Guide, "Referring to item attributes when using expressions in DynamoDB".

use super::lexer::{Lexer, TokenKind};
use super::placeholder::Placeholders;
use super::{Kind, reserved};
use crate::error::DynamoError;
use crate::value::{Item, Value};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Name(String),
    Index(usize),
}

/// A way to an attribute or into one: a name, then names and indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub root: String,
    pub rest: Vec<Step>,
}

impl Path {
    pub fn attribute(name: impl Into<String>) -> Path {
        Path { root: name.into(), rest: Vec::new() }
    }

    pub fn is_nested(&self) -> bool {
        !self.rest.is_empty()
    }

    pub fn find<'a>(&self, item: &'a Item) -> Option<&'a Value> {
        self.rest.iter().try_fold(item.get(&self.root)?, |value, step| match (value, step) {
            (Value::M(map), Step::Name(name)) => map.get(name),
            (Value::L(list), Step::Index(index)) => list.get(*index),
            _ => None,
        })
    }

    /// `[a, b, [1]]`, as AWS's sentences show paths.
    pub fn shown(&self) -> String {
        let steps = self.rest.iter().map(|step| match step {
            Step::Name(name) => name.clone(),
            Step::Index(index) => format!("[{index}]"),
        });
        let all: Vec<_> = std::iter::once(self.root.clone()).chain(steps).collect();
        format!("[{}]", all.join(", "))
    }

    /// The value that the path leads into, for writing its last step.
    fn parent_mut<'a>(&self, item: &'a mut Item) -> Option<(&'a mut Value, &Step)> {
        let (last, way) = self.rest.split_last()?;
        let parent = way.iter().try_fold(item.get_mut(&self.root)?, |value, step| match (value, step) {
            (Value::M(map), Step::Name(name)) => map.get_mut(name),
            (Value::L(list), Step::Index(index)) => list.get_mut(*index),
            _ => None,
        })?;
        Some((parent, last))
    }

    /// Writes `value` there. An index beyond the end of a list appends.
    ///
    /// # Errors
    /// `ValidationException` when what the path leads into is missing or of another type.
    pub fn set(&self, item: &mut Item, value: Value) -> Result<(), DynamoError> {
        if self.rest.is_empty() {
            item.insert(self.root.clone(), value);
            return Ok(());
        }
        match self.parent_mut(item) {
            Some((Value::M(map), Step::Name(name))) => {
                map.insert(name.clone(), value);
                Ok(())
            }
            Some((Value::L(list), Step::Index(index))) => {
                match list.get_mut(*index) {
                    Some(slot) => *slot = value,
                    None => list.push(value),
                }
                Ok(())
            }
            _ => Err(invalid_path()),
        }
    }

    /// Takes away what is there. An element of a list is replaced by a mark, so that the indexes of other removals stay true
    /// until [`sweep`].
    ///
    /// # Errors
    /// As [`Path::set`].
    pub fn remove(&self, item: &mut Item, removed: &mut Vec<(Path, usize)>) -> Result<(), DynamoError> {
        if self.rest.is_empty() {
            item.remove(&self.root);
            return Ok(());
        }
        match self.parent_mut(item) {
            Some((Value::M(map), Step::Name(name))) => {
                map.remove(name);
                Ok(())
            }
            Some((Value::L(_), Step::Index(index))) => {
                let parent =
                    Path { root: self.root.clone(), rest: self.rest[..self.rest.len() - 1].to_vec() };
                removed.push((parent, *index));
                Ok(())
            }
            _ => Err(invalid_path()),
        }
    }
}

/// Takes the elements that [`Path::remove`] noted out of their lists, the last first.
pub fn sweep(item: &mut Item, mut removed: Vec<(Path, usize)>) {
    removed.sort_by_key(|(_, index)| std::cmp::Reverse(*index));
    for (parent, index) in removed {
        let list = match parent.rest.is_empty() {
            true => item.get_mut(&parent.root),
            false => parent.parent_mut(item).and_then(|(value, step)| match (value, step) {
                (Value::M(map), Step::Name(name)) => map.get_mut(name),
                (Value::L(list), Step::Index(index)) => list.get_mut(*index),
                _ => None,
            }),
        };
        if let Some(Value::L(list)) = list
            && index < list.len()
        {
            list.remove(index);
        }
    }
}

fn invalid_path() -> DynamoError {
    DynamoError::validation("The document path provided in the update expression is invalid for update")
}

/// What was wrong with an expression that could be read. Only the first is told, and only if there is no syntax error.
#[derive(Debug, Default)]
pub struct Deferred(Option<DynamoError>);

impl Deferred {
    pub fn note(&mut self, error: DynamoError) {
        self.0.get_or_insert(error);
    }

    pub fn check(self) -> Result<(), DynamoError> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Reads a path.
pub fn parse_path(
    lexer: &mut Lexer<'_>,
    placeholders: &Placeholders,
    deferred: &mut Deferred,
) -> Result<Path, DynamoError> {
    let root = parse_name(lexer, placeholders, deferred)?;
    let mut rest = Vec::new();
    loop {
        if lexer.take_symbol(".") {
            rest.push(Step::Name(parse_name(lexer, placeholders, deferred)?));
        } else if lexer.is_symbol("[") {
            lexer.next();
            if lexer.peek().kind != TokenKind::Integer {
                return Err(lexer.syntax_error());
            }
            let digits = lexer.next().text;
            let index = digits.parse::<u32>().unwrap_or_else(|_| {
                deferred.note(lexer.kind.invalid(format_args!(
                    "List index is not within the allowable range; index: [{digits}]"
                )));
                0
            });
            rest.push(Step::Index(index as usize));
            lexer.expect_symbol("]")?;
        } else {
            return Ok(Path { root, rest });
        }
    }
}

fn parse_name(
    lexer: &mut Lexer<'_>,
    placeholders: &Placeholders,
    deferred: &mut Deferred,
) -> Result<String, DynamoError> {
    let token = lexer.peek();
    let kind = lexer.kind;
    match token.kind {
        TokenKind::Word => {
            lexer.next();
            if reserved::is_reserved(token.text) {
                deferred.note(kind.invalid(format_args!(
                    "Attribute name is a reserved keyword; reserved keyword: {}",
                    token.text
                )));
            }
            Ok(token.text.to_owned())
        }
        TokenKind::Name => {
            lexer.next();
            Ok(placeholders.name(kind, token.text).unwrap_or_else(|error| {
                deferred.note(error);
                String::new()
            }))
        }
        _ => Err(lexer.syntax_error()),
    }
}

/// Two paths of one expression must not lead to, or through, the same place.
///
/// # Errors
/// `ValidationException`
pub fn check_distinct(kind: Kind, paths: &[&Path]) -> Result<(), DynamoError> {
    for (at, one) in paths.iter().enumerate() {
        for other in &paths[at + 1..] {
            if one.root != other.root {
                continue;
            }
            let clash = |what: &str| {
                kind.invalid(format_args!(
                    "Two document paths {what} with each other; must remove or rewrite one of these paths; path one: {}, path two: {}",
                    one.shown(),
                    other.shown()
                ))
            };
            let common = one.rest.iter().zip(&other.rest).take_while(|(a, b)| a == b).count();
            match (one.rest.get(common), other.rest.get(common)) {
                (None, _) | (_, None) => return Err(clash("overlap")),
                (Some(Step::Name(_)), Some(Step::Index(_))) | (Some(Step::Index(_)), Some(Step::Name(_))) => {
                    return Err(clash("conflict"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Which attributes, or parts of them, an answer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection(pub Vec<Path>);

impl Projection {
    /// Parses a `ProjectionExpression`.
    ///
    /// # Errors
    /// `ValidationException`
    pub fn parse(text: &str, placeholders: &Placeholders) -> Result<Projection, DynamoError> {
        let kind = Kind::Projection;
        kind.check_length(text)?;
        let (mut lexer, mut deferred, mut paths) = (Lexer::new(kind, text), Deferred::default(), Vec::new());
        loop {
            paths.push(parse_path(&mut lexer, placeholders, &mut deferred)?);
            if !lexer.take_symbol(",") {
                break;
            }
        }
        lexer.expect_end()?;
        deferred.check()?;
        check_distinct(kind, &paths.iter().collect::<Vec<_>>())?;
        Ok(Projection(paths))
    }

    /// The parts of `item` that were asked for. Elements of a list keep their order, without gaps.
    pub fn apply(&self, item: &Item) -> Item {
        let mut tree = Tree::default();
        for path in &self.0 {
            if path.find(item).is_some() {
                tree.add(&Step::Name(path.root.clone()), &path.rest);
            }
        }
        let mut out = Item::new();
        for (step, below) in &tree.0 {
            if let Step::Name(name) = step
                && let Some(value) = item.get(name)
            {
                out.insert(name.clone(), below.pick(value));
            }
        }
        out
    }

    /// The attributes that the paths begin with.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|path| path.root.as_str())
    }
}

/// Paths by their common beginnings; a leaf has nothing below it.
#[derive(Default)]
struct Tree(Vec<(Step, Tree)>);

impl Tree {
    fn add(&mut self, first: &Step, rest: &[Step]) {
        let at = self.0.iter().position(|(step, _)| step == first).unwrap_or_else(|| {
            self.0.push((first.clone(), Tree::default()));
            self.0.len() - 1
        });
        if let Some((next, rest)) = rest.split_first() {
            self.0[at].1.add(next, rest);
        }
    }

    fn pick(&self, value: &Value) -> Value {
        match value {
            Value::M(map) if !self.0.is_empty() => Value::M(
                self.0
                    .iter()
                    .filter_map(|(step, below)| match step {
                        Step::Name(name) => map.get(name).map(|value| (name.clone(), below.pick(value))),
                        Step::Index(_) => None,
                    })
                    .collect(),
            ),
            Value::L(list) if !self.0.is_empty() => {
                let mut picked: Vec<_> = self
                    .0
                    .iter()
                    .filter_map(|(step, below)| match step {
                        Step::Index(index) => list.get(*index).map(|value| (*index, below.pick(value))),
                        Step::Name(_) => None,
                    })
                    .collect();
                picked.sort_by_key(|(index, _)| *index);
                Value::L(picked.into_iter().map(|(_, value)| value).collect())
            }
            other => other.clone(),
        }
    }
}
