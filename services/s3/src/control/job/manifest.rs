//! Lines of manifests. Pure.
//!
//! Source: Amazon S3 User Guide, "Specifying a manifest": a line for each object, its key percent-encoded.

use pileus_wire::codec::percent;

/// An object of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub bucket: String,
    pub key: String,
    pub version_id: Option<String>,
}

/// Bucket and key in `arn:aws:s3:::bucket/key`.
pub fn place(arn: &str) -> Option<(&str, &str)> {
    let (bucket, key) = arn.strip_prefix("arn:")?.split_once(":s3:::")?.1.split_once('/')?;
    (!bucket.is_empty() && !key.is_empty()).then_some((bucket, key))
}

/// The whole lines in `text`, at most `most`, and how many bytes they take. `is_last`: nothing follows, so an unfinished line
/// is one too.
pub fn lines(text: &[u8], most: usize, is_last: bool) -> (Vec<&[u8]>, usize) {
    let (mut lines, mut at) = (vec![], 0);
    while lines.len() < most && at < text.len() {
        let rest = &text[at..];
        let (line, step) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&rest[..end], end + 1),
            None if is_last => (rest, rest.len()),
            None => break,
        };
        at += step;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            lines.push(line);
        }
    }
    (lines, at)
}

/// Reads a line with these fields. `Err` says what is wrong with it.
pub fn entry(line: &[u8], fields: &[String]) -> Result<Entry, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "The line is not UTF-8")?;
    let columns = split(text).ok_or("A quotation mark is not closed")?;
    if columns.len() != fields.len() {
        return Err("The line has another number of fields than the manifest");
    }
    let field = |name: &str| fields.iter().position(|field| field == name).map(|at| columns[at].as_str());
    let key = field("Key").and_then(percent::decode_form).ok_or("The key cannot be decoded")?;
    let bucket = field("Bucket").unwrap_or_default();
    if bucket.is_empty() || key.is_empty() {
        return Err("Bucket and key must not be empty");
    }
    let version_id = field("VersionId").filter(|version| !version.is_empty());
    Ok(Entry { bucket: bucket.to_owned(), key: key.into_owned(), version_id: version_id.map(str::to_owned) })
}

/// The columns of a line of comma-separated values.
fn split(line: &str) -> Option<Vec<String>> {
    let (mut columns, mut column, mut rest) = (vec![], String::new(), line);
    loop {
        if let Some(inside) = rest.strip_prefix('"') {
            let end = inside.find('"')?;
            column.push_str(&inside[..end]);
            rest = &inside[end + 1..];
            if rest.starts_with('"') {
                column.push('"');
                continue;
            }
        }
        let end = rest.find([',', '"']).unwrap_or(rest.len());
        column.push_str(&rest[..end]);
        rest = &rest[end..];
        match rest.as_bytes().first() {
            Some(b',') => {
                columns.push(std::mem::take(&mut column));
                rest = &rest[1..];
            }
            Some(_) => {}
            None => {
                columns.push(column);
                return Some(columns);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn whole_lines_are_taken() {
        let cases: [(&str, usize, bool, &[&str], usize); 5] = [
            ("a\nb\nc", 9, false, &["a", "b"], 4),
            ("a\nb\nc", 9, true, &["a", "b", "c"], 5),
            ("a\nb\nc", 1, true, &["a"], 2),
            ("a\r\n\nb\n", 9, false, &["a", "b"], 6),
            ("", 9, true, &[], 0),
        ];
        for (text, most, is_last, expected, taken) in cases {
            let (got, at) = lines(text.as_bytes(), most, is_last);
            let expected: Vec<&[u8]> = expected.iter().map(|line| line.as_bytes()).collect();
            assert_eq!((got, at), (expected, taken), "{text:?}");
        }
    }

    #[test]
    fn a_line_names_an_object() {
        let two = fields(&["Bucket", "Key"]);
        let three = fields(&["Bucket", "Key", "VersionId"]);
        let with = |bucket: &str, key: &str, version: Option<&str>| {
            Ok(Entry { bucket: bucket.into(), key: key.into(), version_id: version.map(str::to_owned) })
        };
        let cases = [
            ("b,k", &two, with("b", "k", None)),
            ("b,a%2Fb+c", &two, with("b", "a/b c", None)),
            (r#""b","k,""x""""#, &two, with("b", r#"k,"x""#, None)),
            ("b,k,v", &three, with("b", "k", Some("v"))),
            ("b,k,", &three, with("b", "k", None)),
            ("b", &two, Err("The line has another number of fields than the manifest")),
            ("b,", &two, Err("Bucket and key must not be empty")),
            ("\"b,k", &two, Err("A quotation mark is not closed")),
        ];
        for (line, fields, expected) in cases {
            assert_eq!(entry(line.as_bytes(), fields), expected, "{line}");
        }
        assert_eq!(place("arn:aws:s3:::b/m/x.csv"), Some(("b", "m/x.csv")));
        assert_eq!(place("arn:aws:s3:::b"), None);
    }
}
