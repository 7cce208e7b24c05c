//! API Gateway.
//!
//! | File                     | Holds                                                                          |
//! |--------------------------|--------------------------------------------------------------------------------|
//! | `front.rs`               | which API and stage an address means, and who answers                           |
//! | `domain.rs`              | custom domain names and their mappings, as both APIs keep them                  |
//! | `invoke.rs`, `invoke/*`  | calls of functions and HTTP backends as API Gateway makes them                  |
//! | `rest.rs`, `rest/*`      | REST APIs (version 1)                                                           |
//! | `http.rs`, `http/*`      | HTTP APIs (version 2), and what they share with WebSocket APIs                  |
//! | `websocket.rs`, `websocket/*` | WebSocket APIs and their connections                                       |
//! | `keys.rs`, `error.rs`    | every key that is shared; every error a caller can see                          |
//!
//! Where we differ from AWS, and why: `docs/services/apigateway.md`, `docs/services/apigatewayv2.md`.

mod domain;
mod error;
mod front;
mod http;
mod invoke;
mod keys;
mod rest;
mod websocket;

use pileus_platform::Service;

pub use crate::error::GatewayError;

/// The service principal that API Gateway acts as.
pub(crate) const PRINCIPAL: &str = "apigateway.amazonaws.com";

/// REST APIs, and the front door of all APIs.
pub fn service() -> Service {
    let service = Service::new(pileus_api_apigateway::SERVICE)
        .state(domain::Names::default())
        .data_plane(front::owns, front::answer)
        .claims(front::claims)
        .worker("domain names", domain::watch);
    rest::add(service)
}

/// HTTP and WebSocket APIs.
pub fn v2() -> Service {
    http::add(Service::new(pileus_api_apigatewayv2::SERVICE))
}

/// `@connections`: messages to clients of WebSocket APIs.
pub fn management() -> Service {
    websocket::add(Service::new(pileus_api_apigatewaymanagementapi::SERVICE))
}
