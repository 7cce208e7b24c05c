//! Answers probes from standard input: `{"id": .., "ok": ..}` or `{"id": .., "error": ..}` a line.

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str::<Value>(&line?) {
            Ok(question) => match pileus_wire::probe::probe(&question) {
                Ok(value) => json!({ "id": question["id"], "ok": value }),
                Err(error) => json!({ "id": question["id"], "error": error }),
            },
            Err(error) => json!({ "id": null, "error": error.to_string() }),
        };
        writeln!(out, "{answer}")?;
    }
    Ok(())
}
