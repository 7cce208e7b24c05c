//! WebSocket APIs: their connections, and `@connections`.
//!
//! | File                       | Holds                                                                        |
//! |----------------------------|------------------------------------------------------------------------------|
//! | `websocket/serve.rs`       | requests to WebSocket APIs: handshakes, `$connect`, `@connections` by address  |
//! | `websocket/session.rs`     | a connection from its handshake to `$disconnect`                              |
//! | `websocket/route.rs`       | routes: which a message takes, what its integration answers                   |
//! | `websocket/authorize.rs`   | who may connect                                                               |
//! | `websocket/event.rs`       | what events and templates are told of a connection: pure                      |
//! | `websocket/template.rs`    | request and response templates                                                |
//! | `websocket/connections.rs` | connections as rows; messages to those of other nodes; what dead nodes leave  |
//! | `websocket/manage.rs`      | `PostToConnection`, `GetConnection`, `DeleteConnection`                        |
//!
//! The control plane is that of version 2: `http.rs`.

mod authorize;
mod connections;
mod event;
mod manage;
mod route;
pub mod serve;
mod session;
mod template;

use pileus_api_apigatewaymanagementapi as api;
use pileus_platform::Service;

/// Adds the operations on connections.
pub fn add(service: Service) -> Service {
    service
        .state(connections::Connections::default())
        .worker("messages", connections::receive)
        .worker("lost connections", connections::sweep)
        .op(api::POST_TO_CONNECTION, manage::post_to_connection)
        .access_async(api::POST_TO_CONNECTION, manage::may_post)
        .op(api::GET_CONNECTION, manage::get_connection)
        .access_async(api::GET_CONNECTION, manage::may_get)
        .op(api::DELETE_CONNECTION, manage::delete_connection)
        .access_async(api::DELETE_CONNECTION, manage::may_delete)
}
