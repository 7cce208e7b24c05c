"""EC2: regions and availability zones."""

import pytest
from botocore.exceptions import ClientError
from conftest import error_code


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def names(answer):
    return [region["RegionName"] for region in answer["Regions"]]


def zones(answer):
    return [zone["ZoneName"] for zone in answer["AvailabilityZones"]]


def by(name, *values):
    return [{"Name": name, "Values": list(values)}]


def test_regions_are_described_and_filtered(client):
    ec2 = client("ec2")
    assert len(names(ec2.describe_regions())) == 34
    assert names(ec2.describe_regions(RegionNames=["us-west-2", "eu-west-1"])) == ["eu-west-1", "us-west-2"]
    assert names(ec2.describe_regions(Filters=by("endpoint", "*.us-east-?.*"))) == ["us-east-1", "us-east-2"]
    both = by("region-name", "ap-*") + by("opt-in-status", "opt-in-not-required")
    assert names(ec2.describe_regions(Filters=both, AllRegions=True)) == [
        "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
    ]  # fmt: skip
    assert ec2.describe_regions(RegionNames=["us-east-2"])["Regions"] == [
        {
            "OptInStatus": "opt-in-not-required",
            "Geography": [{"Name": "United States of America"}],
            "RegionName": "us-east-2",
            "Endpoint": "ec2.us-east-2.amazonaws.com",
        }
    ]
    china = client("ec2", region="cn-north-1").describe_regions()
    assert names(china) == ["cn-north-1", "cn-northwest-1"]


def test_zones_are_those_of_the_region(client):
    ec2 = client("ec2", region="us-east-2")
    assert zones(ec2.describe_availability_zones()) == ["us-east-2a", "us-east-2b", "us-east-2c"]
    assert zones(ec2.describe_availability_zones(ZoneIds=["use2-az3"], AllAvailabilityZones=True)) == ["us-east-2c"]
    assert zones(ec2.describe_availability_zones(Filters=by("zone-type", "local-zone"))) == []
    assert zones(ec2.describe_availability_zones(Filters=by("state", "available"), ZoneNames=["us-east-2b"])) == ["us-east-2b"]
    assert ec2.describe_availability_zones(ZoneNames=["us-east-2a"])["AvailabilityZones"] == [
        {
            "OptInStatus": "opt-in-not-required",
            "Messages": [],
            "RegionName": "us-east-2",
            "ZoneName": "us-east-2a",
            "ZoneId": "use2-az1",
            "GroupName": "us-east-2-zg-1",
            "NetworkBorderGroup": "us-east-2",
            "ZoneType": "availability-zone",
            "GroupLongName": "US East (Ohio) 1",
            "Geography": [{"Name": "United States of America"}],
            "SubGeography": [{"Name": "Ohio"}],
            "State": "available",
        }
    ]
    assert zones(client("ec2", region="eu-moon-1").describe_availability_zones()) == []


def test_what_does_not_exist_is_refused_by_name(client):
    ec2 = client("ec2")
    regions, availability_zones = ec2.describe_regions, ec2.describe_availability_zones
    cases = [
        (regions, {"RegionNames": ["us-east-1", "us--east-1"]}, "Invalid region: [us--east-1]"),
        (regions, {"Filters": by("zone-name", "x")}, "The filter 'zone-name' is invalid"),
        (availability_zones, {"ZoneNames": ["us-west-2a"]}, "Invalid availability zone: [us-west-2a]"),
        (availability_zones, {"ZoneIds": ["usw2-az1"]}, "Invalid availability zone-id: [usw2-az1]"),
        (availability_zones, {"Filters": [{"Values": ["x"]}]}, "The filter 'null' is invalid"),
    ]
    for call, arguments, message in cases:
        assert refused(call, **arguments) == (400, "InvalidParameterValue", message)
    many = by("zone-name", *["x"] * 201)
    assert refused(availability_zones, Filters=many)[1] == "FilterLimitExceeded"


def test_a_dry_run_says_whether_the_caller_may(client, denied):
    would = (412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
    for call in ("describe_regions", "describe_availability_zones"):
        assert refused(getattr(client("ec2"), call), DryRun=True) == would
        status, code, message = refused(getattr(denied("ec2"), call), DryRun=True)
        assert (status, code) == (403, "UnauthorizedOperation")
        assert message.startswith("You are not authorized to perform this operation. User: arn:aws:iam::000000000000:user/denied-")
        action = "ec2:" + "".join(word.title() for word in call.split("_"))
        assert message.endswith(f"perform: {action} because no identity-based policy allows the {action} action")


def test_other_operations_say_that_they_are_lacking(client):
    assert error_code(client("ec2").describe_instances) in ("NotImplemented", "501")
