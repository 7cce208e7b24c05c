//! API definitions in YAML.

use serde_json::Value as Json;

/// # Errors
/// What the parser cannot read, and where.
pub fn read(text: &str) -> Result<Json, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

pub fn write(document: &Json) -> String {
    serde_saphyr::to_string(document).unwrap_or_else(|_| document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_again() {
        let document = json!({
            "swagger": "2.0", "info": {"title": "t: \"x\"", "version": "1.0"}, "list": [1, true, null, "yes", "a\nb"],
            "paths": {"/pets/{id}": {"get": {"responses": {"200": {"description": "ok"}}}}},
        });
        assert_eq!(read(&write(&document)).expect("it is YAML"), document);
        assert_eq!(
            read("swagger: '2.0'\npaths:\n  /a: {}\n").expect("it is YAML"),
            json!({"swagger": "2.0", "paths": {"/a": {}}})
        );
        assert!(read("a: [").is_err() && read("a: b: c").is_err());
    }
}
