//! Requests to HTTP APIs.

use http::StatusCode;
use pileus_platform::DataRequest;
use pileus_wire::protocol::Response;

use crate::front::{Target, message};

pub async fn answer(_request: DataRequest, _target: Target) -> Response {
    message(StatusCode::NOT_IMPLEMENTED, None, "pileus does not answer HTTP APIs yet")
}
