//! Percent-encoding, of forms and of URIs.

use std::borrow::Cow;

use super::find;

/// A form's name or value: `+` is a space. `None` if it is not UTF-8.
pub fn decode_form(text: &str) -> Option<Cow<'_, str>> {
    if find(text.as_bytes(), |byte| (byte == b'%') | (byte == b'+')).is_none() {
        return Some(Cow::Borrowed(text));
    }
    decode_with(text, true).map(Cow::Owned)
}

/// A part of a URI. `None` if it is not UTF-8.
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    decode_with(text, false).map(Cow::Owned)
}

/// Percent signs that no two hexadecimal digits follow stand for themselves.
fn decode_with(text: &str, plus_is_space: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(at) = find(rest, |byte| (byte == b'%') | (byte == b'+')) {
        out.extend_from_slice(&rest[..at]);
        let special = rest[at];
        rest = &rest[at + 1..];
        match rest {
            _ if special == b'+' => out.push(if plus_is_space { b' ' } else { b'+' }),
            [high, low, after @ ..] => match hex(*high).zip(hex(*low)) {
                Some((high, low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                None => out.push(b'%'),
            },
            _ => out.push(b'%'),
        }
    }
    out.extend_from_slice(rest);
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Appends `bytes`, all but unreserved characters and `keep` encoded.
pub fn encode(out: &mut Vec<u8>, bytes: &[u8], keep: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || keep.contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_forms_are_read() {
        let cases = [("a+b%20c", "a b c"), ("100%", "100%"), ("%zz", "%zz"), ("%c3%A4", "ä"), ("", "")];
        for (text, expected) in cases {
            assert_eq!(decode_form(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(decode_form("%ff"), None);
        assert_eq!(decode("a+b").as_deref(), Some("a+b"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text in any::<String>()) {
            let mut out = Vec::new();
            encode(&mut out, text.as_bytes(), b"");
            let encoded = String::from_utf8(out).unwrap();
            prop_assert_eq!(decode_form(&encoded).unwrap(), text.as_str());
            prop_assert_eq!(decode(&encoded).unwrap(), text.as_str());
        }
    }
}
