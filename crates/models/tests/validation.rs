//! Constraints of every operation's input, over the real models: a valid value breaks none, one violation gives one message.

use pileus_models::all;
use pileus_wire::dynamic::{Blobs, DynStruct, from_json};
use pileus_wire::schema::{Bind, Dialect, Kind, Malformed, Missing, Operation, Service, Shape};
use pileus_wire::validate::{Pattern, validate};
use proptest::strategy::{Strategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value as Json, json};

/// How deep values go; required members go deeper.
const DEPTH: usize = 4;

/// Forms that many patterns take.
const USUAL: [&str; 12] = [
    "x",
    "1",
    "200",
    "123456789012",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "12345678-1234-1234-1234-123456789012",
    "us-east-1:12345678-1234-1234-1234-123456789012",
    "us-east-1_abc",
    "us-east-1",
    "arn:aws:iam::123456789012:role/x",
    "arn:aws:acm:us-east-1:123456789012:certificate/x",
    "2020-01-01",
];

/// Makes valid values. Strings with patterns come from the pattern itself.
struct Maker {
    runner: TestRunner,
}

impl Maker {
    fn new() -> Maker {
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        Maker { runner: TestRunner::new_with_rng(Config::default(), rng) }
    }

    /// A value of the shape; `None` if none can be made (a pattern that cannot be satisfied in a few tries, a recursion
    /// that never ends).
    fn value(&mut self, shape: &'static Shape, depth: usize) -> Option<Json> {
        if depth > DEPTH + 6 {
            return None;
        }
        let limits = &shape.limits;
        let least = limits.min.map_or(0, |min| min as usize);
        let value = match shape.kind {
            Kind::Structure => Json::Object(self.structure(shape, depth)?),
            Kind::Union | Kind::EventStream => {
                let made = shape.members().iter().find_map(|member| {
                    let value = self.value(member.shape, depth + 1)?;
                    Some((member.name.to_owned(), value))
                })?;
                Json::Object(Map::from_iter([made]))
            }
            Kind::List => {
                let element = shape.element().shape;
                let count = least.max(usize::from(limits.max.is_none_or(|max| max >= 1.0)));
                let one = self.value(element, depth + 1);
                if one.is_none() && least == 0 {
                    return Some(json!([]));
                }
                Json::Array(vec![one?; count])
            }
            Kind::Map => {
                let (key, value) = shape.entry();
                if least > 1 {
                    return None;
                }
                let made = self.string(key.shape).zip(self.value(value.shape, depth + 1));
                match made {
                    Some(made) => Json::Object(Map::from_iter([made])),
                    None if least == 0 => json!({}),
                    None => return None,
                }
            }
            Kind::String => Json::String(self.string(shape)?),
            Kind::Blob => Json::String("x".repeat(least.max(1))),
            Kind::Boolean => json!(true),
            Kind::Float | Kind::Double => json!(limits.min.or(limits.max).unwrap_or(0.5)),
            Kind::Timestamp => json!(1_700_000_000),
            Kind::Document => json!({"a": 1}),
            _ => json!(limits.min.or(limits.max).unwrap_or(1.0) as i64),
        };
        Some(value)
    }

    /// All members near the top; further down only the required ones.
    fn structure(&mut self, shape: &'static Shape, depth: usize) -> Option<Map<String, Json>> {
        let mut made = Map::new();
        for member in shape.members().iter().filter(|member| member.is_required || depth < DEPTH) {
            match self.value(member.shape, depth + 1) {
                Some(value) => made.insert(member.name.to_owned(), value),
                None if member.is_required => return None,
                None => continue,
            };
        }
        Some(made)
    }

    fn string(&mut self, shape: &'static Shape) -> Option<String> {
        let limits = &shape.limits;
        if let Some(value) = limits.values.first() {
            return Some((*value).to_owned());
        }
        let fits = |text: &str| {
            let length = text.chars().count() as f64;
            limits.min.is_none_or(|min| length >= min) && limits.max.is_none_or(|max| length <= max)
        };
        let Some(source) = limits.pattern else {
            return Some("x".repeat(limits.min.map_or(1, |min| min as usize)));
        };
        let pattern = Pattern::compile(source);
        let fits_all =
            |text: &String| fits(text) && pattern.as_ref().is_none_or(|pattern| pattern.matches(text));
        // Usual forms first: most patterns take one of them.
        if let Some(text) = USUAL.iter().map(|text| (*text).to_owned()).find(|text| fits_all(text)) {
            return Some(text);
        }
        let unanchored = source.trim_start_matches('^').trim_end_matches('$');
        let ascii = unanchored.replace("\\w", "[0-9A-Za-z_]").replace("\\d", "[0-9]");
        let strategy = string_regex(&ascii).ok()?;
        (0..40).find_map(|_| {
            let text = strategy.new_tree(&mut self.runner).ok()?.current();
            Some(text).filter(fits_all)
        })
    }
}

fn check(service: &Service, operation: &Operation, input: &Json) -> Result<(), String> {
    let mut value = DynStruct::new(operation.input);
    from_json(operation.input, input, &mut value, Blobs::Text).expect("the value fits its shape");
    validate(service, operation, &value).map_err(|fault| fault.message)
}

/// Every place in `value` where one constraint can be broken, as a changed copy with a part of the expected message.
fn broken(shape: &'static Shape, value: &Json, into: &mut Vec<(Json, String)>) {
    let limits = &shape.limits;
    let mut add = |changed: Json, part: &str| into.push((changed, part.to_owned()));
    match value {
        Json::String(text) if shape.kind == Kind::String => {
            if !limits.values.is_empty() {
                add(json!("no such value"), "enum value set");
            } else if let Some(source) = limits.pattern {
                let pattern = Pattern::compile(source);
                let odd = ["\u{1}", "\u{0}\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\u{b}"];
                let fits = |text: &&&str| {
                    let length = text.chars().count() as f64;
                    let in_length = limits.min.is_none_or(|min| length >= min)
                        && limits.max.is_none_or(|max| length <= max);
                    in_length && pattern.as_ref().is_some_and(|pattern| !pattern.matches(text))
                };
                if let Some(text) = odd.iter().find(fits) {
                    add(json!(text), "regular expression pattern");
                }
            } else if let Some(max) = limits.max.filter(|max| *max < 10_000.0) {
                add(json!(format!("{text}{}", "x".repeat(max as usize + 1))), "length less than");
            }
        }
        Json::Number(_) if shape.kind.is_integer() => {
            if let Some(min) = limits.min {
                add(json!(min as i64 - 1), "value greater than");
            }
            if let Some(max) = limits.max {
                add(json!(max as i64 + 1), "value less than");
            }
        }
        Json::Array(items) => {
            if limits.min.is_some_and(|min| min >= 1.0) {
                add(json!([]), "length greater than");
            }
            if let (Some(first), Some(max)) = (items.first(), limits.max.filter(|max| *max <= 100.0)) {
                add(Json::Array(vec![first.clone(); max as usize + 1]), "length less than");
            }
            if let Some(first) = items.first() {
                let mut inner = Vec::new();
                broken(shape.element().shape, first, &mut inner);
                for (changed, part) in inner {
                    let mut items = items.clone();
                    items[0] = changed;
                    into.push((Json::Array(items), part));
                }
            }
        }
        Json::Object(members) if matches!(shape.kind, Kind::Structure | Kind::Union) => {
            for member in shape.members() {
                let Some(value) = members.get(member.name) else { continue };
                if member.is_required && shape.kind == Kind::Structure {
                    let mut without = members.clone();
                    without.remove(member.name);
                    into.push((Json::Object(without), "not be null".to_owned()));
                }
                let mut inner = Vec::new();
                broken(member.shape, value, &mut inner);
                for (changed, part) in inner {
                    let mut members = members.clone();
                    members.insert(member.name.to_owned(), changed);
                    into.push((Json::Object(members), part));
                }
            }
        }
        _ => {}
    }
}

#[test]
fn a_valid_value_breaks_nothing_and_one_violation_gives_one_message() {
    let mut maker = Maker::new();
    let (mut operations, mut violations, mut unmade) = (0, 0, Vec::new());
    for service in all().iter().map(|entry| entry.service()) {
        for operation in &service.operations {
            let Some(valid) = maker.value(operation.input, 0) else {
                unmade.push(format!("{}:{}", service.name, operation.name));
                continue;
            };
            operations += 1;
            assert_eq!(
                check(service, operation, &valid),
                Ok(()),
                "{}:{} {valid}",
                service.name,
                operation.name
            );
            let mut cases = Vec::new();
            broken(operation.input, &valid, &mut cases);
            // EC2 has thousands of operations' worth of the same shapes: a sample of each is enough.
            let step = (cases.len() / 40).max(1);
            for (changed, part) in cases.into_iter().step_by(step) {
                violations += 1;
                match service.validation.dialect {
                    Dialect::S3 => one_document_error(service, operation, &valid, &changed),
                    _ => one_message(service, operation, &changed, &part),
                }
            }
        }
    }
    println!("{operations} operations, {violations} violations; no value for {}", unmade.len());
    assert!(operations > 3_900, "only {operations}");
    assert!(unmade.len() < 60, "no value could be made for {}: {unmade:?}", unmade.len());
}

/// S3 judges the document of a request against its schema; headers and parameters are each operation's own to judge.
fn one_document_error(service: &Service, operation: &Operation, valid: &Json, changed: &Json) {
    let mut members = operation.input.members().iter();
    let member = members.find(|member| valid.get(member.name) != changed.get(member.name));
    let is_in_document = member.is_some_and(|member| matches!(member.bind, Bind::Payload | Bind::Body));
    let expected = match check(service, operation, changed) {
        Ok(()) => !is_in_document,
        Err(text) => {
            is_in_document && (text.starts_with("The XML you provided") || text == "Request Body is empty")
        }
    };
    assert!(expected, "{}:{} {changed}", service.name, operation.name);
}

fn one_message(service: &Service, operation: &Operation, changed: &Json, part: &str) {
    let name = format!("{}:{}", service.name, operation.name);
    let answer = check(service, operation, changed);
    let text = answer.expect_err(&format!("{name} lets pass `{part}`: {changed}"));
    if let Missing::Named { before, .. } = service.validation.missing
        && part == "not be null"
        && text.starts_with(before)
    {
        return;
    }
    // Some services have a sentence of their own for a malformed name.
    let is_own = |own: &Malformed| text.starts_with(own.before) && text.ends_with(own.after);
    if part == "regular expression pattern" && service.validation.malformed.iter().any(is_own) {
        return;
    }
    assert!(text.starts_with("1 validation error detected"), "{name}: {text}\n{changed}");
    assert!(text.contains(part), "{name}: {text} lacks `{part}`");
}

/// Patterns that the engine cannot read, and so are not enforced.
const NOT_ENFORCED: [&str; 0] = [];

#[test]
fn every_pattern_compiles_but_the_listed_ones() {
    let mut failing = Vec::new();
    let mut count = 0;
    for service in all().iter().map(|entry| entry.service()) {
        for shape in service.shapes.values() {
            let Some(source) = shape.limits.pattern else { continue };
            count += 1;
            if !Pattern::is_enforced(source) {
                failing.push(source);
            }
        }
    }
    failing.sort_unstable();
    failing.dedup();
    assert!(count > 1_000, "only {count} patterns");
    assert_eq!(failing, NOT_ENFORCED);
}
