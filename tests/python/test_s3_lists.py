"""S3: listings: order, pages, delimiters, encodings."""

import base64

import pytest
from test_s3_objects import refused

KEYS = [
    "a", "a/", "a/1", "a/2/x", "a/2/y", "a!", "b", "b/c/d/e", "c//x", "é/ü", "z +&?%", "/lead", "~",
]


@pytest.fixture(scope="module")
def filled(node):
    s3 = node.client("s3")
    s3.create_bucket(Bucket="filled-bucket")
    for key in KEYS:
        s3.put_object(Bucket="filled-bucket", Key=key, Body=key.encode())
    return s3


def model(prefix="", delimiter="", after=""):
    """What a listing of `KEYS` tells, in order: keys and common prefixes."""
    told = []
    for key in sorted(KEYS, key=lambda key: key.encode()):
        if not key.startswith(prefix):
            continue
        rest, name = key[len(prefix):], key
        if delimiter and delimiter in rest:
            name = prefix + rest.split(delimiter)[0] + delimiter
            if name <= after and not key > after or name == after:
                continue
        elif key.encode() <= after.encode():
            continue
        if key.encode() <= after.encode() and name == key:
            continue
        if not told or told[-1] != name:
            told.append(name)
    return told


def merged(page):
    names = [found["Key"] for found in page.get("Contents", [])]
    names += [found["Prefix"] for found in page.get("CommonPrefixes", [])]
    return sorted(names, key=lambda name: name.encode())


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/2", "b/", "none"])
@pytest.mark.parametrize("delimiter", ["", "/", "/c/", "!"])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_pages_join_to_the_whole(filled, prefix, delimiter, size):
    arguments = {"Bucket": "filled-bucket", "Prefix": prefix, "MaxKeys": size}
    if delimiter:
        arguments["Delimiter"] = delimiter
    expected = model(prefix, delimiter)
    for operation in ("list_objects_v2", "list_objects"):
        told = []
        for page in filled.get_paginator(operation).paginate(**arguments):
            count = len(page.get("Contents", [])) + len(page.get("CommonPrefixes", []))
            assert count <= size and page.get("KeyCount", count) == count
            told += merged(page)
        assert told == expected, operation
    versions = []
    for page in filled.get_paginator("list_object_versions").paginate(**arguments):
        names = [found["Key"] for found in page.get("Versions", [])]
        names += [found["Prefix"] for found in page.get("CommonPrefixes", [])]
        versions += sorted(names, key=lambda name: name.encode())
    assert versions == expected


def test_where_a_listing_begins_and_ends(filled):
    at = {"Bucket": "filled-bucket"}
    told = merged(filled.list_objects_v2(**at, StartAfter="a/2/x"))
    assert told == [key for key in sorted(KEYS, key=str.encode) if key.encode() > b"a/2/x"]
    none = filled.list_objects_v2(**at, MaxKeys=0)
    assert none["KeyCount"] == 0 and none["IsTruncated"] is False and none["MaxKeys"] == 0
    assert filled.list_objects_v2(**at, MaxKeys=5_000)["MaxKeys"] == 1_000
    assert refused(filled.list_objects_v2, **at, MaxKeys=-1) == ("InvalidArgument", 400)
    assert refused(filled.list_objects_v2, **at, ContinuationToken="!") == ("InvalidArgument", 400)
    assert refused(filled.list_objects_v2, **at, EncodingType="x") == ("InvalidArgument", 400)
    entry = filled.list_objects_v2(**at, Prefix="a/1", FetchOwner=True)["Contents"][0]
    assert entry["Size"] == 3 and entry["StorageClass"] == "STANDARD" and len(entry["Owner"]["ID"]) == 64
    assert "Owner" not in filled.list_objects_v2(**at, Prefix="a/1")["Contents"][0]


def test_versions_are_paged_within_a_key(node, name):
    s3, bucket = node.client("s3"), name("paged")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a", Body=b"null")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    expected = []
    for key in ["a", "b"]:
        ids = [s3.put_object(Bucket=bucket, Key=key, Body=b"x")["VersionId"] for _ in range(3)]
        if key == "b":
            ids.append(s3.delete_object(Bucket=bucket, Key=key)["VersionId"])
        expected += [(key, found) for found in reversed(ids)] + ([("a", "null")] if key == "a" else [])
    for size in (1, 2, 3, 1000):
        told, latest = [], []
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, MaxKeys=size):
            entries = page.get("Versions", []) + page.get("DeleteMarkers", [])
            places = {entry: at for at, entry in enumerate(expected)}
            entries.sort(key=lambda found: places[found["Key"], found["VersionId"]])
            told += [(found["Key"], found["VersionId"]) for found in entries]
            latest += [found["Key"] for found in entries if found["IsLatest"]]
        assert told == expected, size
        assert latest == ["a", "b"], size
    assert refused(s3.list_object_versions, Bucket=bucket, VersionIdMarker="x") == ("InvalidArgument", 400)


def test_uploads_are_listed_by_key_and_time(node, name):
    s3, bucket = node.client("s3"), name("uploads")
    s3.create_bucket(Bucket=bucket)
    expected = []
    for key in ["a/1", "a/2", "b"]:
        expected += [(key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for _ in range(2)]
    for size in (1, 3, 1000):
        told = []
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, MaxUploads=size):
            told += [(found["Key"], found["UploadId"]) for found in page.get("Uploads", [])]
        assert told == expected, size
    rolled = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [found["Prefix"] for found in rolled["CommonPrefixes"]] == ["a/"] and len(rolled["Uploads"]) == 2
    assert base64.b16decode(expected[0][1].upper())
