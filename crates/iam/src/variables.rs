//! Policy variables.
//!
//! `${aws:username}` stands for a value of the request, `${key, 'default'}` for a default when the request lacks the key, and `${*}`,
//! `${?}`, `${$}` for those characters themselves. A value is inserted as it is: a `*` in it is no wildcard. Only documents of version
//! 2012-10-17 have variables; in older ones the text stands for itself.
//!
//! Source: IAM User Guide, "IAM policy elements: Variables and tags".

use std::borrow::Cow;

use crate::Context;
use crate::matching::{MANY, Pattern, Subject, covers, encode, intersects};

/// How the characters of a text are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) variables: bool,
    pub(crate) wildcards: bool,
    /// Compare in lower case.
    pub(crate) lower: bool,
}

/// A text of a policy that may hold variables and wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Template {
    Fixed(Pattern),
    Parts { parts: Box<[Part]>, lower: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Code(Vec<u8>),
    Variable(Variable),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// As the policy spells it.
    pub(crate) spelling: Box<str>,
    key: Box<str>,
    default: Option<Box<str>>,
}

impl Template {
    pub(crate) fn new(text: &str, reading: Reading) -> Template {
        Template::from_parts(parse(text, reading), reading.lower)
    }

    fn from_parts(mut parts: Vec<Part>, lower: bool) -> Template {
        match parts.as_mut_slice() {
            [] => Template::Fixed(Pattern::from_code(Vec::new())),
            [Part::Code(code)] => Template::Fixed(Pattern::from_code(std::mem::take(code))),
            _ => Template::Parts { parts: parts.into_boxed_slice(), lower },
        }
    }

    /// The pattern for this request; `None` when a variable has no value.
    pub(crate) fn resolve(&self, context: &Context) -> Option<Cow<'_, Pattern>> {
        let (parts, lower) = match self {
            Template::Fixed(pattern) => return Some(Cow::Borrowed(pattern)),
            Template::Parts { parts, lower } => (parts, *lower),
        };
        let mut code = Vec::new();
        for part in parts {
            match part {
                Part::Code(bytes) => code.extend_from_slice(bytes),
                Part::Variable(variable) => {
                    let value = context.single_lower(&variable.key).or(variable.default.as_deref())?;
                    match lower {
                        true => code.extend_from_slice(value.to_lowercase().as_bytes()),
                        false => code.extend_from_slice(value.as_bytes()),
                    }
                }
            }
        }
        Some(Cow::Owned(Pattern::from_code(code)))
    }

    /// `None` when a variable has no value.
    pub(crate) fn matches(&self, text: &str, context: &Context) -> Option<bool> {
        match self {
            Template::Fixed(pattern) => Some(pattern.matches(text)),
            Template::Parts { .. } => Some(self.resolve(context)?.matches(text)),
        }
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &Variable> {
        let parts = match self {
            Template::Fixed(_) => &[],
            Template::Parts { parts, .. } => &parts[..],
        };
        parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Code(_) => None,
        })
    }
}

fn parse(text: &str, reading: Reading) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut code = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${").filter(|_| reading.variables) {
        let Some(length) = rest[at..].find('}') else { break };
        literal(&mut code, &rest[..at], reading);
        match &rest[at + 2..at + length] {
            special @ ("*" | "?" | "$") => code.extend_from_slice(special.as_bytes()),
            inside => {
                if !code.is_empty() {
                    parts.push(Part::Code(std::mem::take(&mut code)));
                }
                parts.push(Part::Variable(variable(inside)));
            }
        }
        rest = &rest[at + length + 1..];
    }
    literal(&mut code, rest, reading);
    if !code.is_empty() {
        parts.push(Part::Code(code));
    }
    parts
}

fn literal(code: &mut Vec<u8>, text: &str, reading: Reading) {
    let text = if reading.lower { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) };
    match reading.wildcards {
        true => code.extend(encode(&text)),
        false => code.extend_from_slice(text.as_bytes()),
    }
}

/// `aws:userid` or `aws:userid, 'anonymous'`: a comma, a space and single quotes. Anything else names a key that no request has.
fn variable(inside: &str) -> Variable {
    let with_default = inside.split_once(", '").and_then(|(key, rest)| Some((key, rest.strip_suffix('\'')?)));
    let (key, default) = with_default.map_or((inside, None), |(key, default)| (key, Some(default)));
    Variable { spelling: key.into(), key: key.to_ascii_lowercase().into(), default: default.map(Into::into) }
}

/// A `Resource` element or the value of an ARN condition: compared segment by segment, so that a `*` stays within its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ArnPattern {
    Anything,
    Arn(Box<[Template; 5]>),
    /// Not an ARN: compared as a whole.
    Text(Template),
}

impl ArnPattern {
    /// An ARN with fewer than six segments has `*` for the rest.
    pub(crate) fn new(text: &str, variables: bool) -> ArnPattern {
        if !text.is_empty() && text.bytes().all(|byte| byte == b'*') {
            return ArnPattern::Anything;
        }
        let reading = Reading { variables, wildcards: true, lower: false };
        let mut segments = split_at_colons(parse(text, reading));
        let is_arn =
            segments.len() > 1 && matches!(segments[0].as_slice(), [Part::Code(code)] if code == b"arn");
        if !is_arn {
            return ArnPattern::Text(Template::new(text, reading));
        }
        while segments.len() < 6 {
            segments.push(vec![Part::Code(vec![MANY])]);
        }
        let mut segments = segments.into_iter().skip(1).map(|parts| Template::from_parts(parts, false));
        let segments =
            std::array::from_fn(|_| segments.next().unwrap_or(Template::Fixed(Pattern::wildcards("*"))));
        ArnPattern::Arn(Box::new(segments))
    }

    /// Whether the one resource of `subject` fits; `None` when a variable has no value.
    pub(crate) fn matches(&self, subject: &Subject<'_>, context: &Context) -> Option<bool> {
        match self {
            ArnPattern::Anything => Some(true),
            ArnPattern::Text(template) => template.matches(subject.text, context),
            ArnPattern::Arn(segments) => {
                let Some(parts) = &subject.parts else { return Some(false) };
                // In order: a variable, which only the last segment may hold, matters when all before it fit.
                for (segment, part) in segments.iter().zip(parts) {
                    if !segment.matches(part, context)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
        }
    }

    /// Whether some resource of `subject` fits; `None` when a variable has no value.
    pub(crate) fn meets(&self, subject: &Subject<'_>, context: &Context) -> Option<bool> {
        self.compare(subject, context, intersects)
    }

    /// Whether every resource of `subject` fits; `None` when a variable has no value.
    pub(crate) fn covers(&self, subject: &Subject<'_>, context: &Context) -> Option<bool> {
        self.compare(subject, context, covers)
    }

    fn compare(
        &self,
        subject: &Subject<'_>,
        context: &Context,
        by: fn(&[u8], &[u8]) -> bool,
    ) -> Option<bool> {
        let Some(parts) = &subject.any_of else { return self.matches(subject, context) };
        match self {
            ArnPattern::Anything => Some(true),
            ArnPattern::Text(template) => Some(by(template.resolve(context)?.code(), &encode(subject.text))),
            ArnPattern::Arn(segments) => {
                for (segment, part) in segments.iter().zip(parts) {
                    if !by(segment.resolve(context)?.code(), part) {
                        return Some(false);
                    }
                }
                Some(true)
            }
        }
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &Variable> {
        let templates: &[Template] = match self {
            ArnPattern::Anything => &[],
            ArnPattern::Text(template) => std::slice::from_ref(template),
            ArnPattern::Arn(segments) => &segments[..],
        };
        templates.iter().flat_map(Template::variables)
    }
}

/// Splits at the first five colons that are not inside a variable.
fn split_at_colons(parts: Vec<Part>) -> Vec<Vec<Part>> {
    let mut segments = vec![Vec::new()];
    for part in parts {
        let mut rest = match part {
            Part::Variable(_) => {
                segments.last_mut().expect("starts with one segment and only grows").push(part);
                continue;
            }
            Part::Code(code) => code,
        };
        loop {
            let colon = rest.iter().position(|byte| *byte == b':').filter(|_| segments.len() < 6);
            let (head, tail) = match colon {
                Some(at) => (rest[..at].to_vec(), Some(rest[at + 1..].to_vec())),
                None => (rest, None),
            };
            if !head.is_empty() {
                segments.last_mut().expect("starts with one segment and only grows").push(Part::Code(head));
            }
            match tail {
                Some(tail) => {
                    segments.push(Vec::new());
                    rest = tail;
                }
                None => break,
            }
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        let mut context = Context::new();
        context.insert("aws:username", "Ana*");
        context.insert("aws:PrincipalTag/team", "red");
        context.insert_many("aws:TagKeys", ["x"]);
        context
    }

    #[test]
    fn variables_stand_for_values_of_the_request() {
        let cases = [
            // policy text, wildcards, request text, expected
            ("home/${aws:username}/*", true, "home/Ana*/file", true),
            ("home/${aws:username}/*", true, "home/Anabel/file", false),
            ("home/${AWS:UserName}", true, "home/Ana*", true),
            ("${aws:PrincipalTag/team}-${aws:username}", false, "red-Ana*", true),
            ("${aws:userid}", true, "", false),
            ("${aws:userid, 'anonymous'}", true, "anonymous", true),
            ("${aws:userid,'any*'}", true, "any*", false),
            ("${aws:userid, 'any*'}", true, "anyone", false),
            ("${aws:TagKeys}", true, "x", false),
            ("${*}${?}${$}", true, "*?$", true),
            ("${*}", true, "a", false),
            ("${unclosed", false, "${unclosed", true),
            ("*", false, "*", true),
            ("*", false, "a", false),
        ];
        for (text, wildcards, value, expected) in cases {
            let template = Template::new(text, Reading { variables: true, wildcards, lower: false });
            assert_eq!(template.matches(value, &context()) == Some(true), expected, "{text} against {value}");
        }
    }

    #[test]
    fn without_variables_the_text_stands_for_itself() {
        let template =
            Template::new("${aws:username}", Reading { variables: false, wildcards: true, lower: false });
        assert_eq!(template.matches("${aws:username}", &context()), Some(true));
        assert_eq!(template.matches("Ana*", &context()), Some(false));
    }

    #[test]
    fn arns_are_compared_segment_by_segment() {
        let cases = [
            ("*", "anything", true),
            ("arn:aws:sqs:*:123456789012:jobs", "arn:aws:sqs:eu-west-1:123456789012:jobs", true),
            (
                "arn:aws:x:*:111122223333:finance/*",
                "arn:aws:x:us-east-2:999999999999:store/abc:111122223333:finance/d",
                false,
            ),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b/a:b/c", true),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b", false),
            ("arn:aws:s3:::B", "arn:aws:s3:::b", false),
            ("arn:aws:sqs:*", "arn:aws:sqs:eu-west-1:123456789012:jobs", true),
            ("arn:aws:sqs", "arn:aws:sqs:eu-west-1:123456789012:jobs", true),
            ("arn:*:sqs:*:*:j?bs", "arn:aws:sqs:eu-west-1:123456789012:jobs", true),
            ("arn:aws:s3:::b/${aws:PrincipalTag/team}/*", "arn:aws:s3:::b/red/1", true),
            ("arn:aws:s3:::b/${aws:userid}/*", "arn:aws:s3:::b//1", false),
            ("jobs", "jobs", true),
            ("jobs", "arn:aws:sqs:eu-west-1:123456789012:jobs", false),
            ("arn:aws:s3:::*", "*", false),
        ];
        for (pattern, arn, expected) in cases {
            let compiled = ArnPattern::new(pattern, true);
            assert_eq!(
                compiled.matches(&Subject::exactly(arn), &context()) == Some(true),
                expected,
                "{pattern} against {arn}"
            );
        }
    }

    #[test]
    fn a_pattern_is_compared_with_a_pattern_when_any_resource_will_do() {
        let cases = [
            // policy, request, meets, covers
            ("arn:aws:s3:::my-bucket/photo", "*", true, false),
            ("*", "*", true, true),
            ("arn:aws:s3:::*/AWSLogs/*", "arn:aws:s3:::b/*", true, false),
            ("arn:aws:s3:::*", "arn:aws:s3:::b/*", true, true),
            ("arn:aws:s3:::other/*", "arn:aws:s3:::b/*", false, false),
        ];
        for (pattern, request, meets, covers) in cases {
            let (compiled, subject) = (ArnPattern::new(pattern, true), Subject::any_of(request));
            assert_eq!(compiled.meets(&subject, &context()), Some(meets), "{pattern} meets {request}");
            assert_eq!(compiled.covers(&subject, &context()), Some(covers), "{pattern} covers {request}");
        }
    }
}
