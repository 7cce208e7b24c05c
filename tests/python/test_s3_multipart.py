"""S3: multipart uploads."""

import base64
import hashlib
import io

import pytest
from boto3.s3.transfer import TransferConfig
from test_s3_objects import data, refused

MIB = 1024 * 1024


@pytest.fixture
def s3(client):
    return client("s3")


@pytest.fixture
def bucket(s3, name):
    bucket = name("multipart")
    s3.create_bucket(Bucket=bucket)
    return bucket


def upload(s3, bucket, key, parts, complete=True, **more):
    """Uploads parts, `{number: bytes}`. The upload's id and what completing it wants."""
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]
    listed = []
    for number, body in parts.items():
        sent = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body)
        sums = {name: value for name, value in sent.items() if name.startswith("Checksum")}
        listed.append({"PartNumber": number, "ETag": sent["ETag"], **sums})
    at = {"Bucket": bucket, "Key": key, "UploadId": upload_id}
    if complete:
        return s3.complete_multipart_upload(**at, MultipartUpload={"Parts": listed})
    return at, listed


def test_parts_become_an_object(s3, bucket):
    parts = {1: data(5 * MIB), 2: data(6 * MIB), 3: data(70_000)}
    whole = b"".join(parts.values())
    done = upload(s3, bucket, "k", parts, Metadata={"m": "1"}, ContentType="a/b", Tagging="t=1")
    digests = b"".join(hashlib.md5(part).digest() for part in parts.values())
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == whole and got["ContentLength"] == len(whole)
    assert (got["Metadata"], got["ContentType"], got["TagCount"]) == ({"m": "1"}, "a/b", 1)
    edge = 5 * MIB
    for first, last in [(0, 9), (edge - 5, edge + 5), (edge + 6 * MIB - 1, len(whole) - 1), (3, len(whole) - 3)]:
        part = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}")["Body"].read()
        assert part == whole[first : last + 1], (first, last)
    for number, body in parts.items():
        part = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert part["Body"].read() == body and part["PartsCount"] == 3
        assert s3.head_object(Bucket=bucket, Key="k", PartNumber=number)["ContentLength"] == len(body)
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=4) == ("InvalidPartNumber", 416)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    copy = s3.get_object(Bucket=bucket, Key="copy")
    assert copy["Body"].read() == whole and copy["ETag"] == f'"{hashlib.md5(whole).hexdigest()}"'


def test_what_completing_refuses(s3, bucket):
    at, listed = upload(s3, bucket, "k", {1: data(5 * MIB), 2: b"small", 3: b"last"}, complete=False)

    def complete(*parts, **more):
        return refused(s3.complete_multipart_upload, **at, MultipartUpload={"Parts": list(parts)}, **more)

    one, two, three = listed
    assert complete(two, one) == ("InvalidPartOrder", 400)
    assert complete(one, {**one, "PartNumber": 7}) == ("InvalidPart", 400)
    assert complete({**one, "ETag": '"x"'}) == ("InvalidPart", 400)
    assert complete(one, two, three) == ("EntityTooSmall", 400)
    assert complete() == ("MalformedXML", 400)
    assert complete(one, MpuObjectSize=1) == ("InvalidRequest", 400)
    assert refused(s3.get_object, Bucket=bucket, Key="k") == ("NoSuchKey", 404)
    s3.put_object(Bucket=bucket, Key="k", Body=b"there")
    assert complete(one, three, IfNoneMatch="*") == ("PreconditionFailed", 412)
    # Part 2 is left out, and goes.
    first = s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [one, three]})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data(5 * MIB) + b"last"
    # Whoever did not hear the answer may ask again.
    again = s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [one, three]})
    assert again["ETag"] == first["ETag"]
    s3.delete_object(Bucket=bucket, Key="k")
    assert complete(one, three) == ("NoSuchUpload", 404)


def test_parts_are_replaced_listed_and_aborted(s3, bucket):
    at, _ = upload(s3, bucket, "k", {2: b"two", 7: data(100_000), 1: b"one"}, complete=False)
    s3.upload_part(**at, PartNumber=2, Body=data(200_000))
    parts = s3.list_parts(**at)
    assert [(part["PartNumber"], part["Size"]) for part in parts["Parts"]] == [(1, 3), (2, 200_000), (7, 100_000)]
    assert parts["StorageClass"] == "STANDARD" and parts["IsTruncated"] is False
    page = s3.list_parts(**at, MaxParts=1, PartNumberMarker=1)
    assert [part["PartNumber"] for part in page["Parts"]] == [2]
    assert page["IsTruncated"] is True and page["NextPartNumberMarker"] == 2
    for number in (0, 10_001):
        assert refused(s3.upload_part, **at, PartNumber=number, Body=b"") == ("InvalidArgument", 400)
    s3.abort_multipart_upload(**at)
    gone = ("NoSuchUpload", 404)
    for call in (s3.list_parts, s3.abort_multipart_upload):
        assert refused(call, **at) == gone
    assert refused(s3.upload_part, **at, PartNumber=1, Body=b"") == gone
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_parts_are_copied_from_objects(s3, bucket):
    source = data(6 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=source)
    at, listed = upload(s3, bucket, "k", {}, complete=False)
    copy = {"CopySource": {"Bucket": bucket, "Key": "source"}}
    ranges = [None, f"bytes={MIB}-{6 * MIB - 1}", "bytes=0-9"]
    for number, wanted in enumerate(ranges, 1):
        more = {"CopySourceRange": wanted} if wanted else {}
        result = s3.upload_part_copy(**at, **copy, PartNumber=number, **more)["CopyPartResult"]
        listed.append({"PartNumber": number, "ETag": result["ETag"]})
    s3.complete_multipart_upload(**at, MultipartUpload={"Parts": listed})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == source + source[MIB:] + source[:10]
    at, _ = upload(s3, bucket, "k2", {}, complete=False)
    for bad in ["bytes=0-", f"bytes=0-{6 * MIB}", "x"]:
        assert refused(s3.upload_part_copy, **at, **copy, PartNumber=1, CopySourceRange=bad) == ("InvalidArgument", 400), bad


@pytest.mark.parametrize("algorithm, kind", [
    ("CRC32", "COMPOSITE"), ("CRC32C", "COMPOSITE"), ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE"),
    ("CRC32", "FULL_OBJECT"), ("CRC32C", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT"),
])
def test_checksums_of_parts_make_that_of_the_object(s3, node, bucket, algorithm, kind):
    if algorithm in ("CRC32C", "CRC64NVME"):
        pytest.importorskip("awscrt")
    more = {"ChecksumAlgorithm": algorithm, "ChecksumType": kind}
    parts = {1: data(5 * MIB), 2: b"tail"}
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k", **more)["UploadId"]
    member, listed = f"Checksum{algorithm}", []
    for number, body in parts.items():
        at = {"Bucket": bucket, "Key": "k", "UploadId": upload_id}
        sent = s3.upload_part(**at, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        listed.append({"PartNumber": number, "ETag": sent["ETag"], member: sent[member]})
    done = s3.complete_multipart_upload(**at, MultipartUpload={"Parts": listed})
    assert done["ChecksumType"] == kind
    if kind == "COMPOSITE":
        assert done[member].endswith("-2")
    else:
        s3.put_object(Bucket=bucket, Key="whole", Body=b"".join(parts.values()), ChecksumAlgorithm=algorithm)
        assert done[member] == s3.head_object(Bucket=bucket, Key="whole", ChecksumMode="ENABLED")[member]
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts", "Checksum"])
    assert attributes["ObjectParts"]["TotalPartsCount"] == 2 and attributes["Checksum"]["ChecksumType"] == kind
    assert [part["Size"] for part in attributes["ObjectParts"]["Parts"]] == [5 * MIB, 4]


def test_customers_keys_go_with_every_part(s3, bucket):
    own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k", **own)["UploadId"]
    at = {"Bucket": bucket, "Key": "k", "UploadId": upload_id, "PartNumber": 1}
    assert refused(s3.upload_part, **at, Body=b"x") == ("InvalidRequest", 400)
    etag = s3.upload_part(**at, Body=b"secret", **own)["ETag"]
    del at["PartNumber"]
    s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert s3.get_object(Bucket=bucket, Key="k", **own)["Body"].read() == b"secret"


def test_the_transfer_manager(s3, bucket, tmp_path):
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    for size in (0, 1, 5 * MIB, 23 * MIB + 7):
        body = data(size)
        s3.upload_fileobj(io.BytesIO(body), bucket, f"k{size}", Config=config)
        into = io.BytesIO()
        s3.download_fileobj(bucket, f"k{size}", into, Config=config)
        assert into.getvalue() == body, size
        s3.copy({"Bucket": bucket, "Key": f"k{size}"}, bucket, f"copy{size}", Config=config)
        assert s3.head_object(Bucket=bucket, Key=f"copy{size}")["ContentLength"] == size


def test_the_command_line_copies_moves_and_syncs(node, bucket, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "sub").mkdir(parents=True)
    files = {"a.txt": b"a", "sub/b.bin": data(9 * MIB), "sub/empty": b""}
    for path, body in files.items():
        (here / path).write_bytes(body)
    node.aws("s3", "sync", str(here), f"s3://{bucket}/tree")
    assert "sub/" in node.aws("s3", "ls", f"s3://{bucket}/tree/").stdout
    node.aws("s3", "mv", f"s3://{bucket}/tree/a.txt", f"s3://{bucket}/tree/moved.txt")
    node.aws("s3", "cp", f"s3://{bucket}/tree/sub/b.bin", f"s3://{bucket}/tree/copy.bin")
    node.aws("s3", "sync", f"s3://{bucket}/tree", str(there))
    got = {str(path.relative_to(there)): path.read_bytes() for path in there.rglob("*") if path.is_file()}
    assert got == {
        "moved.txt": b"a", "sub/b.bin": files["sub/b.bin"], "copy.bin": files["sub/b.bin"], "sub/empty": b"",
    }
    node.aws("s3", "rm", "--recursive", f"s3://{bucket}/tree")
    assert node.aws("s3", "ls", f"s3://{bucket}/tree/", check=False).stdout == ""
