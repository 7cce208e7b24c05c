//! Update expressions: `SET`, `REMOVE`, `ADD`, `DELETE`.
//!
//! All right-hand sides see the item as it was before the update.
//!
//! Source: Amazon DynamoDB Developer Guide, "Using update expressions in DynamoDB".

use super::Kind;
use super::lexer::{Lexer, TokenKind};
use super::operand::{is_call, is_function};
use super::path::{Deferred, Path, Projection, check_distinct, parse_path, sweep};
use super::placeholder::Placeholders;
use crate::error::DynamoError;
use crate::value::{Item, Value};

const MAX_NESTING: usize = 32;

#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Path(Path),
    Value(Value),
    Plus(Box<Expr>, Box<Expr>),
    Minus(Box<Expr>, Box<Expr>),
    IfNotExists(Path, Box<Expr>),
    ListAppend(Box<Expr>, Box<Expr>),
}

/// What an update does, in the order of its sections' kinds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Update {
    pub set: Vec<(Path, Expr)>,
    pub remove: Vec<Path>,
    pub add: Vec<(Path, Value)>,
    pub delete: Vec<(Path, Value)>,
}

impl Update {
    /// Parses an `UpdateExpression`.
    ///
    /// # Errors
    /// `ValidationException` in AWS's words.
    pub fn parse(text: &str, placeholders: &Placeholders) -> Result<Update, DynamoError> {
        Kind::Update.check_length(text)?;
        let lexer = Lexer::new(Kind::Update, text);
        let mut parser = Parser { lexer, placeholders, deferred: Deferred::default() };
        let update = parser.sections()?;
        parser.deferred.check()?;
        check_distinct(Kind::Update, &update.targets().collect::<Vec<_>>())?;
        Ok(update)
    }

    /// Every path that the update writes.
    pub fn targets(&self) -> impl Iterator<Item = &Path> {
        let set = self.set.iter().map(|(path, _)| path);
        let add = self.add.iter().chain(&self.delete).map(|(path, _)| path);
        set.chain(&self.remove).chain(add)
    }

    /// What `UPDATED_OLD` and `UPDATED_NEW` show.
    pub fn touched(&self) -> Projection {
        Projection(self.targets().cloned().collect())
    }

    /// The item after the update.
    ///
    /// # Errors
    /// `ValidationException`: missing operands, wrong types, paths that lead nowhere, numbers out of range.
    pub fn apply(&self, old: &Item) -> Result<Item, DynamoError> {
        let mut new = old.clone();
        let values: Vec<Value> =
            self.set.iter().map(|(_, expr)| evaluate(expr, old)).collect::<Result<_, _>>()?;
        for ((path, _), value) in self.set.iter().zip(values) {
            path.set(&mut new, value)?;
        }
        for (path, operand) in &self.add {
            let value = add(path.find(old), operand)?;
            path.set(&mut new, value)?;
        }
        for (path, operand) in &self.delete {
            match path.find(old) {
                None => {}
                Some(present) => match delete(present, operand)? {
                    Some(rest) => path.set(&mut new, rest)?,
                    None => path.remove(&mut new, &mut Vec::new())?,
                },
            }
        }
        let mut removed = Vec::new();
        for path in &self.remove {
            path.remove(&mut new, &mut removed)?;
        }
        sweep(&mut new, removed);
        Ok(new)
    }
}

fn wrong_operand<T>() -> Result<T, DynamoError> {
    Err(DynamoError::validation("An operand in the update expression has an incorrect data type"))
}

fn evaluate(expr: &Expr, item: &Item) -> Result<Value, DynamoError> {
    match expr {
        Expr::Value(value) => Ok(value.clone()),
        Expr::Path(path) => path.find(item).cloned().ok_or_else(|| {
            DynamoError::validation(
                "The provided expression refers to an attribute that does not exist in the item",
            )
        }),
        Expr::IfNotExists(path, other) => match path.find(item) {
            Some(value) => Ok(value.clone()),
            None => evaluate(other, item),
        },
        Expr::Plus(a, b) | Expr::Minus(a, b) => match (evaluate(a, item)?, evaluate(b, item)?) {
            (Value::N(a), Value::N(b)) if matches!(expr, Expr::Plus(..)) => Ok(Value::N(a.plus(b)?)),
            (Value::N(a), Value::N(b)) => Ok(Value::N(a.minus(b)?)),
            _ => wrong_operand(),
        },
        Expr::ListAppend(a, b) => match (evaluate(a, item)?, evaluate(b, item)?) {
            (Value::L(mut a), Value::L(b)) => {
                a.extend(b);
                Ok(Value::L(a))
            }
            _ => wrong_operand(),
        },
    }
}

/// `ADD`: a sum, or the union of two sets.
///
/// # Errors
/// `ValidationException` for other types.
pub fn add(present: Option<&Value>, operand: &Value) -> Result<Value, DynamoError> {
    Ok(match (present, operand) {
        (None, operand) => operand.clone(),
        (Some(Value::N(a)), Value::N(b)) => Value::N(a.plus(*b)?),
        (Some(Value::Ss(a)), Value::Ss(b)) => Value::Ss(a.union(b).cloned().collect()),
        (Some(Value::Ns(a)), Value::Ns(b)) => Value::Ns(a.union(b).copied().collect()),
        (Some(Value::Bs(a)), Value::Bs(b)) => Value::Bs(a.union(b).cloned().collect()),
        _ => return wrong_operand(),
    })
}

/// `DELETE`: what is left of a set; `None` if nothing is.
///
/// # Errors
/// `ValidationException` for other types.
pub fn delete(present: &Value, operand: &Value) -> Result<Option<Value>, DynamoError> {
    Ok(match (present, operand) {
        (Value::Ss(a), Value::Ss(b)) => {
            let rest: std::collections::BTreeSet<_> = a.difference(b).cloned().collect();
            (!rest.is_empty()).then_some(Value::Ss(rest))
        }
        (Value::Ns(a), Value::Ns(b)) => {
            let rest: std::collections::BTreeSet<_> = a.difference(b).copied().collect();
            (!rest.is_empty()).then_some(Value::Ns(rest))
        }
        (Value::Bs(a), Value::Bs(b)) => {
            let rest: std::collections::BTreeSet<_> = a.difference(b).cloned().collect();
            (!rest.is_empty()).then_some(Value::Bs(rest))
        }
        _ => return wrong_operand(),
    })
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    placeholders: &'a Placeholders,
    deferred: Deferred,
}

impl Parser<'_> {
    fn sections(&mut self) -> Result<Update, DynamoError> {
        let mut update = Update::default();
        let mut seen: Vec<String> = Vec::new();
        while self.lexer.peek().kind != TokenKind::End {
            let token = self.lexer.peek();
            let section = token.text.to_ascii_uppercase();
            if token.kind != TokenKind::Word
                || !["SET", "REMOVE", "ADD", "DELETE"].contains(&section.as_str())
            {
                return Err(self.lexer.syntax_error());
            }
            self.lexer.next();
            if seen.contains(&section) {
                self.deferred.note(Kind::Update.invalid(format_args!(
                    "The \"{section}\" section can only be used once in an update expression;"
                )));
            }
            loop {
                self.clause(&section, &mut update)?;
                if !self.lexer.take_symbol(",") {
                    break;
                }
            }
            seen.push(section);
        }
        Ok(update)
    }

    fn clause(&mut self, section: &str, update: &mut Update) -> Result<(), DynamoError> {
        let path = self.path()?;
        match section {
            "SET" => {
                self.lexer.expect_symbol("=")?;
                let value = self.sum()?;
                update.set.push((path, value));
            }
            "REMOVE" => update.remove.push(path),
            _ => {
                let token = self.lexer.peek();
                if token.kind != TokenKind::Value {
                    return Err(self.lexer.syntax_error());
                }
                let value = self.value();
                let is_set = matches!(value, Value::Ss(_) | Value::Ns(_) | Value::Bs(_));
                let is_fine = is_set || section == "ADD" && matches!(value, Value::N(_));
                if !is_fine {
                    self.deferred.note(Kind::Update.invalid(format_args!(
                        "Incorrect operand type for operator or function; operator: {section}, operand type: {}, typeset: ALLOWED_FOR_{section}_OPERAND",
                        long_type_name(&value)
                    )));
                }
                let list = if section == "ADD" { &mut update.add } else { &mut update.delete };
                list.push((path, value));
            }
        }
        Ok(())
    }

    fn path(&mut self) -> Result<Path, DynamoError> {
        parse_path(&mut self.lexer, self.placeholders, &mut self.deferred)
    }

    fn value(&mut self) -> Value {
        let text = self.lexer.next().text;
        self.placeholders.value(Kind::Update, text).unwrap_or_else(|error| {
            self.deferred.note(error);
            Value::Null
        })
    }

    fn sum(&mut self) -> Result<Expr, DynamoError> {
        let left = self.term(0)?;
        for symbol in ["+", "-"] {
            if self.lexer.take_symbol(symbol) {
                let right = self.term(0)?;
                for operand in [&left, &right] {
                    if let Expr::Value(value) = operand
                        && !matches!(value, Value::N(_))
                    {
                        self.deferred.note(super::operand::wrong_type(Kind::Update, symbol, value));
                    }
                }
                let (left, right) = (Box::new(left), Box::new(right));
                return Ok(if symbol == "+" { Expr::Plus(left, right) } else { Expr::Minus(left, right) });
            }
        }
        Ok(left)
    }

    fn term(&mut self, depth: usize) -> Result<Expr, DynamoError> {
        if depth > MAX_NESTING {
            return Err(Kind::Update.invalid("The expression is nested too deep;"));
        }
        if self.lexer.take_symbol("(") {
            let inner = if depth == 0 { self.sum()? } else { self.term(depth + 1)? };
            self.lexer.expect_symbol(")")?;
            return Ok(inner);
        }
        if self.lexer.peek().kind == TokenKind::Value {
            return Ok(Expr::Value(self.value()));
        }
        if is_call(&self.lexer) {
            return self.call(depth);
        }
        Ok(Expr::Path(self.path()?))
    }

    fn call(&mut self, depth: usize) -> Result<Expr, DynamoError> {
        let name = self.lexer.next().text;
        self.lexer.expect_symbol("(")?;
        let mut operands = vec![self.term(depth + 1)?];
        while self.lexer.take_symbol(",") {
            operands.push(self.term(depth + 1)?);
        }
        self.lexer.expect_symbol(")")?;
        let invalid = |text: std::fmt::Arguments<'_>| Kind::Update.invalid(text);
        if !is_function(name) {
            self.deferred.note(invalid(format_args!("Invalid function name; function: {name}")));
        } else if !["if_not_exists", "list_append"].contains(&name) {
            self.deferred.note(invalid(format_args!(
                "The function is not allowed in an update expression; function: {name}"
            )));
        } else if operands.len() != 2 {
            self.deferred.note(invalid(format_args!(
                "Incorrect number of operands for operator or function; operator or function: {name}, number of operands: {}",
                operands.len()
            )));
        }
        let second = operands.pop().map(Box::new).unwrap_or_else(|| Box::new(Expr::Value(Value::Null)));
        let first = operands.pop().unwrap_or(Expr::Value(Value::Null));
        if name == "list_append" {
            for operand in [&first, &*second] {
                if let Expr::Value(value) = operand
                    && !matches!(value, Value::L(_))
                {
                    self.deferred.note(super::operand::wrong_type(Kind::Update, name, value));
                }
            }
            return Ok(Expr::ListAppend(Box::new(first), second));
        }
        match first {
            Expr::Path(path) => Ok(Expr::IfNotExists(path, second)),
            _ => {
                self.deferred.note(invalid(format_args!(
                    "Operator or function requires a document path; operator or function: {name}"
                )));
                Ok(*second)
            }
        }
    }
}

fn long_type_name(value: &Value) -> &'static str {
    match value {
        Value::S(_) => "STRING",
        Value::N(_) => "NUMBER",
        Value::B(_) => "BINARY",
        Value::Ss(_) => "STRING_SET",
        Value::Ns(_) => "NUMBER_SET",
        Value::Bs(_) => "BINARY_SET",
        Value::M(_) => "MAP",
        Value::L(_) => "LIST",
        Value::Null => "NULL",
        Value::Bool(_) => "BOOLEAN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::placeholder::Given;
    use crate::value::item_to_wire;
    use crate::value::tests::{item, n, s};

    fn set(values: &[&str]) -> Value {
        Value::Ss(values.iter().map(|value| (*value).to_owned()).collect())
    }

    fn placeholders() -> Placeholders {
        let values = item(&[
            (":one", n("1")),
            (":s", s("x")),
            (":l", Value::L(vec![s("y")])),
            (":set", set(&["a", "b"])),
            (":abc", set(&["a", "b", "c"])),
            (":m", Value::M(Item::new())),
        ]);
        let given = Given { expressions: &[("UpdateExpression", true)], legacy: &[] };
        Placeholders::read(None, Some(item_to_wire(&values)), &given).unwrap()
    }

    fn start() -> Item {
        let doc = Value::M(item(&[("x", n("1")), ("l", Value::L(vec![n("0"), n("1"), n("2")]))]));
        item(&[
            ("id", s("k")),
            ("n", n("10")),
            ("tags", set(&["a", "z"])),
            ("doc", doc),
            ("l", Value::L(vec![s("a")])),
        ])
    }

    #[test]
    fn updates_change_what_they_name_and_nothing_else() {
        type Changes = Vec<(&'static str, Option<Value>)>;
        let cases: Vec<(&str, Changes)> = vec![
            ("SET a = :one", vec![("a", Some(n("1")))]),
            ("SET n = n + :one, b = n", vec![("n", Some(n("11"))), ("b", Some(n("10")))]),
            ("set n = :one - n", vec![("n", Some(n("-9")))]),
            (
                "SET c = if_not_exists(c, :s), n = if_not_exists(n, :one)",
                vec![("c", Some(s("x"))), ("n", Some(n("10")))],
            ),
            ("REMOVE n, absent", vec![("n", None)]),
            ("ADD n :one, fresh :one", vec![("n", Some(n("11"))), ("fresh", Some(n("1")))]),
        ];
        for (text, changes) in cases {
            let update =
                Update::parse(text, &placeholders()).unwrap_or_else(|error| panic!("{text}: {error}"));
            let mut expected = start();
            for (name, value) in changes {
                match value {
                    Some(value) => expected.insert(name.to_owned(), value),
                    None => expected.remove(name),
                };
            }
            assert_eq!(update.apply(&start()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn documents_lists_and_sets_are_changed_inside() {
        let run = |text: &str| Update::parse(text, &placeholders()).unwrap().apply(&start()).unwrap();
        let inside = |item: &Item, name: &str| match item.get("doc") {
            Some(Value::M(map)) => map.get(name).cloned(),
            _ => None,
        };
        assert_eq!(inside(&run("SET doc.y = :s"), "y"), Some(s("x")));
        assert_eq!(
            inside(&run("SET doc.l[9] = :s"), "l"),
            Some(Value::L(vec![n("0"), n("1"), n("2"), s("x")]))
        );
        assert_eq!(inside(&run("REMOVE doc.l[0], doc.l[2]"), "l"), Some(Value::L(vec![n("1")])));
        assert_eq!(run("SET l = list_append(l, :l)").get("l"), Some(&Value::L(vec![s("a"), s("y")])));
        assert_eq!(run("ADD tags :set").get("tags"), Some(&set(&["a", "b", "z"])));
        assert_eq!(run("DELETE tags :set").get("tags"), Some(&set(&["z"])));
        assert_eq!(run("SET q = :m").get("q"), Some(&Value::M(Item::new())));
        assert_eq!(
            Update::parse("DELETE tags :abc", &placeholders())
                .unwrap()
                .apply(&item(&[("tags", set(&["a"]))]))
                .unwrap(),
            Item::new()
        );
    }

    #[test]
    fn faulty_updates_are_refused_in_awss_words() {
        let cases = [
            (
                "SET a = :one SET b = :one",
                "Invalid UpdateExpression: The \"SET\" section can only be used once in an update expression;",
            ),
            (
                "SET a = :one, a.b = :one",
                "Invalid UpdateExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]",
            ),
            (
                "SET a[1] = :one, a.b = :one",
                "Invalid UpdateExpression: Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, [1]], path two: [a, b]",
            ),
            (
                "ADD a :s",
                "Invalid UpdateExpression: Incorrect operand type for operator or function; operator: ADD, operand type: STRING, typeset: ALLOWED_FOR_ADD_OPERAND",
            ),
            ("SET a = b", "The provided expression refers to an attribute that does not exist in the item"),
            ("SET n = n + tags", "An operand in the update expression has an incorrect data type"),
            (
                "SET absent.x = :one",
                "The document path provided in the update expression is invalid for update",
            ),
            ("SET n.x = :one", "The document path provided in the update expression is invalid for update"),
            (
                "SET a = attribute_exists(n)",
                "Invalid UpdateExpression: The function is not allowed in an update expression; function: attribute_exists",
            ),
            (
                "SET a = :s + :one",
                "Invalid UpdateExpression: Incorrect operand type for operator or function; operator or function: +, operand type: S",
            ),
            ("SET a :one", "Invalid UpdateExpression: Syntax error; token: \":one\", near: \"a :one\""),
        ];
        for (text, expected) in cases {
            let error = Update::parse(text, &placeholders())
                .and_then(|update| update.apply(&start()))
                .expect_err(text);
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }
}
