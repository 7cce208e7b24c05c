"""Who may use a bucket: policies, public access blocks, access control lists."""

import json

import pytest
import requests
from harness import error_code

OTHER = "222222222222"


@pytest.fixture
def s3(client):
    return client("s3")


def make(s3, bucket, **more):
    s3.create_bucket(Bucket=bucket, **more)
    s3.put_object(Bucket=bucket, Key="k", Body=b"here")
    return bucket


def allow(bucket, principal, actions, key="/*", **more):
    statement = {"Effect": "Allow", "Principal": principal, "Action": actions, "Resource": f"arn:aws:s3:::{bucket}{key}", **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_another_account_needs_the_buckets_policy(node, s3, name):
    bucket = make(s3, name("shared"))
    other = node.client("s3", key=OTHER)
    assert error_code(other.get_object, Bucket=bucket, Key="k") == "AccessDenied"
    assert error_code(other.get_bucket_versioning, Bucket=bucket) == "AccessDenied"
    s3.put_bucket_policy(Bucket=bucket, Policy=allow(bucket, {"AWS": OTHER}, "s3:GetObject"))
    assert other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"here"
    assert error_code(other.put_object, Bucket=bucket, Key="x", Body=b"") == "AccessDenied"


def test_a_denial_holds_for_the_owner_too(s3, name):
    bucket = make(s3, name("deny"))
    deny = json.loads(allow(bucket, "*", "s3:DeleteObject"))
    deny["Statement"][0]["Effect"] = "Deny"
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(deny))
    assert error_code(s3.delete_object, Bucket=bucket, Key="k") == "AccessDenied"
    s3.delete_bucket_policy(Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="k")


def test_the_public_reads_what_a_policy_opens_and_no_block_closes(node, s3, name):
    bucket = make(s3, name("public"))
    url = f"{node.endpoint}/{bucket}/k"
    assert requests.get(url, timeout=10).status_code == 403
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=allow(bucket, "*", "s3:GetObject"))
    assert requests.get(url, timeout=10).text == "here"
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    assert requests.get(url, timeout=10).status_code == 403
    assert error_code(node.client("s3", key=OTHER).get_object, Bucket=bucket, Key="k") == "AccessDenied"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"here"


def test_conditions_of_policies_are_judged(node, s3, name):
    bucket = make(s3, name("cond"))
    other = node.client("s3", key=OTHER)
    policy = allow(bucket, {"AWS": OTHER}, "s3:ListBucket", key="", Condition={"StringEquals": {"s3:prefix": "in/"}})
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    other.list_objects_v2(Bucket=bucket, Prefix="in/")
    assert error_code(other.list_objects_v2, Bucket=bucket, Prefix="out/") == "AccessDenied"


def test_lists_open_buckets_and_objects_where_they_are_on(node, s3, name):
    bucket = name("acl")
    make(s3, bucket, ObjectOwnership="ObjectWriter")
    url = f"{node.endpoint}/{bucket}"
    assert error_code(s3.put_bucket_acl, Bucket=bucket, ACL="public-read") == "AccessDenied"
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    grants = s3.get_bucket_acl(Bucket=bucket)["Grants"]
    assert [grant["Permission"] for grant in grants] == ["FULL_CONTROL", "READ"]
    assert requests.get(url, timeout=10).status_code == 200
    assert requests.get(f"{url}/k", timeout=10).status_code == 403
    s3.put_object(Bucket=bucket, Key="open", Body=b"open", ACL="public-read")
    assert requests.get(f"{url}/open", timeout=10).text == "open"
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    assert requests.get(f"{url}/open", timeout=10).status_code == 403


def test_a_list_names_another_account(node, s3, name):
    bucket = make(s3, name("grant"), ObjectOwnership="ObjectWriter")
    other = node.client("s3", key=OTHER)
    canonical = other.list_buckets()["Owner"]["ID"]
    s3.put_bucket_acl(Bucket=bucket, GrantRead=f'id="{canonical}"', GrantWrite=f'id="{canonical}"')
    other.list_objects_v2(Bucket=bucket)
    other.put_object(Bucket=bucket, Key="theirs", Body=b"x")
    assert error_code(other.get_object, Bucket=bucket, Key="k") == "AccessDenied"
    own = s3.get_bucket_acl(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": own["Owner"], "Grants": []})
    assert error_code(other.list_objects_v2, Bucket=bucket) == "AccessDenied"
    bad = {"Owner": own["Owner"], "Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": "x"}, "Permission": "READ"}]}
    assert error_code(s3.put_bucket_acl, Bucket=bucket, AccessControlPolicy=bad) == "InvalidArgument"


def test_a_bucket_cannot_begin_public(s3, name):
    code = error_code(s3.create_bucket, Bucket=name("b"), ACL="public-read", ObjectOwnership="ObjectWriter")
    assert code == "InvalidBucketAclWithBlockPublicAccessError"
    code = error_code(s3.create_bucket, Bucket=name("b"), ACL="public-read")
    assert code == "InvalidBucketAclWithObjectOwnership"
