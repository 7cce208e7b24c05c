//! S3.
//!
//! | File | Holds |
//! |------|-------|
//!
//! Where we differ from AWS, and why: `docs/services/s3.md`.

use pileus_platform::Service;

pub fn service() -> Service {
    Service::new(pileus_api_s3::SERVICE)
}

pub fn control() -> Service {
    Service::new(pileus_api_s3control::SERVICE)
}
