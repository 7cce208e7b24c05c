//! Reading a pattern, character by character.

use fancy_regex::Regex;

use super::value::Wanted;

/// What is left of a pattern. Errors are reasons, in words.
#[derive(Debug, Clone)]
pub struct Scanner<'p>(&'p str);

impl<'p> Scanner<'p> {
    pub fn new(text: &'p str) -> Scanner<'p> {
        Scanner(text)
    }

    pub fn rest(&self) -> &'p str {
        self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn skip_spaces(&mut self) {
        self.0 = self.0.trim_start();
    }

    pub fn peek(&self) -> Option<char> {
        self.0.chars().next()
    }

    /// Takes `text` if it is next.
    pub fn take(&mut self, text: &str) -> bool {
        match self.0.strip_prefix(text) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Takes a word, in any case, with its end after it.
    pub fn take_word(&mut self, word: &str) -> bool {
        let Some(head) = self.0.get(..word.len()) else { return false };
        let ends = !self.0[word.len()..].starts_with(is_word);
        if !head.eq_ignore_ascii_case(word) || !ends {
            return false;
        }
        self.0 = &self.0[word.len()..];
        true
    }

    pub fn expect(&mut self, text: &str) -> Result<(), String> {
        if self.take(text) { Ok(()) } else { Err(format!("expected `{text}` at `{}`", self.0)) }
    }

    pub fn take_while(&mut self, is_in: impl Fn(char) -> bool) -> &'p str {
        let end = self.0.find(|c| !is_in(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    /// `"text"`, where a backslash takes the next character as it is. The opening quote is next.
    pub fn quoted(&mut self) -> Result<String, String> {
        let mut characters = self.0.char_indices().skip(1);
        let mut text = String::new();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    Some((_, c)) => text.extend(['\\', c]),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err("a quote is not closed".to_owned())
    }

    /// `%expression%`. The opening percent sign is next.
    pub fn regex(&mut self) -> Result<Regex, String> {
        let body = &self.0[1..];
        let end = body.find('%').ok_or("a regular expression is not closed by %")?;
        let (expression, rest) = (&body[..end], &body[end + 1..]);
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || " :_#=@/;,-^$?[]{}|\\*+.".contains(c);
        if let Some(bad) = expression.chars().find(|c| !is_allowed(*c)) {
            return Err(format!("a regular expression must not contain `{bad}`"));
        }
        self.0 = rest;
        // Without parentheses there are neither groups nor backtracking.
        Regex::new(expression).map_err(|_| format!("`{expression}` is no regular expression"))
    }

    /// What a field is compared with, after its operator.
    pub fn wanted(&mut self) -> Result<Wanted, String> {
        match self.peek() {
            Some('"') => Ok(Wanted::text(&self.quoted()?)),
            Some('%') => Ok(Wanted::Regex(self.regex()?)),
            _ => {
                let word = self.take_while(|c| !c.is_whitespace() && !",&|(){}[]\"".contains(c));
                if word.is_empty() {
                    return Err(format!("expected a value at `{}`", self.0));
                }
                Ok(Wanted::bare(word))
            }
        }
    }
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
