//! Availability zones.

use pileus_api_ec2::{
    AvailabilityZone, AvailabilityZoneGeography, AvailabilityZoneSubGeography,
    DescribeAvailabilityZonesRequest, DescribeAvailabilityZonesResult,
};
use pileus_platform::Cx;

use crate::error::Ec2Error;
use crate::filter::Filters;
use crate::places::Place;

const FILTERS: &[&str] = &[
    "group-long-name",
    "group-name",
    "message",
    "opt-in-status",
    "parent-zone-id",
    "parent-zone-name",
    "region-name",
    "state",
    "zone-id",
    "zone-name",
    "zone-type",
];

/// `DescribeAvailabilityZones`: the zones of the request's region, all of them in state `available`.
///
/// There are no local zones and no wavelength zones, so `AllAvailabilityZones` changes nothing. A region that AWS does not have (any
/// well-formed code is a region here) has no zones.
///
/// # Errors
/// `InvalidParameterValue` for the first zone, zone id or filter that does not exist; `DryRunOperation`.
///
/// Source: Amazon EC2 API Reference, "DescribeAvailabilityZones"; AWS Regions and Availability Zones, "AWS Availability Zones".
pub async fn describe_availability_zones(
    cx: &Cx,
    input: DescribeAvailabilityZonesRequest,
) -> Result<DescribeAvailabilityZonesResult, Ec2Error> {
    if input.dry_run == Some(true) {
        return Err(Ec2Error::DryRunOperation);
    }
    let filters = Filters::read(input.filters, FILTERS)?;
    let zones = Place::find(cx.region().as_str()).map(zones_of).unwrap_or_default();
    let (names, ids) = (input.zone_names.unwrap_or_default(), input.zone_ids.unwrap_or_default());
    let unknown = |wanted: &[String], of: fn(&AvailabilityZone) -> Option<&str>| {
        wanted.iter().find(|name| zones.iter().all(|zone| of(zone) != Some(name))).cloned()
    };
    if let Some(name) = unknown(&names, |zone| zone.zone_name.as_deref()) {
        return Err(Ec2Error::UnknownZone(name));
    }
    if let Some(id) = unknown(&ids, |zone| zone.zone_id.as_deref()) {
        return Err(Ec2Error::UnknownZoneId(id));
    }
    let is_wanted = |zone: &AvailabilityZone| {
        let among = |wanted: &[String], own: Option<&str>| {
            wanted.is_empty() || wanted.iter().any(|name| own == Some(name))
        };
        among(&names, zone.zone_name.as_deref())
            && among(&ids, zone.zone_id.as_deref())
            && filters.fit(|name| value(zone, name))
    };
    let zones = zones.into_iter().filter(is_wanted).collect();
    Ok(DescribeAvailabilityZonesResult { availability_zones: Some(zones) })
}

fn zones_of(place: &Place) -> Vec<AvailabilityZone> {
    let describe = |(letter, id): &(&str, &str)| AvailabilityZone {
        opt_in_status: Some("opt-in-not-required".to_owned()),
        messages: Some(vec![]),
        region_name: Some(place.code.to_owned()),
        zone_name: Some(format!("{}{letter}", place.code)),
        zone_id: Some((*id).to_owned()),
        group_name: Some(format!("{}-zg-1", place.code)),
        network_border_group: Some(place.code.to_owned()),
        zone_type: Some("availability-zone".to_owned()),
        parent_zone_name: None,
        parent_zone_id: None,
        group_long_name: Some(format!("{} 1", place.name)),
        geography: Some(vec![AvailabilityZoneGeography { name: Some(place.geography.to_owned()) }]),
        sub_geography: (!place.sub_geography.is_empty())
            .then(|| vec![AvailabilityZoneSubGeography { name: Some(place.sub_geography.to_owned()) }]),
        state: Some("available".to_owned()),
    };
    place.zones.iter().map(describe).collect()
}

/// What a zone holds under a filter's name. No zone has a message or a parent.
fn value<'a>(zone: &'a AvailabilityZone, filter: &str) -> Option<&'a str> {
    match filter {
        "group-long-name" => zone.group_long_name.as_deref(),
        "group-name" => zone.group_name.as_deref(),
        "opt-in-status" => zone.opt_in_status.as_deref(),
        "parent-zone-id" => zone.parent_zone_id.as_deref(),
        "parent-zone-name" => zone.parent_zone_name.as_deref(),
        "region-name" => zone.region_name.as_deref(),
        "state" => zone.state.as_deref(),
        "zone-id" => zone.zone_id.as_deref(),
        "zone-name" => zone.zone_name.as_deref(),
        "zone-type" => zone.zone_type.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_but_those_that_no_zone_has_finds_a_value() {
        let zones = zones_of(Place::find("us-east-2").unwrap());
        let absent = ["message", "parent-zone-id", "parent-zone-name"];
        for filter in FILTERS {
            assert_eq!(value(&zones[0], filter).is_none(), absent.contains(filter), "{filter}");
        }
    }
}
