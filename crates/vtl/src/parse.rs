//! Text to a template.
//!
//! White space is Velocity 1.7's: `#set` takes the blanks before it, and every directive the end of its own line; a comment of
//! one line takes the line's end.

mod expression;
mod reference;

use std::collections::HashMap;
use std::sync::Arc;

use crate::VtlError;
use crate::ast::{Expr, Macro, Node, Template};

/// Blocks, brackets and strings within each other.
const MAX_NESTING: usize = 64;

impl Template {
    /// # Errors
    /// `Parse` with the line and what is wrong with it; `Limit` for what nests too deep.
    pub fn parse(text: &str) -> Result<Template, VtlError> {
        let mut names = Names::default();
        names.find_macros(text);
        let mut parser = Parser { text, at: 0, depth: 0, names: &mut names };
        let (body, end) = parser.block()?;
        if end != End::OfText {
            return Err(parser.error("an #end, #else or #elseif without its beginning"));
        }
        let macros = names
            .macros
            .into_iter()
            .map(|(_, found)| found.unwrap_or(Macro { parameters: Vec::new(), body: Vec::new() }));
        Ok(Template { body, macros: macros.collect(), names: names.variables })
    }

    /// Whether the template names this variable.
    pub fn mentions(&self, variable: &str) -> bool {
        self.names.iter().any(|name| **name == *variable)
    }
}

/// What the parser gathers beside the tree.
#[derive(Default)]
struct Names {
    variables: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, usize>,
    macros: Vec<(Arc<str>, Option<Macro>)>,
}

impl Names {
    fn variable(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let name: Arc<str> = name.into();
        self.variables.push(name.clone());
        self.numbers.insert(name, self.variables.len() - 1);
        self.variables.len() - 1
    }

    /// Macros may be used before they are defined.
    fn find_macros(&mut self, text: &str) {
        for (at, _) in text.match_indices("#macro") {
            let rest = text[at + 6..].trim_start();
            let Some(rest) = rest.strip_prefix('(') else { continue };
            let name = identifier(rest.trim_start());
            if !name.is_empty() && self.which(name).is_none() {
                self.macros.push((name.into(), None));
            }
        }
    }

    fn which(&self, name: &str) -> Option<usize> {
        self.macros.iter().position(|(known, _)| **known == *name)
    }
}

/// The identifier that the text begins with; empty if none.
fn identifier(text: &str) -> &str {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !text.starts_with(starts) {
        return "";
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(text.len());
    &text[..end]
}

struct Parser<'t, 'n> {
    text: &'t str,
    at: usize,
    depth: usize,
    names: &'n mut Names,
}

/// What ended a block.
#[derive(Debug, PartialEq, Eq)]
enum End {
    OfText,
    Mark,
    Else,
    ElseIf,
}

impl<'t> Parser<'t, '_> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn takes(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn error(&self, message: impl Into<String>) -> VtlError {
        let line = self.text[..self.at.min(self.text.len())].matches('\n').count() + 1;
        VtlError::Parse { line, message: message.into() }
    }

    fn expect(&mut self, text: &str) -> Result<(), VtlError> {
        self.skip_space();
        if self.takes(text) { Ok(()) } else { Err(self.error(format!("expected {text}"))) }
    }

    fn enter(&mut self) -> Result<(), VtlError> {
        self.depth += 1;
        if self.depth > MAX_NESTING { Err(VtlError::Limit("nesting")) } else { Ok(()) }
    }

    /// The rest of a directive's line, if nothing is on it.
    fn end_of_line(&mut self) {
        let rest = self.rest();
        let after = rest.trim_start_matches([' ', '\t']);
        let blank = rest.len() - after.len();
        if let Some(line_end) = ["\r\n", "\n", "\r"].iter().find(|end| after.starts_with(**end)) {
            self.at += blank + line_end.len();
        }
    }

    fn block(&mut self) -> Result<(Vec<Node>, End), VtlError> {
        self.enter()?;
        let mut nodes = Vec::new();
        let mut text = String::new();
        let end = loop {
            let rest = self.rest();
            let plain = rest.find(['$', '#', '\\']).unwrap_or(rest.len());
            text.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                None => break End::OfText,
                Some('\\') => self.escaped(&mut text, &mut nodes)?,
                Some('$') => match self.reference(0)? {
                    Some(reference) => {
                        flush(&mut text, &mut nodes);
                        nodes.push(Node::Reference(reference));
                    }
                    None => {
                        text.push('$');
                        self.at += 1;
                    }
                },
                Some(_) => {
                    if let Some(end) = self.hash(&mut text, &mut nodes)? {
                        break end;
                    }
                }
            }
        };
        flush(&mut text, &mut nodes);
        self.depth -= 1;
        Ok((nodes, end))
    }

    /// Backslashes count only before what would mean something without them.
    fn escaped(&mut self, text: &mut String, nodes: &mut Vec<Node>) -> Result<(), VtlError> {
        let count = self.rest().len() - self.rest().trim_start_matches('\\').len();
        self.at += count;
        match self.peek() {
            Some('$') => {
                if let Some(reference) = self.reference(count)? {
                    flush(text, nodes);
                    nodes.push(Node::Reference(reference));
                    return Ok(());
                }
                text.push_str(&"\\".repeat(count));
            }
            Some('#') if self.directive_name().is_some() => {
                text.push_str(&"\\".repeat(count / 2));
                if count % 2 == 1 {
                    text.push('#');
                    self.at += 1;
                }
            }
            _ => text.push_str(&"\\".repeat(count)),
        }
        Ok(())
    }

    /// The directive that begins at a `#`, and how long its name is written.
    fn directive_name(&self) -> Option<(&'t str, usize)> {
        let rest = self.rest().strip_prefix('#')?;
        let (name, length) = match rest.strip_prefix('{') {
            Some(formal) => {
                let name = identifier(formal);
                formal[name.len()..].starts_with('}').then_some((name, name.len() + 3))?
            }
            None => (identifier(rest), identifier(rest).len() + 1),
        };
        const KNOWN: [&str; 13] = [
            "set", "if", "elseif", "else", "end", "foreach", "break", "stop", "macro", "include", "parse",
            "evaluate", "define",
        ];
        let is_known = |name: &str| KNOWN.contains(&name) || self.names.which(name).is_some();
        if is_known(name) {
            return Some((name, length));
        }
        // `#elseText` and `#endText` are directives followed by text.
        let begins = |word: &&&str| rest.starts_with(**word) && !rest.starts_with('{');
        let word = ["end", "else"].iter().find(begins)?;
        Some((&rest[..word.len()], word.len() + 1))
    }

    /// What a `#` begins; `Some` if that ends the block.
    fn hash(&mut self, text: &mut String, nodes: &mut Vec<Node>) -> Result<Option<End>, VtlError> {
        let rest = self.rest();
        if rest.starts_with("##") {
            let line = rest.find(['\n', '\r']).unwrap_or(rest.len());
            let end = if rest[line..].starts_with("\r\n") { 2 } else { usize::from(line < rest.len()) };
            self.at += line + end;
            return Ok(None);
        }
        if rest.starts_with("#*") {
            let end = rest.find("*#").ok_or_else(|| self.error("a comment without its end"))?;
            self.at += end + 2;
            return Ok(None);
        }
        if let Some(raw) = rest.strip_prefix("#[[") {
            let end = raw.find("]]#").ok_or_else(|| self.error("a text block without its end"))?;
            text.push_str(&raw[..end]);
            self.at += end + 6;
            return Ok(None);
        }
        let Some((name, length)) = self.directive_name() else {
            text.push('#');
            self.at += 1;
            return Ok(None);
        };
        let start = self.at;
        self.at += length;
        match name {
            "end" | "else" => {
                self.end_of_line();
                return Ok(Some(if name == "end" { End::Mark } else { End::Else }));
            }
            "elseif" => return Ok(Some(End::ElseIf)),
            "set" => {
                text.truncate(text.trim_end_matches([' ', '\t']).len());
                flush(text, nodes);
                nodes.push(self.set()?);
            }
            _ => {
                flush(text, nodes);
                let node = match name {
                    "if" => self.condition()?,
                    "foreach" => self.foreach()?,
                    "break" => Node::Break,
                    "stop" => Node::Stop,
                    "macro" => {
                        self.definition()?;
                        return Ok(None);
                    }
                    other => match self.names.which(other) {
                        Some(which) => match self.call(which)? {
                            Some(node) => node,
                            None => Node::Text(self.text[start..self.at].into()),
                        },
                        None => return Err(self.error(format!("#{other} is not available"))),
                    },
                };
                nodes.push(node);
            }
        }
        Ok(None)
    }

    fn set(&mut self) -> Result<Node, VtlError> {
        self.expect("(")?;
        self.skip_space();
        let target = self.reference(0)?.ok_or_else(|| self.error("#set needs a reference"))?;
        self.expect("=")?;
        let value = self.expression()?;
        self.expect(")")?;
        self.end_of_line();
        Ok(Node::Set { target, value })
    }

    fn condition(&mut self) -> Result<Node, VtlError> {
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        let mut end = End::ElseIf;
        loop {
            match end {
                End::ElseIf => {
                    self.expect("(")?;
                    let condition = self.expression()?;
                    self.expect(")")?;
                    self.end_of_line();
                    let (body, after) = self.block()?;
                    branches.push((condition, body));
                    end = after;
                }
                End::Else => {
                    (otherwise, end) = self.block()?;
                    if end != End::Mark {
                        return Err(self.error("expected #end after #else"));
                    }
                }
                End::Mark => return Ok(Node::If { branches, otherwise }),
                End::OfText => return Err(self.error("an #if without its #end")),
            }
        }
    }

    fn foreach(&mut self) -> Result<Node, VtlError> {
        self.expect("(")?;
        self.skip_space();
        let variable = self.reference(0)?.filter(|found| found.steps.is_empty());
        let variable = variable.ok_or_else(|| self.error("#foreach needs a variable"))?.variable;
        self.expect("in")?;
        let of = self.expression()?;
        self.expect(")")?;
        self.end_of_line();
        let (body, end) = self.block()?;
        if end != End::Mark {
            return Err(self.error("a #foreach without its #end"));
        }
        Ok(Node::Foreach { variable, of, body })
    }

    fn definition(&mut self) -> Result<(), VtlError> {
        self.expect("(")?;
        self.skip_space();
        let name = identifier(self.rest());
        self.at += name.len();
        let mut parameters = Vec::new();
        loop {
            self.skip_space();
            self.takes(",");
            self.skip_space();
            if self.takes(")") {
                break;
            }
            let parameter = self.reference(0)?.filter(|found| found.steps.is_empty());
            parameters
                .push(parameter.ok_or_else(|| self.error("expected a parameter of the macro"))?.variable);
        }
        self.end_of_line();
        let (body, end) = self.block()?;
        if end != End::Mark {
            return Err(self.error("a #macro without its #end"));
        }
        match self.names.which(name) {
            // The first definition counts.
            Some(which) => {
                self.names.macros[which].1.get_or_insert(Macro { parameters, body });
                Ok(())
            }
            None => Err(self.error("expected the macro's name")),
        }
    }

    /// `None` without an argument list: then it is text.
    fn call(&mut self, which: usize) -> Result<Option<Node>, VtlError> {
        let after = self.rest().trim_start_matches([' ', '\t']);
        if !after.starts_with('(') {
            return Ok(None);
        }
        self.expect("(")?;
        let arguments = self.arguments(")")?;
        self.end_of_line();
        Ok(Some(Node::Call { which, arguments }))
    }

    /// Expressions with commas or blanks between them, up to `close`.
    fn arguments(&mut self, close: &str) -> Result<Vec<Expr>, VtlError> {
        let mut arguments = Vec::new();
        loop {
            self.skip_space();
            if self.takes(close) {
                return Ok(arguments);
            }
            if !arguments.is_empty() && self.takes(",") {
                self.skip_space();
            }
            arguments.push(self.expression()?);
        }
    }
}

fn flush(text: &mut String, nodes: &mut Vec<Node>) {
    if !text.is_empty() {
        nodes.push(Node::Text(std::mem::take(text).into()));
    }
}
