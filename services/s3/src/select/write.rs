//! Rows of an answer as bytes: CSV and JSON. Pure.
//!
//! Source: Amazon S3 API Reference, "SelectObjectContent", `OutputSerialization`.

use pileus_api_s3::OutputSerialization;
use serde_json::{Map, Value as Json};

use super::SelectError;
use super::eval::Row;
use super::value::Value;

pub enum Writer {
    Csv { field_end: String, record_end: String, quote: String, escape: String, always: bool },
    Json { record_end: String },
}

impl Writer {
    /// # Errors
    /// `InvalidQuoteFields`, `MissingRequiredParameter`
    pub fn new(output: &OutputSerialization) -> Result<Writer, SelectError> {
        let or = |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
        if let Some(csv) = &output.csv {
            let always = match csv.quote_fields.as_deref() {
                None | Some("ASNEEDED" | "") => false,
                Some("ALWAYS") => true,
                Some(_) => {
                    return Err(SelectError::new(
                        "InvalidQuoteFields",
                        "The QuoteFields is invalid. Only ALWAYS and ASNEEDED are supported.",
                    ));
                }
            };
            return Ok(Writer::Csv {
                field_end: or(&csv.field_delimiter, ","),
                record_end: or(&csv.record_delimiter, "\n"),
                quote: or(&csv.quote_character, "\""),
                escape: or(&csv.quote_escape_character, "\""),
                always,
            });
        }
        match &output.json {
            Some(json) => Ok(Writer::Json { record_end: or(&json.record_delimiter, "\n") }),
            None => Err(SelectError::new(
                "MissingRequiredParameter",
                "The SelectRequest entity is missing a required parameter. Check the service documentation and try again.",
            )),
        }
    }

    pub fn write(&self, row: &Row, out: &mut Vec<u8>) {
        match self {
            Writer::Csv { field_end, record_end, quote, escape, always } => {
                for (at, (_, value)) in row.iter().enumerate() {
                    if at > 0 {
                        out.extend_from_slice(field_end.as_bytes());
                    }
                    let text = value.to_text();
                    let needs =
                        [field_end, record_end, quote].iter().any(|mark| text.contains(mark.as_str()))
                            || text.contains(['\n', '\r']);
                    if *always || needs {
                        out.extend_from_slice(quote.as_bytes());
                        out.extend_from_slice(text.replace(quote, &format!("{escape}{quote}")).as_bytes());
                        out.extend_from_slice(quote.as_bytes());
                    } else {
                        out.extend_from_slice(text.as_bytes());
                    }
                }
                out.extend_from_slice(record_end.as_bytes());
            }
            Writer::Json { record_end } => {
                let mut members = Map::new();
                for (name, value) in row {
                    if *value != Value::Missing {
                        members.insert(name.clone(), value.to_json());
                    }
                }
                out.extend_from_slice(Json::Object(members).to_string().as_bytes());
                out.extend_from_slice(record_end.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_api_s3::{CSVOutput, JSONOutput};

    #[test]
    fn rows_are_written_in_either_form() {
        let row: Row = vec![
            ("a".into(), Value::Text("x,\"y\"".into())),
            ("b".into(), Value::Int(1)),
            ("c".into(), Value::Missing),
            ("d".into(), Value::Null),
        ];
        let csv = OutputSerialization { csv: Some(CSVOutput::default()), json: None };
        let always = CSVOutput {
            quote_fields: Some("ALWAYS".into()),
            field_delimiter: Some("|".into()),
            ..CSVOutput::default()
        };
        let always = OutputSerialization { csv: Some(always), json: None };
        let json =
            OutputSerialization { csv: None, json: Some(JSONOutput { record_delimiter: Some(";".into()) }) };
        let cases = [
            (csv, "\"x,\"\"y\"\"\",1,,\n"),
            (always, "\"x,\"\"y\"\"\"|\"1\"|\"\"|\"\"\n"),
            (json, r#"{"a":"x,\"y\"","b":1,"d":null};"#),
        ];
        for (output, expected) in cases {
            let mut out = vec![];
            Writer::new(&output).expect("known").write(&row, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
