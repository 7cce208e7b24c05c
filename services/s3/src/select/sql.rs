//! The SQL of `SelectObjectContent`: words, and the tree that they make. Pure.
//!
//! One `SELECT` over one source, with `WHERE` and `LIMIT`; no joins, groups, orders or subqueries, as AWS's.
//!
//! Source: Amazon S3 User Guide, "SQL reference for Amazon S3 Select".

mod parser;
mod words;

use super::SelectError;

#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub columns: Vec<Column>,
    /// Steps from a record to what the query ranges over: `S3Object[*].rows[*]`.
    pub from: Vec<Step>,
    /// The name that columns may begin with.
    pub alias: Option<String>,
    pub filter: Option<Expr>,
    pub limit: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    All,
    One { expr: Expr, name: Option<String> },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Name { text: String, is_quoted: bool },
    Index(usize),
    Every,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Null,
    Missing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Path(Vec<Step>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    Between(Box<Expr>, Box<Expr>, Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    Like(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
    IsNull(Box<Expr>),
    IsMissing(Box<Expr>),
    Cast(Box<Expr>, Type),
    Call(Function, Vec<Expr>),
    /// Pairs of condition and value, and what holds if none does.
    Case(Vec<(Expr, Expr)>, Option<Box<Expr>>),
    /// `None` is `COUNT(*)`. The number tells the aggregates of a query apart.
    Aggregate(Aggregate, Option<Box<Expr>>, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
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
    Concatenate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int,
    Float,
    Text,
    Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    Count,
    Sum,
    Average,
    Minimum,
    Maximum,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Function {
    Coalesce,
    NullIf,
    Length,
    Lower,
    Upper,
    Substring,
    Trim {
        leading: bool,
        trailing: bool,
    },
    /// `year`, `month`, ..
    Extract(String),
    DateAdd(String),
    DateDiff(String),
    ToText,
    ToTime,
    Now,
    Size,
}

const MAX_EXPRESSION: usize = 256 << 10;

/// # Errors
/// AWS's codes for what its parser refuses.
pub fn parse(text: &str) -> Result<Query, SelectError> {
    if text.len() > MAX_EXPRESSION {
        return Err(SelectError::new(
            "ExpressionTooLong",
            "The SQL expression is too long: The maximum byte-length for the SQL expression is 256 KB.",
        ));
    }
    let tokens = words::words(text)?;
    let mut parser = parser::Parser::new(tokens);
    let query = parser.query()?;
    parser.end()?;
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_nothing_is_refused_with_the_code_of_aws() {
        let cases = [
            ("", "ParseExpectedKeyword"),
            ("DELETE FROM S3Object", "ParseExpectedKeyword"),
            ("SELECT *", "ParseSelectMissingFrom"),
            ("SELECT *, a FROM S3Object", "ParseAsteriskIsNotAloneInSelectList"),
            ("SELECT * FROM other", "ParseInvalidPathComponent"),
            ("SELECT * FROM S3Object WHERE", "ParseUnexpectedToken"),
            ("SELECT * FROM S3Object s WHERE s.a = 'x", "LexerInvalidLiteral"),
            ("SELECT ? FROM S3Object", "LexerInvalidChar"),
            ("SELECT * FROM S3Object ORDER BY a", "UnsupportedSqlStructure"),
            ("SELECT * FROM S3Object s, S3Object t", "UnsupportedSqlStructure"),
            ("SELECT FOO(a) FROM S3Object", "UnsupportedFunction"),
            ("SELECT CAST(a AS THING) FROM S3Object", "ParseExpectedTypeName"),
            ("SELECT SUM(*) FROM S3Object", "ParseUnsupportedCallWithStar"),
            ("SELECT NULLIF(a) FROM S3Object", "EvaluatorInvalidArguments"),
            ("SELECT * FROM S3Object LIMIT x", "ParseUnexpectedToken"),
            ("SELECT a FROM S3Object s nonsense here", "ParseUnexpectedToken"),
        ];
        for (text, code) in cases {
            assert_eq!(parse(text).map_err(|error| error.code), Err(code), "{text}");
        }
        let deep = format!("SELECT {}1{} FROM S3Object", "(".repeat(5_000), ")".repeat(5_000));
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn a_query_has_columns_a_source_a_condition_and_a_limit() {
        let query = parse(
            "select s.name, CAST(s.\"Age\" AS INT) + 1 AS age FROM S3Object[*].rows[*] s WHERE NOT s.a BETWEEN 1 AND 2 OR s.b LIKE 'x%' LIMIT 5;",
        )
        .expect("it is fine");
        assert_eq!(query.columns.len(), 2);
        assert_eq!(query.alias.as_deref(), Some("s"));
        assert_eq!(query.limit, Some(5));
        assert_eq!(query.from.len(), 3);
        assert!(matches!(query.filter, Some(Expr::Binary(Binary::Or, _, _))));
    }
}
