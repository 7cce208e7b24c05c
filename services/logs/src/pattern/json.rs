//! Conditions on events in JSON.

use serde_json::Value;

use super::Extracted;
use super::scan::Scanner;
use super::value::{Operator, Wanted};

/// Conditions nest no deeper.
const MAX_DEPTH: usize = 32;

#[derive(Debug)]
pub struct Json(Condition);

#[derive(Debug)]
enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Compare(Selector, Operator, Wanted),
    Is(Selector, Value),
    NotExists(Selector),
}

#[derive(Debug)]
struct Selector {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Member(String),
    Element(usize),
    /// Any element, or any member's value.
    Each,
}

impl Json {
    pub fn parse(text: &str) -> Result<Json, String> {
        let mut scanner = Scanner::new(text);
        scanner.expect("{")?;
        let condition = any(&mut scanner, 0)?;
        scanner.expect("}")?;
        if !scanner.rest().trim().is_empty() {
            return Err(format!("nothing may follow the closing brace: `{}`", scanner.rest()));
        }
        Ok(Json(condition))
    }

    pub fn matches(&self, message: &str) -> bool {
        parse_event(message).is_some_and(|event| self.0.holds(&event))
    }

    pub fn extract(&self, message: &str) -> Extracted {
        let mut extracted = Vec::new();
        if let Some(event) = parse_event(message) {
            self.0.extract(&event, &mut extracted);
        }
        extracted
    }
}

/// Only objects and arrays are JSON events.
fn parse_event(message: &str) -> Option<Value> {
    if !message.trim_start().starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str(message).ok()
}

fn any(scanner: &mut Scanner<'_>, depth: usize) -> Result<Condition, String> {
    if depth > MAX_DEPTH {
        return Err(format!("conditions nest deeper than {MAX_DEPTH}"));
    }
    let mut parts = vec![all(scanner, depth)?];
    while scanner.take("||") {
        parts.push(all(scanner, depth)?);
    }
    Ok(Condition::Any(parts))
}

fn all(scanner: &mut Scanner<'_>, depth: usize) -> Result<Condition, String> {
    let mut parts = vec![one(scanner, depth)?];
    while scanner.take("&&") {
        parts.push(one(scanner, depth)?);
    }
    Ok(Condition::All(parts))
}

fn one(scanner: &mut Scanner<'_>, depth: usize) -> Result<Condition, String> {
    scanner.skip_spaces();
    let condition = if scanner.take("(") {
        let inner = any(scanner, depth + 1)?;
        scanner.expect(")")?;
        inner
    } else {
        comparison(scanner)?
    };
    scanner.skip_spaces();
    Ok(condition)
}

fn comparison(scanner: &mut Scanner<'_>) -> Result<Condition, String> {
    let selector = selector(scanner)?;
    scanner.skip_spaces();
    if scanner.take_word("IS") {
        scanner.skip_spaces();
        let values = [("NULL", Value::Null), ("TRUE", Value::Bool(true)), ("FALSE", Value::Bool(false))];
        let value = values.into_iter().find(|(word, _)| scanner.take_word(word));
        let (_, value) = value.ok_or("IS wants NULL, TRUE or FALSE")?;
        return Ok(Condition::Is(selector, value));
    }
    if scanner.take_word("NOT") {
        scanner.skip_spaces();
        return match scanner.take_word("EXISTS") {
            true => Ok(Condition::NotExists(selector)),
            false => Err("NOT wants EXISTS".to_owned()),
        };
    }
    let operator =
        Operator::read(scanner).ok_or_else(|| format!("expected an operator after {}", selector.text))?;
    scanner.skip_spaces();
    let wanted = scanner.wanted()?;
    wanted.check(operator)?;
    Ok(Condition::Compare(selector, operator, wanted))
}

/// `$.users[0].name`, `$.['cluster.name']`, `$.objects[*].id`, `$.*.id`
fn selector(scanner: &mut Scanner<'_>) -> Result<Selector, String> {
    let begin = scanner.rest();
    scanner.expect("$")?;
    let mut steps = Vec::new();
    loop {
        if scanner.take("[") {
            steps.push(bracket(scanner)?);
        } else if scanner.take(".") {
            if scanner.take("[") {
                steps.push(bracket(scanner)?);
            } else if scanner.take("*") {
                steps.push(Step::Each);
            } else {
                let name = scanner.take_while(|c| c.is_alphanumeric() || "-_@".contains(c));
                if name.is_empty() {
                    return Err(format!("expected a name in the selector `{begin}`"));
                }
                steps.push(Step::Member(name.to_owned()));
            }
        } else {
            break;
        }
    }
    let text = begin[..begin.len() - scanner.rest().len()].to_owned();
    Ok(Selector { text, steps })
}

fn bracket(scanner: &mut Scanner<'_>) -> Result<Step, String> {
    let step = if scanner.take("*") {
        Step::Each
    } else if scanner.peek() == Some('"') {
        Step::Member(scanner.quoted()?)
    } else if scanner.take("'") {
        let name = scanner.take_while(|c| c != '\'').to_owned();
        scanner.expect("'")?;
        Step::Member(name)
    } else {
        let digits = scanner.take_while(|c| c.is_ascii_digit());
        Step::Element(digits.parse().map_err(|_| "brackets hold a number, an asterisk or a quoted name")?)
    };
    scanner.expect("]")?;
    Ok(step)
}

impl Selector {
    /// Every value that it points to.
    fn find<'v>(&self, event: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![event];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                match (step, value) {
                    (Step::Member(name), Value::Object(members)) => next.extend(members.get(name)),
                    (Step::Element(at), Value::Array(elements)) => next.extend(elements.get(*at)),
                    (Step::Each, Value::Object(members)) => next.extend(members.values()),
                    (Step::Each, Value::Array(elements)) => next.extend(elements),
                    _ => {}
                }
            }
            found = next;
        }
        found
    }
}

impl Condition {
    fn holds(&self, event: &Value) -> bool {
        match self {
            Condition::Any(parts) => parts.iter().any(|part| part.holds(event)),
            Condition::All(parts) => parts.iter().all(|part| part.holds(event)),
            Condition::Compare(selector, operator, wanted) => selector
                .find(event)
                .into_iter()
                .any(|value| scalar(value).is_some_and(|text| wanted.compare(*operator, &text))),
            Condition::Is(selector, wanted) => selector.find(event).contains(&wanted),
            Condition::NotExists(selector) => selector.find(event).is_empty(),
        }
    }

    fn extract(&self, event: &Value, extracted: &mut Extracted) {
        match self {
            Condition::Any(parts) | Condition::All(parts) => {
                parts.iter().for_each(|part| part.extract(event, extracted));
            }
            Condition::Compare(selector, ..)
            | Condition::Is(selector, _)
            | Condition::NotExists(selector) => {
                let text = selector.find(event).into_iter().find_map(scalar);
                let is_new = extracted.iter().all(|(name, _)| *name != selector.text);
                extracted.extend(text.filter(|_| is_new).map(|text| (selector.text.clone(), text)));
            }
        }
    }
}

/// Objects, arrays and null are compared with nothing.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
