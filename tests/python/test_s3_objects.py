"""S3: objects: put, read, copied, deleted; versions, conditions, checksums, tags, locks, encryption, and who may."""

import base64
import datetime
import hashlib
import io
import zlib

import pytest
import requests
from botocore.exceptions import ClientError
from made import allow, made  # noqa: F401

SIZES = [0, 1, 65_535, 65_536, 65_537, 131_072, 300_001, 5 * 1024 * 1024 + 3]


def refused(call, **arguments):
    """The error that a call ends with: its code and its status."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def data(size: int) -> bytes:
    return (hashlib.sha256(str(size).encode()).digest() * (size // 32 + 1))[:size]


@pytest.fixture
def s3(client):
    return client("s3")


@pytest.fixture
def bucket(s3, name):
    bucket = name("objects")
    s3.create_bucket(Bucket=bucket)
    return bucket


@pytest.fixture
def versioned(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.mark.parametrize("size", SIZES)
def test_what_was_put_is_read_back_whole_and_in_ranges(s3, bucket, size):
    body = data(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert put["ServerSideEncryption"] == "AES256" and "VersionId" not in put
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == body and got["ContentLength"] == size and got["ContentType"] == "binary/octet-stream"
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ContentLength"] == size and head["ETag"] == put["ETag"] and head["AcceptRanges"] == "bytes"
    ranges = [(0, 0), (size // 2, size // 2 + 70_000), (65_535, 65_537), (size - 1, size + 10)]
    for first, last in ranges:
        if 0 <= first < size:
            part = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}")
            assert part["Body"].read() == body[first : last + 1], (first, last)
            assert part["ContentRange"] == f"bytes {first}-{min(last, size - 1)}/{size}"
            assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    if size:
        assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=-7")["Body"].read() == body[-7:]
    assert refused(s3.get_object, Bucket=bucket, Key="k", Range=f"bytes={size}-") == ("InvalidRange", 416)


def test_metadata_and_headers_come_back_and_answers_override_them(s3, bucket):
    given = {
        "ContentType": "text/plain",
        "CacheControl": "max-age=5",
        "ContentDisposition": "attachment",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "WebsiteRedirectLocation": "/other",
        "Metadata": {"one": "1", "two": "zwei"},
        "StorageClass": "STANDARD_IA",
    }
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **given)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert {key: head[key] for key in given} == given
    got = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="a/b", ResponseCacheControl="no-store")
    assert (got["ContentType"], got["CacheControl"], got["ContentLanguage"]) == ("a/b", "no-store", "de")
    assert refused(s3.put_object, Bucket=bucket, Key="k", StorageClass="NONE") == ("InvalidStorageClass", 400)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Metadata={"a": "x" * 2_100}) == ("MetadataTooLarge", 400)
    bad = {"WebsiteRedirectLocation": "other"}
    assert refused(s3.put_object, Bucket=bucket, Key="k", **bad) == ("InvalidRedirectLocation", 400)


@pytest.mark.parametrize("algorithm, value", [
    ("CRC32", "DUoRhQ=="),
    ("SHA1", "Kq5sNclPz7QV2+lfQIuc6R7oRu0="),
    ("SHA256", "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="),
])
def test_checksums_are_checked_kept_and_told(s3, bucket, algorithm, value):
    member = f"Checksum{algorithm}"
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"hello world", ChecksumAlgorithm=algorithm)
    assert put[member] == value and put["ChecksumType"] == "FULL_OBJECT"
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"hello world", **{member: value})
    assert put[member] == value
    ready = {"ChecksumCRC32C": "yZRlqg=="}
    assert s3.put_object(Bucket=bucket, Key="k2", Body=b"hello world", **ready)["ChecksumCRC32C"] == "yZRlqg=="
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[member] == value
    assert member not in s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", Range="bytes=0-2")
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum", "ObjectSize", "ETag"])
    assert attributes["Checksum"][member] == value and attributes["ObjectSize"] == 11
    assert refused(s3.put_object, Bucket=bucket, Key="bad", Body=b"other", **{member: value}) == ("BadDigest", 400)
    assert refused(s3.head_object, Bucket=bucket, Key="bad") == ("404", 404)


def test_the_default_checksum_and_content_md5(node, bucket):
    s3 = node.client("s3", request_checksum_calculation="when_required", response_checksum_validation="when_required")
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello world")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == "jSnVw/bqjr4=" and head["ChecksumType"] == "FULL_OBJECT"
    md5 = base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ContentMD5=md5)
    assert refused(s3.put_object, Bucket=bucket, Key="x", Body=b"other", ContentMD5=md5) == ("BadDigest", 400)
    assert refused(s3.put_object, Bucket=bucket, Key="x", Body=b"other", ContentMD5="AAAA") == ("InvalidDigest", 400)


def test_conditions_of_reads(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    long_ago = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
    later = datetime.datetime(2090, 1, 1, tzinfo=datetime.timezone.utc)
    for good in [{"IfMatch": etag}, {"IfNoneMatch": '"x"'}, {"IfModifiedSince": long_ago}, {"IfUnmodifiedSince": later}]:
        assert s3.get_object(Bucket=bucket, Key="k", **good)["ETag"] == etag, good
    for call in (s3.get_object, s3.head_object):
        for condition in [{"IfNoneMatch": etag}, {"IfModifiedSince": later}]:
            assert refused(call, Bucket=bucket, Key="k", **condition) == ("304", 304), condition
        for condition in [{"IfMatch": '"x"'}, {"IfUnmodifiedSince": long_ago}]:
            assert refused(call, Bucket=bucket, Key="k", **condition)[1] == 412, condition


def test_conditions_of_writes(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    failed = ("PreconditionFailed", 412)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*") == failed
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfMatch='"x"') == failed
    assert refused(s3.put_object, Bucket=bucket, Key="none", Body=b"2", IfMatch=etag) == ("NoSuchKey", 404)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch=etag) == ("NotImplemented", 501)
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)["ETag"]
    assert refused(s3.delete_object, Bucket=bucket, Key="k", IfMatch='"x"') == failed
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    assert refused(s3.get_object, Bucket=bucket, Key="k") == ("NoSuchKey", 404)


def test_copies_keep_or_replace_what_they_are_told_to(s3, bucket):
    body = data(200_000)
    s3.put_object(Bucket=bucket, Key="a b/ü", Body=body, ContentType="a/b", Metadata={"m": "1"}, Tagging="t=1")
    source = {"Bucket": bucket, "Key": "a b/ü"}
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"], got["TagCount"]) == (body, "a/b", {"m": "1"}, 1)
    s3.copy_object(
        Bucket=bucket, Key="copy", CopySource=source, MetadataDirective="REPLACE", Metadata={"n": "2"},
        TaggingDirective="REPLACE", Tagging="", ContentType="c/d", StorageClass="ONEZONE_IA",
    )
    head = s3.head_object(Bucket=bucket, Key="copy")
    assert (head["ContentType"], head["Metadata"], head["StorageClass"]) == ("c/d", {"n": "2"}, "ONEZONE_IA")
    assert "TagCount" not in head
    itself = {"Bucket": bucket, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": "copy"}}
    assert refused(s3.copy_object, **itself) == ("InvalidRequest", 400)
    s3.copy_object(**itself, MetadataDirective="REPLACE", Metadata={"o": "3"})
    failed = ("PreconditionFailed", 412)
    assert refused(s3.copy_object, Bucket=bucket, Key="c", CopySource=source, CopySourceIfMatch='"x"') == failed
    etag = copied["CopyObjectResult"]["ETag"]
    assert refused(s3.copy_object, Bucket=bucket, Key="c", CopySource=source, CopySourceIfNoneMatch=etag) == failed
    missing = {"Bucket": bucket, "Key": "missing"}
    assert refused(s3.copy_object, Bucket=bucket, Key="c", CopySource=missing) == ("NoSuchKey", 404)


def test_deletes_of_many_keys_fail_one_by_one(node, s3, bucket, made):  # noqa: F811
    for key in ["a", "b", "c"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    _, keys = made.user(allow("s3:DeleteObject", f"arn:aws:s3:::{bucket}/a"))
    limited = node.client("s3", key=keys[0], secret=keys[1])
    done = limited.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "b"}]})
    assert [found["Key"] for found in done["Deleted"]] == ["a"]
    assert [(found["Key"], found["Code"]) for found in done["Errors"]] == [("b", "AccessDenied")]
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}, {"Key": "never"}], "Quiet": True})
    assert "Deleted" not in done and "Errors" not in done
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["c"]
    many = {"Objects": [{"Key": str(number)} for number in range(1_001)]}
    assert refused(s3.delete_objects, Bucket=bucket, Delete=many) == ("MalformedXML", 400)


def test_versions_hide_come_back_and_go(s3, versioned):
    bucket = versioned
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="k", Body=data(100_000))["VersionId"]
    assert first != second
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"1"
    gone = s3.delete_object(Bucket=bucket, Key="k")
    marker = gone["VersionId"]
    assert gone["DeleteMarker"] is True
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="k")
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amz-delete-marker"] == "true" and headers["x-amz-version-id"] == marker
    assert refused(s3.get_object, Bucket=bucket, Key="k", VersionId=marker) == ("MethodNotAllowed", 405)
    listed = s3.list_object_versions(Bucket=bucket)
    assert [(found["VersionId"], found["IsLatest"]) for found in listed["Versions"]] == [(second, False), (first, False)]
    assert [(found["VersionId"], found["IsLatest"]) for found in listed["DeleteMarkers"]] == [(marker, True)]
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    # The marker goes, and the latest version shows again.
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId=marker)["DeleteMarker"] is True
    assert s3.get_object(Bucket=bucket, Key="k")["VersionId"] == second
    # A version that goes for good makes way for the one before it.
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId=second)["VersionId"] == second
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    assert refused(s3.get_object, Bucket=bucket, Key="k", VersionId=second) == ("NoSuchVersion", 404)
    assert refused(s3.get_object, Bucket=bucket, Key="k", VersionId="x") == ("InvalidArgument", 400)


def test_null_versions_are_replaced_where_versioning_is_suspended(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"with id")
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"before"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"after").get("VersionId", "null") == "null"
    versions = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [found["VersionId"] == "null" for found in versions] == [True, False]
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"after"
    assert s3.delete_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    listed = s3.list_object_versions(Bucket=bucket)
    assert [found["VersionId"] for found in listed["DeleteMarkers"]] == ["null"] and len(listed["Versions"]) == 1
    s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"with id"


def test_tags(s3, versioned):
    bucket = versioned
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="a=1&b=x%20y")["VersionId"]
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "x y"}]
    s3.put_object(Bucket=bucket, Key="k", Body=b"2")
    s3.put_object_tagging(Bucket=bucket, Key="k", VersionId=first, Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    old = s3.get_object_tagging(Bucket=bucket, Key="k", VersionId=first)
    assert old["TagSet"] == [{"Key": "c", "Value": "3"}] and old["VersionId"] == first
    s3.delete_object_tagging(Bucket=bucket, Key="k", VersionId=first)
    assert s3.get_object_tagging(Bucket=bucket, Key="k", VersionId=first)["TagSet"] == []
    many = {"TagSet": [{"Key": str(number), "Value": ""} for number in range(11)]}
    assert refused(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging=many) == ("BadRequest", 400)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Tagging="a=1&a=2") == ("InvalidArgument", 400)


def test_locked_versions_stay(node, s3, name):
    bucket = name("locked")
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=400)
    lock = {"Mode": "GOVERNANCE", "RetainUntilDate": later}
    s3.put_object_retention(Bucket=bucket, Key="k", Retention=lock)
    assert s3.get_object_retention(Bucket=bucket, Key="k")["Retention"]["Mode"] == "GOVERNANCE"
    denied = ("AccessDenied", 403)
    assert refused(s3.delete_object, Bucket=bucket, Key="k", VersionId=version) == denied
    assert s3.delete_object(Bucket=bucket, Key="k")["DeleteMarker"] is True
    sooner = {"Mode": "GOVERNANCE", "RetainUntilDate": later - datetime.timedelta(days=1)}
    at = {"Bucket": bucket, "Key": "k", "VersionId": version}
    assert refused(s3.put_object_retention, **at, Retention=sooner) == denied
    s3.put_object_retention(**at, Retention=sooner, BypassGovernanceRetention=True)
    s3.put_object_legal_hold(**at, LegalHold={"Status": "ON"})
    assert refused(s3.delete_object, **at, BypassGovernanceRetention=True) == denied
    s3.put_object_legal_hold(**at, LegalHold={"Status": "OFF"})
    assert s3.get_object_legal_hold(**at)["LegalHold"]["Status"] == "OFF"
    s3.delete_object(**at, BypassGovernanceRetention=True)
    firm = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": later, "ChecksumAlgorithm": "CRC32"}
    firm = s3.put_object(Bucket=bucket, Key="firm", Body=b"2", **firm)["VersionId"]
    assert refused(s3.delete_object, Bucket=bucket, Key="firm", VersionId=firm, BypassGovernanceRetention=True) == denied
    past = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime.datetime(2001, 1, 1)}
    assert refused(s3.put_object, Bucket=bucket, Key="x", Body=b"", **past) == ("InvalidArgument", 400)


def test_locks_need_a_bucket_that_has_them(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert refused(s3.put_object_legal_hold, Bucket=bucket, Key="k", LegalHold={"Status": "ON"}) == ("InvalidRequest", 400)
    assert refused(s3.get_object_retention, Bucket=bucket, Key="k") == ("InvalidRequest", 400)


@pytest.mark.parametrize("size", [10, 200_000])
def test_customers_keys_are_needed_to_read(s3, bucket, size):
    key, other = b"k" * 32, b"o" * 32
    own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
    body = data(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, **own)
    assert put["SSECustomerAlgorithm"] == "AES256" and "ServerSideEncryption" not in put
    assert put["ETag"] != f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k", Range="bytes=5-8", **own)
    assert got["Body"].read() == body[5:9]
    assert refused(s3.get_object, Bucket=bucket, Key="k") == ("InvalidRequest", 400)
    wrong = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": other}
    assert refused(s3.get_object, Bucket=bucket, Key="k", **wrong) == ("AccessDenied", 403)
    copy = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": key}
    s3.copy_object(Bucket=bucket, Key="plain", CopySource={"Bucket": bucket, "Key": "k"}, **copy)
    assert s3.get_object(Bucket=bucket, Key="plain")["Body"].read() == body
    assert refused(s3.get_object, Bucket=bucket, Key="plain", **own) == ("InvalidRequest", 400)
    assert refused(s3.put_object, Bucket=bucket, Key="x", SSECustomerAlgorithm="AES128", SSECustomerKey=key)[0] == "InvalidEncryptionAlgorithmError"


def test_keys_of_kms_are_refused_by_name(s3, bucket):
    assert refused(s3.put_object, Bucket=bucket, Key="x", ServerSideEncryption="aws:kms") == ("NotImplemented", 501)
    assert s3.put_object(Bucket=bucket, Key="x", ServerSideEncryption="AES256")["ServerSideEncryption"] == "AES256"


def test_archived_objects_are_restored_before_they_are_read(node, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"cold", StorageClass="GLACIER")
    assert refused(s3.get_object, Bucket=bucket, Key="k") == ("InvalidObjectState", 403)
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == "GLACIER"
    s3.restore_object(Bucket=bucket, Key="k", RestoreRequest={"Days": 1})
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"cold" and 'ongoing-request="false"' in got["Restore"]
    s3.put_object(Bucket=bucket, Key="warm", Body=b"")
    assert refused(s3.restore_object, Bucket=bucket, Key="warm", RestoreRequest={"Days": 1}) == ("InvalidObjectState", 403)


def test_what_is_missing_is_only_told_to_those_who_may_list(node, s3, bucket, made):  # noqa: F811
    s3.put_object(Bucket=bucket, Key="there", Body=b"x")
    _, keys = made.user(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    reader = node.client("s3", key=keys[0], secret=keys[1])
    assert reader.get_object(Bucket=bucket, Key="there")["Body"].read() == b"x"
    assert refused(reader.get_object, Bucket=bucket, Key="missing") == ("AccessDenied", 403)
    _, keys = made.user(allow(["s3:GetObject", "s3:ListBucket"]))
    lister = node.client("s3", key=keys[0], secret=keys[1])
    assert refused(lister.get_object, Bucket=bucket, Key="missing") == ("NoSuchKey", 404)


def test_permissions_follow_what_a_request_says(node, s3, versioned, made):  # noqa: F811
    bucket = versioned
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="team=a")["VersionId"]
    arn = f"arn:aws:s3:::{bucket}/*"
    cases = [
        # allowed, call, arguments, whether it may
        (allow("s3:GetObject", arn), "get_object", {"Key": "k", "VersionId": version}, False),
        (allow("s3:GetObjectVersion", arn), "get_object", {"Key": "k", "VersionId": version}, True),
        (allow("s3:PutObject", arn), "put_object", {"Key": "n", "Body": b"", "Tagging": "a=1"}, False),
        (allow(["s3:PutObject", "s3:PutObjectTagging"], arn), "put_object", {"Key": "n", "Body": b"", "Tagging": "a=1"}, True),
        (
            allow("s3:GetObject", arn, Condition={"StringEquals": {"s3:ExistingObjectTag/team": "b"}}),
            "get_object", {"Key": "k"}, False,
        ),
        (
            allow("s3:GetObject", arn, Condition={"StringEquals": {"s3:ExistingObjectTag/team": "a"}}),
            "get_object", {"Key": "k"}, True,
        ),
        (
            allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", Condition={"StringLike": {"s3:prefix": "home/*"}}),
            "list_objects_v2", {"Prefix": "home/x"}, True,
        ),
        (
            allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", Condition={"StringLike": {"s3:prefix": "home/*"}}),
            "list_objects_v2", {"Prefix": "other/"}, False,
        ),
        (
            allow("s3:PutObject", arn, Condition={"StringEquals": {"s3:x-amz-storage-class": "STANDARD_IA"}}),
            "put_object", {"Key": "n", "Body": b""}, False,
        ),
        (allow("s3:PutObject", arn), "copy_object", {"Key": "c", "CopySource": f"{bucket}/k"}, False),
        (allow(["s3:PutObject", "s3:GetObject"], arn), "copy_object", {"Key": "c", "CopySource": f"{bucket}/k"}, True),
        (allow("s3:DeleteObject", arn), "delete_object", {"Key": "k", "VersionId": version}, False),
    ]
    for statement, call, arguments, may in cases:
        _, keys = made.user(statement)
        limited = getattr(node.client("s3", key=keys[0], secret=keys[1]), call)
        if may:
            limited(Bucket=bucket, **arguments)
        else:
            assert refused(limited, Bucket=bucket, **arguments) == ("AccessDenied", 403), (statement, call)


def test_who_may_not(s3, bucket, denied):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    nobody, at = denied("s3"), {"Bucket": bucket, "Key": "k"}
    calls = [
        ("get_object", {}), ("put_object", {}), ("delete_object", {}), ("get_object_tagging", {}),
        ("put_object_tagging", {"Tagging": {"TagSet": []}}), ("delete_object_tagging", {}), ("get_object_acl", {}),
        ("put_object_acl", {"ACL": "bucket-owner-full-control"}),
        ("get_object_attributes", {"ObjectAttributes": ["ETag"]}), ("copy_object", {"CopySource": f"{bucket}/k"}),
        ("get_object_retention", {}), ("put_object_retention", {"Retention": {}}), ("get_object_legal_hold", {}),
        ("put_object_legal_hold", {"LegalHold": {"Status": "ON"}}), ("restore_object", {"RestoreRequest": {"Days": 1}}),
        ("create_multipart_upload", {}), ("upload_part", {"UploadId": "x", "PartNumber": 1}),
        ("complete_multipart_upload", {"UploadId": "x", "MultipartUpload": {"Parts": [{"ETag": "x", "PartNumber": 1}]}}),
        ("abort_multipart_upload", {"UploadId": "x"}), ("list_parts", {"UploadId": "x"}),
        ("upload_part_copy", {"UploadId": "x", "PartNumber": 1, "CopySource": f"{bucket}/k"}),
    ]
    for call, arguments in calls:
        assert refused(getattr(nobody, call), **at, **arguments) == ("AccessDenied", 403), call
    assert refused(nobody.head_object, **at) == ("403", 403)
    assert s3.get_object(**at)["Body"].read() == b"x"


def test_acknowledged_objects_outlive_a_kill_and_others_leave_nothing(durable_node, name, tmp_path):
    s3, bucket = durable_node.client("s3"), name("kill")
    s3.create_bucket(Bucket=bucket)
    bodies = {f"k{number}": data(size) for number, size in enumerate(SIZES)}
    for key, body in bodies.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=data(70_000))["ETag"]
    durable_node.kill()
    durable_node.start()
    s3 = durable_node.client("s3")
    for key, body in bodies.items():
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body, key
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    durable_node.kill()
    durable_node.start()
    s3 = durable_node.client("s3")
    assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == data(70_000)
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in [*bodies, "parts"]]})
    durable_node.kill()
    durable_node.start()
    assert durable_node.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_bytes_at_rest_are_encrypted(durable_node, name, tmp_path):
    s3, bucket = durable_node.client("s3"), name("rest")
    s3.create_bucket(Bucket=bucket)
    for number, size in enumerate([100, 1_000_000]):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"find me if you can" * (size // 18))
    durable_node.stop()
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            assert b"find me if you can" not in path.read_bytes(), path


def test_a_flipped_byte_is_found(durable_node, name, tmp_path):
    import subprocess

    from harness import BINARY

    s3, bucket = durable_node.client("s3"), name("scrub")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="small", Body=b"x")
    s3.put_object(Bucket=bucket, Key="large", Body=data(300_000))
    durable_node.stop()
    scrub = [BINARY, "scrub", "--data-dir", str(tmp_path / "data")]
    clean = subprocess.run(scrub, capture_output=True, text=True, timeout=60)
    assert clean.returncode == 0 and "1 blobs" in clean.stdout and "0 problems" in clean.stdout, clean.stdout + clean.stderr
    (blob,) = [path for path in (tmp_path / "data" / "blobs" / "s3").rglob("*") if path.is_file()]
    whole = bytearray(blob.read_bytes())
    whole[200_000] ^= 1
    blob.write_bytes(whole)
    found = subprocess.run(scrub, capture_output=True, text=True, timeout=60)
    assert found.returncode != 0 and f"{bucket}/large" in found.stdout, found.stdout
    # Whoever reads it meanwhile gets no wrong byte.
    durable_node.start()
    s3 = durable_node.client("s3")
    with pytest.raises(Exception):
        s3.get_object(Bucket=bucket, Key="large")["Body"].read()
    assert s3.get_object(Bucket=bucket, Key="large", Range="bytes=0-99")["Body"].read() == data(300_000)[:100]


def test_a_copy_shares_no_more_than_its_bytes_with_its_source(durable_node, name, tmp_path):
    """One file under two names, each removed by itself; where something must differ, the bytes are copied."""
    s3, bucket = durable_node.client("s3"), name()
    s3.create_bucket(Bucket=bucket)
    body, source = data(300_000), {"Bucket": bucket, "Key": "source"}
    own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
    sums = {"ChecksumMode": "ENABLED"}

    def files():
        found = (tmp_path / "data" / "blobs" / "s3").rglob("*")
        return sorted(path.stat().st_ino for path in found if path.is_file())

    put = s3.put_object(**source, Body=body, Metadata={"m": "1"}, ChecksumAlgorithm="SHA256")
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)["CopyObjectResult"]
    assert (copied["ETag"], copied["ChecksumSHA256"]) == (put["ETag"], put["ChecksumSHA256"])
    assert len(files()) == 2 and len(set(files())) == 1
    s3.copy_object(Bucket=bucket, Key="crc", CopySource=source, ChecksumAlgorithm="CRC32C")
    s3.copy_object(Bucket=bucket, Key="own", CopySource=source, **own)
    assert len(files()) == 4 and len(set(files())) == 3
    # Onto itself: the metadata is new, the bytes stay.
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "copy"}, MetadataDirective="REPLACE", Metadata={"m": "2"})
    assert len(files()) == 4 and len(set(files())) == 3
    s3.put_object(**source, Body=data(200_000))
    s3.delete_object(**source)
    got = s3.get_object(Bucket=bucket, Key="copy", **sums)
    assert (got["Body"].read(), got["Metadata"], got["ChecksumSHA256"]) == (body, {"m": "2"}, put["ChecksumSHA256"])
    assert s3.get_object(Bucket=bucket, Key="copy", Range="bytes=100000-100009")["Body"].read() == body[100_000:100_010]
    assert s3.get_object(Bucket=bucket, Key="own", **own)["Body"].read() == body
    assert s3.get_object(Bucket=bucket, Key="crc")["Body"].read() == body
    for key in ("copy", "own", "crc"):
        s3.delete_object(Bucket=bucket, Key=key)
    assert files() == []


def test_a_kill_amid_work_loses_nothing_acknowledged_and_leaves_no_file(durable_node, name, tmp_path):
    """Puts, copies, multipart uploads and deletes from several threads; the node is killed while they run, three times."""
    import subprocess
    import threading

    from harness import BINARY

    bucket = name("crash")
    durable_node.client("s3").create_bucket(Bucket=bucket)
    acknowledged, unknown = {}, set()

    def work(s3, worker, turn):
        number = 0
        while True:
            key = f"w{worker}-{turn}-{number}"
            body = data([10, 70_000, 200_000][number % 3] + number)
            try:
                unknown.add(key)
                s3.put_object(Bucket=bucket, Key=key, Body=body)
                acknowledged[key] = body
                if number % 4 == 1:
                    unknown.add(key + "-copy")
                    s3.copy_object(Bucket=bucket, Key=key + "-copy", CopySource={"Bucket": bucket, "Key": key})
                    acknowledged[key + "-copy"] = body
                if number % 4 == 2:
                    unknown.add(key + "-parts")
                    at = {"Bucket": bucket, "Key": key + "-parts"}
                    at["UploadId"] = s3.create_multipart_upload(**at)["UploadId"]
                    etag = s3.upload_part(**at, PartNumber=1, Body=body)["ETag"]
                    s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
                    acknowledged[key + "-parts"] = body
                if number % 4 == 3:
                    del acknowledged[key]
                    s3.delete_object(Bucket=bucket, Key=key)
                    unknown.discard(key)
                    acknowledged[key] = None
                number += 1
            except Exception:  # noqa: BLE001 - the node is gone
                return

    for turn in range(3):
        before = len(acknowledged)
        threads = [threading.Thread(target=work, args=(durable_node.client("s3"), worker, turn)) for worker in range(4)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < before + 30:
            threads[0].join(0.01)
        durable_node.kill()
        for thread in threads:
            thread.join()
        durable_node.start()
        s3 = durable_node.client("s3")
        there = {found["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket) for found in page.get("Contents", [])}
        for key, body in acknowledged.items():
            assert (key in there) == (body is not None), key
            if body is not None:
                assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body, key
        assert there <= unknown
        for key in there - acknowledged.keys():
            got = s3.get_object(Bucket=bucket, Key=key)
            assert len(got["Body"].read()) == got["ContentLength"], key
    uploads = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    for upload in uploads:
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": found["Key"]} for found in page.get("Contents", [])]})
    # What objects of many parts held goes after ten minutes.
    durable_node.advance(700)
    blobs = tmp_path / "data" / "blobs" / "s3"
    deadline = __import__("time").monotonic() + 20
    while True:
        durable_node.stop()
        scrub = [BINARY, "scrub", "--sweep", "--data-dir", str(tmp_path / "data")]
        done = subprocess.run(scrub, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and "0 problems" in done.stdout, done.stdout + done.stderr
        left = [path for path in blobs.rglob("*") if path.is_file()]
        if not left:
            break
        assert __import__("time").monotonic() < deadline, left
        durable_node.start()
        durable_node.advance(700)
