"""Replication between buckets, carried out with the role that the configuration names; access logs."""

import json
import time

import pytest
from harness import error_code


@pytest.fixture
def s3(client):
    return client("s3")


def make_role(client, name, source, destination):
    iam = client("iam")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    allow = lambda actions, resource: {"Effect": "Allow", "Action": actions, "Resource": resource}
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            allow(["s3:GetReplicationConfiguration", "s3:ListBucket"], f"arn:aws:s3:::{source}"),
            allow(["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"], f"arn:aws:s3:::{source}/*"),
            allow(["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"], f"arn:aws:s3:::{destination}/*"),
        ],
    }
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    return arn


def configuration(role, destination, **more):
    rule = {
        "ID": "all",
        "Status": "Enabled",
        "Priority": 1,
        "Filter": {"Prefix": ""},
        "DeleteMarkerReplication": {"Status": "Enabled"},
        "Destination": {"Bucket": f"arn:aws:s3:::{destination}", "StorageClass": "STANDARD_IA"},
    }
    return {"Role": role, "Rules": [{**rule, **more}]}


def wait(check):
    deadline = time.monotonic() + 20
    while True:
        try:
            if found := check():
                return found
        except Exception:  # noqa: BLE001: not there yet
            pass
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


@pytest.fixture
def pair(s3, client, name):
    """Two buckets with versions, the other one in another region, and a role."""
    source, destination = name("from"), name("to")
    west = client("s3", region="eu-west-1")
    s3.create_bucket(Bucket=source)
    west.create_bucket(Bucket=destination, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for at, bucket in ((s3, source), (west, destination)):
        at.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return source, destination, make_role(client, name("role"), source, destination), west


def test_new_objects_and_markers_appear_in_the_other_bucket(s3, pair):
    source, destination, role, west = pair
    s3.put_object(Bucket=source, Key="before", Body=b"not replicated")
    s3.put_bucket_replication(Bucket=source, ReplicationConfiguration=configuration(role, destination))
    assert s3.get_bucket_replication(Bucket=source)["ReplicationConfiguration"] == configuration(role, destination)
    body = b"x" * 300_000
    s3.put_object(Bucket=source, Key="logs/a b", Body=body, ContentType="text/x", Metadata={"who": "me"}, Tagging="a=1")
    wait(lambda: s3.head_object(Bucket=source, Key="logs/a b")["ReplicationStatus"] == "COMPLETED")
    copy = west.get_object(Bucket=destination, Key="logs/a b")
    assert copy["Body"].read() == body
    assert (copy["ContentType"], copy["Metadata"], copy["StorageClass"], copy["ReplicationStatus"]) == ("text/x", {"who": "me"}, "STANDARD_IA", "REPLICA")
    assert copy["VersionId"] == s3.head_object(Bucket=source, Key="logs/a b")["VersionId"]
    s3.delete_object(Bucket=source, Key="logs/a b")
    wait(lambda: west.list_object_versions(Bucket=destination).get("DeleteMarkers"))
    assert error_code(west.get_object, Bucket=destination, Key="before") == "NoSuchKey"
    assert error_code(s3.put_bucket_versioning, Bucket=source, VersioningConfiguration={"Status": "Suspended"}) == "InvalidBucketState"


def test_a_role_that_may_not_fails_the_copy(s3, client, pair):
    source, destination, role, west = pair
    s3.put_bucket_replication(Bucket=source, ReplicationConfiguration=configuration(role, destination))
    client("iam").delete_role_policy(RoleName=role.split("/")[-1], PolicyName="p")
    s3.put_object(Bucket=source, Key="k", Body=b"x")
    wait(lambda: s3.head_object(Bucket=source, Key="k")["ReplicationStatus"] == "FAILED")
    assert error_code(west.get_object, Bucket=destination, Key="k") == "NoSuchKey"


def test_only_what_a_rule_takes_is_copied(s3, pair):
    source, destination, role, west = pair
    given = configuration(role, destination, Filter={"Prefix": "in/"}, DeleteMarkerReplication={"Status": "Disabled"})
    s3.put_bucket_replication(Bucket=source, ReplicationConfiguration=given)
    s3.put_object(Bucket=source, Key="out/k", Body=b"x")
    s3.put_object(Bucket=source, Key="in/k", Body=b"x")
    wait(lambda: west.get_object(Bucket=destination, Key="in/k"))
    assert "ReplicationStatus" not in s3.head_object(Bucket=source, Key="out/k")
    assert error_code(west.get_object, Bucket=destination, Key="out/k") == "NoSuchKey"


def test_who_may_not_pass_the_role_is_denied(s3, pair, denied):
    source, destination, role, _ = pair
    given = configuration(role, destination)
    assert error_code(denied("s3").put_bucket_replication, Bucket=source, ReplicationConfiguration=given) == "AccessDenied"
    unversioned = configuration(role, "no-such-bucket-here")
    assert error_code(s3.put_bucket_replication, Bucket=source, ReplicationConfiguration=unversioned) == "InvalidRequest"


def test_requests_leave_lines_in_a_log_bucket(node, s3, name):
    bucket, logs = name("logged"), name("logs")
    s3.create_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=logs)
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{logs}/*",
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
    }
    s3.put_bucket_policy(Bucket=logs, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    status = {"LoggingEnabled": {"TargetBucket": logs, "TargetPrefix": "access/"}}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=status)
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == status["LoggingEnabled"]
    s3.put_object(Bucket=bucket, Key="a b", Body=b"12345")
    s3.get_object(Bucket=bucket, Key="a b")["Body"].read()
    error_code(s3.get_object, Bucket=bucket, Key="none")
    node.advance(61)
    found = wait(lambda: s3.list_objects_v2(Bucket=logs).get("Contents"))
    assert found[0]["Key"].startswith("access/20")
    text = "".join(s3.get_object(Bucket=logs, Key=one["Key"])["Body"].read().decode() for one in found)
    owner = s3.list_buckets()["Owner"]["ID"]
    lines = [line for line in text.splitlines() if f" {bucket} " in line]
    assert all(line.startswith(f"{owner} {bucket} [") for line in lines)
    assert any(" REST.PUT.OBJECT a+b " in line and " 200 - " in line for line in lines)
    assert any(" REST.GET.OBJECT a+b " in line and " 200 - 5 5 " in line for line in lines)
    assert any(" REST.GET.OBJECT none " in line and " 404 NoSuchKey " in line for line in lines)
