//! Expressions: `or`, `and`, equality, order, sums, products, signs, and what they are made of.

use super::{End, Parser};
use crate::VtlError;
use crate::ast::{Expr, Operator};

/// Operators of one level, the longer spellings first.
type Level = &'static [(&'static str, Operator)];

const LEVELS: [Level; 4] = [
    &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("eq", Operator::Equal),
        ("ne", Operator::NotEqual),
    ],
    &[
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("le", Operator::LessOrEqual),
        ("ge", Operator::GreaterOrEqual),
        ("lt", Operator::Less),
        ("gt", Operator::Greater),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
];

impl Parser<'_, '_> {
    pub(super) fn expression(&mut self) -> Result<Expr, VtlError> {
        self.enter()?;
        let mut left = self.conjunction()?;
        while self.operator(&["||", "or"]) {
            left = Expr::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expr, VtlError> {
        let mut left = self.binary(0)?;
        while self.operator(&["&&", "and"]) {
            left = Expr::And(Box::new(left), Box::new(self.binary(0)?));
        }
        Ok(left)
    }

    fn binary(&mut self, level: usize) -> Result<Expr, VtlError> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(text, _)| self.operator(&[text])) {
            left = Expr::Binary(*operator, Box::new(left), Box::new(self.binary(level + 1)?));
        }
        Ok(left)
    }

    /// Takes one of the operators. Words end where a word ends.
    fn operator(&mut self, spellings: &[&str]) -> bool {
        let start = self.at;
        self.skip_space();
        for text in spellings {
            let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic());
            let Some(after) = self.rest().strip_prefix(text) else { continue };
            if is_word && after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                continue;
            }
            self.at += text.len();
            return true;
        }
        self.at = start;
        false
    }

    fn unary(&mut self) -> Result<Expr, VtlError> {
        self.skip_space();
        let is_not = self.rest().starts_with('!') && !self.rest().starts_with("!=");
        if is_not || self.operator(&["not"]) {
            self.at += usize::from(is_not);
            self.enter()?;
            let of = self.unary()?;
            self.depth -= 1;
            return Ok(Expr::Not(Box::new(of)));
        }
        if self.rest().starts_with('-') {
            self.at += 1;
            self.enter()?;
            let of = self.unary()?;
            self.depth -= 1;
            return Ok(match of {
                Expr::Int(value) => Expr::Int(value.wrapping_neg()),
                Expr::Float(value) => Expr::Float(-value),
                other => Expr::Negate(Box::new(other)),
            });
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Expr, VtlError> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Some('$') => {
                let reference = self.reference(0)?;
                reference.map(Expr::Reference).ok_or_else(|| self.error("a $ that names nothing"))
            }
            Some('"') => self.quoted(),
            Some('\'') => {
                let text = self.literal('\'')?;
                Ok(Expr::Text(text.into()))
            }
            Some('[') => self.list(),
            Some('{') => self.map(),
            Some(c) if c.is_ascii_digit() => self.number(),
            _ if self.operator(&["true"]) => Ok(Expr::Bool(true)),
            _ if self.operator(&["false"]) => Ok(Expr::Bool(false)),
            _ if self.operator(&["null"]) => {
                // Velocity 1.7 has no word for it: a variable that nobody sets.
                let variable = self.names.variable("null");
                Ok(Expr::Reference(crate::ast::Reference {
                    variable,
                    steps: Vec::new(),
                    is_quiet: true,
                    escapes: 0,
                    source: "".into(),
                    alternate: None,
                }))
            }
            _ => Err(self.error("expected a value")),
        }
    }

    /// The text between two quotes; a doubled quote stands for itself.
    fn literal(&mut self, quote: char) -> Result<String, VtlError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(end) = self.rest().find(quote) else {
                self.at = start;
                return Err(self.error("a string without its end"));
            };
            text.push_str(&self.rest()[..end]);
            self.at += end + 1;
            if !self.rest().starts_with(quote) {
                return Ok(text);
            }
            self.at += 1;
            text.push(quote);
        }
    }

    /// A string in double quotes is a template of its own.
    fn quoted(&mut self) -> Result<Expr, VtlError> {
        let text = self.literal('"')?;
        if !text.contains(['$', '#']) {
            return Ok(Expr::Text(text.into()));
        }
        let mut inner = Parser { text: &text, at: 0, depth: self.depth, names: self.names };
        let (nodes, end) = inner.block()?;
        if end != End::OfText {
            return Err(self.error("a string holds an #end, #else or #elseif alone"));
        }
        Ok(Expr::Interpolated(nodes))
    }

    /// `[a, b]` or `[from..to]`
    fn list(&mut self) -> Result<Expr, VtlError> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.takes("]") {
                return Ok(Expr::List(items));
            }
            if !items.is_empty() {
                self.expect(",")?;
            }
            let item = self.expression()?;
            self.skip_space();
            if items.is_empty() && self.takes("..") {
                let last = self.expression()?;
                self.expect("]")?;
                return Ok(Expr::Range(Box::new(item), Box::new(last)));
            }
            items.push(item);
        }
    }

    fn map(&mut self) -> Result<Expr, VtlError> {
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            self.skip_space();
            if self.takes("}") {
                return Ok(Expr::Map(entries));
            }
            if !entries.is_empty() {
                self.expect(",")?;
            }
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?));
        }
    }

    fn number(&mut self) -> Result<Expr, VtlError> {
        let rest = self.rest();
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let whole = digits(rest);
        let fraction = rest[whole..].strip_prefix('.').map_or(0, digits);
        let mut length = if fraction > 0 { whole + 1 + fraction } else { whole };
        let mut is_float = fraction > 0;
        if let Some(exponent) = rest[length..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let power = digits(&exponent[sign..]);
            if power > 0 {
                (length, is_float) = (length + 1 + sign + power, true);
            }
        }
        let text = &rest[..length];
        self.at += length;
        if !is_float && let Ok(value) = text.parse() {
            return Ok(Expr::Int(value));
        }
        text.parse().map(Expr::Float).map_err(|_| self.error("a number that cannot be read"))
    }
}
