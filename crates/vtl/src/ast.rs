//! A template after parsing. Names of variables are numbers, so that a run looks nothing up by text.

use std::sync::Arc;

/// A template, ready to run any number of times.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) body: Vec<Node>,
    /// Every variable that the template names.
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) macros: Vec<Macro>,
}

#[derive(Debug, Clone)]
pub(crate) struct Macro {
    pub parameters: Vec<usize>,
    pub body: Vec<Node>,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Text(Arc<str>),
    Reference(Reference),
    Set { target: Reference, value: Expr },
    If { branches: Vec<(Expr, Vec<Node>)>, otherwise: Vec<Node> },
    Foreach { variable: usize, of: Expr, body: Vec<Node> },
    Call { which: usize, arguments: Vec<Expr> },
    Break,
    Stop,
}

#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub variable: usize,
    pub steps: Vec<Step>,
    /// `$!name`: nothing rather than its own text when there is no such variable.
    pub is_quiet: bool,
    /// Backslashes before it.
    pub escapes: usize,
    pub source: Arc<str>,
    /// `${name|'else'}`
    pub alternate: Option<Box<Expr>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Property(Arc<str>),
    Method(Arc<str>, Vec<Expr>),
    Index(Expr),
}

#[derive(Debug, Clone)]
pub(crate) enum Expr {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Interpolated(Vec<Node>),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Range(Box<Expr>, Box<Expr>),
    Reference(Reference),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}
