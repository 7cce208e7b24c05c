"""Lifecycle rules, carried out as the clock passes their days."""

import pytest
from test_s3_notifications import make_queue, rule as queue_rule, take

DAY = 86_400


@pytest.fixture
def s3(client):
    return client("s3")


def rules(s3, bucket, *given):
    made = [{"ID": f"r{at}", "Status": "Enabled", "Filter": {"Prefix": ""}, **one} for at, one in enumerate(given)]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": made})


def until(node, check, days=1):
    """Passes days until `check` holds; the worker follows the clock by itself."""
    import time

    node.advance(days * DAY)
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline, "the rule was not carried out"
        time.sleep(0.02)


def keys(s3, bucket):
    return [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_objects_expire_when_their_days_have_passed(node, s3, client, name):
    sqs, bucket = client("sqs"), name("expire")
    s3.create_bucket(Bucket=bucket)
    url, arn = make_queue(sqs, name("q"), bucket)
    notify = {"QueueConfigurations": [queue_rule(arn, ["s3:LifecycleExpiration:*"])]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notify)
    take(sqs, url, 1)
    for key in ("tmp/a", "tmp/b", "keep"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.put_object(Bucket=bucket, Key="tmp/tagged", Body=b"x" * 100, Tagging="hold=1")
    rules(
        s3,
        bucket,
        {"Filter": {"And": {"Prefix": "tmp/", "ObjectSizeLessThan": 50}}, "Expiration": {"Days": 1}},
        {"Filter": {"Tag": {"Key": "hold", "Value": "1"}}, "Expiration": {"Days": 5}},
    )
    for told in (s3.put_object(Bucket=bucket, Key="tmp/c", Body=b"x"), s3.head_object(Bucket=bucket, Key="tmp/a")):
        assert 'rule-id="r0"' in told["Expiration"]
    assert "Expiration" not in s3.head_object(Bucket=bucket, Key="keep")
    until(node, lambda: keys(s3, bucket) == ["keep", "tmp/tagged"], days=2)
    names = {body["Records"][0]["eventName"] for body in take(sqs, url, 3)}
    assert names == {"LifecycleExpiration:Delete"}
    until(node, lambda: keys(s3, bucket) == ["keep"], days=4)


def test_versions_and_markers_go(node, s3, name):
    bucket = name("versions")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for at in range(5):
        s3.put_object(Bucket=bucket, Key="k", Body=str(at).encode())
    s3.put_object(Bucket=bucket, Key="gone", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="gone")
    rules(
        s3,
        bucket,
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}, "Filter": {"Prefix": "k"}},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}, "Filter": {"Prefix": "gone"}},
        {"Expiration": {"ExpiredObjectDeleteMarker": True}},
    )

    def left():
        answer = s3.list_object_versions(Bucket=bucket)
        return [one["Key"] for one in answer.get("Versions", [])], [one["Key"] for one in answer.get("DeleteMarkers", [])]

    until(node, lambda: left() == (["k"] * 3, ["gone"]) or left() == (["k"] * 3, []), days=2)
    until(node, lambda: left() == (["k"] * 3, []), days=1)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"4"


def test_a_versioned_object_expires_behind_a_marker(node, s3, name):
    bucket = name("marker")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    rules(s3, bucket, {"Expiration": {"Days": 1}})
    until(node, lambda: "DeleteMarkers" in s3.list_object_versions(Bucket=bucket), days=2)
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 1


def test_objects_move_to_colder_classes(node, s3, name):
    bucket = name("move")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="large", Body=b"x" * (200 << 10))
    s3.put_object(Bucket=bucket, Key="small", Body=b"x")
    rules(s3, bucket, {"Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}]})
    until(node, lambda: s3.head_object(Bucket=bucket, Key="large").get("StorageClass") == "STANDARD_IA", days=31)
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="small")


def test_uploads_that_nobody_completes_are_aborted(node, s3, name):
    bucket = name("uploads")
    s3.create_bucket(Bucket=bucket)
    rules(s3, bucket, {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}})
    made = s3.create_multipart_upload(Bucket=bucket, Key="k")
    assert made["AbortRuleId"] == "r0" and made["AbortDate"]
    until(node, lambda: not s3.list_multipart_uploads(Bucket=bucket).get("Uploads"), days=3)


def test_an_inventory_is_written_each_day(node, s3, name):
    import csv
    import gzip
    import hashlib
    import json

    bucket, target = name("listed"), name("inventory")
    for made in (bucket, target):
        s3.create_bucket(Bucket=made)
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{target}/*",
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
    }
    s3.put_bucket_policy(Bucket=target, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"22"):
        s3.put_object(Bucket=bucket, Key="a b", Body=body)
    s3.put_object(Bucket=bucket, Key="c", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="c")
    configuration = {
        "Destination": {"S3BucketDestination": {"Bucket": f"arn:aws:s3:::{target}", "Format": "CSV", "Prefix": "p"}},
        "IsEnabled": True,
        "Id": "daily",
        "IncludedObjectVersions": "All",
        "OptionalFields": ["Size", "StorageClass"],
        "Schedule": {"Frequency": "Daily"},
    }
    s3.put_bucket_inventory_configuration(Bucket=bucket, Id="daily", InventoryConfiguration=configuration)

    def written():
        return [key for key in keys(s3, target) if key.endswith("manifest.checksum")]

    until(node, written, days=1)
    folder = f"p/{bucket}/daily/"
    (checksum,) = written()
    assert checksum.startswith(folder)
    text = s3.get_object(Bucket=target, Key=checksum.replace("checksum", "json"))["Body"].read()
    assert hashlib.md5(text).hexdigest() == s3.get_object(Bucket=target, Key=checksum)["Body"].read().decode()
    manifest = json.loads(text)
    assert manifest["fileSchema"] == "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, StorageClass"
    (file,) = manifest["files"]
    body = s3.get_object(Bucket=target, Key=file["key"])["Body"].read()
    assert hashlib.md5(body).hexdigest() == file["MD5checksum"] and len(body) == file["size"]
    rows = [[row[1], *row[3:6]] for row in csv.reader(gzip.decompress(body).decode().splitlines())]
    assert rows == [["a+b", "true", "false", "2"], ["a+b", "false", "false", "1"], ["c", "true", "true", ""], ["c", "false", "false", "1"]]
