//! Where a statement stands in its document: what the simulators report. Pure.
//!
//! As AWS answers: lines and columns count from one; a statement begins right behind the character before it (`[`, `,` or `:`) and ends
//! right behind its own last one.

/// Line and column.
type Position = (i64, i64);

/// The span of the statement with this index; `None` when the document has no such statement.
pub fn of_statement(document: &str, index: usize) -> Option<(Position, Position)> {
    let bytes = document.as_bytes();
    let mut at = skip_space(bytes, 0);
    if *bytes.get(at)? != b'{' {
        return None;
    }
    at += 1;
    loop {
        let key_from = skip_space(bytes, at);
        let key_to = skip_value(bytes, key_from)?;
        let colon = skip_space(bytes, key_to);
        let value = colon + 1;
        if document.get(key_from..key_to)? == "\"Statement\"" {
            return find(document, value, index);
        }
        at = skip_space(bytes, skip_value(bytes, skip_space(bytes, value))?);
        if *bytes.get(at)? != b',' {
            return None;
        }
        at += 1;
    }
}

/// `from` is right behind the colon of `Statement`.
fn find(document: &str, from: usize, index: usize) -> Option<(Position, Position)> {
    let bytes = document.as_bytes();
    let first = skip_space(bytes, from);
    let (mut start, is_list) = if *bytes.get(first)? == b'[' { (first + 1, true) } else { (from, false) };
    for _ in 0..index {
        let end = skip_space(bytes, skip_value(bytes, skip_space(bytes, start))?);
        if !is_list || *bytes.get(end)? != b',' {
            return None;
        }
        start = end + 1;
    }
    let end = skip_value(bytes, skip_space(bytes, start))?;
    Some((position(document, start), position(document, end)))
}

fn position(document: &str, at: usize) -> Position {
    let before = &document[..at];
    let line = before.matches('\n').count() as i64 + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as i64 + 1;
    (line, column)
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The end of the JSON value that begins at `at`. The document is valid JSON, so depth alone finds it.
fn skip_value(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        match bytes.get(at)? {
            b'"' => at = skip_string(bytes, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ => {
                let scalar = bytes[at..]
                    .iter()
                    .take_while(|b| !matches!(b, b'"' | b'{' | b'}' | b'[' | b']' | b','))
                    .count();
                at += scalar.max(1);
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

fn skip_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    at += 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_statement_is_found_by_line_and_column() {
        let pretty = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    {\n      \"Effect\": \"Allow\"\n    },\n    {}\n  ]\n}";
        let cases = [
            (pretty, 0, Some(((3, 17), (6, 6)))),
            (pretty, 1, Some(((6, 7), (7, 7)))),
            (pretty, 2, None),
            (r#"{"Statement":{"Sid":"a,]}\""},"Version":"x"}"#, 0, Some(((1, 14), (1, 30)))),
            (r#"{"Version":"x","Statement":[{"a":[1,2]},{"b":{}}]}"#, 1, Some(((1, 41), (1, 49)))),
            (r#"{"Version":"x"}"#, 0, None),
            ("[]", 0, None),
            ("", 0, None),
        ];
        for (document, index, expected) in cases {
            assert_eq!(of_statement(document, index), expected, "{document} {index}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_walked_to_its_end(text in "[\\[\\]{}\",:a\\\\ \n]{0,40}", index in 0usize..3) {
            let _ = of_statement(&text, index);
        }
    }
}
