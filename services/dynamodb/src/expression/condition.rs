//! Condition and filter expressions.
//!
//! Source: Amazon DynamoDB Developer Guide, "Condition and filter expressions, operators, and functions in DynamoDB".

use std::cmp::Ordering;

use super::Kind;
use super::lexer::{Lexer, TokenKind};
use super::operand::{
    CONDITION_FUNCTIONS, Operand, check_count, check_first_distinct, is_call, is_function, parse_call,
    parse_operand, wrong_type,
};
use super::path::{Deferred, Path};
use super::placeholder::Placeholders;
use crate::error::DynamoError;
use crate::value::{Item, Value};

const MAX_NESTING: usize = 128;
const MAX_IN: usize = 100;
const TYPES: [&str; 10] = ["B", "NULL", "SS", "BOOL", "L", "BS", "N", "NS", "S", "M"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparator {
    fn read(symbol: &str) -> Option<Comparator> {
        Some(match symbol {
            "=" => Comparator::Equal,
            "<>" => Comparator::NotEqual,
            "<" => Comparator::Less,
            "<=" => Comparator::LessOrEqual,
            ">" => Comparator::Greater,
            ">=" => Comparator::GreaterOrEqual,
            _ => return None,
        })
    }

    pub fn symbol(self) -> &'static str {
        match self {
            Comparator::Equal => "=",
            Comparator::NotEqual => "<>",
            Comparator::Less => "<",
            Comparator::LessOrEqual => "<=",
            Comparator::Greater => ">",
            Comparator::GreaterOrEqual => ">=",
        }
    }

    /// A missing attribute equals nothing, and differs from everything.
    pub fn holds(self, left: Option<&Value>, right: Option<&Value>) -> bool {
        let (Some(left), Some(right)) = (left, right) else { return self == Comparator::NotEqual };
        let order = left.compare(right);
        match self {
            Comparator::Equal => left == right,
            Comparator::NotEqual => left != right,
            Comparator::Less => order == Some(Ordering::Less),
            Comparator::LessOrEqual => order.is_some_and(Ordering::is_le),
            Comparator::Greater => order == Some(Ordering::Greater),
            Comparator::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    Compare(Comparator, Operand, Operand),
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
    Exists(Path),
    IsType(Operand, String),
    BeginsWith(Operand, Operand),
    Contains(Operand, Operand),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

impl Condition {
    /// Parses a condition, filter or key condition expression.
    ///
    /// # Errors
    /// `ValidationException` in AWS's words.
    pub fn parse(kind: Kind, text: &str, placeholders: &Placeholders) -> Result<Condition, DynamoError> {
        kind.check_length(text)?;
        let mut parser =
            Parser { lexer: Lexer::new(kind, text), placeholders, deferred: Deferred::default(), depth: 0 };
        let condition = parser.or()?.0;
        parser.lexer.expect_end()?;
        parser.deferred.check()?;
        Ok(condition)
    }

    pub fn not(self) -> Condition {
        Condition::Not(Box::new(self))
    }

    pub fn and(self, other: Condition) -> Condition {
        Condition::And(Box::new(self), Box::new(other))
    }

    pub fn or(self, other: Condition) -> Condition {
        Condition::Or(Box::new(self), Box::new(other))
    }

    /// Whether the item (empty if there is none) meets the condition.
    pub fn holds(&self, item: &Item) -> bool {
        match self {
            Condition::Compare(comparator, left, right) => {
                comparator.holds(left.resolve(item).as_deref(), right.resolve(item).as_deref())
            }
            Condition::Between(operand, low, high) => {
                let value = operand.resolve(item);
                Comparator::GreaterOrEqual.holds(value.as_deref(), low.resolve(item).as_deref())
                    && Comparator::LessOrEqual.holds(value.as_deref(), high.resolve(item).as_deref())
            }
            Condition::In(operand, list) => {
                let value = operand.resolve(item);
                list.iter().any(|one| Comparator::Equal.holds(value.as_deref(), one.resolve(item).as_deref()))
            }
            Condition::Exists(path) => path.find(item).is_some(),
            Condition::IsType(operand, name) => {
                operand.resolve(item).is_some_and(|value| value.type_name() == name)
            }
            Condition::BeginsWith(operand, prefix) => {
                match (operand.resolve(item).as_deref(), prefix.resolve(item).as_deref()) {
                    (Some(Value::S(text)), Some(Value::S(prefix))) => text.starts_with(prefix.as_str()),
                    (Some(Value::B(bytes)), Some(Value::B(prefix))) => bytes.starts_with(prefix),
                    _ => false,
                }
            }
            Condition::Contains(operand, part) => {
                match (operand.resolve(item).as_deref(), part.resolve(item).as_deref()) {
                    (Some(whole), Some(part)) => contains(whole, part),
                    _ => false,
                }
            }
            Condition::Not(inner) => !inner.holds(item),
            Condition::And(left, right) => left.holds(item) && right.holds(item),
            Condition::Or(left, right) => left.holds(item) || right.holds(item),
        }
    }

    /// All paths that the condition looks at.
    pub fn paths(&self) -> Vec<&Path> {
        let mut out = Vec::new();
        self.collect_paths(&mut out);
        out
    }

    fn collect_paths<'a>(&'a self, out: &mut Vec<&'a Path>) {
        match self {
            Condition::Compare(_, a, b) | Condition::BeginsWith(a, b) | Condition::Contains(a, b) => {
                a.paths(out);
                b.paths(out);
            }
            Condition::Between(a, b, c) => [a, b, c].into_iter().for_each(|operand| operand.paths(out)),
            Condition::In(a, list) => {
                a.paths(out);
                list.iter().for_each(|operand| operand.paths(out));
            }
            Condition::Exists(path) => out.push(path),
            Condition::IsType(operand, _) => operand.paths(out),
            Condition::Not(inner) => inner.collect_paths(out),
            Condition::And(a, b) | Condition::Or(a, b) => {
                a.collect_paths(out);
                b.collect_paths(out);
            }
        }
    }
}

fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::S(text), Value::S(part)) => text.contains(part.as_str()),
        (Value::B(bytes), Value::B(part)) => {
            part.is_empty() || bytes.windows(part.len()).any(|window| window == &part[..])
        }
        (Value::Ss(set), Value::S(part)) => set.contains(part),
        (Value::Ns(set), Value::N(part)) => set.contains(part),
        (Value::Bs(set), Value::B(part)) => set.contains(part),
        (Value::L(list), part) => list.contains(part),
        _ => false,
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    placeholders: &'a Placeholders,
    deferred: Deferred,
    depth: usize,
}

/// Whether a condition was wholly in parentheses.
type Parsed = (Condition, bool);

impl Parser<'_> {
    fn or(&mut self) -> Result<Parsed, DynamoError> {
        let (mut left, mut in_parens) = self.and()?;
        while self.lexer.take_keyword("OR") {
            left = left.or(self.and()?.0);
            in_parens = false;
        }
        Ok((left, in_parens))
    }

    fn and(&mut self) -> Result<Parsed, DynamoError> {
        let (mut left, mut in_parens) = self.not()?;
        while self.lexer.take_keyword("AND") {
            left = left.and(self.not()?.0);
            in_parens = false;
        }
        Ok((left, in_parens))
    }

    fn not(&mut self) -> Result<Parsed, DynamoError> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(self.lexer.kind.invalid("The expression is nested too deep;"));
        }
        let parsed =
            if self.lexer.take_keyword("NOT") { (self.not()?.0.not(), false) } else { self.primary()? };
        self.depth -= 1;
        Ok(parsed)
    }

    fn primary(&mut self) -> Result<Parsed, DynamoError> {
        if self.lexer.take_symbol("(") {
            let (inner, is_doubled) = self.or()?;
            self.lexer.expect_symbol(")")?;
            if is_doubled {
                self.deferred.note(self.lexer.kind.invalid("The expression has redundant parentheses;"));
            }
            return Ok((inner, true));
        }
        let is_function_call = is_call(&self.lexer) && self.lexer.peek().text != "size";
        if is_function_call {
            return Ok((self.function()?, false));
        }
        let left = self.operand()?;
        let token = self.lexer.peek();
        let comparator = (token.kind == TokenKind::Symbol).then(|| Comparator::read(token.text)).flatten();
        if let Some(comparator) = comparator {
            self.lexer.next();
            let right = self.operand()?;
            return Ok((self.compare(comparator, left, right), false));
        }
        if self.lexer.take_keyword("BETWEEN") {
            let low = self.operand()?;
            self.lexer.expect_keyword("AND")?;
            let high = self.operand()?;
            return Ok((self.between(left, low, high), false));
        }
        if self.lexer.take_keyword("IN") {
            self.lexer.expect_symbol("(")?;
            let mut list = vec![self.operand()?];
            while self.lexer.take_symbol(",") {
                list.push(self.operand()?);
            }
            self.lexer.expect_symbol(")")?;
            if list.len() > MAX_IN {
                let text = format!(
                    "Too many operands for operator or function; operator or function: IN, number of operands: {}",
                    list.len() + 1
                );
                self.deferred.note(self.lexer.kind.invalid(text));
            }
            return Ok((Condition::In(left, list), false));
        }
        if let Operand::Size(_) = left
            && self.lexer.peek().kind == TokenKind::End
        {
            self.deferred.note(
                self.lexer.kind.invalid(
                    "The function is not allowed to be used this way in an expression; function: size",
                ),
            );
            return Ok((Condition::In(left, Vec::new()), false));
        }
        Err(self.lexer.syntax_error())
    }

    fn operand(&mut self) -> Result<Operand, DynamoError> {
        parse_operand(&mut self.lexer, self.placeholders, &mut self.deferred)
    }

    fn compare(&mut self, comparator: Comparator, left: Operand, right: Operand) -> Condition {
        let (kind, symbol) = (self.lexer.kind, comparator.symbol());
        check_first_distinct(kind, symbol, &left, &[&right], &mut self.deferred);
        if !matches!(comparator, Comparator::Equal | Comparator::NotEqual) {
            self.check_ordered(symbol, &[&left, &right]);
        }
        Condition::Compare(comparator, left, right)
    }

    /// Only strings, numbers and binaries have an order.
    fn check_ordered(&mut self, name: &str, operands: &[&Operand]) {
        for value in operands.iter().filter_map(|operand| operand.literal()) {
            if !matches!(value, Value::S(_) | Value::N(_) | Value::B(_)) {
                self.deferred.note(wrong_type(self.lexer.kind, name, value));
            }
        }
    }

    fn between(&mut self, operand: Operand, low: Operand, high: Operand) -> Condition {
        let kind = self.lexer.kind;
        check_first_distinct(kind, "BETWEEN", &operand, &[&low, &high], &mut self.deferred);
        self.check_ordered("BETWEEN", &[&operand, &low, &high]);
        if let (Some(a), Some(b)) = (low.literal(), high.literal()) {
            let bounds = format!(
                "lower bound operand: AttributeValue: {}, upper bound operand: AttributeValue: {}",
                a.shown(),
                b.shown()
            );
            if a.type_name() != b.type_name() {
                self.deferred.note(kind.invalid(format_args!(
                    "The BETWEEN operator requires same data type for lower and upper bounds; {bounds}"
                )));
            } else if a.compare(b) == Some(Ordering::Greater) {
                self.deferred.note(kind.invalid(format_args!(
                    "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; {bounds}"
                )));
            }
        }
        Condition::Between(operand, low, high)
    }

    fn function(&mut self) -> Result<Condition, DynamoError> {
        let (name, mut operands) = parse_call(&mut self.lexer, self.placeholders, &mut self.deferred)?;
        let kind = self.lexer.kind;
        let follows = self.lexer.peek();
        let is_operand = follows.kind == TokenKind::Symbol && Comparator::read(follows.text).is_some()
            || self.lexer.is_keyword("BETWEEN")
            || self.lexer.is_keyword("IN");
        if !is_function(name) {
            self.deferred.note(kind.invalid(format_args!("Invalid function name; function: {name}")));
        } else if is_operand || !CONDITION_FUNCTIONS.contains(&name) {
            self.deferred.note(kind.invalid(format_args!(
                "The function is not allowed to be used this way in an expression; function: {name}"
            )));
        }
        if is_operand {
            // Reads on, so that a syntax error further on is told first.
            self.lexer.next();
            self.operand()?;
            if self.lexer.take_keyword("AND") {
                self.operand()?;
            }
            return Ok(Condition::In(operands.swap_remove(0), Vec::new()));
        }
        let count = if name.starts_with("attribute_") && name != "attribute_type" { 1 } else { 2 };
        check_count(kind, name, &operands, count, &mut self.deferred);
        if operands.len() < count {
            return Ok(Condition::In(operands.swap_remove(0), Vec::new()));
        }
        let first = operands.swap_remove(0);
        if count == 1 {
            return Ok(self.existence(name, first));
        }
        let second = operands.swap_remove(0);
        Ok(self.two_operands(name, first, second))
    }

    fn existence(&mut self, name: &str, operand: Operand) -> Condition {
        let Operand::Path(path) = operand else {
            self.deferred.note(self.lexer.kind.invalid(format_args!(
                "Operator or function requires a document path; operator or function: {name}"
            )));
            return Condition::In(operand, Vec::new());
        };
        let exists = Condition::Exists(path);
        if name == "attribute_exists" { exists } else { exists.not() }
    }

    fn two_operands(&mut self, name: &str, first: Operand, second: Operand) -> Condition {
        let kind = self.lexer.kind;
        match name {
            "attribute_type" => {
                let mut type_name = String::new();
                match &second {
                    Operand::Value(Value::S(text)) if TYPES.contains(&text.as_str()) => {
                        type_name.clone_from(text);
                    }
                    Operand::Value(Value::S(text)) => self.deferred.note(kind.invalid(format_args!(
                        "Invalid attribute type name found; type: {text}, valid types: {{{}}}",
                        TYPES.join(",")
                    ))),
                    Operand::Value(value) => self.deferred.note(wrong_type(kind, name, value)),
                    _ => self.deferred.note(kind.invalid(format_args!(
                        "Incorrect operand type for operator or function; operator or function: {name}, operand type: {{NS,SS,L,BS,N,M,B,BOOL,NULL,S}}"
                    ))),
                }
                Condition::IsType(first, type_name)
            }
            "begins_with" => {
                check_first_distinct(kind, name, &first, &[&second], &mut self.deferred);
                for value in [&first, &second].into_iter().filter_map(|operand| operand.literal()) {
                    if !matches!(value, Value::S(_) | Value::B(_)) {
                        self.deferred.note(wrong_type(kind, name, value));
                    }
                }
                Condition::BeginsWith(first, second)
            }
            _ => {
                check_first_distinct(kind, name, &first, &[&second], &mut self.deferred);
                Condition::Contains(first, second)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::placeholder::Given;
    use crate::value::item_to_wire;
    use crate::value::tests::{item, n, s};
    use pileus_wire::value::Map;
    use proptest::prelude::*;

    fn placeholders() -> Placeholders {
        let values = item(&[
            (":s", s("abc")),
            (":n", n("5")),
            (":m", n("9")),
            (":t", Value::Bool(true)),
            (":p", s("ab")),
            (":type", s("N")),
            (":bad", s("X")),
            (":l", Value::L(vec![])),
        ]);
        let names = Map(vec![("#n".to_owned(), "name".to_owned()), ("#d".to_owned(), "a.b".to_owned())]);
        let given = Given { expressions: &[("ConditionExpression", true)], legacy: &[] };
        Placeholders::read(Some(names), Some(item_to_wire(&values)), &given).unwrap()
    }

    fn parse(text: &str) -> Result<Condition, DynamoError> {
        Condition::parse(Kind::Condition, text, &placeholders())
    }

    #[test]
    fn conditions_hold_or_do_not() {
        let map = Value::M(item(&[("x", n("1")), ("entries", Value::L(vec![s("q"), n("7")]))]));
        let tags = Value::Ss(["abc".to_owned(), "z".to_owned()].into());
        let item = item(&[
            ("id", n("5")),
            ("name", s("abcd")),
            ("doc", map),
            ("tags", tags),
            ("a.b", s("dotted")),
            ("flag", Value::Bool(true)),
        ]);
        let cases = [
            ("id = :n", true),
            ("id <> :n", false),
            ("absent <> :n", true),
            ("absent = :n", false),
            ("id < :m", true),
            ("id >= :n AND id <= :n", true),
            ("id BETWEEN :n AND :m", true),
            ("id IN (:s, :n)", true),
            ("id < :s", false),
            ("attribute_exists(doc.x)", true),
            ("attribute_not_exists(doc.y)", true),
            ("attribute_type(id, :type)", true),
            ("begins_with(#n, :p)", true),
            ("contains(#n, :s)", true),
            ("contains(tags, :s)", true),
            ("contains(doc.entries, :s)", false),
            ("size(#n) < :n", true),
            ("size(doc.entries) > :n", false),
            ("NOT id = :n OR flag = :t", true),
            ("not (id = :n or flag = :t)", false),
            ("doc.entries[1] > :n", true),
            ("doc.entries[2] = :n", false),
            ("#d <> :s", true),
            ("(id = :n) AND (flag = :t)", true),
            ("id = :n OR absent = :n AND absent = :m", true),
        ];
        for (text, expected) in cases {
            let condition = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(condition.holds(&item), expected, "{text}");
        }
    }

    #[test]
    fn faulty_conditions_are_refused_in_awss_words() {
        let cases = [
            ("", "The expression can not be empty;"),
            ("id id", "Syntax error; token: \"id\", near: \"id id\""),
            ("id = ", "Syntax error; token: \"<EOF>\", near: \"=\""),
            ("id = :n AND", "Syntax error; token: \"<EOF>\", near: \"AND\""),
            ("id == :n", "Syntax error; token: \"=\", near: \"== :n\""),
            ("name = :n", "Attribute name is a reserved keyword; reserved keyword: name"),
            (
                "#x = :n",
                "An expression attribute name used in the document path is not defined; attribute name: #x",
            ),
            (
                "id = :x",
                "An expression attribute value used in expression is not defined; attribute value: :x",
            ),
            ("((id = :n))", "The expression has redundant parentheses;"),
            ("nope(id)", "Invalid function name; function: nope"),
            (
                "attribute_exists(id, b)",
                "Incorrect number of operands for operator or function; operator or function: attribute_exists, number of operands: 2",
            ),
            (
                "attribute_exists(:n)",
                "Operator or function requires a document path; operator or function: attribute_exists",
            ),
            (
                "attribute_type(id, :bad)",
                "Invalid attribute type name found; type: X, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
            ),
            (
                "begins_with(id, :n)",
                "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
            ),
            (
                "id < :t",
                "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
            ),
            (
                "id = id",
                "The first operand must be distinct from the remaining operands for this operator or function; operator: =, first operand: [id]",
            ),
            (
                "id BETWEEN :m AND :n",
                "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {N:9}, upper bound operand: AttributeValue: {N:5}",
            ),
            (
                "size(:n) > :n",
                "Incorrect operand type for operator or function; operator or function: size, operand type: N",
            ),
            ("size(id)", "The function is not allowed to be used this way in an expression; function: size"),
            (
                "list_append(id, :l)",
                "The function is not allowed to be used this way in an expression; function: list_append",
            ),
        ];
        for (text, expected) in cases {
            let error = parse(text).expect_err(text).to_string();
            assert_eq!(error, format!("Invalid ConditionExpression: {expected}"), "{text}");
        }
        let deep = format!("{}id = :n", "NOT ".repeat(1_000));
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn placeholders_that_no_expression_uses_are_refused() {
        let all = placeholders();
        Condition::parse(Kind::Condition, "id = :n", &all).unwrap();
        let error = all.check_all_used().expect_err("unused").to_string();
        assert_eq!(error, "Value provided in ExpressionAttributeNames unused in expressions: keys: {#d, #n}");
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "[a-z#:(),.<>=0-9 \\[\\]ANDORTé]{0,60}") {
            let _ = parse(&text);
        }
    }
}
