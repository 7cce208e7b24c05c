//! A mapping template of 2 KB, run as a node runs it: parsed once, with a host that knows `$input`, `$util` and `$context`.

#![allow(clippy::disallowed_methods)] // a benchmark measures real time

use std::time::{Duration, Instant};

use pileus_vtl::{Heap, Host, JsonPath, Limits, Template, Value, VtlError, util};
use serde_json::{Value as Json, json};

use super::super::verdict;

const INPUT: u32 = 1;
const UTIL: u32 = 2;
const BODY: &str = r#"{"order": {"id": "o-1", "customer": "Ann \"A\" Smith", "lines": [
    {"item": "pen", "count": 3, "price": 2.5}, {"item": "ink", "count": 1, "price": 12}, {"item": "pad", "count": 2, "price": 4}]}}"#;

/// What a template does in the main: values out of the body, conditions, arithmetic, a loop, escapes.
const LOGIC: &str = r##"#set($order = $input.path('$.order'))
#set($total = 0)
{
  "id": "$order.id",
  "customer": "$util.escapeJavaScript($order.customer)",
  "stage": "$context.stage",
  "lines": [
#foreach($line in $order.lines)
#set($total = $total + $line.count)
    {"item": "$line.item", "count": $line.count#if($line.price > 3), "dear": true#end}#if($foreach.hasNext),#end
#end
  ],
  "total": $total,
  "raw": $input.json('$.order.lines'),
  "source": "$context.identity.sourceIp"
}
"##;
const SIZE: usize = 2 << 10;

struct Request {
    body: Json,
}

impl Request {
    fn find(&self, arguments: &[Value]) -> Result<Json, VtlError> {
        let path = arguments.first().and_then(Value::as_str).unwrap_or("$");
        let path = JsonPath::parse(path).map_err(VtlError::failed)?;
        Ok(path.find(&self.body).map(std::borrow::Cow::into_owned).unwrap_or_default())
    }
}

impl Host for Request {
    fn root(&mut self, name: &str, heap: &mut Heap) -> Result<Option<Value>, VtlError> {
        Ok(match name {
            "input" => Some(Value::Host(INPUT)),
            "util" => Some(Value::Host(UTIL)),
            "context" => {
                let context = json!({
                    "stage": "bench", "apiId": "abcdefghij", "httpMethod": "POST", "resourcePath": "/orders",
                    "requestId": "00000000-0000-0000-0000-000000000000",
                    "identity": { "sourceIp": "127.0.0.1", "userAgent": "bench" },
                });
                Some(heap.from_json(&context)?)
            }
            _ => None,
        })
    }

    fn property(&mut self, _: u32, _: &str, _: &mut Heap) -> Result<Value, VtlError> {
        Ok(Value::Null)
    }

    fn method(
        &mut self,
        object: u32,
        name: &str,
        arguments: &[Value],
        heap: &mut Heap,
    ) -> Result<Value, VtlError> {
        match (object, name) {
            (UTIL, name) => util::call(name, arguments, heap),
            (_, "path") => heap.from_json(&self.find(arguments)?),
            (_, _) => heap.string(self.find(arguments)?.to_string()),
        }
    }
}

/// `LOGIC`, and as many members more as make it 2 KB.
fn source() -> String {
    let mut text = String::new();
    for member in 0.. {
        let more = format!("#set($m{member} = \"$context.requestId\")\n## for member {member}\n");
        if LOGIC.len() + text.len() + more.len() > SIZE {
            break;
        }
        text.push_str(&more);
    }
    text.push_str(LOGIC);
    text
}

fn once(template: &Template) -> Result<String, String> {
    let body = serde_json::from_str(BODY).map_err(|error| error.to_string())?;
    let run = template.run(&mut Request { body }, Limits::default()).map_err(|error| error.to_string())?;
    Ok(run.output)
}

pub fn run(time: Duration) -> Result<(), String> {
    let source = source();
    let template = Template::parse(&source).map_err(|error| error.to_string())?;
    let made: Json = serde_json::from_str(&once(&template)?).map_err(|error| error.to_string())?;
    if made["total"] != 6 || made["raw"].as_array().map(Vec::len) != Some(3) {
        return Err(format!("the template made {made}"));
    }
    let (began, mut runs) = (Instant::now(), 0_u32);
    while began.elapsed() < time / 5 {
        once(&template)?;
        runs += 1;
    }
    let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(runs);
    verdict(&format!("a template of {} bytes, its body read", source.len()), each, 20.0, "us", each <= 20.0);
    Ok(())
}
