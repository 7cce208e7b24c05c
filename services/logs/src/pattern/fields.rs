//! Conditions on fields between spaces. What stands in square brackets or in double quotes is one field.

use super::Extracted;
use super::scan::Scanner;
use super::value::{Operator, Wanted};

#[derive(Debug)]
pub struct Fields {
    slots: Vec<Slot>,
    /// Where `...` stands for any number of fields.
    ellipsis: Option<usize>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    condition: Option<Condition>,
}

#[derive(Debug)]
enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    /// The field is the one of this name, else the one that the condition stands at.
    Compare(String, Operator, Wanted),
}

const MAX_DEPTH: usize = 32;

impl Fields {
    pub fn parse(text: &str) -> Result<Fields, String> {
        let mut scanner = Scanner::new(text);
        let mut fields = Fields { slots: Vec::new(), ellipsis: None };
        scanner.expect("[")?;
        loop {
            scanner.skip_spaces();
            if scanner.take("...") || scanner.take("…") {
                if fields.ellipsis.replace(fields.slots.len()).is_some() {
                    return Err("there can be only one ellipsis".to_owned());
                }
            } else {
                fields.slots.push(slot(&mut scanner)?);
            }
            scanner.skip_spaces();
            if !scanner.take(",") {
                break;
            }
        }
        scanner.expect("]")?;
        if !scanner.rest().trim().is_empty() {
            return Err(format!("nothing may follow the closing bracket: `{}`", scanner.rest()));
        }
        // `[]` says nothing of the fields.
        if let [only] = &fields.slots[..]
            && only.name.is_empty()
            && only.condition.is_none()
            && fields.ellipsis.is_none()
        {
            return Ok(Fields { slots: Vec::new(), ellipsis: Some(0) });
        }
        Ok(fields)
    }

    pub fn matches(&self, message: &str) -> bool {
        self.assign(message).is_some_and(|assigned| {
            let mut slots = assigned.iter().filter_map(|(slot, text)| Some(((*slot)?, *text)));
            slots.all(|(slot, text)| {
                slot.condition.as_ref().is_none_or(|condition| condition.holds(text, &assigned))
            })
        })
    }

    /// Fields by their names, or by their numbers where they have none.
    pub fn extract(&self, message: &str) -> Extracted {
        let assigned = self.assign(message).unwrap_or_default();
        let numbered = assigned.into_iter().enumerate();
        let named = numbered.map(|(at, (slot, text))| match slot {
            Some(slot) if !slot.name.is_empty() => (format!("${}", slot.name), text.to_owned()),
            _ => (format!("${}", at + 1), text.to_owned()),
        });
        named.collect()
    }

    /// The message's fields with their slots; none for those of the ellipsis. `None` when their numbers differ.
    fn assign<'a>(&'a self, message: &'a str) -> Option<Assigned<'a>> {
        let found = split(message);
        let (before, more) = match self.ellipsis {
            Some(at) => (at, found.len().checked_sub(self.slots.len())?),
            None if found.len() == self.slots.len() => (found.len(), 0),
            None => return None,
        };
        let slots = self.slots[..before].iter().map(Some);
        let slots = slots.chain(std::iter::repeat_n(None, more)).chain(self.slots[before..].iter().map(Some));
        Some(slots.zip(found).collect())
    }
}

type Assigned<'a> = Vec<(Option<&'a Slot>, &'a str)>;

fn slot(scanner: &mut Scanner<'_>) -> Result<Slot, String> {
    let ahead = scanner.clone();
    let name = scanner.take_while(|c| c.is_alphanumeric() || "_-".contains(c)).to_owned();
    scanner.skip_spaces();
    if matches!(scanner.peek(), Some(',' | ']')) {
        return Ok(Slot { name, condition: None });
    }
    *scanner = ahead;
    let condition = any(scanner, 0)?;
    let name = condition.first_name().to_owned();
    Ok(Slot { name, condition: Some(condition) })
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
        let name = scanner.take_while(|c| c.is_alphanumeric() || "_-".contains(c)).to_owned();
        scanner.skip_spaces();
        let operator =
            Operator::read(scanner).ok_or_else(|| format!("expected an operator at `{}`", scanner.rest()))?;
        scanner.skip_spaces();
        let wanted = scanner.wanted()?;
        wanted.check(operator)?;
        Condition::Compare(name, operator, wanted)
    };
    scanner.skip_spaces();
    Ok(condition)
}

impl Condition {
    fn first_name(&self) -> &str {
        match self {
            Condition::Any(parts) | Condition::All(parts) => parts.first().map_or("", Condition::first_name),
            Condition::Compare(name, ..) => name,
        }
    }

    fn holds(&self, own: &str, fields: &Assigned<'_>) -> bool {
        match self {
            Condition::Any(parts) => parts.iter().any(|part| part.holds(own, fields)),
            Condition::All(parts) => parts.iter().all(|part| part.holds(own, fields)),
            Condition::Compare(name, operator, wanted) => {
                let named = fields.iter().find(|(slot, _)| slot.is_some_and(|slot| slot.name == *name));
                wanted.compare(*operator, named.map_or(own, |(_, text)| *text))
            }
        }
    }
}

/// The fields of a message.
fn split(message: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut rest = message.trim();
    while let Some(first) = rest.chars().next() {
        let close = match first {
            '[' => Some(']'),
            '"' => Some('"'),
            _ => None,
        };
        let bracketed = close.and_then(|close| {
            let (inner, after) = rest[1..].split_once(close)?;
            // A bracket within a word is a part of it.
            (after.is_empty() || after.starts_with(char::is_whitespace)).then_some((inner, after))
        });
        let (field, after) = match bracketed {
            Some(found) => found,
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        fields.push(field);
        rest = after.trim_start();
    }
    fields
}
