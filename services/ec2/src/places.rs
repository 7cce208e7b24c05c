//! Where AWS's regions and their availability zones are: facts, and nothing else.
//!
//! Source: AWS Regions and Availability Zones, "AWS Regions", "AWS Availability Zones", "AZ IDs"; names and the list of regions
//! that have an EC2 as botocore's data files tell them.
//!
//! Chosen: which letter stands for which zone. AWS maps letters for each account in its oldest regions, and alike for all accounts
//! created since November 2025. Here every account has the one mapping of this table.

use pileus_core::Region;

/// A region as the world sees it.
#[derive(Debug)]
pub struct Place {
    /// `ap-northeast-2`
    pub code: &'static str,
    /// `Asia Pacific (Seoul)`
    pub name: &'static str,
    /// The country that it lies in.
    pub geography: &'static str,
    /// The part of the country, where AWS tells it; else empty.
    pub sub_geography: &'static str,
    pub opt_in: OptIn,
    /// Letter and id of each availability zone.
    pub zones: &'static [(&'static str, &'static str)],
}

/// Whether AWS makes an account choose the region before it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptIn {
    NotRequired,
    Required,
}

impl Place {
    pub fn find(code: &str) -> Option<&'static Place> {
        PLACES.iter().find(|place| place.code == code)
    }

    /// All regions that an account of `region`'s partition can see.
    pub fn beside(region: &Region) -> impl Iterator<Item = &'static Place> {
        let partition = region.partition();
        PLACES.iter().filter(move |place| place.partition() == partition)
    }

    /// `ec2.ap-northeast-2.amazonaws.com`
    pub fn endpoint(&self) -> String {
        let suffix = if self.partition() == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("ec2.{}.{suffix}", self.code)
    }

    fn partition(&self) -> &'static str {
        Region::parse(self.code).map_or("aws", |region| region.partition())
    }
}

#[rustfmt::skip] // a table: one line for each region
static PLACES: &[Place] = &[
    Place { code: "af-south-1", name: "Africa (Cape Town)", geography: "South Africa", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "afs1-az1"), ("b", "afs1-az2"), ("c", "afs1-az3")] },
    Place { code: "ap-east-1", name: "Asia Pacific (Hong Kong)", geography: "Hong Kong", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "ape1-az1"), ("b", "ape1-az2"), ("c", "ape1-az3")] },
    Place { code: "ap-east-2", name: "Asia Pacific (Taipei)", geography: "Taiwan", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "ape2-az1"), ("b", "ape2-az2"), ("c", "ape2-az3")] },
    Place { code: "ap-northeast-1", name: "Asia Pacific (Tokyo)", geography: "Japan", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "apne1-az4"), ("c", "apne1-az1"), ("d", "apne1-az2")] },
    Place { code: "ap-northeast-2", name: "Asia Pacific (Seoul)", geography: "South Korea", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "apne2-az1"), ("b", "apne2-az2"), ("c", "apne2-az3"), ("d", "apne2-az4")] },
    Place { code: "ap-northeast-3", name: "Asia Pacific (Osaka)", geography: "Japan", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "apne3-az1"), ("b", "apne3-az2"), ("c", "apne3-az3")] },
    Place { code: "ap-south-1", name: "Asia Pacific (Mumbai)", geography: "India", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "aps1-az1"), ("b", "aps1-az3"), ("c", "aps1-az2")] },
    Place { code: "ap-south-2", name: "Asia Pacific (Hyderabad)", geography: "India", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "aps2-az1"), ("b", "aps2-az2"), ("c", "aps2-az3")] },
    Place { code: "ap-southeast-1", name: "Asia Pacific (Singapore)", geography: "Singapore", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "apse1-az1"), ("b", "apse1-az2"), ("c", "apse1-az3")] },
    Place { code: "ap-southeast-2", name: "Asia Pacific (Sydney)", geography: "Australia", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "apse2-az1"), ("b", "apse2-az3"), ("c", "apse2-az2")] },
    Place { code: "ap-southeast-3", name: "Asia Pacific (Jakarta)", geography: "Indonesia", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "apse3-az1"), ("b", "apse3-az2"), ("c", "apse3-az3")] },
    Place { code: "ap-southeast-4", name: "Asia Pacific (Melbourne)", geography: "Australia", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "apse4-az1"), ("b", "apse4-az2"), ("c", "apse4-az3")] },
    Place { code: "ap-southeast-5", name: "Asia Pacific (Malaysia)", geography: "Malaysia", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "apse5-az1"), ("b", "apse5-az2"), ("c", "apse5-az3")] },
    Place { code: "ap-southeast-6", name: "Asia Pacific (New Zealand)", geography: "New Zealand", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "apse6-az1"), ("b", "apse6-az2"), ("c", "apse6-az3")] },
    Place { code: "ap-southeast-7", name: "Asia Pacific (Thailand)", geography: "Thailand", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "apse7-az1"), ("b", "apse7-az2"), ("c", "apse7-az3")] },
    Place { code: "ca-central-1", name: "Canada (Central)", geography: "Canada", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "cac1-az1"), ("b", "cac1-az2"), ("d", "cac1-az4")] },
    Place { code: "ca-west-1", name: "Canada West (Calgary)", geography: "Canada", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "caw1-az1"), ("b", "caw1-az2"), ("c", "caw1-az3")] },
    Place { code: "cn-north-1", name: "China (Beijing)", geography: "China", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "cnn1-az1"), ("b", "cnn1-az2")] },
    Place { code: "cn-northwest-1", name: "China (Ningxia)", geography: "China", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "cnnw1-az1"), ("b", "cnnw1-az2"), ("c", "cnnw1-az3")] },
    Place { code: "eu-central-1", name: "Europe (Frankfurt)", geography: "Germany", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "euc1-az2"), ("b", "euc1-az3"), ("c", "euc1-az1")] },
    Place { code: "eu-central-2", name: "Europe (Zurich)", geography: "Switzerland", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "euc2-az1"), ("b", "euc2-az2"), ("c", "euc2-az3")] },
    Place { code: "eu-north-1", name: "Europe (Stockholm)", geography: "Sweden", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "eun1-az1"), ("b", "eun1-az2"), ("c", "eun1-az3")] },
    Place { code: "eu-south-1", name: "Europe (Milan)", geography: "Italy", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "eus1-az1"), ("b", "eus1-az2"), ("c", "eus1-az3")] },
    Place { code: "eu-south-2", name: "Europe (Spain)", geography: "Spain", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "eus2-az1"), ("b", "eus2-az2"), ("c", "eus2-az3")] },
    Place { code: "eu-west-1", name: "Europe (Ireland)", geography: "Ireland", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "euw1-az3"), ("b", "euw1-az1"), ("c", "euw1-az2")] },
    Place { code: "eu-west-2", name: "Europe (London)", geography: "United Kingdom", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "euw2-az2"), ("b", "euw2-az3"), ("c", "euw2-az1")] },
    Place { code: "eu-west-3", name: "Europe (Paris)", geography: "France", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "euw3-az1"), ("b", "euw3-az2"), ("c", "euw3-az3")] },
    Place { code: "il-central-1", name: "Israel (Tel Aviv)", geography: "Israel", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "ilc1-az1"), ("b", "ilc1-az2"), ("c", "ilc1-az3")] },
    Place { code: "me-central-1", name: "Middle East (UAE)", geography: "United Arab Emirates", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "mec1-az1"), ("b", "mec1-az2"), ("c", "mec1-az3")] },
    Place { code: "me-south-1", name: "Middle East (Bahrain)", geography: "Bahrain", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "mes1-az1"), ("b", "mes1-az2"), ("c", "mes1-az3")] },
    Place { code: "mx-central-1", name: "Mexico (Central)", geography: "Mexico", sub_geography: "", opt_in: OptIn::Required, zones: &[("a", "mxc1-az1"), ("b", "mxc1-az2"), ("c", "mxc1-az3")] },
    Place { code: "sa-east-1", name: "South America (Sao Paulo)", geography: "Brazil", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "sae1-az1"), ("b", "sae1-az2"), ("c", "sae1-az3")] },
    Place { code: "us-east-1", name: "US East (N. Virginia)", geography: "United States of America", sub_geography: "Virginia", opt_in: OptIn::NotRequired, zones: &[("a", "use1-az6"), ("b", "use1-az1"), ("c", "use1-az2"), ("d", "use1-az4"), ("e", "use1-az3"), ("f", "use1-az5")] },
    Place { code: "us-east-2", name: "US East (Ohio)", geography: "United States of America", sub_geography: "Ohio", opt_in: OptIn::NotRequired, zones: &[("a", "use2-az1"), ("b", "use2-az2"), ("c", "use2-az3")] },
    Place { code: "us-gov-east-1", name: "AWS GovCloud (US-East)", geography: "United States of America", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "usge1-az1"), ("b", "usge1-az2"), ("c", "usge1-az3")] },
    Place { code: "us-gov-west-1", name: "AWS GovCloud (US-West)", geography: "United States of America", sub_geography: "", opt_in: OptIn::NotRequired, zones: &[("a", "usgw1-az1"), ("b", "usgw1-az2"), ("c", "usgw1-az3")] },
    Place { code: "us-west-1", name: "US West (N. California)", geography: "United States of America", sub_geography: "California", opt_in: OptIn::NotRequired, zones: &[("a", "usw1-az3"), ("c", "usw1-az1")] },
    Place { code: "us-west-2", name: "US West (Oregon)", geography: "United States of America", sub_geography: "Oregon", opt_in: OptIn::NotRequired, zones: &[("a", "usw2-az2"), ("b", "usw2-az1"), ("c", "usw2-az3"), ("d", "usw2-az4")] },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_and_zone_ids_are_used_once_and_every_region_has_two_zones() {
        let mut ids = BTreeSet::new();
        for place in PLACES {
            assert!(Region::parse(place.code).is_some(), "{}", place.code);
            assert!(place.zones.len() >= 2, "{}", place.code);
            let letters: BTreeSet<_> = place.zones.iter().map(|(letter, _)| letter).collect();
            assert_eq!(letters.len(), place.zones.len(), "{}", place.code);
            for (_, id) in place.zones {
                assert!(id.contains("-az") && ids.insert(*id), "{id}");
            }
        }
        assert!(PLACES.is_sorted_by(|one, next| one.code < next.code));
    }

    #[test]
    fn an_account_sees_the_regions_of_its_partition_only() {
        let codes = |code| {
            let region = Region::parse(code).unwrap();
            Place::beside(&region).map(|place| place.code).collect::<Vec<_>>()
        };
        assert_eq!(codes("cn-north-1"), ["cn-north-1", "cn-northwest-1"]);
        assert_eq!(codes("us-gov-west-1"), ["us-gov-east-1", "us-gov-west-1"]);
        assert_eq!(codes("us-east-1").len(), 34);
    }

    #[test]
    fn endpoints_are_awss() {
        let endpoint = |code| Place::find(code).unwrap().endpoint();
        assert_eq!(endpoint("ap-northeast-2"), "ec2.ap-northeast-2.amazonaws.com");
        assert_eq!(endpoint("cn-north-1"), "ec2.cn-north-1.amazonaws.com.cn");
    }
}
