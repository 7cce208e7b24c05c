//! A Smithy syntax tree (JSON) as our intermediate form. Documentation and examples are never looked at.

use std::collections::HashSet;

use pileus_wire::model::{MemberLine, Model, ModelHeader, OperationLine, ShapeLine};
use pileus_wire::protocol::Protocol;
use pileus_wire::schema::{Auth, Bind, ErrorTraits, Kind, TimeFormat};
use serde_json::{Map, Value};

/// The one service of the document, with its operations and shapes.
pub fn model(document: &Value) -> Result<Model, String> {
    let shapes = document.get("shapes").and_then(Value::as_object).ok_or("the document has no shapes")?;
    let mut model = Model::default();
    for (id, shape) in shapes {
        let name = local(id);
        match kind_word(shape) {
            "service" => model.header = header(id, shape)?,
            "operation" => model.operations.push(operation(name, shape)),
            "resource" => {}
            _ => model.shapes.push(shape_line(name, shape).map_err(|reason| format!("{id}: {reason}"))?),
        }
    }
    model.operations.sort_by_key(|operation| operation.name);
    model.shapes.sort_by_key(|shape| shape.name);
    add_prelude(&mut model);
    Ok(model)
}

/// Shapes of `smithy.api` that the model uses and does not have under the same name.
fn add_prelude(model: &mut Model) {
    const PRELUDE: [(&str, Kind); 13] = [
        ("String", Kind::String),
        ("Boolean", Kind::Boolean),
        ("PrimitiveBoolean", Kind::Boolean),
        ("Byte", Kind::Byte),
        ("Short", Kind::Short),
        ("Integer", Kind::Integer),
        ("PrimitiveInteger", Kind::Integer),
        ("Long", Kind::Long),
        ("PrimitiveLong", Kind::Long),
        ("Float", Kind::Float),
        ("Double", Kind::Double),
        ("Blob", Kind::Blob),
        ("Timestamp", Kind::Timestamp),
    ];
    let known: HashSet<&str> = model.shapes.iter().map(|shape| shape.name).collect();
    let used = model.shapes.iter().flat_map(|shape| &shape.members).map(|member| member.shape);
    let missing: HashSet<&str> = used.filter(|name| !known.contains(name)).collect();
    let added = PRELUDE.iter().filter(|(name, _)| missing.contains(name));
    model.shapes.extend(added.map(|(name, kind)| ShapeLine::new(name, *kind)));
    model.shapes.sort_by_key(|shape| shape.name);
}

fn header(id: &str, shape: &Value) -> Result<ModelHeader, String> {
    const PROTOCOLS: [(&str, Protocol); 7] = [
        ("aws.protocols#awsJson1_0", Protocol::AwsJson10),
        ("aws.protocols#awsJson1_1", Protocol::AwsJson11),
        ("aws.protocols#restJson1", Protocol::RestJson1),
        ("aws.protocols#restXml", Protocol::RestXml),
        ("smithy.protocols#rpcv2Cbor", Protocol::RpcV2Cbor),
        ("aws.protocols#ec2Query", Protocol::Ec2Query),
        ("aws.protocols#awsQuery", Protocol::AwsQuery),
    ];
    let traits = traits(shape);
    let service = traits.get("aws.api#service").unwrap_or(&Value::Null);
    let endpoint_prefix = keep(text(service, "endpointPrefix").unwrap_or(""));
    let signing = traits.get("aws.auth#sigv4").and_then(|trait_| text(trait_, "name"));
    let arn_namespace = keep(text(service, "arnNamespace").or(signing).unwrap_or(endpoint_prefix));
    let named = PROTOCOLS.iter().filter(|(name, _)| traits.contains_key(*name));
    let mut protocols: Vec<Protocol> = named.map(|(_, protocol)| *protocol).collect();
    let is_query_compatible = traits.contains_key("aws.protocols#awsQueryCompatible");
    if is_query_compatible && !protocols.contains(&Protocol::AwsQuery) {
        protocols.push(Protocol::AwsQuery);
    }
    let is_json = protocols.iter().any(|one| matches!(one, Protocol::AwsJson10 | Protocol::AwsJson11));
    Ok(ModelHeader {
        service_id: keep(text(service, "sdkId").ok_or("the service has no id")?),
        api_version: keep(text(shape, "version").unwrap_or("")),
        protocols,
        signing_name: signing.map_or(arn_namespace, keep),
        endpoint_prefix,
        target_prefix: if is_json { keep(local(id)) } else { "" },
        xml_namespace: namespace(traits).0.unwrap_or(""),
        arn_namespace,
        event_source: keep(text(service, "cloudTrailEventSource").unwrap_or("")),
        is_query_compatible,
        ..ModelHeader::default()
    })
}

fn operation(name: &str, shape: &Value) -> OperationLine {
    let traits = traits(shape);
    let http = traits.get("smithy.api#http").unwrap_or(&Value::Null);
    let target = |key: &str| shape.get(key).and_then(target_of).filter(|name| *name != "Unit").map(keep);
    let errors = shape.get("errors").and_then(Value::as_array).into_iter().flatten();
    let host = traits.get("smithy.api#endpoint").and_then(|endpoint| text(endpoint, "hostPrefix"));
    let is_open = traits.get("smithy.api#auth").and_then(Value::as_array).is_some_and(Vec::is_empty)
        || traits.contains_key("smithy.api#optionalAuth");
    let checksum = traits.get("aws.protocols#httpChecksum");
    let requires = checksum.and_then(|checksum| checksum.get("requestChecksumRequired"));
    OperationLine {
        method: keep(text(http, "method").unwrap_or("POST")),
        uri: keep(text(http, "uri").unwrap_or("/")),
        status: http.get("code").and_then(Value::as_u64).and_then(|code| code.try_into().ok()).unwrap_or(200),
        input: target("input"),
        output: target("output"),
        errors: errors.filter_map(target_of).map(keep).collect(),
        host_prefix: host.map(keep),
        auth: if is_open { Auth::None } else { Auth::SigV4 },
        is_deprecated: traits.contains_key("smithy.api#deprecated"),
        is_readonly: traits.contains_key("smithy.api#readonly").then_some(true),
        requires_checksum: traits.contains_key("smithy.api#httpChecksumRequired")
            || requires == Some(&Value::Bool(true)),
        has_unwrapped_output: traits.contains_key("aws.customizations#s3UnwrappedXmlOutput"),
        ..OperationLine::new(keep(name))
    }
}

fn shape_line(name: &str, shape: &Value) -> Result<ShapeLine, String> {
    let traits = traits(shape);
    let is_streaming = traits.contains_key("smithy.api#streaming");
    let word = kind_word(shape);
    let kind = match kind(word).ok_or_else(|| format!("no type `{word}`"))? {
        Kind::Union if is_streaming => Kind::EventStream,
        kind => kind,
    };
    let bounds = traits.get("smithy.api#length").or_else(|| traits.get("smithy.api#range"));
    let bound = |key: &str| bounds.and_then(|bounds| bounds.get(key)).and_then(Value::as_f64);
    let (xml_namespace, xml_prefix) = namespace(traits);
    let mut line = ShapeLine {
        min: bound("min"),
        max: bound("max"),
        pattern: trait_text(traits, "smithy.api#pattern"),
        values: values(word, shape, traits),
        error: error(name, traits),
        xml_name: trait_text(traits, "smithy.api#xmlName"),
        xml_namespace,
        xml_prefix,
        time_format: time_format(traits),
        is_sensitive: traits.contains_key("smithy.api#sensitive"),
        is_sparse: traits.contains_key("smithy.api#sparse"),
        is_streaming: is_streaming && kind == Kind::Blob,
        ..ShapeLine::new(keep(name), kind)
    };
    match kind {
        Kind::List => line.members.push(member("member", part(shape, "member")?)?),
        Kind::Map => {
            line.members.push(member("key", part(shape, "key")?)?);
            line.members.push(member("value", part(shape, "value")?)?);
        }
        Kind::Structure | Kind::Union | Kind::EventStream => {
            for (name, of) in shape.get("members").and_then(Value::as_object).into_iter().flatten() {
                line.members.push(member(name, of)?);
            }
        }
        _ => {}
    }
    Ok(line)
}

fn member(name: &str, of: &Value) -> Result<MemberLine, String> {
    let target = target_of(of).ok_or_else(|| format!("member {name} has no target"))?;
    let traits = traits(of);
    let name = keep(name);
    let is_set = |name: &str| traits.contains_key(name);
    let mut line = MemberLine::new(name, keep(target));
    line.json = trait_text(traits, "smithy.api#jsonName");
    line.xml = trait_text(traits, "smithy.api#xmlName");
    line.ec2 = trait_text(traits, "aws.protocols#ec2QueryName");
    line.bind = bind(name, traits);
    line.time_format = time_format(traits);
    (line.xml_namespace, line.xml_prefix) = namespace(traits);
    line.is_required = is_set("smithy.api#required");
    line.is_flattened = is_set("smithy.api#xmlFlattened");
    line.is_xml_attribute = is_set("smithy.api#xmlAttribute");
    line.is_sensitive = is_set("smithy.api#sensitive");
    line.is_idempotency_token = is_set("smithy.api#idempotencyToken");
    line.is_streaming = is_set("smithy.api#streaming");
    line.is_host_label = is_set("smithy.api#hostLabel");
    line.is_event_payload = is_set("smithy.api#eventPayload");
    line.is_event_header = is_set("smithy.api#eventHeader");
    Ok(line)
}

fn bind(name: &'static str, traits: &Map<String, Value>) -> Bind {
    let named = |key: &str| trait_text(traits, key);
    let is_set = |key: &str| traits.contains_key(key);
    if let Some(header) = named("smithy.api#httpHeader") {
        Bind::Header(header)
    } else if let Some(prefix) = named("smithy.api#httpPrefixHeaders") {
        Bind::HeaderPrefix(keep(&prefix.to_ascii_lowercase()))
    } else if let Some(parameter) = named("smithy.api#httpQuery") {
        Bind::Query(parameter)
    } else if is_set("smithy.api#httpLabel") {
        Bind::Label(name)
    } else if is_set("smithy.api#httpQueryParams") {
        Bind::QueryMap
    } else if is_set("smithy.api#httpPayload") {
        Bind::Payload
    } else if is_set("smithy.api#httpResponseCode") {
        Bind::Status
    } else {
        Bind::Body
    }
}

fn error(name: &str, traits: &Map<String, Value>) -> Option<ErrorTraits> {
    let side = traits.get("smithy.api#error")?;
    let query = traits.get("aws.protocols#awsQueryError").unwrap_or(&Value::Null);
    let http = traits.get("smithy.api#httpError").and_then(Value::as_u64);
    let status = http.or_else(|| query.get("httpResponseCode").and_then(Value::as_u64)).unwrap_or(0);
    Some(ErrorTraits {
        code: None,
        query_code: text(query, "code").filter(|code| *code != name).map(keep),
        status: u16::try_from(status).unwrap_or(0),
        is_sender_fault: side.as_str() != Some("server"),
    })
}

fn values(word: &str, shape: &Value, traits: &Map<String, Value>) -> Vec<&'static str> {
    if word == "enum" {
        let members = shape.get("members").and_then(Value::as_object);
        let value = |(name, of): (&String, &Value)| {
            let own =
                traits_of(of).and_then(|traits| traits.get("smithy.api#enumValue")).and_then(Value::as_str);
            keep(own.unwrap_or(name))
        };
        return members.into_iter().flatten().map(value).collect();
    }
    let listed = traits.get("smithy.api#enum").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(|item| text(item, "value")).map(keep).collect()
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "structure" => Kind::Structure,
        "union" => Kind::Union,
        "list" | "set" => Kind::List,
        "map" => Kind::Map,
        "string" | "enum" => Kind::String,
        "blob" => Kind::Blob,
        "boolean" => Kind::Boolean,
        "byte" => Kind::Byte,
        "short" => Kind::Short,
        "integer" | "intEnum" => Kind::Integer,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "timestamp" => Kind::Timestamp,
        "document" => Kind::Document,
        _ => return None,
    })
}

fn time_format(traits: &Map<String, Value>) -> Option<TimeFormat> {
    match traits.get("smithy.api#timestampFormat")?.as_str()? {
        "date-time" => Some(TimeFormat::DateTime),
        "epoch-seconds" => Some(TimeFormat::EpochSeconds),
        "http-date" => Some(TimeFormat::HttpDate),
        _ => None,
    }
}

fn namespace(traits: &Map<String, Value>) -> (Option<&'static str>, Option<&'static str>) {
    let Some(namespace) = traits.get("smithy.api#xmlNamespace") else { return (None, None) };
    (text(namespace, "uri").map(keep), text(namespace, "prefix").map(keep))
}

fn traits(of: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    traits_of(of).unwrap_or(&NONE)
}

fn traits_of(of: &Value) -> Option<&Map<String, Value>> {
    of.get("traits").and_then(Value::as_object)
}

fn trait_text(traits: &Map<String, Value>, key: &str) -> Option<&'static str> {
    traits.get(key).and_then(Value::as_str).map(keep)
}

fn kind_word(shape: &Value) -> &str {
    text(shape, "type").unwrap_or("")
}

fn target_of(of: &Value) -> Option<&str> {
    text(of, "target").map(local)
}

fn text<'a>(of: &'a Value, key: &str) -> Option<&'a str> {
    of.get(key).and_then(Value::as_str)
}

fn part<'a>(of: &'a Value, key: &str) -> Result<&'a Value, String> {
    of.get(key).ok_or_else(|| format!("no `{key}`"))
}

/// A shape id without its namespace.
fn local(id: &str) -> &str {
    id.rsplit_once('#').map_or(id, |(_, name)| name)
}

/// The importer ends soon: what it reads may stay.
fn keep(text: &str) -> &'static str {
    text.to_owned().leak()
}
