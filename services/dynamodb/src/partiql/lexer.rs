//! Tokens of PartiQL.

use super::malformed;
use crate::error::DynamoError;

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A bare word: a keyword, a function or an attribute.
    Word(String),
    /// `"name"`
    Quoted(String),
    /// `'text'`
    Text(String),
    Number(String),
    Symbol(&'static str),
    /// `?`
    Parameter,
    End,
}

const SYMBOLS: [&str; 23] = [
    "<<", ">>", "<>", "<=", ">=", "!=", "=", "<", ">", "(", ")", "[", "]", "{", "}", ",", ".", ":", "*", "+",
    "-", ";", "?",
];

/// All tokens of a statement.
///
/// # Errors
/// `ValidationException` for a character or a quotation that no statement has.
pub fn tokens(source: &str) -> Result<Vec<Token>, DynamoError> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (token, length) = match first {
            '\'' | '"' => {
                let (text, length) = quoted(rest, first)?;
                (if first == '"' { Token::Quoted(text) } else { Token::Text(text) }, length)
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
                (Token::Word(rest[..length].to_owned()), length)
            }
            '0'..='9' => {
                let length = number_length(rest);
                (Token::Number(rest[..length].to_owned()), length)
            }
            _ => match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
                Some(&"?") => (Token::Parameter, 1),
                Some(symbol) => (Token::Symbol(symbol), symbol.len()),
                None => return Err(malformed(format_args!("Unexpected character {first}"))),
            },
        };
        tokens.push(token);
        rest = &rest[length..];
    }
    tokens.push(Token::End);
    Ok(tokens)
}

/// Text between quotation marks, where a doubled mark stands for one; and how long it is with them.
fn quoted(source: &str, mark: char) -> Result<(String, usize), DynamoError> {
    let mut text = String::new();
    let mut chars = source.char_indices().skip(1).peekable();
    while let Some((at, char)) = chars.next() {
        if char != mark {
            text.push(char);
        } else if chars.peek().is_some_and(|(_, next)| *next == mark) {
            chars.next();
            text.push(mark);
        } else {
            return Ok((text, at + 1));
        }
    }
    Err(malformed("A quotation does not end"))
}

fn number_length(source: &str) -> usize {
    let bytes = source.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let is_sign_of_exponent =
            matches!(byte, b'+' | b'-') && at > 0 && matches!(bytes[at - 1], b'e' | b'E');
        let is_exponent = matches!(byte, b'e' | b'E')
            && bytes.get(at + 1).is_some_and(|next| next.is_ascii_digit() || matches!(next, b'+' | b'-'));
        if !(byte.is_ascii_digit() || *byte == b'.' || is_exponent || is_sign_of_exponent) {
            break;
        }
        at += 1;
    }
    at
}
