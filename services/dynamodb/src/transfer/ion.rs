//! Items as Amazon Ion text: pure. A reader of as much of the format as values of items can be.
//!
//! Source: Amazon Ion specification, "Ion text encoding"; Developer Guide, "DynamoDB table export output format" (annotations
//! of sets), "Using Amazon Ion with Amazon S3".

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::number::Number;
use crate::value::{Item, MAX_DEPTH, Value};

const STRINGS: &str = "$dynamodb_SS";
const NUMBERS: &str = "$dynamodb_NS";
const BINARIES: &str = "$dynamodb_BS";

/// `{pk:"a",n:1.}`
pub fn write_item(item: &Item, out: &mut String) {
    out.push('{');
    for (at, (name, value)) in item.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_symbol(name, out);
        out.push(':');
        write_value(value, out);
    }
    out.push('}');
}

fn write_symbol(name: &str, out: &mut String) {
    let mut bytes = name.bytes();
    let is_plain = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !["null", "true", "false", "nan"].contains(&name);
    if is_plain {
        out.push_str(name);
    } else {
        write_quoted(name, '\'', out);
    }
}

fn write_quoted(text: &str, quote: char, out: &mut String) {
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c)); // a String takes everything
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// A decimal, so that no digit is lost.
fn write_number(number: &Number, out: &mut String) {
    let text = number.to_string();
    out.push_str(&text.replace(['E', 'e'], "d"));
    if !text.contains(['.', 'E', 'e']) {
        out.push('.');
    }
}

fn write_blob(bytes: &Bytes, out: &mut String) {
    out.push_str("{{");
    out.push_str(&STANDARD.encode(bytes));
    out.push_str("}}");
}

fn write_list<T>(all: impl IntoIterator<Item = T>, out: &mut String, mut write: impl FnMut(T, &mut String)) {
    out.push('[');
    for (at, one) in all.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(one, out);
    }
    out.push(']');
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::S(text) => write_quoted(text, '"', out),
        Value::N(number) => write_number(number, out),
        Value::B(bytes) => write_blob(bytes, out),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Null => out.push_str("null"),
        Value::Ss(set) => {
            out.push_str(STRINGS);
            out.push_str("::");
            write_list(set, out, |one, out| write_quoted(one, '"', out));
        }
        Value::Ns(set) => {
            out.push_str(NUMBERS);
            out.push_str("::");
            write_list(set, out, write_number);
        }
        Value::Bs(set) => {
            out.push_str(BINARIES);
            out.push_str("::");
            write_list(set, out, write_blob);
        }
        Value::L(list) => write_list(list, out, write_value),
        Value::M(map) => write_item(map, out),
    }
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It ends within a value: there may be more.
    Incomplete,
    Wrong(String),
}

fn wrong<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Wrong(text.into()))
}

/// One value at the top of a text, with what follows it. `None`: only spaces, comments and version markers are left.
///
/// # Errors
/// Text that is no Ion, or values that no attribute can have.
pub fn read_value(text: &str) -> Result<Option<(Value, &str)>, Fault> {
    let mut reader = Reader { rest: text };
    loop {
        reader.skip()?;
        if reader.rest.is_empty() {
            return Ok(None);
        }
        match reader.rest.strip_prefix("$ion_1_0") {
            Some(rest) if !rest.starts_with("::") => reader.rest = rest,
            _ => break,
        }
    }
    let value = reader.value(0)?;
    Ok(Some((value, reader.rest)))
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self) -> Result<(), Fault> {
        loop {
            self.rest = self.rest.trim_start();
            if let Some(comment) = self.rest.strip_prefix("//") {
                self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                self.rest = comment.split_once("*/").ok_or(Fault::Incomplete)?.1;
            } else {
                return Ok(());
            }
        }
    }

    fn peek(&self) -> Result<char, Fault> {
        self.rest.chars().next().ok_or(Fault::Incomplete)
    }

    fn take(&mut self, c: char) -> Result<bool, Fault> {
        self.skip()?;
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                Ok(true)
            }
            None if self.rest.is_empty() => Err(Fault::Incomplete),
            None => Ok(false),
        }
    }

    fn word(&mut self) -> &'a str {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_$.+-".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        if depth > MAX_DEPTH + 1 {
            return wrong("Nesting Levels have exceeded supported limits");
        }
        self.skip()?;
        match self.peek()? {
            '"' => Ok(Value::S(self.quoted('"')?)),
            '[' => Ok(Value::L(self.list(depth)?)),
            '{' if self.rest.starts_with("{{") => self.blob(),
            '{' => Ok(Value::M(self.fields(depth)?)),
            '\'' if self.rest.starts_with("'''") => self.long_string(),
            '\'' => {
                let annotation = self.quoted('\'')?;
                self.annotated(&annotation, depth)
            }
            _ => {
                let word = self.word();
                match word {
                    "" => wrong(format!("{:?} is no value", self.peek()?)),
                    "true" => Ok(Value::Bool(true)),
                    "false" => Ok(Value::Bool(false)),
                    null if null == "null" || null.starts_with("null.") => Ok(Value::Null),
                    other if other.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') => {
                        number(other)
                    }
                    annotation => self.annotated(annotation, depth),
                }
            }
        }
    }

    fn annotated(&mut self, annotation: &str, depth: usize) -> Result<Value, Fault> {
        self.skip()?;
        let Some(rest) = self.rest.strip_prefix("::") else {
            if self.rest.is_empty() {
                return Err(Fault::Incomplete);
            }
            return wrong(format!("a symbol is no value of an attribute: {annotation}"));
        };
        self.rest = rest;
        let value = self.value(depth)?;
        let members = match (annotation, value) {
            (STRINGS | NUMBERS | BINARIES, Value::L(members)) => members,
            (STRINGS | NUMBERS | BINARIES, _) => return wrong(format!("{annotation} is no list")),
            (_, value) => return Ok(value),
        };
        if members.is_empty() {
            return wrong(format!("a set may not be empty: {annotation}"));
        }
        let count = members.len();
        let kind = || Fault::Wrong(format!("a member of {annotation} has another type"));
        let (set, size) = match annotation {
            STRINGS => {
                let all = members
                    .into_iter()
                    .map(|one| if let Value::S(one) = one { Ok(one) } else { Err(kind()) });
                let set = all.collect::<Result<BTreeSet<_>, _>>()?;
                let size = set.len();
                (Value::Ss(set), size)
            }
            NUMBERS => {
                let all = members
                    .into_iter()
                    .map(|one| if let Value::N(one) = one { Ok(one) } else { Err(kind()) });
                let set = all.collect::<Result<BTreeSet<_>, _>>()?;
                let size = set.len();
                (Value::Ns(set), size)
            }
            _ => {
                let all = members
                    .into_iter()
                    .map(|one| if let Value::B(one) = one { Ok(one) } else { Err(kind()) });
                let set = all.collect::<Result<BTreeSet<_>, _>>()?;
                let size = set.len();
                (Value::Bs(set), size)
            }
        };
        if size == count { Ok(set) } else { wrong("Input collection contains duplicates") }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value>, Fault> {
        self.rest = &self.rest[1..];
        let mut all = Vec::new();
        loop {
            if self.take(']')? {
                return Ok(all);
            }
            all.push(self.value(depth + 1)?);
            if !self.take(',')? {
                return if self.take(']')? { Ok(all) } else { wrong("a list goes on without a comma") };
            }
        }
    }

    fn fields(&mut self, depth: usize) -> Result<Item, Fault> {
        self.rest = &self.rest[1..];
        let mut item = Item::new();
        loop {
            if self.take('}')? {
                return Ok(item);
            }
            let name = match self.peek()? {
                quote @ ('"' | '\'') => self.quoted(quote)?,
                _ => self.word().to_owned(),
            };
            if !self.take(':')? {
                return wrong(format!("a colon is missing after {name}"));
            }
            let value = self.value(depth + 1)?;
            item.insert(name, value);
            if !self.take(',')? {
                return if self.take('}')? { Ok(item) } else { wrong("a struct goes on without a comma") };
            }
        }
    }

    fn blob(&mut self) -> Result<Value, Fault> {
        let (text, rest) = self.rest[2..].split_once("}}").ok_or(Fault::Incomplete)?;
        self.rest = rest;
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        match STANDARD.decode(text) {
            Ok(bytes) => Ok(Value::B(bytes.into())),
            Err(error) => wrong(format!("a binary is not base64: {error}")),
        }
    }

    /// Segments of `'''` that follow each other are one string.
    fn long_string(&mut self) -> Result<Value, Fault> {
        let mut text = String::new();
        while let Some(rest) = self.rest.strip_prefix("'''") {
            let mut end = 0;
            loop {
                let at = rest[end..].find("'''").ok_or(Fault::Incomplete)? + end;
                if rest[..at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0 {
                    end = at;
                    break;
                }
                end = at + 1;
            }
            unescape(&rest[..end], &mut text)?;
            self.rest = &rest[end + 3..];
            self.skip()?;
        }
        Ok(Value::S(text))
    }

    fn quoted(&mut self, quote: char) -> Result<String, Fault> {
        let body = &self.rest[1..];
        let mut is_escaped = false;
        for (at, c) in body.char_indices() {
            if !is_escaped && c == quote {
                let mut text = String::new();
                unescape(&body[..at], &mut text)?;
                self.rest = &body[at + 1..];
                return Ok(text);
            }
            is_escaped = c == '\\' && !is_escaped;
        }
        Err(Fault::Incomplete)
    }
}

fn unescape(text: &str, out: &mut String) -> Result<(), Fault> {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(kind) = chars.next() else { return wrong("a text ends with a backslash") };
        let digits = match kind {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        if digits > 0 {
            let code: String = chars.by_ref().take(digits).collect();
            let c =
                u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits).and_then(char::from_u32);
            match c {
                Some(c) => out.push(c),
                None => return wrong(format!("\\{kind}{code} is no character")),
            }
            continue;
        }
        out.push(match kind {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '0' => '\0',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '\n' => continue,
            other @ ('\\' | '"' | '\'' | '/' | '?') => other,
            other => return wrong(format!("\\{other} is no escape")),
        });
    }
    Ok(())
}

fn number(text: &str) -> Result<Value, Fault> {
    let plain = text.replace('_', "").replace(['d', 'D'], "E");
    let plain = plain.trim_end_matches('.').replace(".E", "E");
    match Number::parse(&plain) {
        Ok(number) => Ok(Value::N(number)),
        Err(error) => wrong(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::tests::{item, n, s};
    use proptest::prelude::*;

    #[test]
    fn values_are_written_and_read_again() {
        let values = item(&[
            ("plain", s("a \"b\" \\ \n \u{1} ü")),
            ("with space", n("-12.50")),
            ("null", Value::Null),
            ("big", n("1E+100")),
            ("digits", n("12345678901234567890123456789012345678")),
            ("yes", Value::Bool(true)),
            ("bytes", Value::B(Bytes::from_static(b"\x00\xff"))),
            ("words", Value::Ss(BTreeSet::from(["x".to_owned(), "y".to_owned()]))),
            (
                "numbers",
                Value::Ns(BTreeSet::from([Number::parse("1").unwrap(), Number::parse("2.5").unwrap()])),
            ),
            ("blobs", Value::Bs(BTreeSet::from([Bytes::from_static(b"a")]))),
            ("list", Value::L(vec![n("1"), Value::M(item(&[("deep", Value::L(vec![]))]))])),
        ]);
        let mut text = String::from("$ion_1_0 ");
        write_item(&values, &mut text);
        let read = read_value(&text).unwrap();
        assert_eq!(read, Some((Value::M(values), "")));
    }

    #[test]
    fn text_of_others_is_read() {
        let cases = [
            (
                "{a: 1, 'b c': 2.5e1, \"d\": '''x''' '''y''', /* no */ e: null.string, // end\n f: {{ YQ== }}}",
                Ok(()),
            ),
            ("{a: [1, 2,], b: some::true}", Ok(())),
            ("{a: [1", Err(true)),
            ("{a: \"x", Err(true)),
            ("{a: symbol}", Err(false)),
            ("{a 1}", Err(false)),
            ("{a: $dynamodb_SS::[\"x\",\"x\"]}", Err(false)),
            ("{a: $dynamodb_SS::[]}", Err(false)),
            ("{a: )}", Err(false)),
        ];
        for (text, expected) in cases {
            let got = read_value(text).map(|_| ()).map_err(|fault| fault == Fault::Incomplete);
            assert_eq!(got, expected, "{text}");
        }
        assert_eq!(read_value(" $ion_1_0 // nothing"), Ok(None));
        let (value, rest) = read_value("{a:1}\n{b:2}").unwrap().unwrap();
        assert_eq!((value, rest), (Value::M(item(&[("a", n("1"))])), "\n{b:2}"));
    }

    proptest! {
        #[test]
        fn any_text_is_an_error_at_worst(text in "[{}\\[\\]:,'\"\\\\a1. $/*üd-]{0,40}") {
            let _ = read_value(&text);
        }
    }
}
