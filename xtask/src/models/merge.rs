//! What Smithy's (older) models know laid into what botocore's (newer) say. botocore wins where both speak, except where it
//! is known to have dropped a fact; differences go to standard error.

use std::collections::{HashMap, HashSet};

use pileus_wire::model::{MemberLine, Model, ModelHeader, OperationLine, ShapeLine};
use pileus_wire::protocol::Protocol;
use pileus_wire::schema::{Auth, Bind, ErrorTraits, Kind};

pub fn merge(mut ours: Model, theirs: &Model, name: &str) -> Model {
    let pairs = pairs(&ours, theirs);
    let mut report = Report { service: name };
    header(&mut ours.header, &theirs.header);
    for operation in &mut ours.operations {
        if let Some(their) = theirs.operation(operation.name) {
            self::operation(operation, their, &mut report);
        }
    }
    let flattened: HashSet<&str> =
        ours.shapes.iter().filter(|shape| shape.is_flattened).map(|shape| shape.name).collect();
    let context = Context {
        is_query_compatible: ours.header.is_query_compatible,
        has_statuses: !matches!(
            ours.header.protocols.first(),
            Some(Protocol::AwsJson10 | Protocol::AwsJson11 | Protocol::RpcV2Cbor)
        ),
        flattened,
    };
    for shape in &mut ours.shapes {
        if let Some(their) = pairs.get(shape.name).and_then(|their| theirs.shape(their)) {
            self::shape(shape, their, &context, &mut report);
        }
    }
    ours
}

struct Context {
    is_query_compatible: bool,
    /// Smithy's statuses mean what goes over the wire. JSON services answer 400 and 500 whatever their models say, but for
    /// those that kept what they sent as query services.
    has_statuses: bool,
    /// Lists that are flattened wherever they stand.
    flattened: HashSet<&'static str>,
}

struct Report<'a> {
    service: &'a str,
}

impl Report<'_> {
    fn differ(&mut self, place: &str, what: &str, ours: impl std::fmt::Debug, theirs: impl std::fmt::Debug) {
        eprintln!("{}: {place}: {what}: botocore {ours:?}, Smithy {theirs:?}", self.service);
    }
}

/// Our shapes and theirs that stand in the same place, found by walking down from operations: names were changed at times.
fn pairs(ours: &Model, theirs: &Model) -> HashMap<&'static str, &'static str> {
    let mut pairs = HashMap::new();
    let mut ahead = Vec::new();
    for operation in &ours.operations {
        let Some(their) = theirs.operation(operation.name) else { continue };
        ahead.extend(operation.input.zip(their.input));
        ahead.extend(operation.output.zip(their.output));
    }
    let errors = ours.shapes.iter().filter(|shape| shape.error.is_some());
    ahead.extend(errors.map(|shape| (shape.name, shape.name)));
    while let Some((our, their)) = ahead.pop() {
        if pairs.contains_key(our) {
            continue;
        }
        let (Some(our), Some(their)) = (ours.shape(our), theirs.shape(their)) else { continue };
        pairs.insert(our.name, their.name);
        for member in &our.members {
            if let Some(same) = their.members.iter().find(|same| same.name == member.name) {
                ahead.push((member.shape, same.shape));
            }
        }
    }
    pairs
}

fn header(ours: &mut ModelHeader, theirs: &ModelHeader) {
    ours.arn_namespace = theirs.arn_namespace;
    ours.event_source = theirs.event_source;
    ours.is_query_compatible |= theirs.is_query_compatible;
    if ours.xml_namespace.is_empty() {
        ours.xml_namespace = theirs.xml_namespace;
    }
}

fn operation(ours: &mut OperationLine, theirs: &OperationLine, report: &mut Report) {
    ours.has_unwrapped_output |= theirs.has_unwrapped_output;
    ours.is_readonly = ours.is_readonly.or(theirs.is_readonly);
    if theirs.auth == Auth::None {
        ours.auth = Auth::None;
    }
    if (ours.method, route(ours.uri)) != (theirs.method, route(theirs.uri)) {
        report.differ(ours.name, "route", (ours.method, ours.uri), (theirs.method, theirs.uri));
    }
    if ours.status != theirs.status {
        report.differ(ours.name, "status", ours.status, theirs.status);
    }
    if ours.host_prefix != theirs.host_prefix {
        report.differ(ours.name, "host prefix", ours.host_prefix, theirs.host_prefix);
    }
    if ours.requires_checksum != theirs.requires_checksum {
        report.differ(ours.name, "checksum", ours.requires_checksum, theirs.requires_checksum);
    }
}

/// A URI template as routing sees it: labels are nameless, and `?x` and `?x=` are one.
fn route(uri: &str) -> String {
    let mut text = String::new();
    for part in uri.trim_end_matches('=').split('{') {
        match part.split_once('}') {
            Some((label, rest)) => {
                text.push_str(if label.ends_with('+') { "{+}" } else { "{}" });
                text.push_str(rest);
            }
            None => text.push_str(part),
        }
    }
    text
}

fn shape(ours: &mut ShapeLine, theirs: &ShapeLine, context: &Context, report: &mut Report) {
    match (ours.kind, theirs.kind) {
        (Kind::Structure, Kind::Union) => ours.kind = Kind::Union,
        (our, their) if our != their => return report.differ(ours.name, "kind", our, their),
        _ => {}
    }
    if let (Some(our), Some(their)) = (&mut ours.error, &theirs.error) {
        error(ours.name, our, their, context, report);
    }
    ours.is_sensitive |= theirs.is_sensitive;
    ours.is_sparse |= theirs.is_sparse;
    ours.is_streaming |= theirs.is_streaming;
    ours.time_format = ours.time_format.or(theirs.time_format);
    ours.xml_name = ours.xml_name.or(theirs.xml_name);
    if ours.xml_namespace.is_none() {
        (ours.xml_namespace, ours.xml_prefix) = (theirs.xml_namespace, theirs.xml_prefix);
    }
    if (ours.min, ours.max) != (theirs.min, theirs.max) {
        report.differ(ours.name, "bounds", (ours.min, ours.max), (theirs.min, theirs.max));
    }
    if bare(ours.pattern) != bare(theirs.pattern) {
        report.differ(ours.name, "pattern", ours.pattern, theirs.pattern);
    }
    let is_flattened = ours.is_flattened && ours.kind == Kind::List;
    for member in &mut ours.members {
        if let Some(their) = theirs.members.iter().find(|their| their.name == member.name) {
            self::member(ours.name, is_flattened, member, their, context, report);
        }
    }
    for their in &theirs.members {
        if !ours.members.iter().any(|member| member.name == their.name) {
            report.differ(ours.name, "member", "none", their.name);
        }
    }
}

/// Smithy writes anchors where botocore leaves them out.
fn bare(pattern: Option<&str>) -> Option<&str> {
    pattern.map(|pattern| {
        let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
        pattern.strip_suffix('$').unwrap_or(pattern)
    })
}

fn error(name: &str, ours: &mut ErrorTraits, theirs: &ErrorTraits, context: &Context, report: &mut Report) {
    if context.is_query_compatible {
        ours.query_code = ours.query_code.or(theirs.query_code);
    } else if context.has_statuses && ours.code.is_none() && theirs.query_code.is_some() {
        report.differ(name, "code", ours.code, theirs.query_code);
    }
    if ours.status == 0 {
        let is_known = context.has_statuses || context.is_query_compatible;
        ours.status = if is_known { theirs.status } else { 0 };
    } else if theirs.status != 0 && ours.status != theirs.status {
        report.differ(name, "status", ours.status, theirs.status);
    }
    if ours.is_sender_fault != theirs.is_sender_fault {
        report.differ(name, "sender's fault", ours.is_sender_fault, theirs.is_sender_fault);
        ours.is_sender_fault = theirs.is_sender_fault;
    }
}

fn member(
    owner: &str,
    is_flattened: bool,
    ours: &mut MemberLine,
    theirs: &MemberLine,
    context: &Context,
    report: &mut Report,
) {
    let place = format!("{owner}.{}", ours.name);
    // The element of a flattened list is named by the member that holds the list.
    if ours.xml.is_none() && !is_flattened {
        ours.xml = theirs.xml.filter(|name| *name != ours.name);
    } else if theirs.xml.is_some() && ours.xml != theirs.xml && !is_flattened {
        report.differ(&place, "XML name", ours.xml, theirs.xml);
    }
    if ours.json.is_none() && ours.bind == Bind::Body {
        ours.json = theirs.json.filter(|name| *name != ours.name);
    } else if ours.bind == Bind::Body && theirs.json.is_some() && ours.json != theirs.json {
        report.differ(&place, "JSON name", ours.json, theirs.json);
    }
    let are_labels = matches!((&ours.bind, &theirs.bind), (Bind::Label(_), Bind::Label(_)));
    if ours.bind != Bind::Body && ours.bind != theirs.bind && !are_labels {
        report.differ(&place, "binding", &ours.bind, &theirs.bind);
    }
    if ours.xml_namespace.is_none() {
        (ours.xml_namespace, ours.xml_prefix) = (theirs.xml_namespace, theirs.xml_prefix);
    }
    ours.time_format = ours.time_format.or(theirs.time_format);
    ours.is_flattened |= theirs.is_flattened && !context.flattened.contains(ours.shape);
    ours.is_xml_attribute |= theirs.is_xml_attribute;
    ours.is_sensitive |= theirs.is_sensitive;
    ours.is_idempotency_token |= theirs.is_idempotency_token;
    ours.is_host_label |= theirs.is_host_label;
    ours.is_event_payload |= theirs.is_event_payload;
    ours.is_event_header |= theirs.is_event_header;
    if ours.is_required != theirs.is_required {
        report.differ(&place, "required", ours.is_required, theirs.is_required);
    }
}
