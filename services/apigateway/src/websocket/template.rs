//! Request and response templates of WebSocket integrations.
//!
//! Source: Developer Guide, "API Gateway WebSocket API mapping template reference".

use pileus_vtl::{Heap, Host, JsonPath, Limits, Template, Value, VtlError, util};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

const INPUT: u32 = 1;
const UTIL: u32 = 2;

/// What a template is about.
pub struct Input<'a> {
    pub body: &'a str,
    pub context: &'a Json,
    pub variables: &'a BTreeMap<String, String>,
}

/// # Errors
/// What the template does wrong, in words for the log.
pub fn run(text: &str, input: &Input<'_>) -> Result<String, VtlError> {
    let template = Template::parse(text)?;
    let document = match input.body.trim() {
        "" => Json::Object(Map::new()),
        body => serde_json::from_str(body).unwrap_or_else(|_| Json::String(input.body.to_owned())),
    };
    let mut host = Running { input, document };
    Ok(template.run(&mut host, Limits::default())?.output)
}

struct Running<'a> {
    input: &'a Input<'a>,
    document: Json,
}

impl Running<'_> {
    fn find(&self, path: Option<&Value>) -> Result<Option<Json>, VtlError> {
        let path = JsonPath::parse(path.and_then(Value::as_str).unwrap_or("$")).map_err(VtlError::failed)?;
        Ok(path.find(&self.document).map(std::borrow::Cow::into_owned))
    }
}

impl Host for Running<'_> {
    fn root(&mut self, name: &str, heap: &mut Heap) -> Result<Option<Value>, VtlError> {
        Ok(Some(match name {
            "input" => Value::Host(INPUT),
            "util" => Value::Host(UTIL),
            "context" => heap.from_json(self.input.context)?,
            "stageVariables" => heap.from_json(&json!(self.input.variables))?,
            _ => return Ok(None),
        }))
    }

    fn property(&mut self, object: u32, name: &str, heap: &mut Heap) -> Result<Value, VtlError> {
        match (object, name) {
            (INPUT, "body") => heap.string(self.input.body),
            _ => Ok(Value::Null),
        }
    }

    fn method(
        &mut self,
        object: u32,
        name: &str,
        arguments: &[Value],
        heap: &mut Heap,
    ) -> Result<Value, VtlError> {
        if object == UTIL {
            return util::call(name, arguments, heap);
        }
        match (name, arguments) {
            ("path", [_]) => match self.find(arguments.first())? {
                Some(found) => heap.from_json(&found),
                None => Ok(Value::Null),
            },
            ("json", [_]) => {
                let found = self.find(arguments.first())?;
                heap.string(found.map_or_else(|| "\"\"".to_owned(), |found| found.to_string()))
            }
            _ => Err(VtlError::failed(format!("$input.{name} is not available"))),
        }
    }
}
