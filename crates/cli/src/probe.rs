//! `pileus probe`: the pure engines, one JSON line at a time.
//!
//! Each line `{"id", "kind", ..}` is answered, in order, by `{"id", "ok": value}` or `{"id", "error": text}`.

use std::io::{self, BufRead as _, Write as _};

use serde_json::{Map, Value, json};

/// A kind's engine: the whole line in, its result out.
type Engine = fn(&Value) -> Result<Value, String>;

const ENGINES: [(&str, Engine); 4] = [
    ("decode", pileus_wire::probe::probe),
    ("encode", pileus_wire::probe::probe),
    ("sigv4", pileus_wire::sigv4::probe),
    ("iam", |line| pileus_iam::probe::probe(line).map(|decision| json!(decision))),
];

pub fn run() -> Result<(), String> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(|error| error.to_string())? == 0 {
            return Ok(());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        writeln!(output, "{}", answer(&line)).map_err(|error| error.to_string())?;
        output.flush().map_err(|error| error.to_string())?;
    }
}

fn answer(line: &[u8]) -> Value {
    let mut reply = Map::new();
    let result = match serde_json::from_slice::<Value>(line) {
        Ok(line) => {
            reply.insert("id".into(), line.get("id").cloned().unwrap_or(Value::Null));
            let kind = line.get("kind").and_then(Value::as_str).unwrap_or("");
            match ENGINES.iter().find(|(name, _)| *name == kind) {
                Some((_, engine)) => engine(&line),
                None => Err(format!("unknown kind {kind:?}")),
            }
        }
        Err(error) => {
            reply.insert("id".into(), Value::Null);
            Err(format!("not a JSON line: {error}"))
        }
    };
    match result {
        Ok(value) => reply.insert("ok".into(), value),
        Err(text) => reply.insert("error".into(), Value::String(text)),
    };
    Value::Object(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_answered_whatever_it_holds() {
        for line in
            ["", "nonsense", "{}", "[1]", r#"{"id":7,"kind":"no such"}"#, r#"{"id":7,"kind":"sigv4"}"#]
        {
            let reply = answer(line.as_bytes());
            assert!(reply.get("error").is_some(), "{line}: {reply}");
        }
        assert_eq!(answer(br#"{"id":7,"kind":"no such"}"#)["id"], 7);
    }
}
