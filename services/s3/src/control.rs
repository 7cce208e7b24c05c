//! S3 Control: accounts' settings, access points, batch jobs.

pub mod access_point;

use pileus_platform::Service;

pub fn add(service: Service) -> Service {
    service
}
