//! The words of a query.

use crate::select::SelectError;

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Int(i64),
    Float(f64),
    Sign(&'static str),
}

const SIGNS: [&str; 20] =
    ["<>", "!=", "<=", ">=", "||", "<", ">", "=", "+", "-", "*", "/", "%", "(", ")", ",", ".", "[", "]", ";"];

/// # Errors
/// AWS's codes for characters and literals that it does not know.
pub fn words(text: &str) -> Result<Vec<Token>, SelectError> {
    let mut tokens = vec![];
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '\'' || first == '"' {
            let (inside, after) = quoted(rest, first)?;
            tokens.push(if first == '"' { Token::Quoted(inside) } else { Token::Text(inside) });
            rest = after;
        } else if first == '`' {
            let inside = rest[1..].split_once('`');
            let (inside, after) = inside.ok_or_else(|| {
                SelectError::new(
                    "LexerInvalidIONLiteral",
                    "The SQL expression contains an invalid ION literal.",
                )
            })?;
            tokens.push(Token::Text(inside.to_owned()));
            rest = after;
        } else if first.is_ascii_digit()
            || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            let (number, after) = number(rest)?;
            tokens.push(number);
            rest = after;
        } else if first.is_alphabetic() || first == '_' || first == '$' {
            let end =
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            return Err(SelectError::new(
                "LexerInvalidChar",
                format!("The SQL expression contains an invalid character: {first}"),
            ));
        }
        rest = rest.trim_start();
    }
    if tokens.last() == Some(&Token::Sign(";")) {
        tokens.pop();
    }
    Ok(tokens)
}

/// What stands between quotation marks; a doubled one stands for one.
fn quoted(text: &str, mark: char) -> Result<(String, &str), SelectError> {
    let mut inside = String::new();
    let mut rest = &text[1..];
    loop {
        let Some(at) = rest.find(mark) else {
            return Err(SelectError::new(
                "LexerInvalidLiteral",
                "The SQL expression contains an invalid literal.",
            ));
        };
        inside.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if !rest.starts_with(mark) {
            return Ok((inside, rest));
        }
        inside.push(mark);
        rest = &rest[1..];
    }
}

fn number(text: &str) -> Result<(Token, &str), SelectError> {
    let mut end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let mut is_float = text[..end].contains('.');
    let after = &text[end..];
    if after.starts_with(['e', 'E']) {
        let sign = usize::from(after[1..].starts_with(['+', '-']));
        let digits = after[1 + sign..].find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len() - 1 - sign);
        if digits > 0 {
            end += 1 + sign + digits;
            is_float = true;
        }
    }
    let invalid =
        || SelectError::new("LexerInvalidLiteral", "The SQL expression contains an invalid literal.");
    let token = match text[..end].parse() {
        Ok(number) if !is_float => Token::Int(number),
        _ => Token::Float(text[..end].parse().map_err(|_| invalid())?),
    };
    Ok((token, &text[end..]))
}
