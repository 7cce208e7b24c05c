//! Amazon EC2: the map that the other services stand on.
//!
//! | File        | Holds                                              |
//! |-------------|----------------------------------------------------|
//! | `region.rs` | `DescribeRegions`                                  |
//! | `zone.rs`   | `DescribeAvailabilityZones`                        |
//! | `places.rs` | where AWS's regions and zones are: facts           |
//! | `filter.rs` | `Filters` of `Describe..` operations: pure         |
//! | `error.rs`  | every error that a caller can see                  |
//!
//! Where we differ from AWS, and why: `docs/services/ec2.md`.

mod error;
mod filter;
mod places;
mod region;
mod zone;

use pileus_api_ec2 as api;
use pileus_platform::Service;

pub use crate::error::Ec2Error;

/// Neither operation names a resource: their actions are judged on `*`.
///
/// Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon EC2".
pub fn service() -> Service {
    Service::new(api::SERVICE)
        .op(api::DESCRIBE_REGIONS, region::describe_regions)
        .op(api::DESCRIBE_AVAILABILITY_ZONES, zone::describe_availability_zones)
}
