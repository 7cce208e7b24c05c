//! Percent-encoding, of forms and of URIs.

use std::borrow::Cow;

/// A form's name or value: `+` is a space. `None` if it is not UTF-8.
pub fn decode_form(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
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
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'+' if plus_is_space => out.push(b' '),
            b'%' => match bytes.get(at..at + 2).and_then(|digits| Some((hex(digits[0])?, hex(digits[1])?))) {
                Some((high, low)) => {
                    out.push(high << 4 | low);
                    at += 2;
                }
                None => out.push(b'%'),
            },
            byte => out.push(*byte),
        }
    }
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
