//! Wildcards and ARNs.
//!
//! `*` stands for any number of characters, `?` for exactly one. A compiled pattern holds them as the bytes 0xFF and 0xFE, which no
//! UTF-8 text contains, so a literal `*` (from `${*}`) stays a literal. Matching never branches: its cost is at most the product of the
//! two lengths, whatever the pattern.
//!
//! Source: IAM User Guide, "IAM JSON policy elements: Resource", "IAM JSON policy elements: Condition operators".

use std::borrow::Cow;

/// Any number of characters.
pub(crate) const MANY: u8 = 0xff;
/// Exactly one character.
pub(crate) const ONE: u8 = 0xfe;

/// A text with wildcards, ready to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    code: Box<[u8]>,
    shape: Shape,
}

/// Most patterns are one of the first three, which need no search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Anything,
    Literal,
    Prefix,
    General,
}

impl Pattern {
    /// `*` and `?` in `text` are wildcards.
    pub(crate) fn wildcards(text: &str) -> Pattern {
        Pattern::from_code(encode(text))
    }

    /// Every character of `code` stands for itself, but for `MANY` and `ONE`.
    pub(crate) fn from_code(code: Vec<u8>) -> Pattern {
        let special = |byte: &u8| *byte >= ONE;
        let shape = match code.iter().position(special) {
            None => Shape::Literal,
            Some(0) if code.iter().all(|byte| *byte == MANY) => Shape::Anything,
            Some(at) if at + 1 == code.len() && code[at] == MANY => Shape::Prefix,
            Some(_) => Shape::General,
        };
        Pattern { code: code.into_boxed_slice(), shape }
    }

    pub(crate) fn code(&self) -> &[u8] {
        &self.code
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.run::<false>(text.as_bytes())
    }

    /// Compares with `text` in ASCII lower case; the pattern must already be lower case.
    pub(crate) fn matches_lower(&self, text: &str) -> bool {
        self.run::<true>(text.as_bytes())
    }

    fn run<const LOWER: bool>(&self, text: &[u8]) -> bool {
        match self.shape {
            Shape::Anything => true,
            Shape::Literal => same::<LOWER>(&self.code, text),
            Shape::Prefix => {
                let prefix = &self.code[..self.code.len() - 1];
                text.len() >= prefix.len() && same::<LOWER>(prefix, &text[..prefix.len()])
            }
            Shape::General => glob::<LOWER>(&self.code, text),
        }
    }
}

/// The code of `text` in which `*` and `?` are wildcards.
pub(crate) fn encode(text: &str) -> Vec<u8> {
    let wildcard = |byte: u8| match byte {
        b'*' => MANY,
        b'?' => ONE,
        other => other,
    };
    text.bytes().map(wildcard).collect()
}

fn same<const LOWER: bool>(pattern: &[u8], text: &[u8]) -> bool {
    if !LOWER {
        return pattern == text;
    }
    pattern.len() == text.len() && pattern.iter().zip(text).all(|(p, t)| *p == t.to_ascii_lowercase())
}

/// Length of the UTF-8 character that starts with `first`.
fn width(first: u8) -> usize {
    match first {
        0..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    }
}

/// The greedy algorithm: after a mismatch only the last `*` needs to take one character more.
fn glob<const LOWER: bool>(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let byte = if LOWER { text[t].to_ascii_lowercase() } else { text[t] };
        match pattern.get(p) {
            Some(&MANY) => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&ONE) => {
                p += 1;
                t += width(text[t]);
            }
            Some(&literal) if literal == byte => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, from)) = retry else { return false };
                let from = from + width(text[from]);
                retry = Some((after_star, from));
                (p, t) = (after_star, from);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == MANY)
}

/// Whether some text matches both patterns.
pub(crate) fn intersects(a: &[u8], b: &[u8]) -> bool {
    // reach[j]: the first i bytes of `a` and the first j of `b` can spell the same text.
    let mut reach = vec![false; b.len() + 1];
    reach[0] = true;
    for j in 0..b.len() {
        reach[j + 1] = reach[j] && b[j] == MANY;
    }
    for &x in a {
        let mut next = vec![false; b.len() + 1];
        next[0] = reach[0] && x == MANY;
        for (j, &y) in b.iter().enumerate() {
            next[j + 1] = match (x, y) {
                (MANY, _) => reach[j + 1] || next[j],
                (_, MANY) => next[j] || reach[j + 1],
                _ => reach[j] && (x == y || x == ONE || y == ONE),
            };
        }
        reach = next;
    }
    reach[b.len()]
}

/// Whether every text that matches `inner` also matches `outer`. May say no where only a closer look would find that it does.
pub(crate) fn covers(outer: &[u8], inner: &[u8]) -> bool {
    // The wildcards of `inner` are read as characters that only a wildcard of `outer` can take.
    let (mut o, mut i) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while i < inner.len() {
        match outer.get(o) {
            Some(&MANY) => {
                retry = Some((o + 1, i));
                o += 1;
            }
            Some(&ONE) if inner[i] != MANY => {
                o += 1;
                i += if inner[i] == ONE { 1 } else { width(inner[i]) };
            }
            Some(&literal) if literal == inner[i] && literal < ONE => {
                o += 1;
                i += 1;
            }
            _ => {
                let Some((after_star, from)) = retry else { return false };
                let from = from + if inner[from] >= ONE { 1 } else { width(inner[from]) };
                retry = Some((after_star, from));
                (o, i) = (after_star, from);
            }
        }
    }
    outer[o..].iter().all(|byte| *byte == MANY)
}

/// The resource of a request, split once for all statements.
#[derive(Debug, Clone)]
pub(crate) struct Subject<'a> {
    pub(crate) text: &'a str,
    /// Partition, service, region, account, resource; `None` when `text` is not an ARN.
    pub(crate) parts: Option<[&'a str; 5]>,
    /// The same as wildcard patterns when the question is about any resource that fits `text`.
    pub(crate) any_of: Option<[Cow<'a, [u8]>; 5]>,
}

impl<'a> Subject<'a> {
    pub(crate) fn exactly(text: &'a str) -> Subject<'a> {
        Subject { text, parts: split_arn(text), any_of: None }
    }

    /// Every resource that matches the pattern `text`.
    pub(crate) fn any_of(text: &'a str) -> Subject<'a> {
        let parts = match split_arn(text) {
            Some(parts) => parts.map(|part| Cow::Owned(encode(part))),
            None if text.bytes().all(|byte| byte == b'*') => {
                std::array::from_fn(|_| Cow::Borrowed(&[MANY][..]))
            }
            None => return Subject::exactly(text),
        };
        Subject { text, parts: split_arn(text), any_of: Some(parts) }
    }
}

/// Partition, service, region, account and resource of `arn:...`; the resource may hold colons.
pub(crate) fn split_arn(text: &str) -> Option<[&str; 5]> {
    let mut parts = text.splitn(6, ':');
    if parts.next()? != "arn" {
        return None;
    }
    let mut split = [""; 5];
    for slot in &mut split {
        *slot = parts.next()?;
    }
    Some(split)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Word for word what the wildcards mean.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some('*'), _) => naive(&pattern[1..], text) || (!text.is_empty() && naive(pattern, &text[1..])),
            (Some('?'), Some(_)) => naive(&pattern[1..], &text[1..]),
            (Some(p), Some(t)) if p == t => naive(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    #[test]
    fn wildcards_match_as_documented() {
        let cases = [
            ("*", "", true),
            ("**", "anything:at/all", true),
            ("?", "", false),
            ("?", "é", true),
            ("??", "é", false),
            ("*??", "é", false),
            ("s3:Get*", "s3:GetObject", true),
            ("s3:Get*", "s3:PutObject", false),
            ("*Object", "s3:GetObject", true),
            ("a*b*c", "a--b--b--c", true),
            ("a*b*c", "a--c--b", false),
            ("", "", true),
            ("", "a", false),
            ("a?c*", "abcdef", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Pattern::wildcards(pattern).matches(text), expected, "{pattern} against {text}");
        }
    }

    #[test]
    fn many_stars_do_not_blow_up() {
        let pattern = Pattern::wildcards(&("a*".repeat(2_000) + "b"));
        assert!(!pattern.matches(&"a".repeat(20_000)));
        assert!(!covers(pattern.code(), "a".repeat(20_000).as_bytes()));
    }

    #[test]
    fn patterns_against_patterns() {
        let cases = [
            // outer, inner, intersects, covers
            ("*", "*", true, true),
            ("a*", "*a", true, false),
            ("a*", "ab*", true, true),
            ("ab*", "a*", true, false),
            ("a*", "b*", false, false),
            ("*/AWSLogs/*", "bucket/*", true, false),
            ("?", "*", true, false),
            ("a?", "ab", true, true),
            ("", "", true, true),
            ("", "*", true, false),
        ];
        for (outer, inner, crossing, covering) in cases {
            let (outer_code, inner_code) = (encode(outer), encode(inner));
            assert_eq!(intersects(&outer_code, &inner_code), crossing, "{outer} and {inner}");
            assert_eq!(intersects(&inner_code, &outer_code), crossing, "{inner} and {outer}");
            assert_eq!(covers(&outer_code, &inner_code), covering, "{outer} over {inner}");
        }
    }

    proptest! {
        #[test]
        fn matches_like_the_naive_reading(pattern in "[ab*?é]{0,9}", text in "[abé]{0,9}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(Pattern::wildcards(&pattern).matches(&text), naive(&chars(&pattern), &chars(&text)));
        }

        #[test]
        fn lower_matching_ignores_ascii_case(pattern in "[a-c*?]{0,8}", text in "[a-cA-C]{0,8}") {
            let compiled = Pattern::wildcards(&pattern);
            prop_assert_eq!(compiled.matches_lower(&text), compiled.matches(&text.to_ascii_lowercase()));
        }

        #[test]
        fn what_covers_matches_everything_that_the_inner_matches(outer in "[ab*?]{0,6}", inner in "[ab*?]{0,6}", text in "[ab]{0,6}") {
            if covers(&encode(&outer), &encode(&inner)) && Pattern::wildcards(&inner).matches(&text) {
                prop_assert!(Pattern::wildcards(&outer).matches(&text));
            }
        }

        #[test]
        fn a_common_text_means_that_patterns_intersect(a in "[ab*?]{0,6}", b in "[ab*?]{0,6}", text in "[ab]{0,6}") {
            if Pattern::wildcards(&a).matches(&text) && Pattern::wildcards(&b).matches(&text) {
                prop_assert!(intersects(&encode(&a), &encode(&b)));
            }
        }
    }
}
