//! JSON text, token by token. Never recurses and copies only strings that contain escapes.

use std::borrow::Cow;

use crate::codec::find;

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// How deep a value may be nested, known or unknown to the schema.
pub const MAX_DEPTH: usize = 128;

/// A cursor over JSON text.
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

/// A number as written, and whether it has neither fraction nor exponent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number<'a> {
    pub text: &'a str,
    pub is_integer: bool,
}

impl Number<'_> {
    /// The value towards zero, held within `min..=max`.
    pub fn truncate(self, (min, max): (i64, i64)) -> i64 {
        match self.text.parse::<i64>() {
            Ok(value) => value.clamp(min, max),
            // A cast from a float saturates and drops the fraction.
            Err(_) => (self.as_f64() as i64).clamp(min, max),
        }
    }

    pub fn as_f64(self) -> f64 {
        self.text.parse().unwrap_or(0.0)
    }
}

impl<'a> Lexer<'a> {
    /// # Errors
    /// When `bytes` are not UTF-8.
    pub fn new(bytes: &'a [u8]) -> Result<Lexer<'a>, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed)?;
        // Some clients send a byte order mark.
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        Ok(Lexer { text, at })
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The next byte that is not white space, without taking it.
    #[inline]
    pub fn peek(&mut self) -> Result<u8, Malformed> {
        while let Some(byte) = self.bytes().get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(Malformed)
    }

    /// Only white space is left.
    pub fn is_at_end(&mut self) -> bool {
        self.peek().is_err()
    }

    /// Takes `byte`, after white space.
    #[inline]
    pub fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek()? != byte {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes `byte` if it is next.
    #[inline]
    pub fn take(&mut self, byte: u8) -> Result<bool, Malformed> {
        let is_next = self.peek()? == byte;
        self.at += usize::from(is_next);
        Ok(is_next)
    }

    /// After an element or entry: true if another follows, false if `close` was taken.
    #[inline]
    pub fn more(&mut self, close: u8) -> Result<bool, Malformed> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Ok(true),
            byte if byte == close => Ok(false),
            _ => Err(Malformed),
        }
    }

    /// A key and its colon.
    pub fn key(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// `true`, `false` or `null`.
    pub fn word(&mut self, word: &str) -> Result<(), Malformed> {
        let rest = self.text.get(self.at..).ok_or(Malformed)?;
        if !rest.starts_with(word) {
            return Err(Malformed);
        }
        self.at += word.len();
        Ok(())
    }

    /// A string: borrowed unless it has escapes. A lone surrogate becomes U+FFFD.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.expect(b'"')?;
        let start = self.at;
        self.at = find_special(self.bytes(), start);
        match self.bytes().get(self.at) {
            Some(b'"') => {
                let text = self.text.get(start..self.at).ok_or(Malformed)?;
                self.at += 1;
                Ok(Cow::Borrowed(text))
            }
            Some(b'\\') => self.escaped_string(start).map(Cow::Owned),
            _ => Err(Malformed),
        }
    }

    fn escaped_string(&mut self, start: usize) -> Result<String, Malformed> {
        let mut out = String::with_capacity(self.at - start + 16);
        let mut run = start;
        loop {
            out.push_str(self.text.get(run..self.at).ok_or(Malformed)?);
            let byte = *self.bytes().get(self.at).ok_or(Malformed)?;
            self.at += 1;
            match byte {
                b'"' => return Ok(out),
                b'\\' => out.push(self.escape()?),
                _ => return Err(Malformed),
            }
            run = self.at;
            self.at = find_special(self.bytes(), run);
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        let byte = *self.bytes().get(self.at).ok_or(Malformed)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let rest = self.bytes().get(self.at..).unwrap_or(&[]);
                if (0xd800..0xdc00).contains(&first) && rest.starts_with(b"\\u") {
                    let back = self.at;
                    self.at += 2;
                    let second = self.hex()?;
                    if (0xdc00..0xe000).contains(&second) {
                        let scalar = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                        return char::from_u32(scalar).ok_or(Malformed);
                    }
                    self.at = back;
                }
                char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(Malformed),
        })
    }

    fn hex(&mut self) -> Result<u32, Malformed> {
        let digits = self.bytes().get(self.at..self.at + 4).ok_or(Malformed)?;
        self.at += 4;
        digits.iter().try_fold(0, |value, digit| {
            char::from(*digit).to_digit(16).map(|digit| value * 16 + digit).ok_or(Malformed)
        })
    }

    pub fn number(&mut self) -> Result<Number<'a>, Malformed> {
        self.peek()?;
        let start = self.at;
        self.at += usize::from(self.bytes()[start] == b'-');
        let first = self.bytes().get(self.at).copied();
        if self.digits() == 0
            || (first == Some(b'0') && self.at > start + 2 - usize::from(self.bytes()[start] != b'-'))
        {
            return Err(Malformed);
        }
        let mut is_integer = true;
        if self.bytes().get(self.at) == Some(&b'.') {
            self.at += 1;
            is_integer = false;
            if self.digits() == 0 {
                return Err(Malformed);
            }
        }
        if matches!(self.bytes().get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            is_integer = false;
            self.at += usize::from(matches!(self.bytes().get(self.at), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(Malformed);
            }
        }
        Ok(Number { text: self.text.get(start..self.at).ok_or(Malformed)?, is_integer })
    }

    fn digits(&mut self) -> usize {
        let count = self.bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    /// Takes a whole value and returns its text.
    pub fn skip(&mut self) -> Result<&'a str, Malformed> {
        self.peek()?;
        let start = self.at;
        let mut open = Vec::new();
        loop {
            match self.peek()? {
                b'{' => {
                    self.at += 1;
                    if !self.take(b'}')? {
                        open.push(b'}');
                        self.key()?;
                        if open.len() > MAX_DEPTH {
                            return Err(Malformed);
                        }
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    if !self.take(b']')? {
                        open.push(b']');
                        if open.len() > MAX_DEPTH {
                            return Err(Malformed);
                        }
                        continue;
                    }
                }
                b'"' => drop(self.string()?),
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => drop(self.number()?),
            }
            // A value ended: close what it closes, or go on to the next.
            loop {
                let Some(close) = open.last().copied() else {
                    return self.text.get(start..self.at).ok_or(Malformed);
                };
                if self.more(close)? {
                    if close == b'}' {
                        self.key()?;
                    }
                    break;
                }
                open.pop();
            }
        }
    }
}

/// Position of the first quote, backslash or control character at or after `at`; the length if there is none.
pub fn find_special(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or(&[]);
    let found = find(rest, |byte| (byte == b'"') | (byte == b'\\') | (byte < 0x20));
    found.map_or(bytes.len(), |offset| at + offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &str) -> bool {
        let Ok(mut lexer) = Lexer::new(text.as_bytes()) else { return false };
        lexer.skip().is_ok() && lexer.is_at_end()
    }

    #[test]
    fn numbers_follow_the_grammar() {
        for good in ["0", "-0", "10", "-12", "0.5", "1e5", "1E+5", "-1.5e-3", "123456789012345678901"] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["", "-", "01", "-01", "1.", ".5", "1e", "+1", "0x1", "1 2"] {
            assert!(!accepts(bad), "{bad}");
        }
    }

    #[test]
    fn truncation_saturates() {
        let cases = [("1.9", 1), ("-1.9", -1), ("99999999999", 127), ("-1e30", -128), ("12", 12)];
        for (text, expected) in cases {
            assert_eq!(Number { text, is_integer: false }.truncate((-128, 127)), expected, "{text}");
        }
    }

    #[test]
    fn depth_is_limited() {
        assert!(accepts(&format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH))));
        assert!(!accepts(&format!("{}1{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1))));
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(|n| serde_json::Number::from_f64(n).into()),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_what_is_json(value in json(), flip in any::<proptest::sample::Index>(), by in any::<u8>()) {
            let mut text = value.to_string().into_bytes();
            let mut lexer = Lexer::new(&text).unwrap();
            prop_assert_eq!(lexer.skip().unwrap().as_bytes(), &text[..]);
            let at = flip.index(text.len());
            text[at] = by;
            let strict = serde_json::from_slice::<serde_json::Value>(&text);
            // A float beyond the range is still a number of JSON's.
            let is_number = strict.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
            let ours = std::str::from_utf8(&text).is_ok_and(accepts);
            prop_assert!(is_number || ours == strict.is_ok(), "{}", String::from_utf8_lossy(&text));
        }

        #[test]
        fn strings_are_read_as_serde_json_reads_them(text in any::<String>()) {
            let quoted = serde_json::to_string(&text).unwrap();
            let mut lexer = Lexer::new(quoted.as_bytes()).unwrap();
            prop_assert_eq!(lexer.string().unwrap(), text);
        }
    }
}
