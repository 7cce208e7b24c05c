//! Values of queries: how they compare, convert and print. Pure.
//!
//! CSV knows only text. Text that reads as a number compares with numbers as one, so that `WHERE s._3 > 100` needs no cast.

use std::cmp::Ordering;

use pileus_core::Timestamp;
use pileus_wire::codec::time;
use serde_json::Value as Json;

use super::SelectError;
use super::sql::Type;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// There is no such column or member.
    Missing,
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Time(Timestamp),
    /// A list or a structure.
    Json(Json),
}

impl Value {
    pub fn of_json(json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Value::Int(number),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::Text(text.clone()),
            other => Value::Json(other.clone()),
        }
    }

    pub fn to_json(&self) -> Json {
        match self {
            Value::Missing | Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(number) => Json::from(*number),
            Value::Float(number) => serde_json::Number::from_f64(*number).map_or(Json::Null, Json::Number),
            Value::Text(text) => Json::from(text.as_str()),
            Value::Time(_) => Json::from(self.to_text()),
            Value::Json(json) => json.clone(),
        }
    }

    /// As CSV shows it.
    pub fn to_text(&self) -> String {
        match self {
            Value::Missing | Value::Null => String::new(),
            Value::Bool(value) => value.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Text(text) => text.clone(),
            Value::Time(moment) => moment.to_iso8601(),
            Value::Json(json) => json.to_string(),
        }
    }

    pub fn is_absent(&self) -> bool {
        matches!(self, Value::Missing | Value::Null)
    }

    /// The number that it is or reads as.
    pub fn number(&self) -> Option<Value> {
        match self {
            Value::Int(_) | Value::Float(_) => Some(self.clone()),
            Value::Text(text) => {
                let text = text.trim();
                match text.parse() {
                    Ok(number) => Some(Value::Int(number)),
                    Err(_) => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float),
                }
            }
            _ => None,
        }
    }

    fn float(&self) -> f64 {
        match self {
            Value::Int(number) => *number as f64,
            Value::Float(number) => *number,
            _ => f64::NAN,
        }
    }

    /// `None` when they cannot be compared.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::Text(b)) => Some(a.to_string().as_str().cmp(&b.to_lowercase())),
            (Value::Text(a), Value::Bool(b)) => Some(a.to_lowercase().as_str().cmp(&b.to_string())),
            (Value::Time(a), Value::Text(b)) => Some(a.cmp(&time::parse_date_time(b)?)),
            (Value::Text(a), Value::Time(b)) => Some(time::parse_date_time(a)?.cmp(b)),
            (Value::Json(a), Value::Json(b)) => (a == b).then_some(Ordering::Equal),
            _ => self.number()?.float().partial_cmp(&other.number()?.float()),
        }
    }

    /// # Errors
    /// `CastFailed`
    pub fn cast(self, to: Type) -> Result<Value, SelectError> {
        if self.is_absent() {
            return Ok(self);
        }
        let failed = |value: &Value| {
            SelectError::new(
                "CastFailed",
                format!(
                    "Attempt to convert from one data type to another using CAST failed in the SQL expression: {}.",
                    value.to_text()
                ),
            )
        };
        match to {
            Type::Text => Ok(Value::Text(self.to_text())),
            Type::Bool => match &self {
                Value::Bool(_) => Ok(self),
                Value::Int(number) => Ok(Value::Bool(*number != 0)),
                Value::Text(text) if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
                Value::Text(text) if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
                other => Err(failed(other)),
            },
            Type::Int => match (self.number(), &self) {
                (Some(Value::Int(number)), _) => Ok(Value::Int(number)),
                (Some(Value::Float(number)), _) if number.abs() < 9.2e18 => Ok(Value::Int(number as i64)),
                (_, Value::Bool(value)) => Ok(Value::Int(i64::from(*value))),
                (_, other) => Err(failed(other)),
            },
            Type::Float => match self.number() {
                Some(number) => Ok(Value::Float(number.float())),
                None => Err(failed(&self)),
            },
            Type::Time => match &self {
                Value::Time(_) => Ok(self),
                Value::Text(text) => read_time(text).map(Value::Time).ok_or_else(|| failed(&self)),
                other => Err(failed(other)),
            },
        }
    }

    /// `+`, `-`, `*`, `/`, `%`
    ///
    /// # Errors
    /// `EvaluatorInvalidArguments` for what is no number; `DivideByZero`.
    pub fn calculate(&self, sign: char, other: &Value) -> Result<Value, SelectError> {
        if self.is_absent() || other.is_absent() {
            return Ok(Value::Null);
        }
        let invalid = || {
            SelectError::new(
                "InvalidDataType",
                "The SQL expression contains an operation on a value that is no number.",
            )
        };
        let (a, b) = (self.number().ok_or_else(invalid)?, other.number().ok_or_else(invalid)?);
        let zero = || SelectError::new("EvaluatorDivideByZero", "The SQL expression divides by zero.");
        if let (Value::Int(a), Value::Int(b)) = (&a, &b) {
            let exact = match sign {
                '+' => a.checked_add(*b),
                '-' => a.checked_sub(*b),
                '*' => a.checked_mul(*b),
                _ if *b == 0 => return Err(zero()),
                '/' => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            let overflow =
                || SelectError::new("IntegerOverflow", "Int overflow or underflow in the SQL expression.");
            return exact.map(Value::Int).ok_or_else(overflow);
        }
        let (a, b) = (a.float(), b.float());
        Ok(Value::Float(match sign {
            '+' => a + b,
            '-' => a - b,
            '*' => a * b,
            _ if b == 0.0 => return Err(zero()),
            '/' => a / b,
            _ => a % b,
        }))
    }
}

/// A timestamp, also one of which only the first parts are given: `2007T`, `2007-02-23T`, `2007-02-23T12:14Z`.
pub fn read_time(text: &str) -> Option<Timestamp> {
    let text = text.trim().trim_matches('`');
    if let Some(moment) = time::parse_date_time(text) {
        return Some(moment);
    }
    let (date, clock) = text.split_once('T').unwrap_or((text, ""));
    let mut parts = date.splitn(3, '-');
    let year = parts.next().filter(|year| year.len() == 4)?;
    let (month, day) = (parts.next().unwrap_or("01"), parts.next().unwrap_or("01"));
    let clock = match clock.strip_suffix('Z').unwrap_or(clock) {
        "" => "00:00:00",
        clock => clock,
    };
    let seconds = if clock.matches(':').count() == 1 { ":00" } else { "" };
    time::parse_date_time(&format!("{year}-{month:0>2}-{day:0>2}T{clock}{seconds}Z"))
}

/// `LIKE`: `%` is any text, `_` any character.
pub fn is_like(text: &str, pattern: &str, escape: Option<char>) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum Part {
        Any,
        One,
        Char(char),
    }
    let mut parts = vec![];
    let mut pattern = pattern.chars();
    while let Some(c) = pattern.next() {
        parts.push(match c {
            c if Some(c) == escape => pattern.next().map_or(Part::Char(c), Part::Char),
            '%' => Part::Any,
            '_' => Part::One,
            c => Part::Char(c),
        });
    }
    let text: Vec<char> = text.chars().collect();
    // The last `%` that was passed, and where it is tried next: linear but for the worst of patterns.
    let (mut at, mut part, mut star) = (0, 0, None);
    while at < text.len() {
        match parts.get(part) {
            Some(Part::Any) => {
                star = Some((part, at));
                part += 1;
            }
            Some(Part::One) => {
                at += 1;
                part += 1;
            }
            Some(Part::Char(c)) if *c == text[at] => {
                at += 1;
                part += 1;
            }
            _ => match star {
                Some((back, from)) => {
                    star = Some((back, from + 1));
                    (part, at) = (back + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    parts[part.min(parts.len())..].iter().all(|part| *part == Part::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_sql_says() {
        let cases = [
            ("abc", "abc", true),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "a_c", true),
            ("abc", "a_", false),
            ("abc", "%b%", true),
            ("", "%", true),
            ("", "_", false),
            ("a%c", "a\\%c", true),
            ("abc", "a\\%c", false),
            ("aXbXc", "%X%X%", true),
            ("aXbc", "%X%X%", false),
        ];
        for (text, pattern, expected) in cases {
            assert_eq!(is_like(text, pattern, Some('\\')), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn text_that_reads_as_a_number_is_one_beside_numbers() {
        let text = |text: &str| Value::Text(text.to_owned());
        let cases = [
            (text("10"), Value::Int(9), Some(Ordering::Greater)),
            (text("10"), text("9"), Some(Ordering::Less)),
            (text("1.5"), Value::Float(1.5), Some(Ordering::Equal)),
            (text("x"), Value::Int(9), None),
            (Value::Null, Value::Int(9), None),
        ];
        for (a, b, expected) in cases {
            assert_eq!(a.compare(&b), expected, "{a:?} {b:?}");
        }
        assert_eq!(Value::Int(7).calculate('/', &text("2")), Ok(Value::Int(3)));
        assert_eq!(text("7").calculate('/', &Value::Float(2.0)), Ok(Value::Float(3.5)));
        assert!(Value::Int(7).calculate('/', &Value::Int(0)).is_err());
        assert!(Value::Int(i64::MAX).calculate('+', &Value::Int(1)).is_err());
    }

    #[test]
    fn timestamps_may_be_short() {
        let at = |text: &str| read_time(text).map(|moment| moment.to_iso8601());
        assert_eq!(at("2007T").as_deref(), Some("2007-01-01T00:00:00Z"));
        assert_eq!(at("2007-02-23").as_deref(), Some("2007-02-23T00:00:00Z"));
        assert_eq!(at("2007-02-23T12:14Z").as_deref(), Some("2007-02-23T12:14:00Z"));
        assert_eq!(at("x"), None);
    }
}
