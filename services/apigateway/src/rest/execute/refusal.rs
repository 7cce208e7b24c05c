//! What API Gateway answers itself: gateway responses.
//!
//! Source: API Gateway Developer Guide, "Gateway responses for REST APIs in API Gateway", "Gateway response types for API Gateway".
//! Recorded: messages and `x-amzn-ErrorType`.

use http::{HeaderName, HeaderValue, StatusCode, header};
use pileus_wire::protocol::Response;
use pileus_wire::value::Map;
use serde_json::{Value as Json, json};

use super::call::Call;
use crate::rest::gateway_response;

/// Why a request is not answered by its integration.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The type of gateway response.
    pub kind: &'static str,
    /// Before the gateway response's own.
    pub status: Option<u16>,
    pub error_type: &'static str,
    pub message: Option<String>,
    /// `$context.error.validationErrorString`
    pub validation: Option<String>,
    /// What the log says beside the message.
    pub reason: String,
}

impl Refusal {
    pub fn new(kind: &'static str, error_type: &'static str, message: &str) -> Refusal {
        Refusal {
            kind,
            status: None,
            error_type,
            message: Some(message.to_owned()),
            validation: None,
            reason: message.to_owned(),
        }
    }

    pub fn because(mut self, reason: impl Into<String>) -> Refusal {
        self.reason = reason.into();
        self
    }

    pub fn with_status(mut self, status: u16) -> Refusal {
        self.status = Some(status);
        self
    }

    pub fn missing_token() -> Refusal {
        Refusal::new(
            "MISSING_AUTHENTICATION_TOKEN",
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        )
    }

    pub fn unauthorized() -> Refusal {
        Refusal::new("UNAUTHORIZED", "UnauthorizedException", "Unauthorized")
    }

    pub fn denied(message: &str) -> Refusal {
        Refusal::new("ACCESS_DENIED", "AccessDeniedException", message)
    }

    pub fn forbidden_key() -> Refusal {
        Refusal::new("INVALID_API_KEY", "ForbiddenException", "Forbidden")
    }

    pub fn throttled() -> Refusal {
        Refusal::new("THROTTLED", "TooManyRequestsException", "Too Many Requests")
    }

    pub fn quota() -> Refusal {
        Refusal::new("QUOTA_EXCEEDED", "LimitExceededException", "Limit Exceeded")
    }

    pub fn too_large() -> Refusal {
        Refusal::new("REQUEST_TOO_LARGE", "RequestTooLargeException", "Request Entity Too Large")
    }

    pub fn media_type() -> Refusal {
        Refusal::new("UNSUPPORTED_MEDIA_TYPE", "BadRequestException", "Unsupported Media Type")
    }

    /// An integration that is not set up so that it can answer.
    pub fn configuration(reason: impl Into<String>) -> Refusal {
        Refusal::new("API_CONFIGURATION_ERROR", "InternalServerErrorException", "Internal server error")
            .because(reason)
    }

    /// An answer that makes no sense: 502.
    pub fn bad_gateway(reason: impl Into<String>) -> Refusal {
        Refusal::new("DEFAULT_5XX", "InternalServerErrorException", "Internal server error")
            .with_status(502)
            .because(reason)
    }

    pub fn internal(reason: impl Into<String>) -> Refusal {
        Refusal::new("DEFAULT_5XX", "InternalServerErrorException", "Internal server error")
            .with_status(500)
            .because(reason)
    }

    pub fn unreachable(reason: impl Into<String>) -> Refusal {
        Refusal::new(
            "INTEGRATION_FAILURE",
            "InternalServerErrorException",
            "Network error communicating with endpoint",
        )
        .because(reason)
    }

    pub fn timed_out() -> Refusal {
        Refusal::new("INTEGRATION_TIMEOUT", "InternalServerErrorException", "Endpoint request timed out")
    }

    /// The response as the deployment words it.
    pub fn respond(&self, call: &mut Call) -> Response {
        let message = self.message.as_deref().map_or(Json::Null, Json::from);
        call.context["error"] = json!({
            "message": message.clone(),
            "messageString": message.to_string(),
            "responseType": self.kind,
            "validationErrorString": self.validation.clone().map_or(Json::Null, Json::from),
        });
        let deployed = call.deployed.clone();
        let default = gateway_response::default(self.kind).unwrap_or_default();
        let own = deployed.responses.get(self.kind);
        let status_of = |response: &pileus_api_apigateway::GatewayResponse| {
            response.status_code.as_deref().and_then(|status| status.parse::<u16>().ok())
        };
        let natural = self.status.or_else(|| status_of(&default)).unwrap_or(500);
        // What is not changed itself is answered as the default of its kind, which may be.
        let fallback = if natural < 500 { "DEFAULT_4XX" } else { "DEFAULT_5XX" };
        let chosen = own.or_else(|| deployed.responses.get(fallback)).unwrap_or(&default);
        let status = match own {
            Some(own) => status_of(own).or(self.status).unwrap_or(natural),
            None => deployed.responses.get(fallback).and_then(status_of).unwrap_or(natural),
        };
        let accept = call.header("accept").unwrap_or_default().to_owned();
        let templates = chosen.response_templates.as_ref();
        let picked = templates.and_then(|templates| {
            let accepted =
                templates.iter().find(|(kind, _)| accept.split(',').any(|one| one.trim() == *kind));
            accepted
                .or_else(|| templates.iter().find(|(kind, _)| *kind == "application/json"))
                .or_else(|| templates.iter().next())
        });
        let is_plain = own.is_none() && !deployed.responses.contains_key(fallback);
        let (kind, body) = match picked {
            // Recorded: this one alone begins with a capital.
            Some((kind, _)) if is_plain && self.kind == "ACCESS_DENIED" => {
                (kind.to_owned(), json!({ "Message": self.message }).to_string())
            }
            Some((kind, template)) => (kind.to_owned(), call.fill(template, "")),
            None => ("application/json".to_owned(), call.fill(gateway_response::DEFAULT_TEMPLATE, "")),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(status, body.into());
        set(&mut response, header::CONTENT_TYPE.as_str(), &kind);
        set(&mut response, "x-amzn-errortype", self.error_type);
        for (target, source) in chosen.response_parameters.iter().flat_map(Map::iter) {
            let Some(name) = target.strip_prefix("gatewayresponse.header.") else { continue };
            if let Some(value) = call.source(source).first() {
                set(&mut response, name, value);
            }
        }
        response
    }
}

/// Sets a header; names and values that HTTP cannot carry are left out.
pub fn set(response: &mut Response, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        response.headers.insert(name, value);
    }
}

pub fn append(response: &mut Response, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        response.headers.append(name, value);
    }
}
