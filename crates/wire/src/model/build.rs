//! From lines to a [`Service`]: names become references, defaults are filled in, everything is leaked once.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::{MemberLine, Model, ModelError, OperationLine, ShapeLine};
use crate::protocol::Protocol;
use crate::schema::{Kind, Limits, Member, Operation, Service, Shape};

/// Builds the service, which then lives for ever: call once per service.
///
/// # Errors
/// Names the shape or operation that refers to a shape the model does not have, or to one of the wrong kind.
pub fn build(mut model: Model) -> Result<&'static Service, ModelError> {
    super::read::check_members(&model.shapes)?;
    let mut lines = std::mem::take(&mut model.shapes);
    let members: Vec<Vec<MemberLine>> =
        lines.iter_mut().map(|line| std::mem::take(&mut line.members)).collect();
    let traits: Vec<Traits> = lines.iter().map(Traits::of).collect();
    let shapes: &'static [Shape] = lines.into_iter().map(shape).collect::<Vec<_>>().leak();

    let mut index = HashMap::with_capacity(shapes.len());
    for (at, shape) in shapes.iter().enumerate() {
        if index.insert(shape.name, at).is_some() {
            return Err(ModelError::whole(format!("shape `{}` is there twice", shape.name)));
        }
    }
    let world = World { shapes, traits, members: &members, index };
    world.link()?;
    let service = world.service(&model)?;
    Ok(Box::leak(Box::new(service)))
}

/// What a member takes over from the shape it refers to.
struct Traits {
    is_flattened: bool,
    is_streaming: bool,
    time_format: Option<crate::schema::TimeFormat>,
}

impl Traits {
    fn of(line: &ShapeLine) -> Traits {
        Traits {
            is_flattened: line.is_flattened,
            is_streaming: line.is_streaming,
            time_format: line.time_format,
        }
    }
}

fn shape(line: ShapeLine) -> Shape {
    Shape {
        name: line.name,
        kind: line.kind,
        limits: Limits {
            min: line.min,
            max: line.max,
            pattern: line.pattern,
            values: if line.is_open { Vec::new() } else { line.values.clone() },
            open_values: if line.is_open { line.values } else { Vec::new() },
            printed_values: line.printed_values,
            regex: OnceLock::new(),
        },
        error: line.error,
        xml_name: line.xml_name,
        xml_namespace: namespace(line.xml_namespace, line.xml_prefix),
        is_sensitive: line.is_sensitive,
        is_sparse: line.is_sparse,
        members: OnceLock::new(),
    }
}

/// The input or output of operations that have none.
fn unit() -> &'static Shape {
    static UNIT: OnceLock<Shape> = OnceLock::new();
    UNIT.get_or_init(|| shape(ShapeLine::new("", Kind::Structure)))
}

struct World<'a> {
    shapes: &'static [Shape],
    traits: Vec<Traits>,
    members: &'a [Vec<MemberLine>],
    index: HashMap<&'static str, usize>,
}

impl World<'_> {
    fn find(&self, name: &str, user: &str) -> Result<usize, ModelError> {
        let found = self.index.get(name).copied();
        found.ok_or_else(|| {
            ModelError::whole(format!("`{user}` refers to `{name}`, which is not in the model"))
        })
    }

    /// Gives every shape its members, all in one allocation.
    fn link(&self) -> Result<(), ModelError> {
        let mut all = Vec::with_capacity(self.members.iter().map(Vec::len).sum());
        for (shape, lines) in self.shapes.iter().zip(self.members) {
            for (at, line) in lines.iter().enumerate() {
                all.push(self.member(shape, at, line)?);
            }
        }
        let mut rest: &'static [Member] = all.leak();
        for (shape, lines) in self.shapes.iter().zip(self.members) {
            let (own, after) = rest.split_at(lines.len());
            rest = after;
            let _ = shape.members.set(own);
        }
        Ok(())
    }

    fn member(&self, owner: &Shape, at: usize, line: &MemberLine) -> Result<Member, ModelError> {
        let target = self.find(line.shape, owner.name)?;
        let (shape, traits) = (&self.shapes[target], &self.traits[target]);
        if owner.kind == Kind::Map && at == 0 && shape.kind != Kind::String {
            return Err(ModelError::whole(format!("the keys of `{}` are not strings", owner.name)));
        }
        let is_flattened = line.is_flattened || traits.is_flattened;
        let default = match (owner.kind, at) {
            (Kind::List, _) => "member",
            (Kind::Map, 0) => "key",
            (Kind::Map, _) => "value",
            _ => line.name,
        };
        // Elements of a flattened list carry the name of the member that holds the list. Where the list names them
        // too, it is the same name: true of every published model.
        let xml = line.xml.unwrap_or(default);
        Ok(Member {
            name: if matches!(owner.kind, Kind::List | Kind::Map) { default } else { line.name },
            json: line.json.unwrap_or(default),
            xml,
            query: xml.rsplit_once(':').map_or(xml, |(_, local)| local),
            ec2: line.ec2.unwrap_or_else(|| capitalised(xml)),
            bind: line.bind.clone(),
            shape,
            time_format: line.time_format.or(traits.time_format),
            xml_namespace: namespace(line.xml_namespace, line.xml_prefix),
            is_required: line.is_required,
            is_flattened,
            is_xml_attribute: line.is_xml_attribute,
            is_sensitive: line.is_sensitive || shape.is_sensitive,
            is_idempotency_token: line.is_idempotency_token,
            is_streaming: line.is_streaming || traits.is_streaming || shape.kind == Kind::EventStream,
            is_host_label: line.is_host_label,
            is_event_payload: line.is_event_payload,
            is_event_header: line.is_event_header,
            is_json_value: line.is_json_value,
        })
    }

    fn service(&self, model: &Model) -> Result<Service, ModelError> {
        let header = &model.header;
        let mut operations = Vec::with_capacity(model.operations.len());
        let speaks_query = header.protocols.contains(&Protocol::AwsQuery) || header.is_query_compatible;
        for line in &model.operations {
            operations.push(self.operation(line, speaks_query)?);
        }
        let by_name = operations.iter().enumerate().map(|(at, operation)| (operation.name, at)).collect();
        Ok(Service {
            name: header.name,
            service_id: header.service_id,
            api_version: header.api_version,
            protocols: header.protocols.clone(),
            signing_name: header.signing_name,
            endpoint_prefix: header.endpoint_prefix,
            target_prefix: header.target_prefix,
            xml_namespace: header.xml_namespace,
            arn_namespace: header.arn_namespace,
            event_source: header.event_source,
            is_query_compatible: header.is_query_compatible,
            validation: header.validation.clone(),
            coercion: header.coercion,
            error_namespace: header.error_namespace,
            framework_namespace: header.framework_namespace,
            operations,
            shapes: self.shapes.iter().map(|shape| (shape.name, shape)).collect(),
            by_name,
        })
    }

    fn operation(&self, line: &OperationLine, speaks_query: bool) -> Result<Operation, ModelError> {
        let mut errors = Vec::with_capacity(line.errors.len());
        for error in &line.errors {
            errors.push(&self.shapes[self.find(error, line.name)?]);
        }
        let wrapper = line.output.filter(|_| speaks_query).map(|_| &*format!("{}Result", line.name).leak());
        Ok(Operation {
            name: line.name,
            method: line.method,
            uri: line.uri,
            status: line.status,
            input: self.structure(line.input, line.name)?,
            output: self.structure(line.output, line.name)?,
            errors,
            result_wrapper: line.result_wrapper.or(wrapper),
            input_element: line.input_element,
            input_namespace: line.input_namespace,
            host_prefix: line.host_prefix,
            auth: line.auth,
            is_deprecated: line.is_deprecated,
            is_readonly: line.is_readonly.unwrap_or_else(|| reads_by_name(line.name)),
            requires_checksum: line.requires_checksum,
            has_unwrapped_output: line.has_unwrapped_output,
            actions: line.actions.clone(),
        })
    }

    fn structure(&self, name: Option<&'static str>, user: &str) -> Result<&'static Shape, ModelError> {
        let Some(name) = name else { return Ok(unit()) };
        let shape = &self.shapes[self.find(name, user)?];
        match shape.kind {
            Kind::Structure => Ok(shape),
            _ => {
                Err(ModelError::whole(format!("`{user}` takes or gives `{name}`, which is not a structure")))
            }
        }
    }
}

/// `uri`, or `prefix uri`.
fn namespace(uri: Option<&'static str>, prefix: Option<&'static str>) -> Option<&'static str> {
    match (uri, prefix) {
        (Some(uri), Some(prefix)) => Some(format!("{prefix} {uri}").leak()),
        (uri, _) => uri,
    }
}

/// ec2Query names begin with a capital. Only names that do not are copied.
fn capitalised(name: &'static str) -> &'static str {
    match name.chars().next() {
        Some(first) if first.is_lowercase() => {
            let mut text = first.to_uppercase().collect::<String>();
            text.push_str(&name[first.len_utf8()..]);
            text.leak()
        }
        _ => name,
    }
}

/// Whether an operation of this name changes nothing, as far as its verb tells.
fn reads_by_name(name: &str) -> bool {
    const VERBS: [&str; 16] = [
        "BatchGet", "Check", "Describe", "Estimate", "Filter", "Get", "Head", "List", "Lookup", "Preview",
        "Query", "Scan", "Search", "Select", "Simulate", "Validate",
    ];
    VERBS.iter().any(|verb| name.strip_prefix(verb).is_some_and(|rest| !rest.starts_with(char::is_lowercase)))
}
