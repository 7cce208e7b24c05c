//! Tokens of expressions.

use super::Kind;
use crate::error::DynamoError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A bare word: an attribute, a function or a keyword.
    Word,
    /// `#name`
    Name,
    /// `:value`
    Value,
    Integer,
    /// Punctuation and operators.
    Symbol,
    End,
    /// A character that no expression has.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    pub kind: TokenKind,
    pub text: &'a str,
    start: usize,
}

impl Token<'_> {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// Reads an expression token by token.
pub struct Lexer<'a> {
    pub kind: Kind,
    source: &'a str,
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(kind: Kind, source: &'a str) -> Lexer<'a> {
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(first) = source[at..].chars().next() {
            if first.is_whitespace() {
                at += first.len_utf8();
                continue;
            }
            let token = read_token(source, at, first);
            at = token.end();
            tokens.push(token);
        }
        tokens.push(Token { kind: TokenKind::End, text: "", start: source.trim_end().len() });
        Lexer { kind, source, tokens, at: 0 }
    }

    pub fn peek(&self) -> Token<'a> {
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    pub fn peek_second(&self) -> Token<'a> {
        self.tokens[(self.at + 1).min(self.tokens.len() - 1)]
    }

    pub fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    pub fn is_symbol(&self, symbol: &str) -> bool {
        let token = self.peek();
        token.kind == TokenKind::Symbol && token.text == symbol
    }

    pub fn is_keyword(&self, word: &str) -> bool {
        let token = self.peek();
        token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word)
    }

    /// Steps over the symbol if it comes next.
    pub fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        self.at += usize::from(found);
        found
    }

    pub fn take_keyword(&mut self, word: &str) -> bool {
        let found = self.is_keyword(word);
        self.at += usize::from(found);
        found
    }

    pub fn expect_symbol(&mut self, symbol: &str) -> Result<(), DynamoError> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.syntax_error()) }
    }

    pub fn expect_keyword(&mut self, word: &str) -> Result<(), DynamoError> {
        if self.take_keyword(word) { Ok(()) } else { Err(self.syntax_error()) }
    }

    pub fn expect_end(&self) -> Result<(), DynamoError> {
        if self.peek().kind == TokenKind::End { Ok(()) } else { Err(self.syntax_error()) }
    }

    /// `Syntax error; token: "x", near: "a x b"`: the token that comes next, with its neighbours.
    pub fn syntax_error(&self) -> DynamoError {
        let token = self.peek();
        let at = self.at.min(self.tokens.len() - 1);
        let start = self.tokens[at.saturating_sub(1)].start;
        let end = self.tokens[(at + 1).min(self.tokens.len() - 1)].end();
        let text = if token.kind == TokenKind::End { "<EOF>" } else { token.text };
        let near = &self.source[start..end];
        self.kind.invalid(format_args!("Syntax error; token: \"{text}\", near: \"{near}\""))
    }
}

fn read_token(source: &str, start: usize, first: char) -> Token<'_> {
    let rest = &source[start..];
    let word_length =
        |text: &str| text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let (kind, length) = match first {
        '#' | ':' => {
            let length = word_length(&rest[1..]);
            let kind = if first == '#' { TokenKind::Name } else { TokenKind::Value };
            (if length == 0 { TokenKind::Unknown } else { kind }, 1 + length)
        }
        'a'..='z' | 'A'..='Z' | '_' => (TokenKind::Word, word_length(rest)),
        '0'..='9' => (TokenKind::Integer, rest.bytes().take_while(u8::is_ascii_digit).count()),
        '<' if rest.starts_with("<>") || rest.starts_with("<=") => (TokenKind::Symbol, 2),
        '>' if rest.starts_with(">=") => (TokenKind::Symbol, 2),
        '(' | ')' | '[' | ']' | ',' | '.' | '=' | '<' | '>' | '+' | '-' => (TokenKind::Symbol, 1),
        other => (TokenKind::Unknown, other.len_utf8()),
    };
    Token { kind, text: &rest[..length], start }
}
