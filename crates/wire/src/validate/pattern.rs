//! Regular expressions with Java's meaning and bounded work.
//!
//! AWS's servers match the whole value (`Matcher.matches`), anchors or not. Patterns are rewritten for the Rust engine where
//! the two differ: `\d`, `\w` and `\s` are ASCII, `.` stops at every line terminator. Most patterns are a class, repeated;
//! those are decided by a table ([`Simple`]), and compiled only when a value needs what Unicode says of its letters.
//!
//! Work is bounded: patterns without look-around or back-references run in linear time; the others give up after
//! [`MOST_STEPS`] and then count as not matching, because a value that cannot be shown to be good must not pass.
//! A pattern that does not compile is not enforced.

mod simple;

use std::sync::OnceLock;

use fancy_regex::{Regex, RegexBuilder};
use simple::Simple;

/// Backtracking steps for patterns with look-around or back-references.
pub const MOST_STEPS: usize = 100_000;

/// Bytes that one compiled pattern may take.
const MOST_COMPILED_BYTES: usize = 32 << 20;

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    source: &'static str,
    simple: Option<Simple>,
    /// `None` inside: it does not compile.
    full: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// `None` if the pattern does not compile, and so is not enforced.
    pub fn compile(source: &'static str) -> Option<Pattern> {
        let pattern = Pattern { source, simple: Simple::parse(source), full: OnceLock::new() };
        (pattern.simple.is_some() || pattern.full().is_some()).then_some(pattern)
    }

    /// Whether the pattern matches all of `text`.
    pub fn matches(&self, text: &str) -> bool {
        match &self.simple {
            Some(simple) if simple.decides(text) => simple.matches(text),
            _ => self.full().is_none_or(|regex| regex.is_match(text).unwrap_or(false)),
        }
    }

    /// Whether the engine reads the whole pattern, so that it holds for text of any script.
    pub fn is_enforced(source: &'static str) -> bool {
        Pattern::compile(source).is_some_and(|pattern| {
            let is_complete = pattern.simple.as_ref().is_some_and(|simple| simple.is_complete);
            is_complete || pattern.full().is_some()
        })
    }

    #[cfg(test)]
    pub(super) fn is_simple(&self) -> bool {
        self.simple.is_some()
    }

    /// As `matches`, always by the engine.
    #[cfg(test)]
    pub(super) fn matches_slowly(&self, text: &str) -> bool {
        self.full()
            .expect("simple patterns compile")
            .is_match(text)
            .expect("simple patterns do not backtrack")
    }

    fn full(&self) -> Option<&Regex> {
        let compile = || {
            let anchored = format!(r"\A(?:{})\z", to_rust(self.source));
            RegexBuilder::new(&anchored)
                .backtrack_limit(MOST_STEPS)
                .delegate_size_limit(MOST_COMPILED_BYTES)
                .build()
                .ok()
        };
        self.full.get_or_init(compile).as_ref()
    }
}

/// The pattern in the Rust engine's syntax, with Java's meaning.
fn to_rust(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut rest = Chars { text: source };
    let mut depth = 0usize;
    // Whether each open group looks around.
    let mut groups = Vec::new();
    while let Some(c) = rest.next() {
        match c {
            '\\' => rewrite_escape(&mut rest, depth > 0, &mut out),
            '[' => {
                depth += 1;
                out.push('[');
                if rest.take('^') {
                    out.push('^');
                }
            }
            ']' if depth > 0 => {
                depth -= 1;
                out.push(']');
            }
            '(' if depth == 0 => {
                groups.push(["?=", "?!", "?<=", "?<!"].iter().any(|start| rest.text.starts_with(start)));
                out.push('(');
            }
            ')' if depth == 0 => {
                out.push(')');
                // Looking around more than once sees nothing new, and the engine refuses to.
                if groups.pop() == Some(true) {
                    rest.take('+');
                }
            }
            '.' if depth == 0 => out.push_str(r"[^\n\r\x{85}\x{2028}\x{2029}]"),
            // Set operators of the Rust engine that Java lacks.
            '-' if depth > 0 && rest.peek() == Some('-') => out.push_str(r"\-"),
            '~' if depth > 0 => out.push_str(r"\~"),
            c => out.push(c),
        }
    }
    out
}

fn rewrite_escape(rest: &mut Chars<'_>, in_class: bool, out: &mut String) {
    match rest.next() {
        Some('d') => out.push_str("[0-9]"),
        Some('D') => out.push_str("[^0-9]"),
        Some('w') => out.push_str("[0-9A-Za-z_]"),
        Some('W') => out.push_str("[^0-9A-Za-z_]"),
        Some('s') => out.push_str(r"[ \t\n\x0B\x0C\r]"),
        Some('S') => out.push_str(r"[^ \t\n\x0B\x0C\r]"),
        Some('Z') => out.push_str(r"\z"),
        Some('u') => match rest.code_unit() {
            Some(code) => out.push_str(&format!(r"\x{{{code:X}}}")),
            None if in_class => {
                // Halves of pairs stand for all characters that have halves.
                while let Some(after) =
                    rest.text.strip_prefix("-\\u").or_else(|| rest.text.strip_prefix("\\u"))
                {
                    let mut half = Chars { text: after };
                    if !half.hex(4).is_some_and(|code| (0xD800..0xE000).contains(&code)) {
                        break;
                    }
                    rest.text = half.text;
                }
                out.push_str(r"\x{10000}-\x{10FFFF}");
            }
            None => out.push_str("\\u"),
        },
        Some(c) => {
            out.push('\\');
            out.push(c);
        }
        None => out.push('\\'),
    }
}

/// A pattern being read.
struct Chars<'a> {
    text: &'a str,
}

impl Chars<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.text.chars().next()?;
        self.text = &self.text[c.len_utf8()..];
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.text.chars().next()
    }

    fn take(&mut self, prefix: char) -> bool {
        let rest = self.text.strip_prefix(prefix);
        self.text = rest.unwrap_or(self.text);
        rest.is_some()
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.text.split_at_checked(digits)?;
        self.text = rest;
        number.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(number, 16).ok())?
    }
}

impl Chars<'_> {
    /// After `\u`: a code unit, or the character that two of them make; `None` for half a pair.
    fn code_unit(&mut self) -> Option<u32> {
        let high = self.hex(4)?;
        if !(0xD800..0xE000).contains(&high) {
            return Some(high);
        }
        let mut after = Chars { text: self.text.strip_prefix("\\u")? };
        let low = after.hex(4)?;
        let c = char::decode_utf16([high as u16, low as u16]).next()?.ok()?;
        self.text = after.text;
        Some(c as u32)
    }
}
