//! Regions.

use pileus_api_ec2::{DescribeRegionsRequest, DescribeRegionsResult, Region, RegionGeography};
use pileus_platform::Cx;

use crate::error::Ec2Error;
use crate::filter::Filters;
use crate::places::{OptIn, Place};

const FILTERS: &[&str] = &["endpoint", "opt-in-status", "region-name"];

/// `DescribeRegions`: the regions of the caller's partition.
///
/// Chosen: all of them can be used here, so those that AWS makes an account opt in to are opted in, and `AllRegions` changes nothing.
///
/// # Errors
/// `InvalidParameterValue` for the first region or filter that does not exist; `DryRunOperation`.
///
/// Source: Amazon EC2 API Reference, "DescribeRegions".
pub async fn describe_regions(
    cx: &Cx,
    input: DescribeRegionsRequest,
) -> Result<DescribeRegionsResult, Ec2Error> {
    if input.dry_run == Some(true) {
        return Err(Ec2Error::DryRunOperation);
    }
    let filters = Filters::read(input.filters, FILTERS)?;
    let names = input.region_names.unwrap_or_default();
    let visible: Vec<&Place> = Place::beside(cx.region()).collect();
    if let Some(name) = names.iter().find(|name| visible.iter().all(|place| place.code != **name)) {
        return Err(Ec2Error::UnknownRegion(name.clone()));
    }
    let regions = visible.into_iter().filter(|place| {
        let is_named = names.is_empty() || names.iter().any(|name| name == place.code);
        let endpoint = place.endpoint();
        let of = |name: &str| match name {
            "endpoint" => Some(endpoint.as_str()),
            "opt-in-status" => Some(opt_in_status(place)),
            "region-name" => Some(place.code),
            _ => None,
        };
        is_named && filters.fit(of)
    });
    Ok(DescribeRegionsResult { regions: Some(regions.map(describe).collect()) })
}

fn describe(place: &Place) -> Region {
    Region {
        opt_in_status: Some(opt_in_status(place).to_owned()),
        geography: Some(vec![RegionGeography { name: Some(place.geography.to_owned()) }]),
        region_name: Some(place.code.to_owned()),
        endpoint: Some(place.endpoint()),
    }
}

fn opt_in_status(place: &Place) -> &'static str {
    match place.opt_in {
        OptIn::NotRequired => "opt-in-not-required",
        OptIn::Required => "opted-in",
    }
}
