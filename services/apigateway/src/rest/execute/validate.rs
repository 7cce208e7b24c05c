//! Request validators.
//!
//! Source: API Gateway Developer Guide, "Request validation for REST APIs in API Gateway". Recorded: the sentences.

use serde_json::Value as Json;

use super::call::Call;
use super::compiled::Method;
use super::refusal::Refusal;

/// # Errors
/// `BAD_REQUEST_PARAMETERS` with the names of what is missing, `BAD_REQUEST_BODY` for a body that is not its model's.
pub fn check(call: &Call, method: &Method) -> Result<(), Refusal> {
    let (of_body, of_parameters) = method.validates;
    if of_parameters {
        let required = method.definition.request_parameters.iter().flat_map(|map| map.iter());
        let missing: Vec<&str> = required
            .filter(|(name, is_required)| {
                **is_required && call.source(name).first().is_none_or(String::is_empty)
            })
            .map(|(name, _)| name.rsplit('.').next().unwrap_or(name))
            .collect();
        if !missing.is_empty() {
            let text = format!("Missing required request parameters: [{}]", missing.join(", "));
            return Err(Refusal::new("BAD_REQUEST_PARAMETERS", "BadRequestException", &text));
        }
    }
    if of_body {
        body(call, method)?;
    }
    Ok(())
}

fn body(call: &Call, method: &Method) -> Result<(), Refusal> {
    let given = call.content_type().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let kind = if given.is_empty() { "application/json" } else { given.as_str() };
    // A content type without a model is not validated.
    let Some((_, schema)) = method.schemas.iter().find(|(known, _)| known == kind) else { return Ok(()) };
    let refused = |errors: Vec<String>| {
        let listed = format!("[{}]", errors.join(", "));
        let mut refusal = Refusal::new("BAD_REQUEST_BODY", "BadRequestException", "Invalid request body")
            .because(format!("Request body does not match model schema for content type {kind}: {listed}"));
        refusal.validation = Some(listed);
        refusal
    };
    let document: Json = match call.body.is_empty() {
        true => Json::Object(serde_json::Map::new()),
        false => serde_json::from_slice(&call.body)
            .map_err(|error| refused(vec![format!("Unable to parse request body: {error}")]))?,
    };
    let errors = schema.errors(&document);
    if errors.is_empty() { Ok(()) } else { Err(refused(errors)) }
}
