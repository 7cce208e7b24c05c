//! Terms: all that are plain have to be there, none of those with a minus sign, or any of those with a question mark.

use fancy_regex::Regex;

use super::scan::{Scanner, is_word};

#[derive(Debug)]
pub struct Text {
    all: Vec<Term>,
    none: Vec<Term>,
    any: Vec<Term>,
}

#[derive(Debug)]
enum Term {
    Text(String),
    Regex(Regex),
}

impl Term {
    fn is_in(&self, message: &str) -> bool {
        match self {
            Term::Text(text) => message.contains(text),
            Term::Regex(regex) => regex.is_match(message).unwrap_or(false),
        }
    }
}

impl Text {
    pub fn parse(text: &str) -> Result<Text, String> {
        let mut pattern = Text { all: Vec::new(), none: Vec::new(), any: Vec::new() };
        let mut scanner = Scanner::new(text);
        loop {
            scanner.skip_spaces();
            if scanner.is_empty() {
                break;
            }
            let kind = if scanner.take("-") {
                // `ERROR - "Exiting"` is read as `ERROR -"Exiting"`.
                scanner.skip_spaces();
                &mut pattern.none
            } else if scanner.take("?") {
                &mut pattern.any
            } else {
                &mut pattern.all
            };
            kind.push(term(&mut scanner)?);
        }
        // With other terms beside them, those with a question mark do not count.
        if !pattern.all.is_empty() || !pattern.none.is_empty() {
            pattern.any.clear();
        }
        Ok(pattern)
    }

    pub fn matches(&self, message: &str) -> bool {
        self.all.iter().all(|term| term.is_in(message))
            && !self.none.iter().any(|term| term.is_in(message))
            && (self.any.is_empty() || self.any.iter().any(|term| term.is_in(message)))
    }
}

fn term(scanner: &mut Scanner<'_>) -> Result<Term, String> {
    match scanner.peek() {
        Some('"') => scanner.quoted().map(Term::Text),
        Some('%') => scanner.regex().map(Term::Regex),
        _ => {
            let word = scanner.take_while(|c| !c.is_whitespace());
            if word.is_empty() || !word.chars().all(is_word) {
                return Err(format!("Invalid character(s) in term '{word}'"));
            }
            Ok(Term::Text(word.to_owned()))
        }
    }
}
