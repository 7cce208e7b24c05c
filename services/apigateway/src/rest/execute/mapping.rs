//! Mapping templates: `$input`, `$context`, `$util` and `$stageVariables` for one body.
//!
//! Source: API Gateway Developer Guide, "Variables for data transformations for API Gateway", "Override your API's request and response
//! parameters and status codes for REST APIs in API Gateway".

use pileus_vtl::{Heap, Host, JsonPath, Limits, Run, Template, Value, VtlError, util};
use serde_json::{Map as JsonMap, Value as Json, json};

use super::call::{Call, single};

const INPUT: u32 = 1;
const UTIL: u32 = 2;

/// What a template made, and what it set beside its output.
pub struct Mapped {
    pub output: String,
    /// `$context.requestOverride` or `$context.responseOverride`.
    pub overrides: Json,
}

/// The body that a template is about.
pub struct Input<'a> {
    call: &'a Call,
    body: &'a [u8],
    document: Option<Json>,
    /// `requestOverride` or `responseOverride`.
    override_name: &'static str,
}

impl<'a> Input<'a> {
    pub fn of_request(call: &'a Call, body: &'a [u8]) -> Input<'a> {
        Input { call, body, document: None, override_name: "requestOverride" }
    }

    pub fn of_response(call: &'a Call, body: &'a [u8]) -> Input<'a> {
        Input { call, body, document: None, override_name: "responseOverride" }
    }

    /// # Errors
    /// What the template does wrong, in words for the log.
    pub fn run(mut self, template: &Template) -> Result<Mapped, VtlError> {
        let name = self.override_name;
        let run = template.run(&mut self, Limits::default())?;
        let overrides = overrides(&run, name);
        Ok(Mapped { output: run.output, overrides })
    }

    /// The body as a document: an empty one is an empty object, other text a string.
    fn document(&mut self) -> &Json {
        let body = self.body;
        self.document.get_or_insert_with(|| {
            if body.iter().all(u8::is_ascii_whitespace) {
                return Json::Object(JsonMap::new());
            }
            serde_json::from_slice(body)
                .unwrap_or_else(|_| Json::String(String::from_utf8_lossy(body).into_owned()))
        })
    }

    fn find(&mut self, path: Option<&Value>) -> Result<Option<Json>, VtlError> {
        let text = path.and_then(Value::as_str).unwrap_or("$");
        let path = JsonPath::parse(text).map_err(VtlError::failed)?;
        Ok(path.find(self.document()).map(std::borrow::Cow::into_owned))
    }

    fn parameters(&self) -> Json {
        json!({
            "path": single(&self.call.path_parameters),
            "querystring": single(&self.call.query),
            "header": single(&self.call.headers),
        })
    }

    /// Path, then query string, then headers.
    fn parameter(&self, name: &str) -> Option<&str> {
        let exact = |pairs: &'a [(String, String)]| {
            pairs.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        exact(&self.call.path_parameters)
            .or_else(|| exact(&self.call.query))
            .or_else(|| self.call.header(name))
    }
}

fn overrides(run: &Run, name: &str) -> Json {
    let context = run.variable("context").and_then(|value| run.heap.to_json(value));
    context.and_then(|mut context| context.get_mut(name).map(Json::take)).unwrap_or_default()
}

impl Host for Input<'_> {
    fn root(&mut self, name: &str, heap: &mut Heap) -> Result<Option<Value>, VtlError> {
        Ok(Some(match name {
            "input" => Value::Host(INPUT),
            "util" => Value::Host(UTIL),
            "context" => {
                let mut context = self.call.context.clone();
                context["requestOverride"] = json!({ "header": {}, "querystring": {}, "path": {} });
                context["responseOverride"] = json!({ "header": {} });
                heap.from_json(&context)?
            }
            "stageVariables" => {
                let variables = self.call.variables.iter();
                let variables = variables.map(|(name, value)| (name.to_owned(), Json::from(value.as_str())));
                heap.from_json(&Json::Object(variables.collect()))?
            }
            _ => return Ok(None),
        }))
    }

    fn property(&mut self, object: u32, name: &str, heap: &mut Heap) -> Result<Value, VtlError> {
        match (object, name) {
            (INPUT, "body") => heap.string(String::from_utf8_lossy(self.body)),
            (INPUT, "params") => heap.from_json(&self.parameters()),
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
            // What is not there is an empty string.
            ("json", [_]) => {
                let found = self.find(arguments.first())?;
                heap.string(found.map_or_else(|| "\"\"".to_owned(), |found| found.to_string()))
            }
            ("params", []) => heap.from_json(&self.parameters()),
            ("params", [name]) => {
                let name = name.as_str().unwrap_or_default();
                // The three maps have names of their own.
                if let ("path" | "querystring" | "header", None) = (name, self.parameter(name)) {
                    return heap.from_json(&self.parameters()[name]);
                }
                let value = self.parameter(name).unwrap_or_default().to_owned();
                heap.string(value)
            }
            _ => Err(VtlError::failed(format!("$input.{name} is not available"))),
        }
    }
}
