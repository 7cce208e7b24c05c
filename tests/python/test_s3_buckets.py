"""S3: buckets as resources: names, places, lists, who may not, and where a request belongs."""

import uuid

import pytest
import requests
from botocore.exceptions import ClientError


def refused(call, **arguments):
    """The error that a call ends with: its code and its status."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture
def s3(client):
    return client("s3")


def test_a_bucket_is_made_found_listed_and_deleted(s3, name):
    bucket = name("bucket")
    made = s3.create_bucket(Bucket=bucket)
    assert made["Location"] == f"/{bucket}"
    head = s3.head_bucket(Bucket=bucket)
    assert head["BucketRegion"] == "us-east-1" and head["AccessPointAlias"] is False
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    listed = {found["Name"]: found for found in s3.list_buckets()["Buckets"]}
    assert listed[bucket]["CreationDate"].year > 2020
    assert len(s3.list_buckets()["Owner"]["ID"]) == 64
    s3.delete_bucket(Bucket=bucket)
    assert refused(s3.head_bucket, Bucket=bucket) == ("404", 404)
    assert refused(s3.delete_bucket, Bucket=bucket) == ("NoSuchBucket", 404)


def test_lists_of_buckets_are_pages_of_a_prefix_and_a_region(s3, name):
    prefix = name("page")
    names = [f"{prefix}-{number}" for number in range(5)]
    for number, bucket in enumerate(names):
        place = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}} if number % 2 else {}
        s3.create_bucket(Bucket=bucket, **place)
    first = s3.list_buckets(Prefix=prefix, MaxBuckets=2)
    assert [found["Name"] for found in first["Buckets"]] == names[:2]
    rest = s3.list_buckets(Prefix=prefix, ContinuationToken=first["ContinuationToken"])
    assert [found["Name"] for found in rest["Buckets"]] == names[2:] and "ContinuationToken" not in rest
    irish = s3.list_buckets(Prefix=prefix, BucketRegion="eu-west-1")["Buckets"]
    assert [found["Name"] for found in irish] == [names[1], names[3]]


def test_names_that_no_bucket_may_have(node):
    for bad in ["ab", "UPPER", "a_b", "-ab", "ab-", "a..b", "192.168.5.4", "xn--a", "x-s3alias", "a" * 64]:
        answer = requests.put(f"{node.endpoint}/{bad}", timeout=10, headers={"Host": f"127.0.0.1:{node.port}"})
        # Whoever does not sign may not make one, whatever its name.
        assert answer.status_code in (400, 403), bad
    s3 = node.client("s3")
    for bad in ["xn--abc", "abc-s3alias", "a..b", "192.168.5.4"]:
        assert refused(s3.create_bucket, Bucket=bad) == ("InvalidBucketName", 400), bad


def test_names_are_unique_in_the_whole_cloud(node, s3, name):
    bucket = name("mine")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    s3.create_bucket(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"
    other = node.client("s3", key="111122223333")
    assert refused(other.create_bucket, Bucket=bucket) == ("BucketAlreadyExists", 409)
    abroad = node.client("s3", region="eu-west-1")
    place = {"LocationConstraint": "eu-west-1"}
    assert refused(abroad.create_bucket, Bucket=bucket, CreateBucketConfiguration=place) == ("BucketAlreadyOwnedByYou", 409)


@pytest.mark.parametrize(
    "region, constraint, expected",
    [
        ("us-east-1", None, None),
        ("us-east-1", "eu-west-1", "eu-west-1"),
        ("us-east-1", "EU", "eu-west-1"),
        ("us-east-1", "nowhere", ("InvalidLocationConstraint", 400)),
        ("eu-west-1", "eu-west-1", "eu-west-1"),
        ("eu-west-1", None, ("IllegalLocationConstraintException", 400)),
        ("eu-west-1", "us-west-2", ("IllegalLocationConstraintException", 400)),
    ],
)
def test_where_a_bucket_is_made(node, name, region, constraint, expected):
    s3 = node.client("s3", region=region)
    bucket = name("placed")
    place = {"CreateBucketConfiguration": {"LocationConstraint": constraint}} if constraint else {}
    if isinstance(expected, tuple):
        assert refused(s3.create_bucket, Bucket=bucket, **place) == expected
        return
    s3.create_bucket(Bucket=bucket, **place)
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == expected


def test_a_request_to_another_region_is_told_where_the_bucket_is(node, s3, name):
    bucket = name("far")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-2"})
    v4 = node.client("s3", signature_version="s3v4")
    signed = v4.generate_presigned_url("list_objects_v2", Params={"Bucket": bucket})
    answer = requests.get(signed, timeout=10)
    assert answer.status_code == 301 and answer.headers["x-amz-bucket-region"] == "ap-northeast-2"
    assert "<Code>PermanentRedirect</Code>" in answer.text and f"<Bucket>{bucket}</Bucket>" in answer.text
    # boto3 follows by itself.
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert node.client("s3", region="ap-northeast-2").list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_bucket_with_anything_in_it_stays(s3, name):
    bucket = name("full")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert refused(s3.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.delete_object(Bucket=bucket, Key="k")
    assert refused(s3.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)
    versions = s3.list_object_versions(Bucket=bucket)
    for found in versions["Versions"] + versions["DeleteMarkers"]:
        s3.delete_object(Bucket=bucket, Key="k", VersionId=found["VersionId"])
    s3.create_multipart_upload(Bucket=bucket, Key="in-progress")
    s3.delete_bucket(Bucket=bucket)


def test_the_expected_owner_is_checked(s3, name):
    bucket = name("owned")
    s3.create_bucket(Bucket=bucket)
    s3.head_bucket(Bucket=bucket, ExpectedBucketOwner="000000000000")
    assert refused(s3.list_objects_v2, Bucket=bucket, ExpectedBucketOwner="111122223333") == ("AccessDenied", 403)


def test_who_may_not(node, s3, denied, name):
    bucket = name("closed")
    s3.create_bucket(Bucket=bucket)
    nobody = denied("s3")
    calls = [
        (nobody.create_bucket, {"Bucket": name("new")}),
        (nobody.delete_bucket, {"Bucket": bucket}),
        (nobody.get_bucket_location, {"Bucket": bucket}),
        (nobody.list_buckets, {}),
        (nobody.list_objects, {"Bucket": bucket}),
        (nobody.list_objects_v2, {"Bucket": bucket}),
        (nobody.list_object_versions, {"Bucket": bucket}),
        (nobody.list_multipart_uploads, {"Bucket": bucket}),
    ]
    for call, arguments in calls:
        assert refused(call, **arguments) == ("AccessDenied", 403), call
    assert refused(nobody.head_bucket, Bucket=bucket) == ("403", 403)
    # The root of another account is nobody here, and there is no bucket for anyone where there is none.
    other = node.client("s3", key="111122223333")
    assert refused(other.list_objects_v2, Bucket=bucket) == ("AccessDenied", 403)
    assert refused(nobody.list_objects_v2, Bucket=f"none-{uuid.uuid4().hex}") == ("NoSuchBucket", 404)


def test_hosts_and_paths_name_the_same_bucket(node, s3, name):
    bucket = name("host")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"here")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a/b"})
    assert requests.get(url, timeout=10).content == b"here"
    for host in [f"{bucket}.s3.localhost", f"{bucket}.s3.us-east-1.amazonaws.com", f"{bucket}.s3.amazonaws.com"]:
        answer = requests.get(f"{node.endpoint}/", headers={"Host": f"{host}:{node.port}"}, timeout=10)
        assert answer.status_code == 403 and "AccessDenied" in answer.text, host


def test_the_command_line_makes_and_removes_buckets(node, name):
    bucket = name("cli")
    assert f"make_bucket: {bucket}" in node.aws("s3", "mb", f"s3://{bucket}").stdout
    assert bucket in node.aws("s3", "ls").stdout
    assert f"remove_bucket: {bucket}" in node.aws("s3", "rb", f"s3://{bucket}").stdout
