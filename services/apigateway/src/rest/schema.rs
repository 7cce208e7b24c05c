//! JSON Schema draft 4, as models have it: pure.
//!
//! A schema is walked as it is written; its patterns are compiled once. Models refer to each other by
//! `https://apigateway.amazonaws.com/restapis/{api}/models/{name}`.
//!
//! Source: JSON Schema draft 4, "Validation"; API Gateway Developer Guide, "Data models for REST APIs in API Gateway".

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use fancy_regex::Regex;
use pileus_api_apigateway::Model;
use serde_json::{Map, Value as Json, json};

/// Schemas within each other while a value is checked: a schema that refers to itself without end stops here.
const MAX_DEPTH: usize = 200;
/// Schemas looked at for one value.
const MAX_WORK: usize = 500_000;
/// Errors that are told of.
const MAX_ERRORS: usize = 20;
const MODELS: &str = "/models/";

/// A schema whose patterns can be matched.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    root: Json,
    patterns: HashMap<String, Regex>,
    /// Other models by name.
    others: HashMap<String, Json>,
}

impl Schema {
    /// # Errors
    /// What the schema says that none can.
    pub fn read(root: &Json) -> Result<Schema, String> {
        let mut schema = Schema { root: root.clone(), ..Schema::default() };
        schema.learn(root)?;
        Ok(schema)
    }

    /// With the models that it may refer to; those that cannot be read are none.
    pub fn with_models(root: &Json, models: &[Model]) -> Result<Schema, String> {
        let mut schema = Schema::read(root)?;
        for model in models {
            let text = model.schema.as_deref().unwrap_or_default();
            let (Some(name), Ok(other)) = (&model.name, serde_json::from_str::<Json>(text)) else { continue };
            if schema.learn(&other).is_ok() {
                schema.others.insert(name.clone(), other);
            }
        }
        Ok(schema)
    }

    fn learn(&mut self, schema: &Json) -> Result<(), String> {
        let mut rest = vec![schema];
        while let Some(schema) = rest.pop() {
            let Some(members) = schema.as_object() else { continue };
            if let Some(kind) = members.get("type") {
                check_type(kind)?;
            }
            let own = members.get("pattern").and_then(Json::as_str);
            let of_names = members.get("patternProperties").and_then(Json::as_object);
            for pattern in
                own.into_iter().chain(of_names.into_iter().flat_map(|map| map.keys().map(String::as_str)))
            {
                let regex = Regex::new(pattern).map_err(|_| format!("Invalid pattern: {pattern}"))?;
                self.patterns.insert(pattern.to_owned(), regex);
            }
            for name in ["properties", "patternProperties", "definitions", "dependencies"] {
                rest.extend(members.get(name).and_then(Json::as_object).into_iter().flat_map(Map::values));
            }
            for name in ["allOf", "anyOf", "oneOf", "items"] {
                rest.extend(members.get(name).and_then(Json::as_array).into_iter().flatten());
            }
            for name in ["items", "additionalItems", "additionalProperties", "not"] {
                rest.extend(members.get(name).filter(|inner| inner.is_object()));
            }
        }
        Ok(())
    }

    /// What is wrong with a value; nothing if it is valid.
    pub fn errors(&self, value: &Json) -> Vec<String> {
        let mut check = Check { schema: self, work: 0, errors: Vec::new() };
        check.value(&self.root, &self.root, value, "", 0);
        check.errors
    }

    fn resolve<'s>(&'s self, base: &'s Json, reference: &str) -> Option<(&'s Json, &'s Json)> {
        let (document, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let root = match document.find(MODELS) {
            Some(at) => self.others.get(&document[at + MODELS.len()..])?,
            None if document.is_empty() => base,
            None => return None,
        };
        Some((root, root.pointer(pointer)?))
    }
}

fn check_type(kind: &Json) -> Result<(), String> {
    const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
    let is_type = |kind: &Json| kind.as_str().is_some_and(|kind| TYPES.contains(&kind));
    match kind {
        Json::Array(kinds) if kinds.iter().all(is_type) => Ok(()),
        kind if is_type(kind) => Ok(()),
        other => Err(format!("Unsupported type: {other}")),
    }
}

fn type_name(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

struct Check<'s> {
    schema: &'s Schema,
    work: usize,
    errors: Vec<String>,
}

impl<'s> Check<'s> {
    fn fail(&mut self, at: &str, text: String) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(if at.is_empty() { text } else { format!("[Path '{at}'] {text}") });
        }
    }

    /// Whether a value is valid, without telling why not.
    fn holds(&mut self, base: &'s Json, schema: &'s Json, value: &Json, depth: usize) -> bool {
        let mut inner = Check { schema: self.schema, work: self.work, errors: Vec::new() };
        inner.value(base, schema, value, "", depth);
        self.work = inner.work;
        inner.errors.is_empty()
    }

    fn value(&mut self, base: &'s Json, schema: &'s Json, value: &Json, at: &str, depth: usize) {
        self.work += 1;
        if depth > MAX_DEPTH || self.work > MAX_WORK {
            return self.fail(at, "the schema is too deep to be checked".to_owned());
        }
        let Some(rules) = schema.as_object() else { return };
        if let Some(reference) = rules.get("$ref").and_then(Json::as_str) {
            return match self.schema.resolve(base, reference) {
                Some((base, schema)) => self.value(base, schema, value, at, depth + 1),
                None => self.fail(at, format!("cannot resolve reference {reference}")),
            };
        }
        if let Some(wanted) = rules.get("type") {
            self.of_type(wanted, value, at);
        }
        if let Some(allowed) = rules.get("enum").and_then(Json::as_array)
            && !allowed.iter().any(|one| same(one, value))
        {
            let allowed = Json::Array(allowed.clone());
            self.fail(at, format!("instance value ({value}) not found in enum (possible values: {allowed})"));
        }
        match value {
            Json::Object(members) => self.object(base, rules, members, at, depth),
            Json::Array(items) => self.array(base, rules, items, at, depth),
            Json::String(text) => self.text(rules, text, at),
            Json::Number(number) => self.number(rules, number.as_f64().unwrap_or_default(), at),
            Json::Null | Json::Bool(_) => {}
        }
        self.combined(base, rules, value, at, depth);
    }

    fn of_type(&mut self, wanted: &Json, value: &Json, at: &str) {
        let is = |kind: &str| {
            let own = type_name(value);
            own == kind
                || (kind == "number" && own == "integer")
                || (kind == "integer" && value.as_f64().is_some_and(|number| number.fract() == 0.0))
        };
        let fits = match wanted {
            Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).any(is),
            kind => kind.as_str().is_none_or(is),
        };
        if !fits {
            let allowed = match wanted {
                Json::Array(_) => wanted.to_string(),
                kind => format!("[{kind}]"),
            };
            let own = type_name(value);
            self.fail(
                at,
                format!(
                    "instance type ({own}) does not match any allowed primitive type (allowed: {allowed})"
                ),
            );
        }
    }

    fn combined(
        &mut self,
        base: &'s Json,
        rules: &'s Map<String, Json>,
        value: &Json,
        at: &str,
        depth: usize,
    ) {
        for inner in rules.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.value(base, inner, value, at, depth + 1);
        }
        if let Some(any) = rules.get("anyOf").and_then(Json::as_array)
            && !any.iter().any(|inner| self.holds(base, inner, value, depth + 1))
        {
            self.fail(
                at,
                format!("instance failed to match at least one required schema among {}", any.len()),
            );
        }
        if let Some(one) = rules.get("oneOf").and_then(Json::as_array) {
            let count = one.iter().filter(|inner| self.holds(base, inner, value, depth + 1)).count();
            if count != 1 {
                self.fail(
                    at,
                    format!(
                        "instance failed to match exactly one schema (matched {count} out of {})",
                        one.len()
                    ),
                );
            }
        }
        if let Some(not) = rules.get("not")
            && self.holds(base, not, value, depth + 1)
        {
            self.fail(at, "instance matched a schema which it should not have".to_owned());
        }
    }

    fn object(
        &mut self,
        base: &'s Json,
        rules: &'s Map<String, Json>,
        members: &Map<String, Json>,
        at: &str,
        depth: usize,
    ) {
        let required = rules.get("required").and_then(Json::as_array).into_iter().flatten();
        let missing: Vec<Json> = required
            .filter(|name| name.as_str().is_some_and(|name| !members.contains_key(name)))
            .cloned()
            .collect();
        if !missing.is_empty() {
            self.fail(at, format!("object has missing required properties ({})", Json::Array(missing)));
        }
        self.count(rules, "minProperties", "maxProperties", members.len(), "properties", at);
        let properties = rules.get("properties").and_then(Json::as_object);
        let patterned = rules.get("patternProperties").and_then(Json::as_object);
        let mut unknown = Vec::new();
        for (name, value) in members {
            let below = format!("{at}/{name}");
            let mut is_known = false;
            if let Some(inner) = properties.and_then(|properties| properties.get(name)) {
                is_known = true;
                self.value(base, inner, value, &below, depth + 1);
            }
            for (pattern, inner) in patterned.into_iter().flatten() {
                let regex = self.schema.patterns.get(pattern);
                if regex.is_some_and(|regex| regex.is_match(name).unwrap_or(false)) {
                    is_known = true;
                    self.value(base, inner, value, &below, depth + 1);
                }
            }
            match rules.get("additionalProperties") {
                Some(Json::Bool(false)) if !is_known => unknown.push(Json::from(name.as_str())),
                Some(inner @ Json::Object(_)) if !is_known => {
                    self.value(base, inner, value, &below, depth + 1)
                }
                _ => {}
            }
        }
        if !unknown.is_empty() {
            self.fail(
                at,
                format!(
                    "object instance has properties which are not allowed by the schema: {}",
                    Json::Array(unknown)
                ),
            );
        }
        for (name, needs) in rules.get("dependencies").and_then(Json::as_object).into_iter().flatten() {
            if !members.contains_key(name) {
                continue;
            }
            match needs {
                Json::Array(needs) => {
                    let lacks = needs.iter().filter_map(Json::as_str).any(|need| !members.contains_key(need));
                    if lacks {
                        self.fail(at, format!("property {name} of object has missing property dependencies"));
                    }
                }
                inner => self.value(base, inner, &Json::Object(members.clone()), at, depth + 1),
            }
        }
    }

    fn array(
        &mut self,
        base: &'s Json,
        rules: &'s Map<String, Json>,
        items: &[Json],
        at: &str,
        depth: usize,
    ) {
        self.count(rules, "minItems", "maxItems", items.len(), "elements", at);
        if rules.get("uniqueItems") == Some(&Json::Bool(true)) {
            // Texts of values are equal when they are, but for the order of members.
            let mut texts: Vec<String> = items.iter().map(Json::to_string).collect();
            texts.sort_unstable();
            if texts.windows(2).any(|pair| pair[0] == pair[1]) {
                self.fail(at, "array must not contain duplicate elements".to_owned());
            }
        }
        let (each, first) = match rules.get("items") {
            Some(Json::Array(first)) => (rules.get("additionalItems"), first.as_slice()),
            each => (each, &[][..]),
        };
        for (i, item) in items.iter().enumerate() {
            let below = format!("{at}/{i}");
            match (first.get(i), each) {
                (Some(inner), _) | (None, Some(inner @ Json::Object(_))) => {
                    self.value(base, inner, item, &below, depth + 1);
                }
                (None, Some(Json::Bool(false))) => {
                    return self.fail(at, "array has too many elements".to_owned());
                }
                _ => {}
            }
        }
    }

    fn text(&mut self, rules: &Map<String, Json>, text: &str, at: &str) {
        self.count(rules, "minLength", "maxLength", text.chars().count(), "characters", at);
        if let Some(pattern) = rules.get("pattern").and_then(Json::as_str)
            && let Some(regex) = self.schema.patterns.get(pattern)
            && !regex.is_match(text).unwrap_or(false)
        {
            self.fail(at, format!("ECMA 262 regex \"{pattern}\" does not match input string \"{text}\""));
        }
        let format = rules.get("format").and_then(Json::as_str).unwrap_or_default();
        let fits = match format {
            "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
            "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
            "email" => text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty()),
            "uri" => text.split_once(':').is_some_and(|(scheme, rest)| {
                !rest.is_empty()
                    && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c))
            }),
            "date-time" => is_date_time(text),
            _ => true,
        };
        if !fits {
            self.fail(at, format!("string \"{text}\" is invalid against the format {format}"));
        }
    }

    fn number(&mut self, rules: &Map<String, Json>, value: f64, at: &str) {
        let bound = |name: &str| rules.get(name).and_then(Json::as_f64);
        let excludes = |name: &str| rules.get(name) == Some(&Json::Bool(true));
        if let Some(least) = bound("minimum")
            && (value < least || (excludes("exclusiveMinimum") && value == least))
        {
            self.fail(
                at,
                format!(
                    "numeric instance is lower than the required minimum (minimum: {least}, found: {value})"
                ),
            );
        }
        if let Some(most) = bound("maximum")
            && (value > most || (excludes("exclusiveMaximum") && value == most))
        {
            self.fail(
                at,
                format!(
                    "numeric instance is greater than the required maximum (maximum: {most}, found: {value})"
                ),
            );
        }
        if let Some(step) = bound("multipleOf").filter(|step| *step > 0.0) {
            let times = value / step;
            if (times - times.round()).abs() > 1e-9 * times.abs().max(1.0) {
                self.fail(at, format!("remainder of division is not zero ({value} / {step})"));
            }
        }
    }

    fn count(
        &mut self,
        rules: &Map<String, Json>,
        least: &str,
        most: &str,
        count: usize,
        what: &str,
        at: &str,
    ) {
        if let Some(least) = rules.get(least).and_then(Json::as_u64).filter(|least| (count as u64) < *least) {
            self.fail(at, format!("too few {what} (minimum: {least}, found: {count})"));
        }
        if let Some(most) = rules.get(most).and_then(Json::as_u64).filter(|most| count as u64 > *most) {
            self.fail(at, format!("too many {what} (maximum: {most}, found: {count})"));
        }
    }
}

fn same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => left.as_f64() == right.as_f64(),
        _ => left == right,
    }
}

/// `2020-01-31T12:00:00Z`, with fractions or an offset.
fn is_date_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let pattern = b"dddd-dd-ddTdd:dd:dd";
    let begins = bytes.len() > pattern.len()
        && bytes.iter().zip(pattern).all(|(byte, wanted)| match wanted {
            b'd' => byte.is_ascii_digit(),
            b'T' => byte.eq_ignore_ascii_case(&b'T'),
            wanted => byte == wanted,
        });
    let rest = begins.then(|| text.get(pattern.len()..)).flatten().unwrap_or_default();
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    matches!(rest, "Z" | "z")
        || (rest.len() == 6 && rest.starts_with(['+', '-']) && rest.as_bytes()[3] == b':')
}

/// The schema with the models that it refers to among its own definitions.
pub fn flatten(schema: &Json, models: &[Model]) -> Json {
    let mut flat = schema.clone();
    let mut definitions = Map::new();
    let mut rest = vec![schema.to_string()];
    while let Some(text) = rest.pop() {
        for (at, _) in text.match_indices(MODELS) {
            let name: String =
                text[at + MODELS.len()..].chars().take_while(char::is_ascii_alphanumeric).collect();
            let model = models.iter().find(|model| model.name.as_deref() == Some(&name));
            let found = model.and_then(|model| serde_json::from_str::<Json>(model.schema.as_deref()?).ok());
            if let Some(mut found) = found.filter(|_| !definitions.contains_key(&name)) {
                rest.push(found.to_string());
                point_inside(&mut found);
                definitions.insert(name, found);
            }
        }
    }
    point_inside(&mut flat);
    if let Some(members) = flat.as_object_mut().filter(|_| !definitions.is_empty()) {
        let own = members.entry("definitions").or_insert_with(|| json!({}));
        if let Some(own) = own.as_object_mut() {
            own.extend(definitions);
        }
    }
    flat
}

/// References to models become references to definitions.
fn point_inside(schema: &mut Json) {
    match schema {
        Json::Object(members) => {
            for (name, value) in members.iter_mut() {
                match value {
                    Json::String(reference) if name == "$ref" => {
                        if let Some(at) = reference.find(MODELS) {
                            *reference = format!("#/definitions/{}", &reference[at + MODELS.len()..]);
                        }
                    }
                    value => point_inside(value),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(point_inside),
        _ => {}
    }
}

/// A mapping template that makes an object of the schema's form.
pub fn template(schema: &Json) -> String {
    let mut out = String::from("#set($inputRoot = $input.path('$'))\n");
    write_template(schema, "$inputRoot", 0, &mut out);
    out
}

fn write_template(schema: &Json, path: &str, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    let kind = schema.get("type").and_then(Json::as_str).unwrap_or("object");
    match kind {
        "object" if depth < 16 => {
            out.push_str("{\n");
            let members: Vec<_> =
                schema.get("properties").and_then(Json::as_object).into_iter().flatten().collect();
            for (at, (name, inner)) in members.iter().enumerate() {
                out.push_str(&format!("{pad}  \"{name}\" : "));
                write_template(inner, &format!("{path}.{name}"), depth + 1, out);
                out.push_str(if at + 1 < members.len() { ",\n" } else { "\n" });
            }
            out.push_str(&format!("{pad}}}"));
        }
        "array" if depth < 16 => {
            let item = format!("$elem{depth}");
            out.push_str(&format!("[\n#foreach({item} in {path})\n{pad}  "));
            write_template(schema.get("items").unwrap_or(&Json::Null), &item, depth + 1, out);
            out.push_str(&format!("#if($foreach.hasNext),#end\n#end\n{pad}]"));
        }
        "integer" | "number" | "boolean" => out.push_str(path),
        _ => out.push_str(&format!("\"{path}\"")),
    }
}

#[cfg(test)]
mod tests;
