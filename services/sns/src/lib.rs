//! SNS.
//!
//! | File | Holds |
//! |------|-------|
//!
//! Where we differ from AWS, and why: `docs/services/sns.md`.

use pileus_platform::Service;

pub fn service() -> Service {
    Service::new(pileus_api_sns::SERVICE)
}
