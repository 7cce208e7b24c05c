//! Values of fields and expressions: how they compare, count and print.

use std::cmp::Ordering;

use pileus_core::Timestamp;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A field that an event does not have.
    Null,
    Number(f64),
    Text(String),
    Bool(bool),
    /// Milliseconds since 1970.
    Time(i64),
}

impl Value {
    /// Text counts as a number when it reads as one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            Value::Time(at) => Some(*at as f64),
            Value::Null => None,
        }
    }

    pub fn is_null(&self) -> bool {
        *self == Value::Null
    }

    pub fn is_true(&self) -> bool {
        match self {
            Value::Bool(value) => *value,
            Value::Number(number) => *number != 0.0,
            Value::Text(text) => text == "true" || text == "1",
            Value::Time(_) => true,
            Value::Null => false,
        }
    }

    /// As it is shown; nothing for what is not there.
    pub fn text(&self) -> Option<String> {
        match self {
            Value::Null => None,
            Value::Number(number) => Some(print(*number)),
            Value::Text(text) => Some(text.clone()),
            Value::Bool(value) => Some(if *value { "1" } else { "0" }.to_owned()),
            Value::Time(at) => Some(print_time(*at)),
        }
    }

    /// As numbers if both are, else as text. Nothing compares with what is not there.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            return a.partial_cmp(&b);
        }
        Some(self.text()?.cmp(&other.text()?))
    }

    /// For sorting: what is not there comes last, numbers come before text.
    pub fn order(&self, other: &Value) -> Ordering {
        let rank = |value: &Value| match (value.is_null(), value.number()) {
            (true, _) => 2,
            (false, Some(_)) => 0,
            (false, None) => 1,
        };
        rank(self).cmp(&rank(other)).then_with(|| self.compare(other).unwrap_or(Ordering::Equal))
    }
}

/// Whole numbers without a point, others with four digits behind it at most.
fn print(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return format!("{number:.0}");
    }
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `2026-01-31 23:59:59.000`
pub fn print_time(at: i64) -> String {
    let (year, month, day, hour, minute, second) = Timestamp::from_millis(at).civil();
    let millis = at.rem_euclid(1_000);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_print_as_awss_do() {
        for (number, text) in [(200.0, "200"), (-3.0, "-3"), (0.5, "0.5"), (157.285_714, "157.2857")] {
            assert_eq!(Value::Number(number).text().as_deref(), Some(text));
        }
        assert_eq!(print_time(1_553_115_900_007), "2019-03-20 21:05:00.007");
        assert_eq!(print_time(-1), "1969-12-31 23:59:59.999");
    }

    #[test]
    fn text_that_reads_as_a_number_is_one() {
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(text("10").compare(&text("9")), Some(Ordering::Greater));
        assert_eq!(text("10").compare(&text("9x")), Some(Ordering::Less));
        assert_eq!(text("10.0").compare(&Value::Number(10.0)), Some(Ordering::Equal));
        assert_eq!(Value::Null.compare(&Value::Number(0.0)), None);
        assert_eq!(text("NaN").number(), None);
        let mut values = [Value::Null, text("b"), Value::Number(2.0), text("1")];
        values.sort_by(Value::order);
        assert_eq!(values, [text("1"), Value::Number(2.0), text("b"), Value::Null]);
    }
}
