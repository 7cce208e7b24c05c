//! Everything that is configured on a bucket, and S3 Control.

use pileus_platform::Service;

/// Adds the operations of bucket configurations.
pub fn operations(service: Service) -> Service {
    service
}

/// Adds the operations of S3 Control.
pub fn control(service: Service) -> Service {
    service
}
