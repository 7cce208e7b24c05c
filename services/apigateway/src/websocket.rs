//! WebSocket APIs.

pub mod serve;

use pileus_platform::Service;

pub fn add(service: Service) -> Service {
    service
}
