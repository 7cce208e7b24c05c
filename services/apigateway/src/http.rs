//! HTTP APIs (version 2).

pub mod execute;

use pileus_platform::Service;

pub fn add(service: Service) -> Service {
    service
}
