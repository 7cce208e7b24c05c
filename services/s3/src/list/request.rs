//! What a listing asks for, and how names are shown: pure.
//!
//! Source: Amazon S3 API Reference, "ListObjectsV2", "ListObjects", "ListObjectVersions"; Amazon S3 User Guide, "Organizing objects
//! using prefixes".

use pileus_api_s3::CommonPrefix;

use crate::error::S3Error;

/// Entries of a page, at most and by default.
const MAX_KEYS: i64 = 1_000;

/// Which names are listed, and which of them are rolled up.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    pub prefix: &'a str,
    /// Never empty.
    pub delimiter: Option<&'a str>,
}

impl<'a> Filter<'a> {
    pub fn new(prefix: Option<&'a str>, delimiter: Option<&'a str>) -> Filter<'a> {
        Filter {
            prefix: prefix.unwrap_or_default(),
            delimiter: delimiter.filter(|delimiter| !delimiter.is_empty()),
        }
    }

    /// The common prefix that stands for the key: up to the first delimiter after the prefix.
    pub fn common<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter?;
        let rest = key.strip_prefix(self.prefix)?;
        let at = rest.find(delimiter)?;
        Some(&key[..self.prefix.len() + at + delimiter.len()])
    }
}

/// How many entries a page has.
///
/// # Errors
/// `InvalidArgument` for less than none.
pub fn limit(asked: Option<i64>, name: &'static str) -> Result<usize, S3Error> {
    match asked {
        None => Ok(MAX_KEYS as usize),
        Some(limit @ 0..=2_147_483_647) => Ok(limit.min(MAX_KEYS) as usize),
        Some(limit) => Err(S3Error::argument(
            name,
            limit.to_string(),
            format!("Argument {name} must be an integer between 0 and 2147483647"),
        )),
    }
}

/// How names are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    /// # Errors
    /// `InvalidArgument`
    pub fn parse(text: Option<&str>) -> Result<Encoding, S3Error> {
        match text {
            None => Ok(Encoding::Plain),
            Some("url") => Ok(Encoding::Url),
            Some(other) => {
                Err(S3Error::argument("encoding-type", other, "Invalid Encoding Method specified in Request"))
            }
        }
    }

    pub fn show(self, name: &str) -> String {
        match self {
            Encoding::Plain => name.to_owned(),
            Encoding::Url => encode(name),
        }
    }

    /// As `show`, of a name that need not be there.
    pub fn show_given(self, name: Option<&str>) -> Option<String> {
        name.map(|name| self.show(name))
    }

    pub fn show_prefixes(self, prefixes: Vec<String>) -> Option<Vec<CommonPrefix>> {
        let show = |prefix: String| CommonPrefix { prefix: Some(self.show(&prefix)) };
        (!prefixes.is_empty()).then(|| prefixes.into_iter().map(show).collect())
    }
}

/// As HTML forms are encoded, but for the slash.
///
/// Recorded.
fn encode(name: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'*' | b'/' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_prefix_ends_at_the_first_delimiter_after_the_prefix() {
        let cases = [
            ("", Some("/"), "a/b/c", Some("a/")),
            ("a/", Some("/"), "a/b/c", Some("a/b/")),
            ("a", Some("/"), "a/b/c", Some("a/")),
            ("a/b/", Some("/"), "a/b/c", None),
            ("", None, "a/b", None),
            ("", Some(""), "a/b", None),
            ("", Some("--"), "x--y--z", Some("x--")),
            ("x--", Some("--"), "x--y--z", Some("x--y--")),
            ("q", Some("/"), "a/b", None),
            ("", Some("/"), "/a", Some("/")),
        ];
        for (prefix, delimiter, key, expected) in cases {
            assert_eq!(
                Filter::new(Some(prefix), delimiter).common(key),
                expected,
                "{prefix} {delimiter:?} {key}"
            );
        }
    }

    #[test]
    fn names_are_encoded_as_in_forms() {
        let cases =
            [("a/b c", "a/b+c"), ("a+b~", "a%2Bb%7E"), ("é*", "%C3%A9*"), ("f(3).png", "f%283%29.png")];
        for (name, expected) in cases {
            assert_eq!(Encoding::Url.show(name), expected);
        }
    }

    #[test]
    fn pages_have_a_thousand_entries_at_most() {
        assert_eq!(limit(None, "max-keys").ok(), Some(1_000));
        assert_eq!(limit(Some(5_000), "max-keys").ok(), Some(1_000));
        assert_eq!(limit(Some(0), "max-keys").ok(), Some(0));
        assert!(limit(Some(-1), "max-keys").is_err());
    }
}
