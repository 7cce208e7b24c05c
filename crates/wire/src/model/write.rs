//! Writing: the inverse of reading, byte for byte stable.

use std::fmt::Write;

use super::{
    COERCIONS, DIALECTS, KINDS, MemberLine, Model, ModelHeader, OperationLine, PROTOCOLS, ShapeLine,
    TIME_FORMATS, word_of,
};
use crate::schema::{Auth, Bind, Coercion, Malformed, Missing, ValidationRules};

/// The model as text. Reading it back gives an equal model.
///
/// # Errors
/// Names the first word that the format cannot hold: one with a space or a line break in it.
pub fn write(model: &Model) -> Result<String, String> {
    let mut lines = Lines { text: String::new(), bad: None };
    header(&mut lines, &model.header);
    lines.end();
    for shape in &model.operations {
        operation(&mut lines, shape);
    }
    for line in &model.shapes {
        shape(&mut lines, line);
    }
    match lines.bad {
        Some(word) => Err(format!("the model format cannot hold {word:?}")),
        None => Ok(lines.text),
    }
}

struct Lines {
    text: String,
    bad: Option<String>,
}

impl Lines {
    /// A token that must not hold a space.
    fn token(&mut self, prefix: &str, word: &str) {
        self.check(word, |c| c == ' ' || c == '\n' || c == '\r');
        if !self.text.is_empty() && !self.text.ends_with('\n') && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
        self.text.push_str(prefix);
        self.text.push_str(word);
    }

    /// The rest of a line.
    fn rest(&mut self, prefix: &str, words: &str) {
        self.check(words, |c| c == '\n' || c == '\r');
        self.text.push_str(prefix);
        self.text.push_str(words);
        self.end();
    }

    fn option(&mut self, prefix: &str, word: Option<&str>) {
        if let Some(word) = word {
            self.token(prefix, word);
        }
    }

    fn flag(&mut self, word: &str, is_set: bool) {
        if is_set {
            self.token("", word);
        }
    }

    fn end(&mut self) {
        self.text.push('\n');
    }

    fn check(&mut self, word: &str, is_bad: impl Fn(char) -> bool) {
        if word.contains(is_bad) && self.bad.is_none() {
            self.bad = Some(word.to_owned());
        }
    }
}

fn header(lines: &mut Lines, header: &ModelHeader) {
    lines.rest("model ", header.name);
    let protocols: Vec<_> = header.protocols.iter().map(|protocol| word_of(&PROTOCOLS, *protocol)).collect();
    let protocols = protocols.join(" ");
    let values = [
        ("id ", header.service_id),
        ("version ", header.api_version),
        ("protocols ", &protocols),
        ("signing ", header.signing_name),
        ("endpoint ", header.endpoint_prefix),
        ("target ", header.target_prefix),
        ("xmlns ", header.xml_namespace),
        ("arn ", header.arn_namespace),
        ("source ", header.event_source),
    ];
    for (key, value) in values.into_iter().filter(|(_, value)| !value.is_empty()) {
        lines.rest(key, value);
    }
    if header.is_query_compatible {
        lines.rest("query-compatible", "");
    }
    if header.validation != ValidationRules::default() {
        validation(lines, &header.validation);
    }
    if header.coercion != Coercion::default() {
        lines.rest("coercion ", word_of(&COERCIONS, header.coercion));
    }
    for (key, value) in [("errors ", header.error_namespace), ("framework ", header.framework_namespace)] {
        if !value.is_empty() {
            lines.rest(key, value);
        }
    }
}

fn validation(lines: &mut Lines, rules: &ValidationRules) {
    lines.token("validation ", rules.code);
    lines.token("", word_of(&DIALECTS, rules.dialect));
    lines.flag("java7", rules.java7_order);
    lines.flag("input-path", rules.path_has_input_shape);
    lines.flag("brackets-null", rules.brackets_end_with_null);
    lines.flag("hide-enums", rules.hides_enum_values);
    lines.end();
    if let Missing::Named { code, before, after } = rules.missing {
        lines.rest("missing ", &format!("{code} {before}{{}}{after}"));
    }
    for Malformed { members, before, after } in &rules.malformed {
        lines.rest("malformed ", &format!("{} {before}{{}}{after}", members.join(",")));
    }
}

fn operation(lines: &mut Lines, operation: &OperationLine) {
    lines.token("op ", operation.name);
    lines.token("", operation.method);
    lines.token("", operation.uri);
    lines.option("<", operation.input);
    lines.option(">", operation.output);
    if !operation.errors.is_empty() {
        lines.token("!", &operation.errors.join(","));
    }
    if operation.status != 200 {
        lines.token("status=", &operation.status.to_string());
    }
    lines.option("wrapper=", operation.result_wrapper);
    lines.option("element=", operation.input_element);
    lines.option("element-ns=", operation.input_namespace);
    lines.option("host=", operation.host_prefix);
    match operation.auth {
        Auth::SigV4 => {}
        Auth::None => lines.token("auth=", "none"),
        Auth::Bearer => lines.token("auth=", "bearer"),
    }
    if !operation.actions.is_empty() {
        lines.token("actions=", &operation.actions.join(","));
    }
    lines.flag("deprecated", operation.is_deprecated);
    lines.flag("readonly", operation.is_readonly == Some(true));
    lines.flag("mutates", operation.is_readonly == Some(false));
    lines.flag("checksum", operation.requires_checksum);
    lines.flag("unwrapped", operation.has_unwrapped_output);
    lines.end();
}

fn shape(lines: &mut Lines, shape: &ShapeLine) {
    let word = if shape.error.is_some() { "error" } else { word_of(&KINDS, shape.kind) };
    lines.token("", word);
    lines.token("", shape.name);
    if let Some(error) = &shape.error {
        if error.status != 0 {
            lines.token("", &error.status.to_string());
        }
        lines.option("code=", error.code);
        lines.option("query-code=", error.query_code);
        lines.flag("receiver", !error.is_sender_fault);
    }
    lines.option("min=", shape.min.map(|min| min.to_string()).as_deref());
    lines.option("max=", shape.max.map(|max| max.to_string()).as_deref());
    lines.option("x=", shape.xml_name);
    lines.option("ns=", shape.xml_namespace);
    lines.option("ns-prefix=", shape.xml_prefix);
    lines.option("time=", shape.time_format.map(|format| word_of(&TIME_FORMATS, format)));
    lines.flag("sensitive", shape.is_sensitive);
    lines.flag("sparse", shape.is_sparse);
    lines.flag("open", shape.is_open);
    lines.flag("flat", shape.is_flattened);
    lines.flag("stream", shape.is_streaming);
    if !shape.values.is_empty() {
        lines.rest(" = ", &shape.values.join("|"));
    } else if let Some(pattern) = shape.pattern {
        lines.rest(" /", &format!("{pattern}/"));
    } else {
        lines.end();
    }
    for line in &shape.members {
        member(lines, line);
    }
}

fn member(lines: &mut Lines, member: &MemberLine) {
    let mark = if member.is_required { "!" } else { "" };
    lines.check(member.name, |c| c == ' ');
    let _ = write!(lines.text, " {}{mark}", member.name);
    lines.token("", member.shape);
    lines.option("j=", member.json);
    lines.option("x=", member.xml);
    lines.option("q=", member.ec2);
    match member.bind {
        Bind::Body => {}
        Bind::Header(name) => lines.token("h=", name),
        Bind::HeaderPrefix(prefix) => lines.token("hp=", prefix),
        Bind::Label(name) => lines.token("l=", name),
        Bind::Query(name) => lines.token("qs=", name),
        Bind::QueryMap => lines.token("", "qs-rest"),
        Bind::Status => lines.token("", "status"),
        Bind::Payload => lines.token("", "payload"),
    }
    lines.option("time=", member.time_format.map(|format| word_of(&TIME_FORMATS, format)));
    lines.option("ns=", member.xml_namespace);
    lines.option("ns-prefix=", member.xml_prefix);
    lines.flag("flat", member.is_flattened);
    lines.flag("attr", member.is_xml_attribute);
    lines.flag("sensitive", member.is_sensitive);
    lines.flag("token", member.is_idempotency_token);
    lines.flag("stream", member.is_streaming);
    lines.flag("host", member.is_host_label);
    lines.flag("ev-payload", member.is_event_payload);
    lines.flag("ev-header", member.is_event_header);
    lines.flag("json", member.is_json_value);
    lines.end();
}
