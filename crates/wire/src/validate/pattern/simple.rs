//! Patterns that are nothing but classes: decided by a table, without the regex engine.

use super::Chars;

/// A run of classes of which only the last may repeat a varying number of times: `[a-z][a-z0-9-]{0,62}`.
#[derive(Debug)]
pub(super) struct Simple {
    fixed: Vec<Set>,
    last: Set,
    least: usize,
    most: usize,
    /// All classes are known beyond ASCII, too.
    pub is_complete: bool,
}

impl Simple {
    pub fn parse(source: &str) -> Option<Simple> {
        let mut rest = Chars { text: source.strip_prefix('^').unwrap_or(source) };
        let mut simple =
            Simple { fixed: Vec::new(), last: Set::none(), least: 0, most: 0, is_complete: true };
        let mut is_closed = false;
        while let Some(c) = rest.next() {
            if c == '$' && rest.text.is_empty() {
                break;
            }
            let set = match c {
                '[' => class(&mut rest)?,
                '\\' => match escape(&mut rest)? {
                    Item::Set(set) => set,
                    Item::Char(code) => Set::range(code, code),
                },
                '.' => Set::of("\n\r\u{85}\u{2028}\u{2029}").complement(),
                '(' | ')' | '|' | '^' | '$' | '*' | '+' | '?' | '{' | '}' | ']' => return None,
                c => Set::range(c as u32, c as u32),
            };
            if is_closed {
                return None;
            }
            simple.is_complete &= set.beyond.is_some();
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

    /// Whether `matches` may be asked.
    pub fn decides(&self, text: &str) -> bool {
        self.is_complete || text.is_ascii()
    }

    pub fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let head_matches = self.fixed.iter().all(|set| rest.next().is_some_and(|c| set.has(c)));
        let mut length = 0;
        let tail_matches = head_matches
            && rest.all(|c| {
                length += 1;
                self.last.has(c)
            });
        tail_matches && (self.least..=self.most).contains(&length)
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
        'd' => Item::Set(Set::of(DIGITS)),
        'D' => Item::Set(Set::of(DIGITS).complement()),
        'w' => Item::Set(Set::word()),
        'W' => Item::Set(Set::word().complement()),
        's' => Item::Set(Set::of(SPACES)),
        'S' => Item::Set(Set::of(SPACES).complement()),
        'p' => Item::Set(property(rest)?),
        'P' => Item::Set(property(rest)?.complement()),
        't' => Item::Char(9),
        'n' => Item::Char(10),
        'f' => Item::Char(12),
        'r' => Item::Char(13),
        'x' => Item::Char(rest.hex(2)?),
        'u' => Item::Char(rest.code_unit()?),
        c if c.is_ascii_punctuation() => Item::Char(c as u32),
        _ => return None,
    };
    Some(item)
}

const DIGITS: &str = "0123456789";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const SPACES: &str = " \t\n\u{b}\u{c}\r";

/// A Unicode property, of which only the ASCII part is known here, or a POSIX one, which is ASCII.
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
        "L" | "IsAlphabetic" => Set::of(UPPER).with(Set::of(LOWER)).unknown_beyond(),
        "Lu" => Set::of(UPPER).unknown_beyond(),
        "Ll" => Set::of(LOWER).unknown_beyond(),
        "M" => Set::none().unknown_beyond(),
        "N" | "Nd" => Set::of(DIGITS).unknown_beyond(),
        "Z" | "Zs" => Set::of(" ").unknown_beyond(),
        "S" => Set::of("$+<=>^`|~").unknown_beyond(),
        "P" => Set::of("!\"#%&'()*,-./:;?@[\\]_{}").unknown_beyond(),
        "ASCII" => Set::range(0, 127),
        _ => return None,
    };
    Some(set)
}

/// A class, after its opening bracket.
fn class(rest: &mut Chars<'_>) -> Option<Set> {
    let is_negated = rest.take('^');
    let mut set = Set::none();
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
                set = set.with(Set::range(low, high));
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

/// Some characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Set {
    ascii: u128,
    /// Inclusive ranges above ASCII; `None`: not known here.
    beyond: Option<Vec<(u32, u32)>>,
}

const LAST: u32 = char::MAX as u32;

impl Set {
    fn none() -> Set {
        Set { ascii: 0, beyond: Some(Vec::new()) }
    }

    fn of(characters: &str) -> Set {
        characters.chars().fold(Set::none(), |set, c| set.with(Set::range(c as u32, c as u32)))
    }

    fn word() -> Set {
        [UPPER, LOWER, DIGITS, "_"].into_iter().fold(Set::none(), |set, part| set.with(Set::of(part)))
    }

    fn range(low: u32, high: u32) -> Set {
        let ascii = (low..=high.min(127)).fold(0, |bits, code| bits | 1 << code);
        let beyond = if high > 127 { vec![(low.max(128), high)] } else { Vec::new() };
        Set { ascii, beyond: Some(beyond) }
    }

    fn unknown_beyond(self) -> Set {
        Set { beyond: None, ..self }
    }

    fn with(self, other: Set) -> Set {
        let joined = self.beyond.zip(other.beyond).map(|(mut ranges, more)| {
            ranges.extend(more);
            ranges
        });
        Set { ascii: self.ascii | other.ascii, beyond: joined }
    }

    fn complement(self) -> Set {
        let gaps = self.beyond.map(|mut ranges| {
            ranges.sort_unstable();
            let mut gaps = Vec::new();
            let mut next = 128;
            for (low, high) in ranges {
                if low > next {
                    gaps.push((next, low - 1));
                }
                next = next.max(high.saturating_add(1));
            }
            if next <= LAST {
                gaps.push((next, LAST));
            }
            gaps
        });
        Set { ascii: !self.ascii, beyond: gaps }
    }

    fn has(&self, c: char) -> bool {
        let code = c as u32;
        if code < 128 {
            return (self.ascii >> code) & 1 == 1;
        }
        let ranges = self.beyond.iter().flatten();
        ranges.into_iter().any(|(low, high)| (*low..=*high).contains(&code))
    }
}
