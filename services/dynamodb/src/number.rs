//! Numbers: 38 significant digits, exactly, with an order-preserving key form. Pure.
//!
//! Source: Amazon DynamoDB Developer Guide, "Supported data types and naming rules" (number range and precision).

use std::cmp::Ordering;
use std::fmt;

use crate::error::DynamoError;

/// Significant digits of a number.
pub const MAX_DIGITS: u32 = 38;
const MAX_MAGNITUDE: i64 = 125;
const MIN_MAGNITUDE: i64 = -130;
/// Length of [`Number::to_key`].
pub const KEY_LENGTH: usize = 19;

/// `± digits × 10^exponent`, where `digits` has no trailing zero; zero has no sign and no exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Number {
    is_negative: bool,
    digits: u128,
    exponent: i16,
}

impl Number {
    pub const ZERO: Number = Number { is_negative: false, digits: 0, exponent: 0 };

    /// Reads what a client wrote.
    ///
    /// # Errors
    /// `ValidationException`: not a number, more than 38 digits, or beyond the range of 1e-130 to 9.99..e125.
    pub fn parse(text: &str) -> Result<Number, DynamoError> {
        let unreadable = || DynamoError::validation(unreadable_text(text));
        let (is_negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], read_exponent(&rest[at + 1..]).ok_or_else(unreadable)?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut all = whole.bytes().chain(fraction.bytes());
        if whole.len() + fraction.len() == 0 || !all.all(|byte| byte.is_ascii_digit()) {
            return Err(unreadable());
        }
        let digits: Vec<u8> =
            whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0').collect();
        let significant = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        if significant == 0 {
            return Ok(Number::ZERO);
        }
        if significant > MAX_DIGITS as usize {
            return Err(DynamoError::validation(TOO_MANY_DIGITS));
        }
        let trailing = (digits.len() - significant) as i64;
        let exponent = exponent.saturating_sub(fraction.len() as i64).saturating_add(trailing);
        let value =
            digits[..significant].iter().fold(0u128, |value, digit| value * 10 + u128::from(digit - b'0'));
        Number::checked(is_negative, value, exponent)
    }

    /// Normalised and within the range.
    fn checked(is_negative: bool, mut digits: u128, mut exponent: i64) -> Result<Number, DynamoError> {
        if digits == 0 {
            return Ok(Number::ZERO);
        }
        while digits.is_multiple_of(10) {
            digits /= 10;
            exponent += 1;
        }
        let length = digits.ilog10() + 1;
        if length > MAX_DIGITS {
            return Err(DynamoError::validation(TOO_MANY_DIGITS));
        }
        let magnitude = exponent.saturating_add(i64::from(length) - 1);
        if magnitude > MAX_MAGNITUDE {
            return Err(DynamoError::validation(
                "Number overflow. Attempting to store a number with magnitude larger than supported range",
            ));
        }
        if magnitude < MIN_MAGNITUDE {
            return Err(DynamoError::validation(
                "Number underflow. Attempting to store a number with magnitude smaller than supported range",
            ));
        }
        Ok(Number { is_negative, digits, exponent: exponent as i16 })
    }

    /// # Errors
    /// `ValidationException`: the sum needs more than 38 digits, or is beyond the range.
    pub fn plus(self, other: Number) -> Result<Number, DynamoError> {
        if self.digits == 0 {
            return Ok(other);
        }
        if other.digits == 0 {
            return Ok(self);
        }
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let shift = u32::from((high.exponent - low.exponent).unsigned_abs());
        let too_many = || DynamoError::validation(TOO_MANY_DIGITS);
        let scale = 10u128.checked_pow(shift).ok_or_else(too_many)?;
        let scaled = high.digits.checked_mul(scale).ok_or_else(too_many)?;
        let exponent = i64::from(low.exponent);
        if high.is_negative == low.is_negative {
            let sum = scaled.checked_add(low.digits).ok_or_else(too_many)?;
            return Number::checked(high.is_negative, sum, exponent);
        }
        match scaled.cmp(&low.digits) {
            Ordering::Less => Number::checked(low.is_negative, low.digits - scaled, exponent),
            _ => Number::checked(high.is_negative, scaled - low.digits, exponent),
        }
    }

    pub fn negated(self) -> Number {
        Number { is_negative: !self.is_negative && self.digits != 0, ..self }
    }

    /// # Errors
    /// As [`Number::plus`].
    pub fn minus(self, other: Number) -> Result<Number, DynamoError> {
        self.plus(other.negated())
    }

    /// Bytes that a number counts for: half a byte for each digit, one more, and one for a sign.
    pub fn size(self) -> usize {
        if self.digits == 0 {
            return 1;
        }
        let length = (self.digits.ilog10() + 1) as usize;
        length.div_ceil(2) + 1 + usize::from(self.is_negative)
    }

    /// The whole number it is, if it is one that fits.
    pub fn as_i64(self) -> Option<i64> {
        if self.exponent < 0 {
            return None;
        }
        let scale = 10u128.checked_pow(u32::from(self.exponent.unsigned_abs()))?;
        let value = i64::try_from(self.digits.checked_mul(scale)?).ok()?;
        Some(if self.is_negative { -value } else { value })
    }

    pub fn from_u64(value: u64) -> Number {
        Number::checked(false, u128::from(value), 0).unwrap_or_default()
    }

    /// Nineteen bytes whose order is the order of numbers.
    pub fn to_key(self) -> [u8; KEY_LENGTH] {
        let mut key = [0u8; KEY_LENGTH];
        if self.digits == 0 {
            key[0] = 0x80;
            return key;
        }
        let length = self.digits.ilog10() + 1;
        let magnitude = i32::from(self.exponent) + length as i32 - 1;
        let aligned = self.digits * 10u128.pow(MAX_DIGITS - length);
        key[0] = 0xc0;
        key[1..3].copy_from_slice(&((magnitude + 0x4000) as u16).to_be_bytes());
        key[3..].copy_from_slice(&aligned.to_be_bytes());
        if self.is_negative {
            key.iter_mut().for_each(|byte| *byte = !*byte);
        }
        key
    }

    /// The stored form: sign, exponent, digits without leading zero bytes.
    pub fn encode(self, out: &mut Vec<u8>) {
        let digits = self.digits.to_be_bytes();
        let zeros = (self.digits.leading_zeros() / 8) as usize;
        out.push(u8::from(self.is_negative) << 7 | (digits.len() - zeros) as u8);
        out.extend_from_slice(&self.exponent.to_be_bytes());
        out.extend_from_slice(&digits[zeros..]);
    }

    /// Reads what `encode` wrote, and what is left; `None` for other bytes.
    pub fn decode(bytes: &[u8]) -> Option<(Number, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<3>()?;
        let length = usize::from(head[0] & 0x7f);
        let (digits, rest) = rest.split_at_checked(length)?;
        let start = 16usize.checked_sub(length)?;
        let mut all = [0u8; 16];
        all[start..].copy_from_slice(digits);
        let number = Number {
            is_negative: head[0] & 0x80 != 0,
            digits: u128::from_be_bytes(all),
            exponent: i16::from_be_bytes([head[1], head[2]]),
        };
        Some((number, rest))
    }
}

const TOO_MANY_DIGITS: &str = "Attempting to store more than 38 significant digits in a Number";

fn unreadable_text(text: &str) -> String {
    if text.is_empty() {
        return "The parameter cannot be converted to a numeric value".to_owned();
    }
    format!("The parameter cannot be converted to a numeric value: {text}")
}

/// Saturates: what is out of range is found out later.
fn read_exponent(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value =
        digits.bytes().fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1_000_000));
    Some(sign * value)
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        self.to_key().cmp(&other.to_key())
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Without an exponent, as AWS answers.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits.to_string();
        if self.is_negative {
            f.write_str("-")?;
        }
        if self.exponent >= 0 {
            return write!(f, "{digits}{}", "0".repeat(usize::from(self.exponent.unsigned_abs())));
        }
        let fraction = usize::from(self.exponent.unsigned_abs());
        match digits.len().checked_sub(fraction) {
            Some(0) | None => write!(f, "0.{}{digits}", "0".repeat(fraction - digits.len())),
            Some(point) => write!(f, "{}.{}", &digits[..point], &digits[point..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn numbers_are_written_as_aws_does() {
        let cases = [
            ("0", "0"),
            ("-0.0", "0"),
            ("007", "7"),
            ("1.50", "1.5"),
            ("-12e3", "-12000"),
            ("1e-3", "0.001"),
            (".5", "0.5"),
            ("+1", "1"),
            ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
            ("123.456", "123.456"),
            ("100", "100"),
            ("1E2", "100"),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text).to_string(), expected, "{text}");
        }
        assert_eq!(number("1e125").to_string(), format!("1{}", "0".repeat(125)));
        assert_eq!(number("-1e-130").to_string(), format!("-0.{}1", "0".repeat(129)));
    }

    #[test]
    fn what_is_no_number_is_refused_in_awss_words() {
        let cases = [
            ("", "The parameter cannot be converted to a numeric value"),
            ("a", "The parameter cannot be converted to a numeric value: a"),
            ("1e", "The parameter cannot be converted to a numeric value: 1e"),
            (
                "1e126",
                "Number overflow. Attempting to store a number with magnitude larger than supported range",
            ),
            (
                "1e-131",
                "Number underflow. Attempting to store a number with magnitude smaller than supported range",
            ),
            (
                "1e99999999999999999999",
                "Number overflow. Attempting to store a number with magnitude larger than supported range",
            ),
            (
                "123456789012345678901234567890123456789",
                "Attempting to store more than 38 significant digits in a Number",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Number::parse(text).expect_err(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn sums_are_exact_or_refused() {
        let cases = [
            ("1", "2", Some("3")),
            ("0.1", "0.2", Some("0.3")),
            ("100", "-1", Some("99")),
            ("-5", "5", Some("0")),
            ("1e37", "1", Some("10000000000000000000000000000000000001")),
            ("1e38", "-1", Some("99999999999999999999999999999999999999")),
            ("1e38", "1", None),
            ("1e125", "1e-130", None),
            ("9e125", "9e125", None),
        ];
        for (a, b, expected) in cases {
            let sum = number(a).plus(number(b)).ok().map(|sum| sum.to_string());
            assert_eq!(sum.as_deref(), expected, "{a} + {b}");
        }
    }

    #[test]
    fn size_is_half_a_byte_for_a_digit_and_more() {
        for (text, size) in [("0", 1), ("1", 2), ("12", 2), ("123", 3), ("-1", 3), ("1e100", 2)] {
            assert_eq!(number(text).size(), size, "{text}");
        }
    }

    fn any_number() -> impl Strategy<Value = Number> {
        (any::<bool>(), 0u64..=u64::MAX, -30i64..30).prop_map(|(negative, digits, exponent)| {
            Number::checked(negative, u128::from(digits), exponent).unwrap()
        })
    }

    proptest! {
        #[test]
        fn keys_sort_as_numbers_do(a in any_number(), b in any_number()) {
            let (x, y): (f64, f64) = (a.to_string().parse().unwrap(), b.to_string().parse().unwrap());
            if x != y {
                prop_assert_eq!(a.cmp(&b), x.partial_cmp(&y).unwrap());
            }
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
        }

        #[test]
        fn a_number_is_read_back(a in any_number()) {
            prop_assert_eq!(number(&a.to_string()), a);
            let mut bytes = Vec::new();
            a.encode(&mut bytes);
            bytes.push(9);
            prop_assert_eq!(Number::decode(&bytes), Some((a, &[9u8][..])));
        }

        #[test]
        fn what_is_added_can_be_taken_away(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000) {
            let sum = number(&a.to_string()).plus(number(&b.to_string())).unwrap();
            prop_assert_eq!(sum.as_i64(), Some(a + b));
            prop_assert_eq!(sum.minus(number(&b.to_string())).unwrap().as_i64(), Some(a));
        }

        #[test]
        fn no_text_is_a_panic(text in "[-+0-9.eE x]{0,60}") {
            let _ = Number::parse(&text);
        }
    }
}
