"""S3 Control: account blocks, access points, batch jobs, tags."""

import hashlib
import json
import re
import time

import pytest
from harness import error_code

ACCOUNT = "000000000000"


@pytest.fixture
def s3(client):
    return client("s3")


def at_one_host(made):
    """Accounts stand before the host of S3 Control, which no name server knows here; the header says the same."""

    def plain(params, **_):
        params["url"] = re.sub(r"//\d{12}\.", "//", params["url"])

    made.meta.events.register("before-call.s3-control", plain)
    return made


@pytest.fixture
def control(client):
    return at_one_host(client("s3control"))


@pytest.fixture
def bucket(s3, name):
    made = name("control")
    s3.create_bucket(Bucket=made)
    return made


def test_an_accounts_block_holds_for_all_its_buckets(s3, control, bucket):
    assert error_code(control.get_public_access_block, AccountId=ACCOUNT) == "NoSuchPublicAccessBlockConfiguration"
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.delete_public_access_block(Bucket=bucket)
    control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration={"BlockPublicPolicy": True})
    try:
        shown = control.get_public_access_block(AccountId=ACCOUNT)["PublicAccessBlockConfiguration"]
        assert shown["BlockPublicPolicy"] is True and shown["BlockPublicAcls"] is False
        assert error_code(s3.put_bucket_policy, Bucket=bucket, Policy=policy) == "AccessDenied"
    finally:
        control.delete_public_access_block(AccountId=ACCOUNT)
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert error_code(control.get_public_access_block, AccountId="111111111111") == "AccessDenied"


def test_access_points_are_made_listed_and_removed(control, bucket, name):
    point = name("point")
    arn = f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/{point}"
    made = control.create_access_point(AccountId=ACCOUNT, Name=point, Bucket=bucket)
    assert made["AccessPointArn"] == arn and made["Alias"].endswith("-s3alias")
    shown = control.get_access_point(AccountId=ACCOUNT, Name=point)
    assert (shown["Bucket"], shown["NetworkOrigin"], shown["Alias"]) == (bucket, "Internet", made["Alias"])
    again = {"AccountId": ACCOUNT, "Name": point, "Bucket": bucket}
    assert error_code(control.create_access_point, **again) == "AccessPointAlreadyOwnedByYou"
    assert error_code(control.create_access_point, AccountId=ACCOUNT, Name="Bad_Name", Bucket=bucket) == "InvalidRequest"
    assert error_code(control.create_access_point, AccountId=ACCOUNT, Name="abc", Bucket="no-such-bucket-here") == "NoSuchBucket"
    listed = control.list_access_points(AccountId=ACCOUNT, Bucket=bucket)["AccessPointList"]
    assert [one["Name"] for one in listed] == [point]

    assert error_code(control.get_access_point_policy, AccountId=ACCOUNT, Name=point) == "NoSuchAccessPointPolicy"
    statement = {"Effect": "Allow", "Principal": {"AWS": "222222222222"}, "Action": "s3:GetObject", "Resource": f"{arn}/object/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    control.put_access_point_policy(AccountId=ACCOUNT, Name=point, Policy=policy)
    assert control.get_access_point_policy(AccountId=ACCOUNT, Name=point)["Policy"] == policy
    assert control.get_access_point_policy_status(AccountId=ACCOUNT, Name=point)["PolicyStatus"] == {"IsPublic": False}
    bad = policy.replace("/object/", "/")
    assert error_code(control.put_access_point_policy, AccountId=ACCOUNT, Name=point, Policy=bad) == "MalformedPolicy"
    control.delete_access_point_policy(AccountId=ACCOUNT, Name=point)
    control.delete_access_point(AccountId=ACCOUNT, Name=point)
    assert error_code(control.get_access_point, AccountId=ACCOUNT, Name=point) == "NoSuchAccessPoint"


def test_objects_are_reached_by_an_alias(node, s3, control, bucket, name):
    s3.put_object(Bucket=bucket, Key="k", Body=b"here")
    point = name("alias")
    made = control.create_access_point(AccountId=ACCOUNT, Name=point, Bucket=bucket)
    assert s3.get_object(Bucket=made["Alias"], Key="k")["Body"].read() == b"here"
    s3.put_object(Bucket=made["Alias"], Key="l", Body=b"x")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k", "l"]
    other = node.client("s3", key="222222222222")
    assert error_code(other.get_object, Bucket=made["Alias"], Key="k") == "AccessDenied"
    arn = made["AccessPointArn"]
    statement = {"Effect": "Allow", "Principal": {"AWS": "222222222222"}, "Action": "s3:GetObject", "Resource": f"{arn}/object/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    control.put_access_point_policy(AccountId=ACCOUNT, Name=point, Policy=policy)
    assert other.get_object(Bucket=made["Alias"], Key="k")["Body"].read() == b"here"
    assert error_code(other.get_object, Bucket=bucket, Key="k") == "AccessDenied"


def test_tags_of_buckets_and_access_points(s3, control, bucket, name):
    point = name("tagged")
    arn = control.create_access_point(AccountId=ACCOUNT, Name=point, Bucket=bucket)["AccessPointArn"]
    for resource in (f"arn:aws:s3:::{bucket}", arn):
        tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
        control.tag_resource(AccountId=ACCOUNT, ResourceArn=resource, Tags=tags)
        assert control.list_tags_for_resource(AccountId=ACCOUNT, ResourceArn=resource)["Tags"] == tags
        control.untag_resource(AccountId=ACCOUNT, ResourceArn=resource, TagKeys=["a"])
        assert control.list_tags_for_resource(AccountId=ACCOUNT, ResourceArn=resource)["Tags"] == tags[1:]
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "b", "Value": "2"}]


@pytest.fixture
def role(client, name):
    iam = client("iam")
    made = name("role")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "batchoperations.s3.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    arn = iam.create_role(RoleName=made, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=made, PolicyName="p", PolicyDocument=json.dumps(allow))
    return arn


def job(s3, bucket, role, lines, operation, **more):
    """The request for a job over these lines of a manifest."""
    body = "\n".join(lines).encode()
    etag = s3.put_object(Bucket=bucket, Key="manifest.csv", Body=body)["ETag"].strip('"')
    return {
        "AccountId": ACCOUNT,
        "ConfirmationRequired": False,
        "Operation": operation,
        "Report": {"Bucket": f"arn:aws:s3:::{bucket}", "Format": "Report_CSV_20180820", "Enabled": True, "Prefix": "reports", "ReportScope": "AllTasks"},
        "ClientRequestToken": hashlib.sha1(body + json.dumps(operation).encode() + bucket.encode()).hexdigest(),
        "Manifest": {
            "Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]},
            "Location": {"ObjectArn": f"arn:aws:s3:::{bucket}/manifest.csv", "ETag": etag},
        },
        "Priority": 10,
        "RoleArn": role,
        **more,
    }


def ended(control, job_id, timeout=60):
    deadline = time.monotonic() + timeout
    while True:
        shown = control.describe_job(AccountId=ACCOUNT, JobId=job_id)["Job"]
        if shown["Status"] in ("Complete", "Failed", "Cancelled"):
            return shown
        assert time.monotonic() < deadline, shown["Status"]
        time.sleep(0.05)


def test_a_job_tags_every_object_of_its_manifest_and_reports(s3, control, bucket, role):
    keys = [f"in/{at:04} x" for at in range(1_200)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    lines = [f"{bucket},{key.replace(' ', '%20')}" for key in [*keys, "in/none"]]
    request = job(s3, bucket, role, lines, {"S3PutObjectTagging": {"TagSet": [{"Key": "done", "Value": "yes"}]}})
    job_id = control.create_job(**request)["JobId"]
    assert control.create_job(**request)["JobId"] == job_id, "the same token is the same job"
    shown = ended(control, job_id)
    progress = shown["ProgressSummary"]
    assert (shown["Status"], progress["TotalNumberOfTasks"], progress["NumberOfTasksFailed"]) == ("Complete", 1_201, 1)
    for key in (keys[0], keys[-1]):
        assert s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] == [{"Key": "done", "Value": "yes"}]
    report = json.loads(s3.get_object(Bucket=bucket, Key=f"reports/job-{job_id}/manifest.json")["Body"].read())
    assert report["Format"] == "Report_CSV_20180820"
    rows = []
    for part in report["Results"]:
        body = s3.get_object(Bucket=bucket, Key=part["Key"])["Body"].read()
        assert hashlib.md5(body).hexdigest() == part["MD5Checksum"]
        rows += body.decode().splitlines()
    assert len(rows) == 1_201
    assert [row for row in rows if ",failed," in row][0].startswith(f"{bucket},in/none,,failed,NoSuchKey,404,")
    listed = control.list_jobs(AccountId=ACCOUNT, JobStatuses=["Complete"])["Jobs"]
    assert job_id in [one["JobId"] for one in listed]


def test_a_job_copies(s3, control, bucket, role):
    s3.put_object(Bucket=bucket, Key="a b", Body=b"x", Metadata={"m": "1"})
    operation = {"S3PutObjectCopy": {"TargetResource": f"arn:aws:s3:::{bucket}", "TargetKeyPrefix": "copies", "StorageClass": "STANDARD_IA"}}
    job_id = control.create_job(**job(s3, bucket, role, [f"{bucket},a%20b"], operation))["JobId"]
    assert ended(control, job_id)["Status"] == "Complete"
    copy = s3.get_object(Bucket=bucket, Key="copies/a b")
    assert (copy["Body"].read(), copy["StorageClass"], copy["Metadata"]) == (b"x", "STANDARD_IA", {"m": "1"})


def test_a_job_waits_for_its_confirmation(s3, control, bucket, role):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1")
    request = job(s3, bucket, role, [f"{bucket},k"], {"S3DeleteObjectTagging": {}}, ConfirmationRequired=True)
    job_id = control.create_job(**request)["JobId"]
    assert control.describe_job(AccountId=ACCOUNT, JobId=job_id)["Job"]["Status"] == "Suspended"
    assert control.update_job_priority(AccountId=ACCOUNT, JobId=job_id, Priority=3)["Priority"] == 3
    control.put_job_tagging(AccountId=ACCOUNT, JobId=job_id, Tags=[{"Key": "t", "Value": "1"}])
    assert control.get_job_tagging(AccountId=ACCOUNT, JobId=job_id)["Tags"] == [{"Key": "t", "Value": "1"}]
    control.delete_job_tagging(AccountId=ACCOUNT, JobId=job_id)
    control.update_job_status(AccountId=ACCOUNT, JobId=job_id, RequestedJobStatus="Ready")
    assert ended(control, job_id)["Status"] == "Complete"
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    code = error_code(control.update_job_status, AccountId=ACCOUNT, JobId=job_id, RequestedJobStatus="Cancelled")
    assert code == "JobStatusException"


def test_jobs_that_cannot_run_are_refused_or_fail(node, s3, control, bucket, role):
    good = job(s3, bucket, role, [f"{bucket},k"], {"S3DeleteObjectTagging": {}})
    cases = [
        ({"RoleArn": "arn:aws:iam::000000000000:user/x"}, "ValidationException"),
        ({"Operation": {"S3ReplicateObject": {}}}, "NotImplemented"),
        ({"Report": {"Enabled": True, "Format": "Report_CSV_20180820", "ReportScope": "AllTasks", "Bucket": "arn:aws:s3:::no-such-bucket-here"}}, "InvalidRequest"),
    ]
    for at, (change, code) in enumerate(cases):
        request = {**good, **change, "ClientRequestToken": f"case{at}"}
        assert error_code(control.create_job, **request) == code, code
    wrong = {**good, "ClientRequestToken": "wrong"}
    wrong["Manifest"]["Location"]["ETag"] = "0" * 32
    job_id = control.create_job(**wrong)["JobId"]
    shown = ended(control, job_id)
    assert shown["Status"] == "Failed" and shown["FailureReasons"][0]["FailureCode"] == "ManifestNotFound"
    assert error_code(control.describe_job, AccountId=ACCOUNT, JobId="0" * 36) == "NotFoundException"
    stranger = at_one_host(node.client("s3control", key="333333333333"))
    assert error_code(stranger.list_jobs, AccountId=ACCOUNT) == "AccessDenied"


def test_who_has_no_permission_is_denied(node, control, bucket, name):
    iam = node.client("iam")
    user = name("denied")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    stranger = at_one_host(node.client("s3control", key=key["AccessKeyId"], secret=key["SecretAccessKey"]))
    calls = [
        ("get_public_access_block", {}),
        ("delete_public_access_block", {}),
        ("put_public_access_block", {"PublicAccessBlockConfiguration": {}}),
        ("list_access_points", {}),
        ("list_jobs", {}),
        ("create_access_point", {"Name": "abc", "Bucket": bucket}),
        *[(f"{verb}_access_point{what}", {"Name": "abc"}) for verb, what in (("get", ""), ("delete", ""), ("get", "_policy"), ("delete", "_policy"), ("get", "_policy_status"))],
        ("put_access_point_policy", {"Name": "abc", "Policy": "{}"}),
        *[(operation, {"JobId": "0" * 36}) for operation in ("describe_job", "get_job_tagging", "delete_job_tagging")],
        ("update_job_priority", {"JobId": "0" * 36, "Priority": 1}),
        ("update_job_status", {"JobId": "0" * 36, "RequestedJobStatus": "Ready"}),
        ("list_tags_for_resource", {"ResourceArn": f"arn:aws:s3:::{bucket}"}),
    ]
    for operation, given in calls:
        assert error_code(getattr(stranger, operation), AccountId=ACCOUNT, **given) == "AccessDenied", operation
