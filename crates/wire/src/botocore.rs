//! Service models as botocore writes them (`service-2.json`), read at run time: for conformance tools, which bring their
//! model along, and for the importer. Only facts are read; documentation is never looked at.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::model::{self, MemberLine, Model, ModelHeader, OperationLine, ShapeLine};
use crate::protocol::Protocol;
use crate::schema::{Auth, Bind, ErrorTraits, Kind, Service, TimeFormat};

/// A service from a document with `metadata`, `operations` and `shapes`. It lives for ever: cache it.
///
/// # Errors
/// What the document lacks or says that we do not know.
pub fn load(document: &Value) -> Result<&'static Service, String> {
    model::build(model(document)?).map_err(|error| error.to_string())
}

/// The same, before names are resolved.
///
/// # Errors
/// As [`load`], names that lead nowhere excepted.
pub fn model(document: &Value) -> Result<Model, String> {
    let mut reader = Reader::default();
    let header = reader.header(object(document, "metadata")?)?;
    reader.names_are_xml =
        matches!(header.protocols.first(), Some(Protocol::RestXml | Protocol::AwsQuery | Protocol::Ec2Query));
    reader.is_query_compatible = header.is_query_compatible;
    let mut operations = Vec::new();
    for (name, operation) in object(document, "operations")? {
        operations.push(reader.operation(name, operation)?);
    }
    operations.sort_by_key(|operation| operation.name);
    let mut shapes = Vec::new();
    for (name, shape) in object(document, "shapes")? {
        let line = reader.shape(name, shape).map_err(|reason| format!("shape {name}: {reason}"))?;
        shapes.push(line);
    }
    shapes.append(&mut reader.extra);
    bind_query_maps(&mut shapes);
    shapes.sort_by_key(|shape| shape.name);
    Ok(Model { header, operations, shapes })
}

#[derive(Default)]
struct Reader {
    interned: HashSet<&'static str>,
    /// Whether `locationName` in bodies means XML and query names, or JSON names.
    names_are_xml: bool,
    is_query_compatible: bool,
    /// Shapes that the document writes inline.
    extra: Vec<ShapeLine>,
}

impl Reader {
    fn keep(&mut self, text: &str) -> &'static str {
        if let Some(known) = self.interned.get(text) {
            return known;
        }
        let text: &'static str = text.to_owned().leak();
        self.interned.insert(text);
        text
    }

    fn text(&mut self, of: &Value, key: &str) -> Option<&'static str> {
        of.get(key).and_then(Value::as_str).map(|text| self.keep(text))
    }

    fn header(&mut self, metadata: &Map<String, Value>) -> Result<ModelHeader, String> {
        let metadata = &Value::Object(metadata.clone());
        let json_version = metadata.get("jsonVersion").and_then(Value::as_str);
        let named = texts(metadata.get("protocols"));
        let named = if named.is_empty() { texts(metadata.get("protocol")) } else { named };
        let mut protocols = Vec::new();
        for name in named {
            protocols.push(protocol(name, json_version).ok_or_else(|| format!("no protocol `{name}`"))?);
        }
        let is_query_compatible = metadata.get("awsQueryCompatible").is_some();
        if is_query_compatible && !protocols.contains(&Protocol::AwsQuery) {
            protocols.push(Protocol::AwsQuery);
        }
        let endpoint_prefix = self.text(metadata, "endpointPrefix").unwrap_or("");
        let signing_name = self.text(metadata, "signingName").unwrap_or(endpoint_prefix);
        Ok(ModelHeader {
            name: endpoint_prefix,
            service_id: self.text(metadata, "serviceId").unwrap_or(""),
            api_version: self.text(metadata, "apiVersion").unwrap_or(""),
            protocols,
            signing_name,
            endpoint_prefix,
            target_prefix: self.text(metadata, "targetPrefix").unwrap_or(""),
            xml_namespace: self.namespace(metadata).0.unwrap_or(""),
            arn_namespace: signing_name,
            is_query_compatible,
            ..ModelHeader::default()
        })
    }

    /// URI and prefix.
    fn namespace(&mut self, of: &Value) -> (Option<&'static str>, Option<&'static str>) {
        match of.get("xmlNamespace") {
            Some(Value::String(uri)) => (Some(self.keep(uri)), None),
            Some(namespace) => (self.text(namespace, "uri"), self.text(namespace, "prefix")),
            None => (None, None),
        }
    }

    fn operation(&mut self, name: &str, of: &Value) -> Result<OperationLine, String> {
        let http = of.get("http").unwrap_or(&Value::Null);
        let nothing = Value::Null;
        let (input, output) = (of.get("input").unwrap_or(&nothing), of.get("output").unwrap_or(&nothing));
        let checksum = of.get("httpChecksum").unwrap_or(&nothing);
        let errors = of.get("errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let host = of.get("endpoint").and_then(|endpoint| self.text(endpoint, "hostPrefix"));
        let status = http.get("responseCode").and_then(Value::as_u64).unwrap_or(200);
        Ok(OperationLine {
            method: self.text(http, "method").unwrap_or("POST"),
            uri: self.text(http, "requestUri").unwrap_or("/"),
            status: u16::try_from(status).map_err(|_| format!("operation {name}: status {status}"))?,
            input: self.text(input, "shape"),
            output: self.text(output, "shape"),
            errors: errors.iter().filter_map(|error| self.text(error, "shape")).collect(),
            result_wrapper: self.text(output, "resultWrapper").filter(|wrapper| !is_result_of(wrapper, name)),
            input_element: self.text(input, "locationName"),
            input_namespace: self.namespace(input).0,
            host_prefix: host,
            auth: auth(of),
            is_deprecated: is_set(of, "deprecated"),
            is_readonly: is_set(of, "readonly").then_some(true),
            requires_checksum: is_set(of, "httpChecksumRequired")
                || is_set(checksum, "requestChecksumRequired"),
            ..OperationLine::new(self.keep(name))
        })
    }

    fn shape(&mut self, name: &str, of: &Value) -> Result<ShapeLine, String> {
        let kind = kind(of)?;
        let (xml_namespace, xml_prefix) = self.namespace(of);
        let mut line = ShapeLine {
            min: of.get("min").and_then(Value::as_f64),
            max: of.get("max").and_then(Value::as_f64),
            pattern: self.text(of, "pattern"),
            values: self.values(of),
            error: self.error(name, of),
            xml_name: self.text(of, "locationName"),
            xml_namespace,
            xml_prefix,
            time_format: time_format(of)?,
            is_sensitive: is_set(of, "sensitive"),
            is_sparse: is_set(of, "sparse"),
            is_flattened: is_set(of, "flattened"),
            is_streaming: is_set(of, "streaming"),
            ..ShapeLine::new(self.keep(name), kind)
        };
        match kind {
            Kind::List => line.members.push(self.member(name, "member", part(of, "member")?)?),
            Kind::Map => {
                line.members.push(self.member(name, "key", part(of, "key")?)?);
                line.members.push(self.member(name, "value", part(of, "value")?)?);
            }
            Kind::Structure | Kind::Union | Kind::EventStream => self.members(name, of, &mut line.members)?,
            _ => {}
        }
        Ok(line)
    }

    fn members(&mut self, name: &str, of: &Value, lines: &mut Vec<MemberLine>) -> Result<(), String> {
        let required = texts(of.get("required"));
        let payload = of.get("payload").and_then(Value::as_str);
        for (member, traits) in of.get("members").and_then(Value::as_object).into_iter().flatten() {
            let mut line = self.member(name, member, traits)?;
            line.is_required = required.contains(&member.as_str());
            if payload == Some(member) {
                line.bind = Bind::Payload;
            }
            lines.push(line);
        }
        Ok(())
    }

    fn member(&mut self, owner: &str, name: &str, of: &Value) -> Result<MemberLine, String> {
        let target = self.text(of, "shape").ok_or_else(|| format!("member {name} has no shape"))?;
        let location_name = self.text(of, "locationName");
        let name = self.keep(name);
        let mut line = MemberLine::new(name, self.inline_enum(owner, name, target, of));
        let at = location_name.unwrap_or(name);
        match of.get("location").and_then(Value::as_str) {
            None => {
                let place = if self.names_are_xml { &mut line.xml } else { &mut line.json };
                *place = location_name.filter(|written| *written != name);
            }
            Some("uri") => line.bind = Bind::Label(at),
            Some("header") => line.bind = Bind::Header(at),
            Some("headers") => {
                line.bind = Bind::HeaderPrefix(self.keep(&location_name.unwrap_or("").to_ascii_lowercase()));
            }
            Some("querystring") if location_name.is_none_or(str::is_empty) => line.bind = Bind::Query(name),
            Some("querystring") => line.bind = Bind::Query(at),
            Some("statusCode") => line.bind = Bind::Status,
            Some(other) => return Err(format!("member {name}: no location `{other}`")),
        }
        (line.xml_namespace, line.xml_prefix) = self.namespace(of);
        line.ec2 = self.text(of, "queryName");
        line.time_format = time_format(of)?;
        line.is_flattened = is_set(of, "flattened");
        line.is_xml_attribute = is_set(of, "xmlAttribute");
        line.is_sensitive = is_set(of, "sensitive");
        line.is_idempotency_token = is_set(of, "idempotencyToken");
        line.is_streaming = is_set(of, "streaming");
        line.is_host_label = is_set(of, "hostLabel");
        line.is_event_payload = is_set(of, "eventpayload");
        line.is_event_header = is_set(of, "eventheader");
        line.is_json_value = is_set(of, "jsonvalue");
        Ok(line)
    }

    /// The member's shape; one of its own if the document writes enum values at the member.
    fn inline_enum(&mut self, owner: &str, name: &str, target: &'static str, of: &Value) -> &'static str {
        let values = self.values(of);
        if values.is_empty() {
            return target;
        }
        let own = self.keep(&format!("{owner}{name}"));
        self.extra.push(ShapeLine { values, ..ShapeLine::new(own, Kind::String) });
        own
    }

    fn values(&mut self, of: &Value) -> Vec<&'static str> {
        texts(of.get("enum")).into_iter().map(|value| self.keep(value)).collect()
    }

    fn error(&mut self, name: &str, of: &Value) -> Option<ErrorTraits> {
        let nothing = Value::Null;
        let error = of.get("error").unwrap_or(&nothing);
        if !is_set(of, "exception") && error.is_null() {
            return None;
        }
        let status = error.get("httpStatusCode").and_then(Value::as_u64).unwrap_or(0);
        let code = self.text(error, "code");
        let own = code.filter(|code| *code != name);
        Some(ErrorTraits {
            code: own.filter(|_| !self.is_query_compatible),
            query_code: own.filter(|_| self.is_query_compatible),
            status: u16::try_from(status).unwrap_or(0),
            is_sender_fault: !is_set(of, "fault")
                && !is_set(error, "fault")
                && (status < 500 || is_set(error, "senderFault")),
        })
    }
}

/// A map bound to the query string takes all parameters that no other member names.
fn bind_query_maps(shapes: &mut [ShapeLine]) {
    let maps: HashSet<&str> =
        shapes.iter().filter(|shape| shape.kind == Kind::Map).map(|shape| shape.name).collect();
    for member in shapes.iter_mut().flat_map(|shape| &mut shape.members) {
        if matches!(member.bind, Bind::Query(_)) && maps.contains(member.shape) {
            member.bind = Bind::QueryMap;
        }
    }
}

fn object<'a>(document: &'a Value, key: &str) -> Result<&'a Map<String, Value>, String> {
    document.get(key).and_then(Value::as_object).ok_or_else(|| format!("the model has no `{key}`"))
}

fn part<'a>(of: &'a Value, key: &str) -> Result<&'a Value, String> {
    of.get(key).ok_or_else(|| format!("no `{key}`"))
}

/// The strings of an array, or the one string.
fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => vec![text],
        _ => Vec::new(),
    }
}

fn is_set(of: &Value, key: &str) -> bool {
    matches!(of.get(key), Some(Value::Bool(true)))
}

fn is_result_of(wrapper: &str, operation: &str) -> bool {
    wrapper.strip_suffix("Result") == Some(operation)
}

fn protocol(name: &str, json_version: Option<&str>) -> Option<Protocol> {
    Some(match name {
        "json" if json_version == Some("1.0") => Protocol::AwsJson10,
        "json" => Protocol::AwsJson11,
        "rest-json" => Protocol::RestJson1,
        "rest-xml" => Protocol::RestXml,
        "query" => Protocol::AwsQuery,
        "ec2" => Protocol::Ec2Query,
        "smithy-rpc-v2-cbor" => Protocol::RpcV2Cbor,
        _ => return None,
    })
}

fn auth(of: &Value) -> Auth {
    let first = texts(of.get("auth")).first().copied();
    match of.get("authtype").and_then(Value::as_str).or(first) {
        Some("none" | "smithy.api#noAuth") => Auth::None,
        Some("bearer" | "smithy.api#httpBearerAuth") => Auth::Bearer,
        _ => Auth::SigV4,
    }
}

fn kind(of: &Value) -> Result<Kind, String> {
    let kind = of.get("type").and_then(Value::as_str).unwrap_or("");
    Ok(match kind {
        "structure" if is_set(of, "document") => Kind::Document,
        "structure" if is_set(of, "eventstream") => Kind::EventStream,
        "structure" if is_set(of, "union") => Kind::Union,
        "structure" => Kind::Structure,
        "list" => Kind::List,
        "map" => Kind::Map,
        "string" | "character" => Kind::String,
        "blob" => Kind::Blob,
        "boolean" => Kind::Boolean,
        "byte" => Kind::Byte,
        "short" => Kind::Short,
        "integer" => Kind::Integer,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "timestamp" => Kind::Timestamp,
        _ => return Err(format!("no type `{kind}`")),
    })
}

fn time_format(of: &Value) -> Result<Option<TimeFormat>, String> {
    Ok(Some(match of.get("timestampFormat").and_then(Value::as_str) {
        Some("iso8601") => TimeFormat::DateTime,
        Some("unixTimestamp") => TimeFormat::EpochSeconds,
        Some("rfc822") => TimeFormat::HttpDate,
        Some(other) => return Err(format!("no timestamp format `{other}`")),
        None => return Ok(None),
    }))
}

#[cfg(test)]
mod tests;
