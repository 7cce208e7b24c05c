//! Regular expressions with Java's meaning and bounded work.
//!
//! AWS's servers match the whole value (`Matcher.matches`), anchors or not. Patterns are rewritten for the Rust engine where
//! the two differ: `\d`, `\w` and `\s` are ASCII, `.` stops at every line terminator. Most patterns are a class, repeated;
//! those are decided by a table lookup per byte, and compiled only when a value that is not ASCII comes by.
//!
//! Work is bounded: patterns without look-around or back-references run in linear time; the others give up after
//! [`MOST_STEPS`] and then count as not matching, because a value that cannot be shown to be good must not pass.
//! A pattern that does not compile is not enforced.

use std::sync::OnceLock;

use fancy_regex::{Regex, RegexBuilder};

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
            Some(simple) if text.is_ascii() => simple.matches(text.as_bytes()),
            _ => self.full().is_none_or(|regex| regex.is_match(text).unwrap_or(false)),
        }
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

/// A run of ASCII classes of which only the last may repeat a varying number of times: `[a-z][a-z0-9-]{0,62}`.
#[derive(Debug)]
struct Simple {
    fixed: Vec<Set>,
    last: Set,
    least: usize,
    most: usize,
}

impl Simple {
    fn parse(source: &str) -> Option<Simple> {
        let mut rest = Chars { text: source.strip_prefix('^').unwrap_or(source) };
        let mut simple = Simple { fixed: Vec::new(), last: Set::NONE, least: 0, most: 0 };
        let mut is_closed = false;
        while let Some(c) = rest.next() {
            if c == '$' && rest.text.is_empty() {
                break;
            }
            let set = match c {
                '[' => class(&mut rest)?,
                '\\' => match escape(&mut rest)? {
                    Item::Set(set) => set,
                    Item::Char(code) => Set::one(code),
                },
                '.' => Set::ALL.without(Set::of(b"\n\r")),
                '(' | ')' | '|' | '^' | '$' | '*' | '+' | '?' | '{' | '}' | ']' => return None,
                c if c.is_ascii() => Set::one(c as u32),
                _ => return None,
            };
            if is_closed {
                return None;
            }
            let (least, most) = quantifier(&mut rest)?;
            if least == most && least <= 64 {
                simple.fixed.extend(std::iter::repeat_n(set, least));
            } else {
                (simple.last, simple.least, simple.most) = (set, least, most);
                is_closed = true;
            }
        }
        Some(simple)
    }

    fn matches(&self, text: &[u8]) -> bool {
        let Some((head, tail)) = text.split_at_checked(self.fixed.len()) else { return false };
        (self.least..=self.most).contains(&tail.len())
            && head.iter().zip(&self.fixed).all(|(byte, set)| set.has(*byte))
            && tail.iter().all(|byte| self.last.has(*byte))
    }
}

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

/// How often the atom before may occur; `None` for lazy and possessive forms.
fn quantifier(rest: &mut Chars<'_>) -> Option<(usize, usize)> {
    let range = match rest.peek() {
        Some('*') => (0, usize::MAX),
        Some('+') => (1, usize::MAX),
        Some('?') => (0, 1),
        Some('{') => {
            let (body, after) = rest.text[1..].split_once('}')?;
            let (least, most) = body.split_once(',').unwrap_or((body, body));
            rest.text = after;
            let most = if most.is_empty() { usize::MAX } else { most.parse().ok()? };
            return finish(rest, (least.parse().ok()?, most));
        }
        _ => return Some((1, 1)),
    };
    rest.next();
    finish(rest, range)
}

fn finish(rest: &Chars<'_>, range: (usize, usize)) -> Option<(usize, usize)> {
    let is_plain = !matches!(rest.peek(), Some('?' | '+' | '*' | '{'));
    (is_plain && range.0 <= range.1).then_some(range)
}

enum Item {
    Char(u32),
    Set(Set),
}

/// What follows a backslash; `None` if it is more than a character or a class.
fn escape(rest: &mut Chars<'_>) -> Option<Item> {
    let item = match rest.next()? {
        'd' => Item::Set(Set::DIGIT),
        'D' => Item::Set(Set::DIGIT.complement()),
        'w' => Item::Set(Set::WORD),
        'W' => Item::Set(Set::WORD.complement()),
        's' => Item::Set(Set::SPACE),
        'S' => Item::Set(Set::SPACE.complement()),
        'p' => Item::Set(property(rest)?),
        'P' => Item::Set(property(rest)?.complement()),
        't' => Item::Char(9),
        'n' => Item::Char(10),
        'f' => Item::Char(12),
        'r' => Item::Char(13),
        'x' => Item::Char(rest.hex(2)?),
        'u' => Item::Char(rest.hex(4)?),
        c if c.is_ascii_punctuation() => Item::Char(c as u32),
        _ => return None,
    };
    Some(item)
}

fn property(rest: &mut Chars<'_>) -> Option<Set> {
    let name = if rest.take('{') {
        let (name, after) = rest.text.split_once('}')?;
        rest.text = after;
        name
    } else {
        let (name, after) = rest.text.split_at_checked(1)?;
        rest.text = after;
        name
    };
    let set = match name {
        "L" | "Alpha" | "IsAlphabetic" => Set::LETTER,
        "Lu" | "Upper" => Set::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        "Ll" | "Lower" => Set::of(b"abcdefghijklmnopqrstuvwxyz"),
        "M" => Set::NONE,
        "N" | "Nd" | "Digit" => Set::DIGIT,
        "Z" | "Zs" => Set::of(b" "),
        "S" => Set::SYMBOL,
        "P" => Set::of(b"!\"#%&'()*,-./:;?@[\\]_{}"),
        "Alnum" => Set::LETTER.with(Set::DIGIT),
        "ASCII" => Set::ALL,
        _ => return None,
    };
    Some(set)
}

/// A class, after its opening bracket. Members beyond ASCII are left out: only ASCII text is matched.
fn class(rest: &mut Chars<'_>) -> Option<Set> {
    let is_negated = rest.take('^');
    let mut set = Set::NONE;
    let mut is_first = true;
    loop {
        let item = match rest.next()? {
            ']' if is_first => return None,
            ']' => break,
            '[' => return None,
            '&' if rest.peek() == Some('&') => return None,
            '\\' => escape(rest)?,
            c => Item::Char(c as u32),
        };
        is_first = false;
        match item {
            Item::Set(more) => set = set.with(more),
            Item::Char(low) => {
                let is_range = rest.text.starts_with('-') && !rest.text.starts_with("-]");
                let high = if is_range { range_end(rest)? } else { low };
                if low > high {
                    return None;
                }
                set = (low..=high.min(127)).fold(set, |set, code| set.with(Set::one(code)));
            }
        }
    }
    Some(if is_negated { set.complement() } else { set })
}

fn range_end(rest: &mut Chars<'_>) -> Option<u32> {
    rest.next();
    match rest.next()? {
        '[' | ']' => None,
        '\\' => match escape(rest)? {
            Item::Char(code) => Some(code),
            Item::Set(_) => None,
        },
        c => Some(c as u32),
    }
}

/// Some ASCII characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set(u128);

impl Set {
    const NONE: Set = Set(0);
    const ALL: Set = Set(u128::MAX);
    const DIGIT: Set = Set::of(b"0123456789");
    const LETTER: Set = Set::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    const WORD: Set = Set(Set::LETTER.0 | Set::DIGIT.0 | Set::of(b"_").0);
    const SPACE: Set = Set::of(b" \t\n\x0B\x0C\r");
    const SYMBOL: Set = Set::of(b"$+<=>^`|~");

    const fn of(characters: &[u8]) -> Set {
        let mut bits = 0;
        let mut i = 0;
        while i < characters.len() {
            bits |= 1 << characters[i];
            i += 1;
        }
        Set(bits)
    }

    fn one(code: u32) -> Set {
        if code < 128 { Set(1 << code) } else { Set::NONE }
    }

    fn with(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }

    fn without(self, other: Set) -> Set {
        Set(self.0 & !other.0)
    }

    fn complement(self) -> Set {
        Set(!self.0)
    }

    fn has(self, byte: u8) -> bool {
        byte < 128 && (self.0 >> byte) & 1 == 1
    }
}

/// The pattern in the Rust engine's syntax, with Java's meaning.
fn to_rust(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut rest = Chars { text: source };
    let mut depth = 0usize;
    while let Some(c) = rest.next() {
        match c {
            '\\' => rewrite_escape(&mut rest, &mut out),
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
            '.' if depth == 0 => out.push_str(r"[^\n\r\x{85}\x{2028}\x{2029}]"),
            // Set operators of the Rust engine that Java lacks.
            '-' if depth > 0 && rest.peek() == Some('-') => out.push_str(r"\-"),
            '~' if depth > 0 => out.push_str(r"\~"),
            c => out.push(c),
        }
    }
    out
}

fn rewrite_escape(rest: &mut Chars<'_>, out: &mut String) {
    match rest.next() {
        Some('d') => out.push_str("[0-9]"),
        Some('D') => out.push_str("[^0-9]"),
        Some('w') => out.push_str("[0-9A-Za-z_]"),
        Some('W') => out.push_str("[^0-9A-Za-z_]"),
        Some('s') => out.push_str(r"[ \t\n\x0B\x0C\r]"),
        Some('S') => out.push_str(r"[^ \t\n\x0B\x0C\r]"),
        Some('Z') => out.push_str(r"\z"),
        Some('u') => match rest.hex(4) {
            Some(high) => {
                let low = rest.text.strip_prefix("\\u").and_then(|after| Chars { text: after }.hex(4));
                match low.and_then(|low| char::decode_utf16([high as u16, low as u16]).next()) {
                    Some(Ok(c)) if u32::from(c) > 0xFFFF => {
                        rest.text = &rest.text[6..];
                        out.push_str(&format!(r"\x{{{:X}}}", u32::from(c)));
                    }
                    _ => out.push_str(&format!(r"\x{{{high:X}}}")),
                }
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
