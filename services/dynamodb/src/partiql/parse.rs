//! Statements, read into the conditions and updates that they mean.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::lexer::{Token, tokens};
use super::malformed;
use crate::error::DynamoError;
use crate::expression::condition::{Comparator, Condition};
use crate::expression::operand::Operand;
use crate::expression::path::{Path, Projection, Step};
use crate::expression::update::{Expr, Update};
use crate::number::Number;
use crate::value::{Item, Value};

const MAX_NESTING: usize = 40;

/// What `RETURNING` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returning {
    AllOld,
    AllNew,
    ModifiedOld,
    ModifiedNew,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    Select {
        table: String,
        index: Option<String>,
        projection: Option<Projection>,
        condition: Option<Condition>,
        /// The attribute, and whether it goes down.
        order: Option<(String, bool)>,
    },
    Insert {
        table: String,
        item: Item,
    },
    Update {
        table: String,
        update: Update,
        condition: Condition,
        returning: Option<Returning>,
    },
    Delete {
        table: String,
        condition: Condition,
        returning: Option<Returning>,
    },
    /// `EXISTS(SELECT ..)`, a check in a transaction.
    Exists {
        table: String,
        condition: Condition,
    },
}

impl Statement {
    /// Reads one statement; each `?` takes the next parameter.
    ///
    /// # Errors
    /// `ValidationException`
    pub fn parse(text: &str, parameters: Vec<Value>) -> Result<Statement, DynamoError> {
        let mut parser =
            Parser { tokens: tokens(text)?, at: 0, parameters: parameters.into_iter(), depth: 0 };
        let statement = parser.statement()?;
        if parser.parameters.next().is_some() {
            return Err(DynamoError::validation(
                "Number of parameters in request and statement don't match.",
            ));
        }
        Ok(statement)
    }

    pub fn table(&self) -> &str {
        match self {
            Statement::Select { table, .. }
            | Statement::Insert { table, .. }
            | Statement::Update { table, .. }
            | Statement::Delete { table, .. }
            | Statement::Exists { table, .. } => table,
        }
    }

    pub fn is_read(&self) -> bool {
        matches!(self, Statement::Select { .. })
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    parameters: std::vec::IntoIter<Value>,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(text) if text.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<(), DynamoError> {
        if self.take_word(word) { Ok(()) } else { Err(malformed(format_args!("Expected {word}"))) }
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(text) if *text == symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), DynamoError> {
        if self.take(symbol) { Ok(()) } else { Err(malformed(format_args!("Expected {symbol}"))) }
    }

    fn deeper(&mut self) -> Result<(), DynamoError> {
        self.depth += 1;
        if self.depth > MAX_NESTING { Err(malformed("Nested too deep")) } else { Ok(()) }
    }

    fn statement(&mut self) -> Result<Statement, DynamoError> {
        let statement = if self.take_word("SELECT") {
            self.select()?
        } else if self.take_word("INSERT") {
            self.expect_word("INTO")?;
            let table = self.name()?;
            self.expect_word("VALUE")?;
            match self.value()? {
                Value::M(item) => Statement::Insert { table, item },
                _ => return Err(malformed("Expected a tuple after VALUE")),
            }
        } else if self.take_word("UPDATE") {
            self.update()?
        } else if self.take_word("DELETE") {
            self.expect_word("FROM")?;
            let table = self.name()?;
            self.expect_word("WHERE")?;
            let condition = self.or()?;
            Statement::Delete { table, condition, returning: self.returning()? }
        } else if self.take_word("EXISTS") {
            self.expect("(")?;
            self.expect_word("SELECT")?;
            let Statement::Select { table, condition: Some(condition), index: None, .. } = self.select()?
            else {
                return Err(malformed("EXISTS needs a condition on a table"));
            };
            self.expect(")")?;
            Statement::Exists { table, condition }
        } else {
            return Err(malformed("Unexpected beginning of a statement"));
        };
        self.take(";");
        match self.peek() {
            Token::End => Ok(statement),
            _ => Err(malformed("Unexpected text after the statement")),
        }
    }

    fn select(&mut self) -> Result<Statement, DynamoError> {
        let projection = if self.take("*") {
            None
        } else {
            let mut paths = vec![self.path()?];
            while self.take(",") {
                paths.push(self.path()?);
            }
            Some(Projection(paths))
        };
        self.expect_word("FROM")?;
        let table = self.name()?;
        let index = if self.take(".") { Some(self.name()?) } else { None };
        let condition = if self.take_word("WHERE") { Some(self.or()?) } else { None };
        let mut order = None;
        if self.take_word("ORDER") {
            self.expect_word("BY")?;
            let name = self.path()?.root;
            let is_down = self.take_word("DESC");
            if !is_down {
                self.take_word("ASC");
            }
            order = Some((name, is_down));
        }
        Ok(Statement::Select { table, index, projection, condition, order })
    }

    fn update(&mut self) -> Result<Statement, DynamoError> {
        let table = self.name()?;
        let mut update = Update::default();
        loop {
            if self.take_word("SET") {
                loop {
                    let path = self.path()?;
                    self.expect("=")?;
                    self.assign(path, &mut update)?;
                    if !self.take(",") {
                        break;
                    }
                }
            } else if self.take_word("REMOVE") {
                update.remove.push(self.path()?);
                while self.take(",") {
                    update.remove.push(self.path()?);
                }
            } else {
                break;
            }
        }
        self.expect_word("WHERE")?;
        let condition = self.or()?;
        Ok(Statement::Update { table, update, condition, returning: self.returning()? })
    }

    fn assign(&mut self, path: Path, update: &mut Update) -> Result<(), DynamoError> {
        for (function, adds) in [("set_add", true), ("set_delete", false)] {
            if self.is_call(function) {
                self.at += 2;
                let target = self.path()?;
                if target != path {
                    return Err(malformed(format_args!("{function} changes the attribute that it reads")));
                }
                self.expect(",")?;
                let value = self.value()?;
                self.expect(")")?;
                if adds {
                    update.add.push((path, value))
                } else {
                    update.delete.push((path, value))
                }
                return Ok(());
            }
        }
        let mut expr = self.term()?;
        loop {
            if self.take("+") {
                expr = Expr::Plus(Box::new(expr), Box::new(self.term()?));
            } else if self.take("-") {
                expr = Expr::Minus(Box::new(expr), Box::new(self.term()?));
            } else {
                break;
            }
        }
        update.set.push((path, expr));
        Ok(())
    }

    fn is_call(&self, function: &str) -> bool {
        let follows = self.tokens.get(self.at + 1);
        self.is_word(function) && matches!(follows, Some(Token::Symbol("(")))
    }

    fn term(&mut self) -> Result<Expr, DynamoError> {
        for function in ["list_append", "if_not_exists"] {
            if self.is_call(function) {
                self.deeper()?;
                self.at += 2;
                let first = self.term()?;
                self.expect(",")?;
                let second = Box::new(self.term()?);
                self.expect(")")?;
                self.depth -= 1;
                return match (function, first) {
                    ("list_append", first) => Ok(Expr::ListAppend(Box::new(first), second)),
                    (_, Expr::Path(path)) => Ok(Expr::IfNotExists(path, second)),
                    _ => Err(malformed("if_not_exists needs a path")),
                };
            }
        }
        if self.is_literal() { Ok(Expr::Value(self.value()?)) } else { Ok(Expr::Path(self.path()?)) }
    }

    fn returning(&mut self) -> Result<Option<Returning>, DynamoError> {
        if !self.take_word("RETURNING") {
            return Ok(None);
        }
        let all = self.take_word("ALL");
        if !all {
            self.expect_word("MODIFIED")?;
        }
        let old = self.take_word("OLD");
        if !old {
            self.expect_word("NEW")?;
        }
        self.expect("*")?;
        Ok(Some(match (all, old) {
            (true, true) => Returning::AllOld,
            (true, false) => Returning::AllNew,
            (false, true) => Returning::ModifiedOld,
            (false, false) => Returning::ModifiedNew,
        }))
    }

    /// A table or an index.
    fn name(&mut self) -> Result<String, DynamoError> {
        match self.next() {
            Token::Word(name) | Token::Quoted(name) => Ok(name),
            _ => Err(malformed("Expected the name of a table or an index")),
        }
    }

    fn path(&mut self) -> Result<Path, DynamoError> {
        let attribute = |token: Token| match token {
            Token::Word(name) | Token::Quoted(name) => Ok(name),
            _ => Err(malformed("Expected an attribute")),
        };
        let root = attribute(self.next())?;
        let mut rest = Vec::new();
        loop {
            if self.take(".") {
                rest.push(Step::Name(attribute(self.next())?));
            } else if self.take("[") {
                match self.next() {
                    Token::Number(digits) => {
                        let index = digits.parse().map_err(|_| malformed("Expected an index"))?;
                        rest.push(Step::Index(index));
                    }
                    Token::Text(name) => rest.push(Step::Name(name)),
                    _ => return Err(malformed("Expected an index")),
                }
                self.expect("]")?;
            } else {
                return Ok(Path { root, rest });
            }
        }
    }

    fn is_literal(&self) -> bool {
        match self.peek() {
            Token::Text(_) | Token::Number(_) | Token::Parameter => true,
            Token::Symbol(symbol) => matches!(*symbol, "[" | "{" | "<<" | "-" | "+"),
            Token::Word(word) => ["TRUE", "FALSE", "NULL"].iter().any(|one| word.eq_ignore_ascii_case(one)),
            _ => false,
        }
    }

    fn value(&mut self) -> Result<Value, DynamoError> {
        self.deeper()?;
        let value = match self.next() {
            Token::Text(text) => Value::S(text),
            Token::Number(digits) => Value::N(Number::parse(&digits)?),
            Token::Symbol("-") => match self.next() {
                Token::Number(digits) => Value::N(Number::parse(&digits)?.negated()),
                _ => return Err(malformed("Expected a number")),
            },
            Token::Symbol("+") => match self.next() {
                Token::Number(digits) => Value::N(Number::parse(&digits)?),
                _ => return Err(malformed("Expected a number")),
            },
            Token::Parameter => match self.parameters.next() {
                Some(value) => value,
                None => {
                    return Err(DynamoError::validation(
                        "Number of parameters in request and statement don't match.",
                    ));
                }
            },
            Token::Word(word) if word.eq_ignore_ascii_case("TRUE") => Value::Bool(true),
            Token::Word(word) if word.eq_ignore_ascii_case("FALSE") => Value::Bool(false),
            Token::Word(word) if word.eq_ignore_ascii_case("NULL") => Value::Null,
            Token::Symbol("[") => Value::L(self.values("]")?),
            Token::Symbol("<<") => set(self.values(">>")?)?,
            Token::Symbol("{") => Value::M(self.tuple()?),
            _ => return Err(malformed("Expected a value")),
        };
        self.depth -= 1;
        Ok(value)
    }

    fn values(&mut self, end: &str) -> Result<Vec<Value>, DynamoError> {
        let mut values = Vec::new();
        if self.take(end) {
            return Ok(values);
        }
        loop {
            values.push(self.value()?);
            if !self.take(",") {
                self.expect(end)?;
                return Ok(values);
            }
        }
    }

    fn tuple(&mut self) -> Result<BTreeMap<String, Value>, DynamoError> {
        let mut map = BTreeMap::new();
        if self.take("}") {
            return Ok(map);
        }
        loop {
            let name = match self.next() {
                Token::Text(name) | Token::Quoted(name) => name,
                _ => return Err(malformed("Expected the name of an attribute in quotation marks")),
            };
            self.expect(":")?;
            let value = self.value()?;
            map.insert(name, value);
            if !self.take(",") {
                self.expect("}")?;
                return Ok(map);
            }
        }
    }

    fn or(&mut self) -> Result<Condition, DynamoError> {
        self.deeper()?;
        let mut left = self.and()?;
        while self.take_word("OR") {
            left = left.or(self.and()?);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Condition, DynamoError> {
        let mut left = self.not()?;
        while self.take_word("AND") {
            left = left.and(self.not()?);
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Condition, DynamoError> {
        if self.take_word("NOT") {
            self.deeper()?;
            let inner = self.not()?.not();
            self.depth -= 1;
            return Ok(inner);
        }
        if self.take("(") {
            let inner = self.or()?;
            self.expect(")")?;
            return Ok(inner);
        }
        for function in ["begins_with", "contains", "attribute_type"] {
            if self.is_call(function) {
                self.at += 2;
                let first = self.operand()?;
                self.expect(",")?;
                let second = self.operand()?;
                self.expect(")")?;
                return match (function, second) {
                    ("begins_with", second) => Ok(Condition::BeginsWith(first, second)),
                    ("contains", second) => Ok(Condition::Contains(first, second)),
                    (_, Operand::Value(Value::S(name))) => Ok(Condition::IsType(first, name)),
                    _ => Err(malformed("attribute_type needs the name of a type")),
                };
            }
        }
        let left = self.operand()?;
        self.comparison(left)
    }

    fn operand(&mut self) -> Result<Operand, DynamoError> {
        if self.is_call("size") {
            self.at += 2;
            let path = self.path()?;
            self.expect(")")?;
            return Ok(Operand::Size(Box::new(Operand::Path(path))));
        }
        if self.is_literal() { Ok(Operand::Value(self.value()?)) } else { Ok(Operand::Path(self.path()?)) }
    }

    fn comparison(&mut self, left: Operand) -> Result<Condition, DynamoError> {
        if self.take_word("BETWEEN") {
            let low = self.operand()?;
            self.expect_word("AND")?;
            return Ok(Condition::Between(left, low, self.operand()?));
        }
        if self.take_word("IN") {
            let end = if self.take("(") {
                ")"
            } else {
                self.expect("[")?;
                "]"
            };
            let list = self.values(end)?;
            return Ok(Condition::In(left, list.into_iter().map(Operand::Value).collect()));
        }
        if self.take_word("IS") {
            let is_negated = self.take_word("NOT");
            let Operand::Path(path) = left else { return Err(malformed("IS needs an attribute")) };
            let condition = if self.take_word("MISSING") {
                Condition::Exists(path).not()
            } else {
                self.expect_word("NULL")?;
                Condition::IsType(Operand::Path(path), "NULL".to_owned())
            };
            return Ok(if is_negated { condition.not() } else { condition });
        }
        let comparator = match self.next() {
            Token::Symbol("=") => Comparator::Equal,
            Token::Symbol("<>" | "!=") => Comparator::NotEqual,
            Token::Symbol("<") => Comparator::Less,
            Token::Symbol("<=") => Comparator::LessOrEqual,
            Token::Symbol(">") => Comparator::Greater,
            Token::Symbol(">=") => Comparator::GreaterOrEqual,
            _ => return Err(malformed("Expected a comparison")),
        };
        Ok(Condition::Compare(comparator, left, self.operand()?))
    }
}

/// `<<..>>`: all of one type, and not empty.
fn set(values: Vec<Value>) -> Result<Value, DynamoError> {
    let mixed = || malformed("A set has values of one type: strings, numbers or binaries");
    match values.first() {
        Some(Value::S(_)) => {
            let texts =
                values.into_iter().map(|value| if let Value::S(text) = value { Some(text) } else { None });
            Ok(Value::Ss(texts.collect::<Option<BTreeSet<String>>>().ok_or_else(mixed)?))
        }
        Some(Value::N(_)) => {
            let numbers =
                values.into_iter().map(|value| if let Value::N(one) = value { Some(one) } else { None });
            Ok(Value::Ns(numbers.collect::<Option<BTreeSet<Number>>>().ok_or_else(mixed)?))
        }
        Some(Value::B(_)) => {
            let bytes =
                values.into_iter().map(|value| if let Value::B(one) = value { Some(one) } else { None });
            Ok(Value::Bs(bytes.collect::<Option<BTreeSet<Bytes>>>().ok_or_else(mixed)?))
        }
        _ => Err(mixed()),
    }
}

#[cfg(test)]
mod tests;
