//! Reading: one pass over the lines, no copies of text.

use super::{
    COERCIONS, DIALECTS, KINDS, MemberLine, Model, ModelError, ModelHeader, OperationLine, PROTOCOLS,
    ShapeLine, TIME_FORMATS, value_of,
};
use crate::schema::{Auth, Bind, Dialect, ErrorTraits, Kind, Malformed, Missing};

type Tokens = std::str::Split<'static, char>;

/// Reads the whole text.
///
/// # Errors
/// The first line that does not follow the grammar.
pub fn read(text: &'static str) -> Result<Model, ModelError> {
    let mut model = Model::default();
    let body = header_lines(&mut model.header, text)?;
    let lines = text.lines().enumerate().skip(body);
    model.shapes.reserve(text.len() / 128);
    for (at, line) in lines {
        body_line(&mut model, line).map_err(|reason| ModelError { line: at + 1, reason })?;
    }
    model.shapes.sort_by_key(|shape| shape.name);
    check_members(&model.shapes)?;
    Ok(model)
}

/// Reads the header alone, of a model and of its overlay (which may be empty).
///
/// # Errors
/// The first header line that does not follow the grammar.
pub fn read_header(text: &'static str, overlay: &'static str) -> Result<ModelHeader, ModelError> {
    let mut header = ModelHeader::default();
    header_lines(&mut header, text)?;
    header_lines(&mut header, overlay)?;
    Ok(header)
}

/// Reads header lines into `header` and returns how many lines they take, the empty one included.
pub(super) fn header_lines(header: &mut ModelHeader, text: &'static str) -> Result<usize, ModelError> {
    for (at, line) in text.lines().enumerate() {
        if line.is_empty() {
            return Ok(at + 1);
        }
        if !line.starts_with('#') {
            header_line(header, line).map_err(|reason| ModelError { line: at + 1, reason })?;
        }
    }
    Ok(usize::MAX)
}

fn header_line(header: &mut ModelHeader, line: &'static str) -> Result<(), String> {
    let (key, value) = line.split_once(' ').unwrap_or((line, ""));
    match key {
        "model" => header.name = value,
        "id" => header.service_id = value,
        "version" => header.api_version = value,
        "protocols" => {
            header.protocols.clear();
            for word in value.split(' ') {
                let protocol = value_of(&PROTOCOLS, word).ok_or_else(|| format!("no protocol `{word}`"))?;
                header.protocols.push(protocol);
            }
        }
        "signing" => header.signing_name = value,
        "endpoint" => header.endpoint_prefix = value,
        "target" => header.target_prefix = value,
        "xmlns" => header.xml_namespace = value,
        "arn" => header.arn_namespace = value,
        "source" => header.event_source = value,
        "query-compatible" => header.is_query_compatible = true,
        "errors" => header.error_namespace = value,
        "framework" => header.framework_namespace = value,
        "validation" => validation(header, value)?,
        "missing" => header.validation.missing = missing(value)?,
        "malformed" => header.validation.malformed.push(malformed(value)?),
        "coercion" => {
            header.coercion = value_of(&COERCIONS, value).ok_or_else(|| format!("no coercion `{value}`"))?;
        }
        _ => return Err(format!("no header `{key}`")),
    }
    Ok(())
}

fn validation(header: &mut ModelHeader, value: &'static str) -> Result<(), String> {
    let rules = &mut header.validation;
    let mut words = value.split(' ');
    rules.code = words.next().unwrap_or("");
    for word in words {
        if let Some(dialect) = value_of::<Dialect>(&DIALECTS, word) {
            rules.dialect = dialect;
        } else {
            match word {
                "java7" => rules.java7_order = true,
                "input-path" => rules.path_has_input_shape = true,
                "brackets-null" => rules.brackets_end_with_null = true,
                "hide-enums" => rules.hides_enum_values = true,
                _ => return Err(format!("no validation rule `{word}`")),
            }
        }
    }
    Ok(())
}

fn missing(value: &'static str) -> Result<Missing, String> {
    let parts = value.split_once(' ').and_then(|(code, text)| Some((code, text.split_once("{}")?)));
    let (code, (before, after)) = parts.ok_or("`missing` wants a code and a sentence with `{}`")?;
    Ok(Missing::Named { code, before, after })
}

fn malformed(value: &'static str) -> Result<Malformed, String> {
    let parts = value.split_once(' ').and_then(|(names, text)| Some((names, text.split_once("{}")?)));
    let (names, (before, after)) = parts.ok_or("`malformed` wants members and a sentence with `{}`")?;
    Ok(Malformed { members: names.split(',').collect(), before, after })
}

fn body_line(model: &mut Model, line: &'static str) -> Result<(), String> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    if let Some(member) = line.strip_prefix(' ') {
        let shape = model.shapes.last_mut().ok_or("a member before the first shape")?;
        shape.members.push(member_line(member)?);
        return Ok(());
    }
    let (word, rest) = line.split_once(' ').ok_or("a line of one word")?;
    match word {
        "op" => model.operations.push(operation_line(rest)?),
        _ => model.shapes.push(shape_line(word, rest)?),
    }
    Ok(())
}

pub(super) fn operation_line(rest: &'static str) -> Result<OperationLine, String> {
    let mut tokens = rest.split(' ');
    let mut operation = OperationLine::new(name(&mut tokens)?);
    operation.method = tokens.next().ok_or("no method")?;
    operation.uri = tokens.next().ok_or("no URI")?;
    operation_tokens(&mut operation, tokens)?;
    Ok(operation)
}

pub(super) fn operation_tokens(operation: &mut OperationLine, tokens: Tokens) -> Result<(), String> {
    for token in tokens {
        match token.split_at_checked(1) {
            Some(("<", input)) => operation.input = Some(input),
            Some((">", output)) => operation.output = Some(output),
            Some(("!", errors)) => operation.errors = errors.split(',').collect(),
            _ => operation_token(operation, token)?,
        }
    }
    Ok(())
}

fn operation_token(operation: &mut OperationLine, token: &'static str) -> Result<(), String> {
    match token.split_once('=') {
        Some(("status", status)) => operation.status = number(status)?,
        Some(("wrapper", name)) => operation.result_wrapper = Some(name),
        Some(("element", name)) => operation.input_element = Some(name),
        Some(("element-ns", uri)) => operation.input_namespace = Some(uri),
        Some(("host", prefix)) => operation.host_prefix = Some(prefix),
        Some(("auth", "none")) => operation.auth = Auth::None,
        Some(("auth", "bearer")) => operation.auth = Auth::Bearer,
        Some(("auth", "sigv4")) => operation.auth = Auth::SigV4,
        Some(("actions", actions)) => operation.actions = actions.split(',').collect(),
        Some(_) => return Err(format!("no operation token `{token}`")),
        None => match token {
            "deprecated" => operation.is_deprecated = true,
            "readonly" => operation.is_readonly = Some(true),
            "mutates" => operation.is_readonly = Some(false),
            "checksum" => operation.requires_checksum = true,
            "unwrapped" => operation.has_unwrapped_output = true,
            _ => return Err(format!("no operation token `{token}`")),
        },
    }
    Ok(())
}

pub(super) fn shape_line(word: &str, rest: &'static str) -> Result<ShapeLine, String> {
    let kind = value_of(&KINDS, word).ok_or_else(|| format!("no kind of line `{word}`"))?;
    let (name, tokens) = rest.split_once(' ').unwrap_or((rest, ""));
    if name.is_empty() {
        return Err("no name".to_owned());
    }
    let mut shape = ShapeLine::new(name, kind);
    if word == "error" {
        shape.error = Some(ErrorTraits { is_sender_fault: true, ..ErrorTraits::default() });
    }
    shape_tokens(&mut shape, tokens)?;
    Ok(shape)
}

/// Everything after a shape's name. Pattern and enum values may hold spaces, so they come last.
pub(super) fn shape_tokens(shape: &mut ShapeLine, mut rest: &'static str) -> Result<(), String> {
    while !rest.is_empty() {
        if let Some(values) = rest.strip_prefix("= ") {
            shape.values = values.split('|').collect();
            return Ok(());
        }
        if let Some(pattern) = rest.strip_prefix('/') {
            let pattern = pattern.strip_suffix('/').ok_or("a pattern without its closing `/`")?;
            shape.pattern = Some(pattern);
            return Ok(());
        }
        let (token, after) = rest.split_once(' ').unwrap_or((rest, ""));
        shape_token(shape, token)?;
        rest = after;
    }
    Ok(())
}

fn shape_token(shape: &mut ShapeLine, token: &'static str) -> Result<(), String> {
    match token.split_once('=') {
        Some(("min", min)) => shape.min = Some(number(min)?),
        Some(("max", max)) => shape.max = Some(number(max)?),
        Some(("x", name)) => shape.xml_name = Some(name),
        Some(("ns", uri)) => shape.xml_namespace = Some(uri),
        Some(("ns-prefix", prefix)) => shape.xml_prefix = Some(prefix),
        Some(("time", format)) => shape.time_format = Some(time_format(format)?),
        Some(("code", code)) => error_of(shape)?.code = Some(code),
        Some(("query-code", code)) => error_of(shape)?.query_code = Some(code),
        Some(_) => return Err(format!("no shape token `{token}`")),
        None => match token {
            "sensitive" => shape.is_sensitive = true,
            "sparse" => shape.is_sparse = true,
            "open" => shape.is_open = true,
            "flat" => shape.is_flattened = true,
            "stream" => shape.is_streaming = true,
            "receiver" => error_of(shape)?.is_sender_fault = false,
            _ if token.bytes().all(|byte| byte.is_ascii_digit()) => error_of(shape)?.status = number(token)?,
            _ => return Err(format!("no shape token `{token}`")),
        },
    }
    Ok(())
}

fn error_of(shape: &mut ShapeLine) -> Result<&mut ErrorTraits, String> {
    shape.error.as_mut().ok_or_else(|| "only an error has a code and a status".to_owned())
}

pub(super) fn member_line(line: &'static str) -> Result<MemberLine, String> {
    let mut tokens = line.split(' ');
    let written = name(&mut tokens)?;
    let bare = written.strip_suffix('!');
    let mut member = MemberLine::new(bare.unwrap_or(written), tokens.next().ok_or("no shape")?);
    member.is_required = bare.is_some();
    for token in tokens {
        member_token(&mut member, token)?;
    }
    Ok(member)
}

fn member_token(member: &mut MemberLine, token: &'static str) -> Result<(), String> {
    match token.split_once('=') {
        Some(("j", name)) => member.json = Some(name),
        Some(("x", name)) => member.xml = Some(name),
        Some(("q", name)) => member.ec2 = Some(name),
        Some(("h", name)) => member.bind = Bind::Header(name),
        Some(("hp", prefix)) => member.bind = Bind::HeaderPrefix(prefix),
        Some(("l", name)) => member.bind = Bind::Label(name),
        Some(("qs", name)) => member.bind = Bind::Query(name),
        Some(("time", format)) => member.time_format = Some(time_format(format)?),
        Some(("ns", uri)) => member.xml_namespace = Some(uri),
        Some(("ns-prefix", prefix)) => member.xml_prefix = Some(prefix),
        Some(_) => return Err(format!("no member token `{token}`")),
        None => match token {
            "qs-rest" => member.bind = Bind::QueryMap,
            "status" => member.bind = Bind::Status,
            "payload" => member.bind = Bind::Payload,
            "flat" => member.is_flattened = true,
            "attr" => member.is_xml_attribute = true,
            "sensitive" => member.is_sensitive = true,
            "token" => member.is_idempotency_token = true,
            "stream" => member.is_streaming = true,
            "host" => member.is_host_label = true,
            "ev-payload" => member.is_event_payload = true,
            "ev-header" => member.is_event_header = true,
            "json" => member.is_json_value = true,
            _ => return Err(format!("no member token `{token}`")),
        },
    }
    Ok(())
}

/// Lists have one member, maps two, simple shapes none.
pub(super) fn check_members(shapes: &[ShapeLine]) -> Result<(), ModelError> {
    for shape in shapes {
        let is_right = match shape.kind {
            Kind::Structure | Kind::Union | Kind::EventStream => true,
            Kind::List => shape.members.len() == 1,
            Kind::Map => shape.members.len() == 2,
            _ => shape.members.is_empty(),
        };
        if !is_right {
            return Err(ModelError::whole(format!("`{}` has {} members", shape.name, shape.members.len())));
        }
    }
    Ok(())
}

fn name(tokens: &mut Tokens) -> Result<&'static str, String> {
    tokens.next().filter(|name| !name.is_empty() && *name != "!").ok_or_else(|| "no name".to_owned())
}

fn time_format(word: &str) -> Result<crate::schema::TimeFormat, String> {
    value_of(&TIME_FORMATS, word).ok_or_else(|| format!("no time format `{word}`"))
}

pub(super) fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not such a number"))
}
