//! REST operations: a trie over raw path segments, built when a service is first asked for.
//!
//! A literal segment beats a label, a label beats a greedy one; if the better way leads nowhere, the next is tried. Of
//! operations on one method and path, the one wins with more of its literal query present, then with more of its required
//! query parameters and headers, then the one that is not deprecated. A slash at the end means nothing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use crate::protocol::Request;
use crate::schema::{Bind, Operation, Service};

/// An operation, and the raw text of its labels.
#[derive(Debug)]
pub(super) struct Matched<'p> {
    pub operation: &'static Operation,
    pub names: &'static [&'static str],
    pub raw: Vec<Cow<'p, str>>,
    /// The first label is not percent-encoded: a bucket from the host.
    pub first_is_plain: bool,
}

impl Matched<'_> {
    /// The labels, decoded once; `None` if one is not percent-encoded UTF-8.
    pub fn labels(self) -> Option<Vec<(&'static str, String)>> {
        let plain = usize::from(self.first_is_plain);
        let decoded = |(i, raw): (usize, Cow<'_, str>)| {
            if i < plain { Some(raw.into_owned()) } else { decode_path(&raw).map(Cow::into_owned) }
        };
        let values = self.raw.into_iter().enumerate().map(decoded);
        self.names.iter().zip(values).map(|(name, value)| Some((*name, value?))).collect()
    }
}

/// The operation at `path`, which may differ from the request's own.
pub(super) fn find<'p>(
    service: &'static Service,
    request: &Request<'_>,
    path: &'p str,
) -> Option<Matched<'p>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut raw = Vec::new();
    let segments = if path.is_empty() { None } else { Some(path) };
    let candidate = table(service).root.find(segments, request, &mut raw)?;
    let raw = raw.into_iter().map(Cow::Borrowed).collect();
    Some(Matched { operation: candidate.operation, names: &candidate.labels, raw, first_is_plain: false })
}

/// API Gateway's management API lies under each API's stage: `/stage/@connections/{id}`.
pub(super) fn path_within<'p>(service: &Service, path: &'p str) -> &'p str {
    if service.endpoint_prefix != "execute-api" {
        return path;
    }
    let at = path.find("/@connections").or_else(|| path.find("/%40connections"));
    at.map_or(path, |at| &path[at..])
}

/// The operations of one service by path.
#[derive(Debug, Default)]
pub(super) struct Table {
    root: Node,
    /// Operations by the number of their labels, when there is nothing but labels: S3's service, bucket and object.
    pub by_labels: [Vec<Candidate>; 3],
}

/// The table of a service, which lives as long as the service: for ever.
pub(super) fn table(service: &'static Service) -> &'static Table {
    static TABLES: LazyLock<RwLock<HashMap<usize, &'static Table>>> = LazyLock::new(RwLock::default);
    let key = std::ptr::from_ref(service) as usize;
    if let Some(table) = TABLES.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return table;
    }
    let mut tables = TABLES.write().unwrap_or_else(PoisonError::into_inner);
    tables.entry(key).or_insert_with(|| Box::leak(Box::new(Table::of(service))))
}

impl Table {
    fn of(service: &'static Service) -> Table {
        let mut table = Table::default();
        for operation in &service.operations {
            let (path, _) = operation.uri.split_once('?').unwrap_or((operation.uri, ""));
            let segments: Vec<Segment> = path.split('/').filter(|s| !s.is_empty()).map(Segment::of).collect();
            let candidate = Candidate::of(operation, &segments);
            if segments.iter().all(|segment| !matches!(segment, Segment::Literal(_)))
                && let Some(list) = table.by_labels.get_mut(segments.len())
            {
                list.push(candidate.clone());
            }
            table.root.insert(&segments, candidate);
        }
        table
    }
}

#[derive(Debug, Clone, Copy)]
enum Segment {
    Literal(&'static str),
    Label(&'static str),
    Greedy(&'static str),
}

impl Segment {
    fn of(text: &'static str) -> Segment {
        match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            None => Segment::Literal(text),
            Some(name) => name.strip_suffix('+').map_or(Segment::Label(name), Segment::Greedy),
        }
    }
}

/// How well a request fits an operation: literal query parameters, whether all that is required is there, how much of it
/// (or less how much is missing), and that the operation is not deprecated.
type Fit = (usize, bool, isize, bool);

/// An operation that ends at a node of the trie.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub operation: &'static Operation,
    pub labels: Vec<&'static str>,
    /// Of the URI template: name, and value if it has one.
    literals: Vec<(&'static str, Option<&'static str>)>,
    required_query: Vec<&'static str>,
    required_headers: Vec<&'static str>,
}

impl Candidate {
    fn of(operation: &'static Operation, segments: &[Segment]) -> Candidate {
        let query = operation.uri.split_once('?').map_or("", |(_, query)| query);
        // `x-id` only repeats the operation's name, and not all clients send it.
        let literals = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("x-id="));
        let literals = literals.map(|pair| match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() => (name, Some(value)),
            _ => (pair.trim_end_matches('='), None),
        });
        let mut candidate = Candidate {
            operation,
            labels: Vec::new(),
            literals: literals.collect(),
            required_query: Vec::new(),
            required_headers: Vec::new(),
        };
        for segment in segments {
            if let Segment::Label(name) | Segment::Greedy(name) = segment {
                candidate.labels.push(name);
            }
        }
        for member in operation.input.members().iter().filter(|member| member.is_required) {
            match member.bind {
                Bind::Query(name) => candidate.required_query.push(name),
                Bind::Header(name) => candidate.required_headers.push(name),
                _ => {}
            }
        }
        candidate
    }

    /// How well the request fits; more is better. `None` if the method or the literal query does not.
    fn fit(&self, request: &Request<'_>) -> Option<Fit> {
        if request.method.as_str() != self.operation.method {
            return None;
        }
        let has = |(name, value): &(&str, Option<&str>)| has_query(request.query, name, *value);
        if !self.literals.iter().all(has) {
            return None;
        }
        let required = self.required_query.len() + self.required_headers.len();
        let present = self.required_query.iter().filter(|name| has_query(request.query, name, None)).count()
            + self.required_headers.iter().filter(|name| request.headers.contains_key(**name)).count();
        let missing = required - present;
        let worth = if missing == 0 { present as isize } else { -(missing as isize) };
        Some((self.literals.len(), missing == 0, worth, !self.operation.is_deprecated))
    }
}

/// The candidate that fits best; the earlier of equals.
pub(super) fn best<'c>(
    candidates: impl IntoIterator<Item = &'c Candidate>,
    request: &Request<'_>,
) -> Option<&'c Candidate> {
    let mut best: Option<(Fit, &Candidate)> = None;
    for candidate in candidates {
        if let Some(fit) = candidate.fit(request)
            && best.is_none_or(|(other, _)| fit > other)
        {
            best = Some((fit, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[derive(Debug, Default)]
struct Node {
    literals: Vec<(&'static str, Node)>,
    label: Option<Box<Node>>,
    greedy: Option<Box<Node>>,
    ends: Vec<Candidate>,
}

impl Node {
    fn insert(&mut self, segments: &[Segment], candidate: Candidate) {
        let Some((first, rest)) = segments.split_first() else {
            self.ends.push(candidate);
            return;
        };
        let next = match first {
            Segment::Literal(text) => match self.literals.iter().position(|(other, _)| other == text) {
                Some(at) => &mut self.literals[at].1,
                None => {
                    self.literals.push((text, Node::default()));
                    &mut self.literals.last_mut().expect("a node was just pushed").1
                }
            },
            Segment::Label(_) => self.label.get_or_insert_default(),
            Segment::Greedy(_) => self.greedy.get_or_insert_default(),
        };
        next.insert(rest, candidate);
    }

    /// `path` is what is left, without its leading slash; `None` at the end. `raw` collects the labels.
    fn find<'n, 'p>(
        &'n self,
        path: Option<&'p str>,
        request: &Request<'_>,
        raw: &mut Vec<&'p str>,
    ) -> Option<&'n Candidate> {
        let Some(path) = path else { return best(&self.ends, request) };
        let (segment, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let literal = self.literals.iter().find(|(text, _)| is_same(segment, text));
        if let Some(found) = literal.and_then(|(_, node)| node.find(rest, request, raw)) {
            return Some(found);
        }
        if segment.is_empty() {
            return None;
        }
        let mark = raw.len();
        if let Some(node) = &self.label {
            raw.push(segment);
            if let Some(found) = node.find(rest, request, raw) {
                return Some(found);
            }
            raw.truncate(mark);
        }
        let node = self.greedy.as_ref()?;
        // All up to a later slash that the template's next segment follows, the longest first; else the whole rest.
        let mut end = path.len();
        while !node.literals.is_empty() {
            let Some(slash) = path[..end].rfind('/').filter(|slash| *slash > 0) else { break };
            end = slash;
            raw.push(&path[..end]);
            if let Some(found) = node.find(Some(&path[end + 1..]), request, raw) {
                return Some(found);
            }
            raw.truncate(mark);
        }
        raw.push(path);
        let found = node.find(None, request, raw);
        if found.is_none() {
            raw.truncate(mark);
        }
        found
    }
}

fn is_same(segment: &str, literal: &str) -> bool {
    segment == literal || (segment.contains('%') && decode_path(segment).is_some_and(|text| text == literal))
}

/// Whether the query has a parameter, with a given value if one is asked for.
pub(super) fn has_query(query: &str, name: &str, value: Option<&str>) -> bool {
    let same = |text: &str, wanted: &str| {
        text == wanted || (text.contains('%') && decode(text).is_some_and(|t| t == wanted))
    };
    query.split('&').any(|pair| {
        let (key, given) = pair.split_once('=').unwrap_or((pair, ""));
        same(key, name) && value.is_none_or(|value| same(given, value))
    })
}

/// Percent-decodes once. `None` if the result is not UTF-8; a `%` without two digits stays.
pub(super) fn decode_path(text: &str) -> Option<Cow<'_, str>> {
    decode_with(text, false)
}

/// As `decode_path`, of a query or a form, where `+` is a space.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    decode_with(text, true)
}

fn decode_with(text: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|b| b == b'%' || (plus_is_space && b == b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let digits = bytes.get(i + 1..i + 3).and_then(|pair| Some((hex(pair[0])?, hex(pair[1])?)));
        match (bytes[i], digits) {
            (b'%', Some((high, low))) => {
                out.push(high << 4 | low);
                i += 3;
                continue;
            }
            (b'+', _) if plus_is_space => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}
