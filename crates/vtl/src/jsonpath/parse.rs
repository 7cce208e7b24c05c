//! Text to a path.

use super::filter::{Comparison, Filter, Operand};
use super::{Function, JsonPath, Step};
use serde_json::Value as Json;

const MAX_NESTING: usize = 32;

pub(super) fn path(text: &str) -> Result<JsonPath, String> {
    let text = text.trim();
    let mut reader = Reader { text, at: 0, depth: 0 };
    // Jayway reads `name` as `$.name`.
    let parsed = match reader.takes("$") || reader.takes("@") {
        true => reader.path()?,
        false if reader.peek() == Some('[') => reader.path()?,
        false => {
            let first = reader.name()?;
            let mut parsed = reader.path()?;
            parsed.steps.insert(0, Step::Child(first));
            parsed
        }
    };
    match reader.rest().is_empty() {
        true => Ok(parsed),
        false => Err(format!("{} at {} in the path {text}", reader.rest(), reader.at)),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn takes(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    fn skip(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn expect(&mut self, text: &str) -> Result<(), String> {
        self.skip();
        if self.takes(text) {
            Ok(())
        } else {
            Err(format!("expected {text} at {} in {}", self.at, self.text))
        }
    }

    fn name(&mut self) -> Result<String, String> {
        let ends = |c: char| {
            matches!(c, '.' | '[' | ']' | '(' | ')' | ',' | '=' | '<' | '>' | '!' | '&' | '|')
                || c.is_whitespace()
        };
        let end = self.rest().find(ends).unwrap_or(self.rest().len());
        if end == 0 {
            return Err(format!("expected a name at {} in the path {}", self.at, self.text));
        }
        let name = self.rest()[..end].to_owned();
        self.at += end;
        Ok(name)
    }

    fn path(&mut self) -> Result<JsonPath, String> {
        let mut steps = Vec::new();
        loop {
            if self.takes("..") {
                let step = match self.peek() {
                    Some('[') => self.bracket()?,
                    Some('*') => {
                        self.at += 1;
                        Step::Wildcard
                    }
                    _ => Step::Child(self.name()?),
                };
                steps.push(Step::Descend(Box::new(step)));
            } else if self.takes(".*") {
                steps.push(Step::Wildcard);
            } else if self.rest().starts_with(".[") {
                self.at += 1;
            } else if self.takes(".") {
                let name = self.name()?;
                if self.takes("()") {
                    let function = match name.as_str() {
                        "length" | "size" => Function::Length,
                        "min" => Function::Minimum,
                        "max" => Function::Maximum,
                        "avg" => Function::Average,
                        "sum" => Function::Sum,
                        "keys" => Function::Keys,
                        "first" => Function::First,
                        "last" => Function::Last,
                        other => return Err(format!("the function {other}() is not available")),
                    };
                    return Ok(JsonPath { steps, function: Some(function) });
                }
                steps.push(Step::Child(name));
            } else if self.peek() == Some('[') {
                steps.push(self.bracket()?);
            } else {
                return Ok(JsonPath { steps, function: None });
            }
        }
    }

    fn bracket(&mut self) -> Result<Step, String> {
        self.expect("[")?;
        self.skip();
        let step = match self.peek() {
            Some('*') => {
                self.at += 1;
                Step::Wildcard
            }
            Some('?') => {
                self.at += 1;
                self.expect("(")?;
                let filter = self.filter()?;
                self.expect(")")?;
                Step::Filter(filter)
            }
            Some('\'' | '"') => {
                let mut names = vec![self.string()?];
                self.skip();
                while self.takes(",") {
                    self.skip();
                    names.push(self.string()?);
                    self.skip();
                }
                match names.len() {
                    1 => Step::Child(names.remove(0)),
                    _ => Step::Children(names),
                }
            }
            _ => self.numbers()?,
        };
        self.expect("]")?;
        Ok(step)
    }

    fn numbers(&mut self) -> Result<Step, String> {
        let first = self.integer();
        self.skip();
        if self.takes(":") {
            self.skip();
            let to = self.integer();
            self.skip();
            let by = if self.takes(":") { self.integer().unwrap_or(1) } else { 1 };
            return Ok(Step::Slice { from: first, to, by });
        }
        let mut indexes =
            vec![first.ok_or_else(|| format!("expected an index at {} in {}", self.at, self.text))?];
        while self.takes(",") {
            self.skip();
            indexes.push(self.integer().ok_or_else(|| format!("expected an index in {}", self.text))?);
            self.skip();
        }
        Ok(Step::Indexes(indexes))
    }

    fn integer(&mut self) -> Option<i64> {
        let sign = usize::from(self.rest().starts_with('-'));
        let digits = self.rest()[sign..].find(|c: char| !c.is_ascii_digit());
        let end = digits.map_or(self.rest().len(), |at| at + sign);
        let number = self.rest()[..end].parse().ok()?;
        self.at += end;
        Some(number)
    }

    fn string(&mut self) -> Result<String, String> {
        let quote = self.peek().filter(|c| matches!(c, '\'' | '"'));
        let quote = quote.ok_or_else(|| format!("expected a string at {} in {}", self.at, self.text))?;
        self.at += 1;
        let mut out = String::new();
        let mut characters = self.rest().char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' => out.extend(characters.next().map(|(_, escaped)| escaped)),
                c if c == quote => {
                    self.at += at + 1;
                    return Ok(out);
                }
                c => out.push(c),
            }
        }
        Err(format!("a string without its end in {}", self.text))
    }

    fn filter(&mut self) -> Result<Filter, String> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err("the path nests too deep".to_owned());
        }
        let mut any = vec![self.all()?];
        self.skip();
        while self.takes("||") {
            any.push(self.all()?);
            self.skip();
        }
        self.depth -= 1;
        Ok(if any.len() == 1 { any.remove(0) } else { Filter::Any(any) })
    }

    fn all(&mut self) -> Result<Filter, String> {
        let mut all = vec![self.term()?];
        self.skip();
        while self.takes("&&") {
            all.push(self.term()?);
            self.skip();
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::All(all) })
    }

    fn term(&mut self) -> Result<Filter, String> {
        self.skip();
        if self.rest().starts_with('!') && !self.rest().starts_with("!=") {
            self.at += 1;
            self.depth += 1;
            if self.depth > MAX_NESTING {
                return Err("the path nests too deep".to_owned());
            }
            let inner = self.term()?;
            self.depth -= 1;
            return Ok(Filter::Not(Box::new(inner)));
        }
        if self.takes("(") {
            let inner = self.filter()?;
            self.expect(")")?;
            return Ok(inner);
        }
        let left = self.operand()?;
        self.skip();
        const COMPARISONS: [(&str, Comparison); 12] = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
            ("=~", Comparison::Matches),
            ("in ", Comparison::In),
            ("nin ", Comparison::NotIn),
            ("contains ", Comparison::Contains),
            ("size ", Comparison::Size),
            ("empty ", Comparison::Empty),
        ];
        let found = COMPARISONS.iter().find(|(text, _)| self.rest().starts_with(text));
        let Some((text, comparison)) = found else { return Ok(Filter::Exists(left)) };
        self.at += text.len();
        self.skip();
        let right = match comparison {
            Comparison::Matches => self.pattern()?,
            _ => self.operand()?,
        };
        Ok(Filter::Compare(left, *comparison, right))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.skip();
        if self.takes("@") {
            return Ok(Operand::Here(self.path()?));
        }
        if self.takes("$") {
            return Ok(Operand::Root(self.path()?));
        }
        if matches!(self.peek(), Some('\'' | '"')) {
            return Ok(Operand::Literal(Json::String(self.string()?)));
        }
        if self.takes("[") {
            let mut items = Vec::new();
            self.skip();
            while !self.takes("]") {
                if !items.is_empty() {
                    self.expect(",")?;
                }
                match self.operand()? {
                    Operand::Literal(item) => items.push(item),
                    _ => return Err("a list in a filter holds literals".to_owned()),
                }
                self.skip();
            }
            return Ok(Operand::Literal(Json::Array(items)));
        }
        let word = self.name()?;
        // A point ends a name, but not a number.
        let mut text = word;
        if self.rest().starts_with('.') && text.parse::<i64>().is_ok() {
            self.at += 1;
            text = format!("{text}.{}", self.name()?);
        }
        serde_json::from_str(&text).map(Operand::Literal).map_err(|_| format!("{text} in a filter"))
    }

    fn pattern(&mut self) -> Result<Operand, String> {
        self.expect("/")?;
        let end = self.rest().find('/').ok_or("a pattern without its end")?;
        let mut pattern = self.rest()[..end].to_owned();
        self.at += end + 1;
        if self.takes("i") {
            pattern.insert_str(0, "(?i)");
        }
        let regex =
            fancy_regex::Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())?;
        Ok(Operand::Pattern(regex))
    }
}
