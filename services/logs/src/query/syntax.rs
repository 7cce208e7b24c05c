//! The query language as it is understood.

use fancy_regex::Regex;

use super::aggregate::Kind;
use super::function::Function;

#[derive(Debug)]
pub enum Command {
    /// Adds fields and shows them.
    Fields(Vec<Named>),
    /// Shows these and no others.
    Display(Vec<Named>),
    Filter(Expression),
    Stats(Stats),
    /// Keys, and whether each goes from the greatest down.
    Sort(Vec<(Expression, bool)>),
    Limit(usize),
    Parse {
        source: Expression,
        form: Form,
    },
    Dedup(Vec<Expression>),
}

#[derive(Debug)]
pub struct Named {
    pub expression: Expression,
    pub name: String,
}

#[derive(Debug)]
pub struct Stats {
    /// What is counted up; `results` name them by their position.
    pub aggregates: Vec<(Kind, Option<Expression>)>,
    pub results: Vec<Named>,
    pub by: Vec<Named>,
}

/// How `parse` takes a text apart.
#[derive(Debug)]
pub enum Form {
    /// Text between asterisks, and the names of what the asterisks stand for.
    Glob { literals: Vec<String>, names: Vec<String> },
    /// Names of the groups by their numbers.
    Regex { regex: Regex, names: Vec<(usize, String)> },
}

#[derive(Debug)]
pub enum Expression {
    Field(String),
    Number(f64),
    Text(String),
    /// A length of time in milliseconds: `5m`.
    Period(i64),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    Contains(Box<Expression>, String),
    Matches(Box<Expression>, Regex),
    In(Box<Expression>, Vec<Expression>),
    Call(Function, Vec<Expression>),
    /// The result of an aggregate, in `stats`.
    Aggregate(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
}
