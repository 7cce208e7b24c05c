//! From words to the tree of a query.

use super::words::Token;
use super::{Aggregate, Binary, Column, Expr, Function, Query, Step, Type};
use crate::select::SelectError;

const MAX_DEPTH: usize = 64;

pub struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    aggregates: usize,
}

impl Parser {
    pub fn new(tokens: Vec<Token>) -> Parser {
        Parser { tokens, at: 0, depth: 0, aggregates: 0 }
    }

    /// # Errors
    /// When words are left.
    pub fn end(&self) -> Result<(), SelectError> {
        if self.at < self.tokens.len() { Err(self.unexpected()) } else { Ok(()) }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn unexpected(&self) -> SelectError {
        match self.peek() {
            Some(token) => {
                let (kind, text) = match token {
                    Token::Word(text) => ("identifier", text.clone()),
                    Token::Quoted(text) => ("quoted identifier", text.clone()),
                    Token::Text(text) => ("literal", text.clone()),
                    Token::Int(number) => ("literal", number.to_string()),
                    Token::Float(number) => ("literal", number.to_string()),
                    Token::Sign(sign) => ("operator", (*sign).to_owned()),
                };
                SelectError::new(
                    "ParseUnexpectedToken",
                    format!("The SQL expression contains an unexpected token: {kind} '{text}'."),
                )
            }
            None => SelectError::new("ParseUnexpectedToken", "The SQL expression ends too early."),
        }
    }

    /// Takes a keyword.
    fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(0, word);
        self.at += usize::from(found);
        found
    }

    fn is_word(&self, ahead: usize, word: &str) -> bool {
        matches!(self.tokens.get(self.at + ahead), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(found)) if *found == sign);
        self.at += usize::from(found);
        found
    }

    fn is_sign(&self, ahead: usize, sign: &str) -> bool {
        matches!(self.tokens.get(self.at + ahead), Some(Token::Sign(found)) if *found == sign)
    }

    fn expect(&mut self, sign: &str) -> Result<(), SelectError> {
        if self.sign(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub fn query(&mut self) -> Result<Query, SelectError> {
        if !self.word("SELECT") {
            return Err(SelectError::new(
                "ParseExpectedKeyword",
                "The SQL expression must begin with SELECT.",
            ));
        }
        let mut columns = vec![];
        loop {
            columns.push(self.column()?);
            if !self.sign(",") {
                break;
            }
        }
        if columns.len() > 1 && columns.contains(&Column::All) {
            return Err(SelectError::new(
                "ParseAsteriskIsNotAloneInSelectList",
                "Other expressions are not allowed in the SELECT list when '*' is used without dot notation in the SQL expression.",
            ));
        }
        if !self.word("FROM") {
            return Err(if self.at < self.tokens.len() {
                self.unexpected()
            } else {
                SelectError::new(
                    "ParseSelectMissingFrom",
                    "The SQL expression contains a missing 'FROM' after SELECT list.",
                )
            });
        }
        if !self.word("S3Object") {
            return Err(SelectError::new(
                "ParseInvalidPathComponent",
                "The SQL expression must select from S3Object.",
            ));
        }
        let from = self.steps()?;
        let alias = self.alias()?;
        if self.sign(",") {
            return Err(SelectError::new("UnsupportedSqlStructure", "Only one source can be selected from."));
        }
        let filter = if self.word("WHERE") { Some(self.expr()?) } else { None };
        for word in ["GROUP", "ORDER", "HAVING", "JOIN", "UNION"] {
            if self.is_word(0, word) {
                return Err(SelectError::new("UnsupportedSqlStructure", format!("{word} is not supported.")));
            }
        }
        let limit = if self.word("LIMIT") {
            match self.peek() {
                Some(Token::Int(limit)) => {
                    let limit = u64::try_from(*limit).unwrap_or(0);
                    self.at += 1;
                    Some(limit)
                }
                _ => return Err(self.unexpected()),
            }
        } else {
            None
        };
        Ok(Query { columns, from, alias, filter, limit })
    }

    fn column(&mut self) -> Result<Column, SelectError> {
        if self.sign("*") {
            return Ok(Column::All);
        }
        // `s.*`
        if matches!(self.peek(), Some(Token::Word(_) | Token::Quoted(_)))
            && self.is_sign(1, ".")
            && self.is_sign(2, "*")
        {
            self.at += 3;
            return Ok(Column::All);
        }
        let expr = self.expr()?;
        let name = self.alias()?;
        Ok(Column::One { expr, name })
    }

    fn alias(&mut self) -> Result<Option<String>, SelectError> {
        const KEYWORDS: [&str; 8] = ["FROM", "WHERE", "LIMIT", "GROUP", "ORDER", "HAVING", "JOIN", "UNION"];
        let has_as = self.word("AS");
        match self.peek() {
            Some(Token::Quoted(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(Some(name))
            }
            Some(Token::Word(name)) if !KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(Some(name))
            }
            _ if has_as => Err(SelectError::new(
                "ParseExpectedIdentForAlias",
                "The SQL expression contains an invalid alias.",
            )),
            _ => Ok(None),
        }
    }

    /// `[*]`, `[0]`, `.name`, `."name"`
    fn steps(&mut self) -> Result<Vec<Step>, SelectError> {
        let mut steps = vec![];
        loop {
            if self.sign("[") {
                let step = match self.peek() {
                    Some(Token::Sign("*")) => Step::Every,
                    Some(Token::Int(at)) => Step::Index(usize::try_from(*at).unwrap_or(usize::MAX)),
                    Some(Token::Text(name)) => Step::Name { text: name.clone(), is_quoted: true },
                    _ => return Err(self.unexpected()),
                };
                self.at += 1;
                self.expect("]")?;
                steps.push(step);
            } else if self.is_sign(0, ".") && !self.is_sign(1, "*") {
                self.at += 1;
                steps.push(self.name()?);
            } else {
                return Ok(steps);
            }
        }
    }

    fn name(&mut self) -> Result<Step, SelectError> {
        let step = match self.peek() {
            Some(Token::Word(text)) => Step::Name { text: text.clone(), is_quoted: false },
            Some(Token::Quoted(text)) => Step::Name { text: text.clone(), is_quoted: true },
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(step)
    }

    fn expr(&mut self) -> Result<Expr, SelectError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(SelectError::new("ExpressionTooLong", "The SQL expression is nested too deeply."));
        }
        let mut left = self.and()?;
        while self.word("OR") {
            left = Expr::Binary(Binary::Or, Box::new(left), Box::new(self.and()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, SelectError> {
        let mut left = self.not()?;
        while self.word("AND") {
            left = Expr::Binary(Binary::And, Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr, SelectError> {
        let mut nots = 0;
        while self.word("NOT") {
            nots += 1;
        }
        let inner = self.comparison()?;
        Ok(if nots % 2 == 1 { Expr::Not(Box::new(inner)) } else { inner })
    }

    fn comparison(&mut self) -> Result<Expr, SelectError> {
        let mut left = self.sum()?;
        loop {
            if self.word("IS") {
                let not = self.word("NOT");
                let test = if self.word("NULL") {
                    Expr::IsNull(Box::new(left))
                } else if self.word("MISSING") {
                    Expr::IsMissing(Box::new(left))
                } else {
                    return Err(self.unexpected());
                };
                left = if not { Expr::Not(Box::new(test)) } else { test };
                continue;
            }
            let not =
                self.is_word(0, "NOT") && ["BETWEEN", "IN", "LIKE"].iter().any(|word| self.is_word(1, word));
            self.at += usize::from(not);
            let test = if self.word("BETWEEN") {
                let low = self.sum()?;
                if !self.word("AND") {
                    return Err(self.unexpected());
                }
                Expr::Between(Box::new(left), Box::new(low), Box::new(self.sum()?))
            } else if self.word("IN") {
                self.expect("(")?;
                let mut list = vec![];
                loop {
                    list.push(self.expr()?);
                    if !self.sign(",") {
                        break;
                    }
                }
                self.expect(")")?;
                Expr::In(Box::new(left), list)
            } else if self.word("LIKE") {
                let pattern = self.sum()?;
                let escape = if self.word("ESCAPE") { Some(Box::new(self.sum()?)) } else { None };
                Expr::Like(Box::new(left), Box::new(pattern), escape)
            } else {
                const COMPARISONS: [(&str, Binary); 7] = [
                    ("=", Binary::Equal),
                    ("<>", Binary::NotEqual),
                    ("!=", Binary::NotEqual),
                    ("<=", Binary::LessOrEqual),
                    (">=", Binary::GreaterOrEqual),
                    ("<", Binary::Less),
                    (">", Binary::Greater),
                ];
                let Some((_, operator)) = COMPARISONS.iter().find(|(sign, _)| self.is_sign(0, sign)) else {
                    return Ok(left);
                };
                self.at += 1;
                Expr::Binary(*operator, Box::new(left), Box::new(self.sum()?))
            };
            left = if not { Expr::Not(Box::new(test)) } else { test };
        }
    }

    fn sum(&mut self) -> Result<Expr, SelectError> {
        let mut left = self.product()?;
        loop {
            let operator = if self.sign("+") {
                Binary::Add
            } else if self.sign("-") {
                Binary::Subtract
            } else if self.sign("||") {
                Binary::Concatenate
            } else {
                return Ok(left);
            };
            left = Expr::Binary(operator, Box::new(left), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Expr, SelectError> {
        let mut left = self.unary()?;
        loop {
            let operator = if self.sign("*") {
                Binary::Multiply
            } else if self.sign("/") {
                Binary::Divide
            } else if self.sign("%") {
                Binary::Remainder
            } else {
                return Ok(left);
            };
            left = Expr::Binary(operator, Box::new(left), Box::new(self.unary()?));
        }
    }

    fn unary(&mut self) -> Result<Expr, SelectError> {
        let mut is_negative = false;
        loop {
            if self.sign("-") {
                is_negative = !is_negative;
            } else if !self.sign("+") {
                break;
            }
        }
        let inner = self.primary()?;
        Ok(if is_negative { Expr::Negate(Box::new(inner)) } else { inner })
    }

    fn primary(&mut self) -> Result<Expr, SelectError> {
        let Some(token) = self.peek().cloned() else { return Err(self.unexpected()) };
        match token {
            Token::Int(number) => {
                self.at += 1;
                Ok(Expr::Int(number))
            }
            Token::Float(number) => {
                self.at += 1;
                Ok(Expr::Float(number))
            }
            Token::Text(text) => {
                self.at += 1;
                Ok(Expr::Text(text))
            }
            Token::Sign("(") => {
                self.at += 1;
                let inner = self.expr()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Word(word) if self.is_sign(1, "(") => self.call(&word.to_ascii_uppercase()),
            Token::Word(word) => match word.to_ascii_uppercase().as_str() {
                "NULL" => self.constant(Expr::Null),
                "MISSING" => self.constant(Expr::Missing),
                "TRUE" => self.constant(Expr::Bool(true)),
                "FALSE" => self.constant(Expr::Bool(false)),
                "CASE" => self.case(),
                "SELECT" | "FROM" | "WHERE" | "LIMIT" | "AND" | "OR" | "AS" => Err(self.unexpected()),
                _ => self.path(),
            },
            Token::Quoted(_) => self.path(),
            Token::Sign(_) => Err(self.unexpected()),
        }
    }

    fn constant(&mut self, value: Expr) -> Result<Expr, SelectError> {
        self.at += 1;
        Ok(value)
    }

    fn path(&mut self) -> Result<Expr, SelectError> {
        let mut steps = vec![self.name()?];
        steps.extend(self.steps()?);
        Ok(Expr::Path(steps))
    }

    fn case(&mut self) -> Result<Expr, SelectError> {
        self.at += 1;
        let subject = if self.is_word(0, "WHEN") { None } else { Some(self.expr()?) };
        let mut branches = vec![];
        while self.word("WHEN") {
            let mut condition = self.expr()?;
            if let Some(subject) = &subject {
                condition = Expr::Binary(Binary::Equal, Box::new(subject.clone()), Box::new(condition));
            }
            if !self.word("THEN") {
                return Err(self.unexpected());
            }
            branches.push((condition, self.expr()?));
        }
        let otherwise = if self.word("ELSE") { Some(Box::new(self.expr()?)) } else { None };
        if branches.is_empty() || !self.word("END") {
            return Err(self.unexpected());
        }
        Ok(Expr::Case(branches, otherwise))
    }

    fn call(&mut self, name: &str) -> Result<Expr, SelectError> {
        let begin = self.at;
        self.at += 2;
        let aggregate = match name {
            "COUNT" => Some(Aggregate::Count),
            "SUM" => Some(Aggregate::Sum),
            "AVG" => Some(Aggregate::Average),
            "MIN" => Some(Aggregate::Minimum),
            "MAX" => Some(Aggregate::Maximum),
            _ => None,
        };
        if let Some(aggregate) = aggregate {
            let inner = if self.sign("*") {
                if aggregate != Aggregate::Count {
                    self.at = begin;
                    return Err(SelectError::new(
                        "ParseUnsupportedCallWithStar",
                        "Only COUNT with (*) as a parameter is supported in the SQL expression.",
                    ));
                }
                None
            } else {
                Some(Box::new(self.expr()?))
            };
            self.expect(")")?;
            self.aggregates += 1;
            return Ok(Expr::Aggregate(aggregate, inner, self.aggregates - 1));
        }
        match name {
            "CAST" => {
                let inner = self.expr()?;
                if !self.word("AS") {
                    return Err(self.unexpected());
                }
                let to = self.type_name()?;
                self.expect(")")?;
                Ok(Expr::Cast(Box::new(inner), to))
            }
            "SUBSTRING" => {
                let mut arguments = vec![self.expr()?];
                if self.word("FROM") || self.sign(",") {
                    arguments.push(self.expr()?);
                }
                if self.word("FOR") || self.sign(",") {
                    arguments.push(self.expr()?);
                }
                self.expect(")")?;
                Ok(Expr::Call(Function::Substring, arguments))
            }
            "TRIM" => self.trim(),
            "EXTRACT" => {
                let part = self.date_part()?;
                if !self.word("FROM") {
                    return Err(self.unexpected());
                }
                let inner = self.expr()?;
                self.expect(")")?;
                Ok(Expr::Call(Function::Extract(part), vec![inner]))
            }
            "DATE_ADD" | "DATE_DIFF" => {
                let part = self.date_part()?;
                self.expect(",")?;
                let first = self.expr()?;
                self.expect(",")?;
                let second = self.expr()?;
                self.expect(")")?;
                let function =
                    if name == "DATE_ADD" { Function::DateAdd(part) } else { Function::DateDiff(part) };
                Ok(Expr::Call(function, vec![first, second]))
            }
            _ => self.plain_call(name),
        }
    }

    fn plain_call(&mut self, name: &str) -> Result<Expr, SelectError> {
        let (function, least, most) = match name {
            "COALESCE" => (Function::Coalesce, 1, usize::MAX),
            "NULLIF" => (Function::NullIf, 2, 2),
            "CHAR_LENGTH" | "CHARACTER_LENGTH" => (Function::Length, 1, 1),
            "LOWER" => (Function::Lower, 1, 1),
            "UPPER" => (Function::Upper, 1, 1),
            "TO_STRING" => (Function::ToText, 2, 2),
            "TO_TIMESTAMP" => (Function::ToTime, 1, 1),
            "UTCNOW" => (Function::Now, 0, 0),
            "SIZE" => (Function::Size, 1, 1),
            _ => {
                return Err(SelectError::new(
                    "UnsupportedFunction",
                    format!("Encountered an unsupported SQL function: {name}."),
                ));
            }
        };
        let mut arguments = vec![];
        if !self.sign(")") {
            loop {
                arguments.push(self.expr()?);
                if !self.sign(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        if arguments.len() < least || arguments.len() > most {
            return Err(SelectError::new(
                "EvaluatorInvalidArguments",
                format!("Incorrect number of arguments in the function call {name} in the SQL expression."),
            ));
        }
        Ok(Expr::Call(function, arguments))
    }

    fn trim(&mut self) -> Result<Expr, SelectError> {
        let (mut leading, mut trailing) = (true, true);
        let mut has_side = true;
        if self.word("LEADING") {
            trailing = false;
        } else if self.word("TRAILING") {
            leading = false;
        } else {
            has_side = self.word("BOTH");
        }
        let mut arguments = vec![];
        if has_side && self.word("FROM") {
            arguments.push(self.expr()?);
        } else {
            let first = self.expr()?;
            if self.word("FROM") {
                arguments.extend([self.expr()?, first]);
            } else {
                arguments.push(first);
            }
        }
        self.expect(")")?;
        Ok(Expr::Call(Function::Trim { leading, trailing }, arguments))
    }

    fn date_part(&mut self) -> Result<String, SelectError> {
        const PARTS: [&str; 8] =
            ["year", "month", "day", "hour", "minute", "second", "timezone_hour", "timezone_minute"];
        let part = match self.peek() {
            Some(Token::Word(word)) => word.to_ascii_lowercase(),
            _ => String::new(),
        };
        if !PARTS.contains(&part.as_str()) {
            return Err(SelectError::new(
                "ParseExpectedDatePart",
                "Did not find the expected date part in the SQL expression.",
            ));
        }
        self.at += 1;
        Ok(part)
    }

    fn type_name(&mut self) -> Result<Type, SelectError> {
        let name = match self.peek() {
            Some(Token::Word(word)) => word.to_ascii_uppercase(),
            _ => String::new(),
        };
        let found = match name.as_str() {
            "BOOL" | "BOOLEAN" => Type::Bool,
            "INT" | "INTEGER" => Type::Int,
            "FLOAT" | "REAL" | "DECIMAL" | "NUMERIC" => Type::Float,
            "STRING" | "CHAR" | "VARCHAR" | "CHARACTER" => Type::Text,
            "TIMESTAMP" => Type::Time,
            _ => {
                return Err(SelectError::new(
                    "ParseExpectedTypeName",
                    "Did not find the expected type name in the SQL expression.",
                ));
            }
        };
        self.at += 1;
        // `DECIMAL(10, 2)`
        if self.sign("(") {
            while !self.sign(")") {
                if self.at >= self.tokens.len() {
                    return Err(self.unexpected());
                }
                self.at += 1;
            }
        }
        Ok(found)
    }
}
