//! What a field is compared with, and how.

use fancy_regex::Regex;

use super::scan::Scanner;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    pub fn read(scanner: &mut Scanner<'_>) -> Option<Operator> {
        let operators = [
            ("!=", Operator::NotEqual),
            ("=!", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
            ("=", Operator::Equal),
        ];
        operators.into_iter().find(|(text, _)| scanner.take(text)).map(|(_, operator)| operator)
    }

    fn holds(self, found: f64, wanted: f64) -> bool {
        match self {
            Operator::Equal => found == wanted,
            Operator::NotEqual => found != wanted,
            Operator::Less => found < wanted,
            Operator::LessOrEqual => found <= wanted,
            Operator::Greater => found > wanted,
            Operator::GreaterOrEqual => found >= wanted,
        }
    }
}

/// The right side of a comparison.
#[derive(Debug)]
pub enum Wanted {
    Number { value: f64, text: String },
    Text { text: String, any_before: bool, any_after: bool },
    Regex(Regex),
}

impl Wanted {
    /// A word without quotes: a number, or text.
    pub fn bare(word: &str) -> Wanted {
        match word.strip_prefix('+').unwrap_or(word).parse::<f64>() {
            Ok(value) if word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
                Wanted::Number { value, text: word.to_owned() }
            }
            _ => Wanted::text(word),
        }
    }

    /// An asterisk at either end stands for any text; elsewhere it is an asterisk.
    pub fn text(text: &str) -> Wanted {
        let after = text.strip_prefix('*');
        let inner = after.unwrap_or(text);
        let before = inner.strip_suffix('*');
        Wanted::Text {
            text: before.unwrap_or(inner).to_owned(),
            any_before: after.is_some(),
            any_after: before.is_some() || text == "*",
        }
    }

    /// # Errors
    /// When text is to be less or greater than a field.
    pub fn check(&self, operator: Operator) -> Result<(), String> {
        match (self, operator) {
            (Wanted::Number { .. }, _) | (_, Operator::Equal | Operator::NotEqual) => Ok(()),
            _ => Err("only numbers can be less or greater".to_owned()),
        }
    }

    pub fn compare(&self, operator: Operator, found: &str) -> bool {
        let is_equal = match self {
            Wanted::Number { value, text } => {
                if let Ok(number) = found.parse::<f64>() {
                    return operator.holds(number, *value);
                }
                if !matches!(operator, Operator::Equal | Operator::NotEqual) {
                    return false;
                }
                found == text
            }
            Wanted::Text { text, any_before, any_after } => match (any_before, any_after) {
                (false, false) => found == text,
                (true, false) => found.ends_with(text),
                (false, true) => found.starts_with(text),
                (true, true) => found.contains(text),
            },
            Wanted::Regex(regex) => regex.is_match(found).unwrap_or(false),
        };
        is_equal == (operator == Operator::Equal)
    }
}
