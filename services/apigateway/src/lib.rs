//! API Gateway.
//!
//! | File | Holds |
//! |------|-------|
//!
//! Where we differ from AWS, and why: `docs/services/apigateway.md`.

use pileus_platform::Service;

pub fn service() -> Service {
    Service::new(pileus_api_apigateway::SERVICE)
}

pub fn v2() -> Service {
    Service::new(pileus_api_apigatewayv2::SERVICE)
}

pub fn management() -> Service {
    Service::new(pileus_api_apigatewaymanagementapi::SERVICE)
}
