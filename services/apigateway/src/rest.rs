//! REST APIs (version 1).

pub mod execute;

use pileus_platform::Service;

/// Adds the operations of REST APIs.
pub fn add(service: Service) -> Service {
    service
}
