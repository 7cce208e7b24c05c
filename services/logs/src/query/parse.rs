//! Reads queries. Errors say where: characters of the query.

use fancy_regex::Regex;

use super::aggregate::Kind;
use super::function::Function;
use super::syntax::{Command, Expression, Form, Named, Operator, Stats};
use crate::error::LogsError;

/// Expressions nest no deeper.
const MAX_DEPTH: usize = 64;
const MAX_COMMANDS: usize = 50;
/// Commands that AWS has and this cloud has not.
const LACKING: [&str; 9] =
    ["pattern", "diff", "unnest", "anomaly", "unmask", "source", "filterindex", "join", "lookup"];

type Parsed<T> = Result<T, Problem>;

/// What is wrong, and between which bytes.
#[derive(Debug)]
struct Problem {
    message: String,
    start: usize,
    end: usize,
}

/// # Errors
/// `MalformedQueryException`
pub fn parse(query: &str) -> Result<Vec<Command>, LogsError> {
    let mut parser = Parser { query, at: 0, depth: 0, aggregates: None };
    parser.commands().map_err(|problem| {
        let characters = |at: usize| query.get(..at).map_or(0, |head| head.chars().count());
        let (start, end) = (characters(problem.start), characters(problem.end));
        LogsError::MalformedQuery { message: problem.message, start, end }
    })
}

struct Parser<'q> {
    query: &'q str,
    at: usize,
    depth: usize,
    /// The aggregates of a `stats` command that is being read.
    aggregates: Option<Vec<(Kind, Option<Expression>)>>,
}

impl<'q> Parser<'q> {
    fn rest(&self) -> &'q str {
        &self.query[self.at..]
    }

    /// Skips spaces and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.skip();
        self.rest().chars().next()
    }

    fn take(&mut self, text: &str) -> bool {
        self.skip();
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    /// Takes a word in any case.
    fn take_word(&mut self, word: &str) -> bool {
        self.skip();
        let head = self.rest().get(..word.len());
        let found = head.is_some_and(|head| head.eq_ignore_ascii_case(word))
            && !self.rest()[word.len()..].starts_with(is_name);
        if found {
            self.at += word.len();
        }
        found
    }

    fn problem<T>(&mut self, message: impl Into<String>) -> Parsed<T> {
        self.skip();
        let length = self.rest().find([' ', '|', '\n']).filter(|length| *length > 0);
        let end = self.at + length.unwrap_or(self.rest().len());
        Err(Problem { message: message.into(), start: self.at, end })
    }

    fn unexpected<T>(&mut self, wanted: &str) -> Parsed<T> {
        let found: String = match self.peek() {
            Some(_) => self.rest().chars().take(20).collect(),
            None => "the end of the query".to_owned(),
        };
        self.problem(format!("unexpected symbol found {found}; expected {wanted}"))
    }

    fn expect(&mut self, text: &str) -> Parsed<()> {
        if self.take(text) { Ok(()) } else { self.unexpected(&format!("'{text}'")) }
    }

    fn commands(&mut self) -> Parsed<Vec<Command>> {
        let mut commands = Vec::new();
        loop {
            // A query may begin with a bar, and end with one.
            while self.take("|") {}
            if self.peek().is_none() {
                break;
            }
            if commands.len() == MAX_COMMANDS {
                return self.problem(format!("a query has at most {MAX_COMMANDS} commands"));
            }
            commands.push(self.command()?);
            if self.peek().is_some_and(|next| next != '|') {
                return self.unexpected("'|'");
            }
        }
        if commands.is_empty() { self.problem("the query is empty") } else { Ok(commands) }
    }

    fn command(&mut self) -> Parsed<Command> {
        let start = self.at;
        let word = self.name()?.to_ascii_lowercase();
        Ok(match word.as_str() {
            "fields" => Command::Fields(self.named_list()?),
            "display" => Command::Display(self.named_list()?),
            "filter" | "where" => Command::Filter(self.expression()?),
            "stats" => Command::Stats(self.stats()?),
            "sort" | "order" => Command::Sort(self.sort()?),
            "limit" | "head" => Command::Limit(self.count()?),
            "parse" => self.parse_command()?,
            "dedup" => Command::Dedup(self.list(Parser::expression)?),
            lacking if LACKING.contains(&lacking) => {
                let message = format!("the command {lacking} is not implemented");
                return Err(Problem { message, start, end: self.at });
            }
            other => {
                let message = format!("unexpected symbol found {other}; expected a command");
                return Err(Problem { message, start, end: self.at });
            }
        })
    }

    fn list<T>(&mut self, one: impl Fn(&mut Parser<'q>) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut all = vec![one(self)?];
        while self.take(",") {
            all.push(one(self)?);
        }
        Ok(all)
    }

    fn named_list(&mut self) -> Parsed<Vec<Named>> {
        self.list(Parser::named)
    }

    /// An expression, under the name given with `as` or else its own text.
    fn named(&mut self) -> Parsed<Named> {
        self.skip();
        let start = self.at;
        let expression = self.expression()?;
        let text = self.query[start..self.at].trim();
        let name = match (&expression, self.take_word("as")) {
            (_, true) => self.name()?,
            (Expression::Field(name), false) => name.clone(),
            (_, false) => text.to_owned(),
        };
        Ok(Named { expression, name })
    }

    fn count(&mut self) -> Parsed<usize> {
        match self.number()? {
            Some(number) if number >= 1.0 && number.fract() == 0.0 && number <= 1e9 => Ok(number as usize),
            _ => self.unexpected("a whole number above zero"),
        }
    }

    fn sort(&mut self) -> Parsed<Vec<(Expression, bool)>> {
        let _ = self.take_word("by");
        self.list(|parser| {
            let expression = parser.expression()?;
            let descending = parser.take_word("desc");
            if !descending {
                let _ = parser.take_word("asc");
            }
            Ok((expression, descending))
        })
    }

    fn stats(&mut self) -> Parsed<Stats> {
        self.aggregates = Some(Vec::new());
        let results = self.named_list();
        let aggregates = self.aggregates.take().unwrap_or_default();
        let results = results?;
        if aggregates.is_empty() {
            return self.problem("stats wants an aggregation function");
        }
        let by = if self.take_word("by") { self.named_list()? } else { Vec::new() };
        Ok(Stats { aggregates, results, by })
    }

    fn parse_command(&mut self) -> Parsed<Command> {
        let source = match self.peek() {
            Some('"' | '\'' | '/') => Expression::Field("@message".to_owned()),
            _ => self.primary()?,
        };
        let form = if self.peek() == Some('/') {
            let regex = self.regex()?;
            let mut names: Vec<(usize, String)> = regex
                .capture_names()
                .enumerate()
                .filter_map(|(at, name)| Some((at, name?.to_owned())))
                .collect();
            if self.take_word("as") {
                names = (1..).zip(self.list(Parser::name)?).collect();
            }
            if names.is_empty() {
                return self.problem("the regular expression of parse names no field");
            }
            if names.iter().any(|(at, _)| *at >= regex.captures_len()) {
                return self.problem("parse names more fields than its regular expression has groups");
            }
            Form::Regex { regex, names }
        } else {
            let glob = self.string()?;
            let literals: Vec<String> = glob.split('*').map(str::to_owned).collect();
            if !self.take_word("as") {
                return self.unexpected("'as'");
            }
            let names = self.list(Parser::name)?;
            if names.len() + 1 != literals.len() {
                return self.problem(format!(
                    "parse has {} wildcards and {} names",
                    literals.len() - 1,
                    names.len()
                ));
            }
            Form::Glob { literals, names }
        };
        Ok(Command::Parse { source, form })
    }

    /// A field's name, in backticks if it has other characters than letters, digits, `@`, `.` and `_`.
    fn name(&mut self) -> Parsed<String> {
        if self.take("`") {
            let Some(length) = self.rest().find('`') else { return self.unexpected("a closing '`'") };
            let name = self.rest()[..length].to_owned();
            self.at += length + 1;
            return Ok(name);
        }
        self.skip();
        let length = self.rest().find(|c| !is_name(c)).unwrap_or(self.rest().len());
        if length == 0 {
            return self.unexpected("a name");
        }
        let name = self.rest()[..length].to_owned();
        self.at += length;
        Ok(name)
    }

    fn string(&mut self) -> Parsed<String> {
        let Some(quote @ ('"' | '\'')) = self.peek() else { return self.unexpected("a text in quotes") };
        let mut characters = self.rest().char_indices().skip(1);
        let mut text = String::new();
        while let Some((at, c)) = characters.next() {
            match c {
                c if c == quote => {
                    self.at += at + 1;
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, c)) if c == quote || c == '\\' => text.push(c),
                    Some((_, c)) => text.extend(['\\', c]),
                    None => break,
                },
                c => text.push(c),
            }
        }
        self.problem("a quote is not closed")
    }

    /// `/expression/`, where `\/` is a slash.
    fn regex(&mut self) -> Parsed<Regex> {
        self.expect("/")?;
        let mut escaped = false;
        let end = self.rest().find(|c| {
            let closes = c == '/' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        let Some(end) = end else { return self.problem("a regular expression is not closed by '/'") };
        let expression = self.rest()[..end].replace("\\/", "/");
        match Regex::new(&expression) {
            Ok(regex) => {
                self.at += end + 1;
                Ok(regex)
            }
            Err(_) => self.problem(format!("/{expression}/ is no regular expression")),
        }
    }

    fn number(&mut self) -> Parsed<Option<f64>> {
        self.skip();
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Ok(None);
        }
        let mut end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        // An exponent: `1e3`, `1e-3`.
        if let Some(exponent) = rest[end..].strip_prefix(['e', 'E']) {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            if length > 0 {
                end += 1 + (exponent.len() - digits.len()) + length;
            }
        }
        match rest[..end].parse() {
            Ok(number) => {
                self.at += end;
                Ok(Some(number))
            }
            Err(_) => self.unexpected("a number"),
        }
    }

    fn expression(&mut self) -> Parsed<Expression> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.problem(format!("expressions nest deeper than {MAX_DEPTH}"));
        }
        let mut left = self.conjunction()?;
        while self.take_word("or") || self.take("||") {
            left = binary(Operator::Or, left, self.conjunction()?);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn conjunction(&mut self) -> Parsed<Expression> {
        let mut left = self.negation()?;
        while self.take_word("and") || self.take("&&") {
            left = binary(Operator::And, left, self.negation()?);
        }
        Ok(left)
    }

    fn negation(&mut self) -> Parsed<Expression> {
        let mut times = 0;
        while self.take_word("not") {
            times += 1;
        }
        let inner = self.comparison()?;
        Ok(if times % 2 == 1 { Expression::Not(Box::new(inner)) } else { inner })
    }

    fn comparison(&mut self) -> Parsed<Expression> {
        let left = self.sum()?;
        let before = self.at;
        let negated = self.take_word("not");
        if self.take_word("like") || self.take("=~") {
            return Ok(negate(negated, self.likeness(left)?));
        }
        if self.take_word("in") {
            self.expect("[")?;
            let all = self.list(Parser::sum)?;
            self.expect("]")?;
            return Ok(negate(negated, Expression::In(Box::new(left), all)));
        }
        if negated {
            self.at = before;
            return Ok(left);
        }
        if self.take("!~") {
            return Ok(negate(true, self.likeness(left)?));
        }
        let operators = [
            ("==", Operator::Equal),
            ("=", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<>", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        for (text, operator) in operators {
            if self.take(text) {
                let right = self.sum()?;
                return Ok(binary(operator, left, right));
            }
        }
        Ok(left)
    }

    fn likeness(&mut self, left: Expression) -> Parsed<Expression> {
        let left = Box::new(left);
        match self.peek() {
            Some('/') => Ok(Expression::Matches(left, self.regex()?)),
            _ => Ok(Expression::Contains(left, self.string()?)),
        }
    }

    fn sum(&mut self) -> Parsed<Expression> {
        let mut left = self.product()?;
        loop {
            let operator = match self.peek() {
                Some('+') => Operator::Add,
                Some('-') => Operator::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            left = binary(operator, left, self.product()?);
        }
    }

    fn product(&mut self) -> Parsed<Expression> {
        let mut left = self.power()?;
        loop {
            let operator = match self.peek() {
                Some('*') => Operator::Multiply,
                Some('/') => Operator::Divide,
                Some('%') => Operator::Remainder,
                _ => return Ok(left),
            };
            self.at += 1;
            left = binary(operator, left, self.power()?);
        }
    }

    /// The right one first: `2 ^ 3 ^ 2` is 512.
    fn power(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.unary()?];
        while self.take("^") {
            parts.push(self.unary()?);
        }
        let mut parts = parts.into_iter().rev();
        let Some(last) = parts.next() else { return self.unexpected("a value") };
        Ok(parts.fold(last, |right, left| binary(Operator::Power, left, right)))
    }

    fn unary(&mut self) -> Parsed<Expression> {
        let mut is_negative = false;
        while self.take("-") {
            is_negative = !is_negative;
        }
        let inner = self.primary()?;
        Ok(if is_negative { Expression::Negative(Box::new(inner)) } else { inner })
    }

    fn primary(&mut self) -> Parsed<Expression> {
        if self.take("(") {
            let inner = self.expression()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if matches!(self.peek(), Some('"' | '\'')) {
            return self.string().map(Expression::Text);
        }
        if let Some(number) = self.number()? {
            return self.period(number);
        }
        let is_quoted = self.peek() == Some('`');
        let start = self.at;
        let name = self.name()?;
        if is_quoted || !self.take("(") {
            return Ok(Expression::Field(name));
        }
        self.call(&name, start)
    }

    /// A number, or a length of time: `5m`, `1h`.
    fn period(&mut self, number: f64) -> Parsed<Expression> {
        let length = self.rest().find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest().len());
        let unit = &self.rest()[..length];
        let millis = match unit {
            "" => return Ok(Expression::Number(number)),
            "ms" | "msec" => 1.0,
            "s" | "sec" => 1e3,
            "m" | "min" => 60e3,
            "h" | "hr" => 3_600e3,
            "d" => 86_400e3,
            "w" => 7.0 * 86_400e3,
            "mo" | "mon" => 30.0 * 86_400e3,
            "q" | "qtr" => 91.0 * 86_400e3,
            "y" | "yr" => 365.0 * 86_400e3,
            _ => return self.unexpected("a unit of time"),
        };
        let period = number * millis;
        if !(1.0..1e15).contains(&period) {
            return self.problem("a period is at least a millisecond");
        }
        self.at += length;
        Ok(Expression::Period(period as i64))
    }

    fn call(&mut self, name: &str, start: usize) -> Parsed<Expression> {
        if let Some(kind) = Kind::named(name).filter(|_| self.aggregates.is_some()) {
            return self.aggregate(kind);
        }
        let Some(function) = Function::named(name) else {
            let message = format!("unknown function {name}");
            return Err(Problem { message, start, end: self.at });
        };
        let arguments = if self.peek() == Some(')') { Vec::new() } else { self.list(Parser::expression)? };
        self.expect(")")?;
        if !function.takes(arguments.len()) {
            let message = format!("{name} does not take {} arguments", arguments.len());
            return Err(Problem { message, start, end: self.at });
        }
        Ok(Expression::Call(function, arguments))
    }

    fn aggregate(&mut self, kind: Kind) -> Parsed<Expression> {
        // Within its arguments an aggregate's name is a function's, or none.
        let outer = self.aggregates.take();
        let read = |parser: &mut Parser<'q>| -> Parsed<_> {
            let argument = match parser.peek() {
                Some('*') => {
                    parser.at += 1;
                    None
                }
                Some(')') => None,
                _ => Some(parser.expression()?),
            };
            let mut kind = kind;
            if let Kind::Percentile(percent) = &mut kind {
                parser.expect(",")?;
                match parser.number()? {
                    Some(number) if (0.0..=100.0).contains(&number) => *percent = number,
                    _ => return parser.unexpected("a percentage"),
                }
            }
            parser.expect(")")?;
            if argument.is_none() && !matches!(kind, Kind::Count) {
                return parser.unexpected("a field");
            }
            Ok((kind, argument))
        };
        let read = read(self);
        self.aggregates = outer;
        let read = read?;
        let aggregates = self.aggregates.get_or_insert_with(Vec::new);
        aggregates.push(read);
        Ok(Expression::Aggregate(aggregates.len() - 1))
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || "@._".contains(c)
}

fn binary(operator: Operator, left: Expression, right: Expression) -> Expression {
    Expression::Binary(operator, Box::new(left), Box::new(right))
}

fn negate(negated: bool, expression: Expression) -> Expression {
    if negated { Expression::Not(Box::new(expression)) } else { expression }
}
