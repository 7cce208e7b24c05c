//! CloudWatch Logs.
//!
//! | File | Holds |
//! |------|-------|
//!
//! Where we differ from AWS, and why: `docs/services/logs.md`.

use pileus_platform::Service;

pub fn service() -> Service {
    Service::new(pileus_api_logs::SERVICE)
}
