"""Large objects in a bucket: ours, on another node. What is there is what its clients are told."""

import hashlib
import io
import random
import subprocess

import boto3.s3.transfer
import pytest
from harness import BINARY, Node, free_port
from test_transfer import admin, fill, verify

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
LENGTHS = [70_000, 5_000_000, 5_300_000, 12_345_678]


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    """Nodes take the bucket's keys from their environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


@pytest.fixture
def warehouse(tmp_path):
    """A node with the bucket `warehouse`."""
    running = Node(data_dir=tmp_path / "warehouse")
    running.client("s3").create_bucket(Bucket="warehouse")
    yield running
    running.kill()


def url(warehouse, folder="cloud"):
    return f"s3://warehouse/{folder}?endpoint={warehouse.endpoint}"


def content(length):
    return random.Random(length).randbytes(length)


def keys_of(warehouse, prefix):
    pages = warehouse.client("s3").get_paginator("list_objects_v2").paginate(Bucket="warehouse", Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def refused(*args):
    """A start that fails: its one line."""
    done = subprocess.run([BINARY, "up", "--log", "error", "--port", str(free_port()), *args], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("pileus: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_nodes_share_a_bucket(postgres, cluster_node, warehouse):
    postgres.sql("CREATE DATABASE bucket")
    store, blobs = postgres.url(database="bucket"), ["--blobs", url(warehouse)]
    a, b = cluster_node(store, "a", *blobs), cluster_node(store, "b", *blobs)
    a.client("s3").create_bucket(Bucket="box")
    for length in LENGTHS:
        a.client("s3").put_object(Bucket="box", Key=str(length), Body=content(length))
    # Small blobs are one object, large ones two.
    assert len(keys_of(warehouse, "cloud/blobs/s3/")) == len(LENGTHS)
    assert len(keys_of(warehouse, "cloud/parts/s3/")) == 2
    a.kill()
    s3 = b.client("s3")
    for length in LENGTHS:
        body = s3.get_object(Bucket="box", Key=str(length))["Body"].read()
        assert hashlib.sha256(body).digest() == hashlib.sha256(content(length)).digest()
        part = s3.get_object(Bucket="box", Key=str(length), Range=f"bytes={length - 500}-{length + 5}")
        assert part["Body"].read() == content(length)[-500:]
    # An upload in parts, its completion, and a copy.
    config = boto3.s3.transfer.TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=6 << 20)
    s3.upload_fileobj(io.BytesIO(content(20_000_000)), "box", "parts", Config=config)
    s3.copy_object(Bucket="box", Key="copy", CopySource="box/parts")
    assert s3.get_object(Bucket="box", Key="copy")["Body"].read() == content(20_000_000)
    for key in [*map(str, LENGTHS), "parts", "copy"]:
        s3.delete_object(Bucket="box", Key=key)
    assert "Contents" not in s3.list_objects_v2(Bucket="box")


def test_a_cloud_is_where_it_was(warehouse, tmp_path):
    data = tmp_path / "one"
    node = Node("--blobs", url(warehouse), data_dir=data)
    node.client("s3").create_bucket(Bucket="box")
    node.client("s3").put_object(Bucket="box", Key="k", Body=content(100_000))
    node.stop()
    # Looked for elsewhere, its objects would be missing.
    assert "keeps its large objects in s3://warehouse/cloud" in refused("--data-dir", str(data))
    line = refused("--data-dir", str(data), "--blobs", url(warehouse, "other"))
    assert "in s3://warehouse/cloud, not in s3://warehouse/other" in line
    # Another cloud would sweep them away.
    line = refused("--data-dir", str(tmp_path / "two"), "--blobs", url(warehouse))
    assert "holds the large objects of another cloud" in line
    # A cloud that has files already would leave them behind.
    plain = Node(data_dir=tmp_path / "three")
    plain.client("s3").create_bucket(Bucket="box")
    plain.client("s3").put_object(Bucket="box", Key="k", Body=content(100_000))
    plain.stop()
    assert "pileus admin export" in refused("--data-dir", str(tmp_path / "three"), "--blobs", url(warehouse, "three"))
    for bad, expected in [
        (f"s3://nothing?endpoint={warehouse.endpoint}", "NoSuchBucket"),
        (f"s3://warehouse/x?endpoint=http://127.0.0.1:{free_port()}", "cannot be used"),
        ("s3://warehouse/x?endpoint=https://127.0.0.1:1&ca=/no/such/file.pem", "/no/such/file.pem"),
    ]:
        line = refused("--data-dir", str(tmp_path / "four"), "--blobs", bad)
        assert expected in line, line
    again = Node("--blobs", url(warehouse), data_dir=data)
    assert again.client("s3").get_object(Bucket="box", Key="k")["Body"].read() == content(100_000)
    again.reset()
    assert keys_of(warehouse, "cloud/blobs/") == []
    again.stop()


def test_a_cloud_moves_into_a_bucket_and_out_of_it(warehouse, tmp_path):
    first, second, third = (str(tmp_path / name) for name in ["first", "second", "third"])
    node = Node(data_dir=first)
    key = fill(node)
    node.client("s3").create_bucket(Bucket="box")
    node.client("s3").put_object(Bucket="box", Key="k", Body=content(12_000_000))
    node.stop()
    into, out = str(tmp_path / "into.pileus"), str(tmp_path / "out.pileus")
    admin("export", into, "--data-dir", first)
    admin("import", into, "--data-dir", second, "--blobs", url(warehouse))
    moved = Node("--blobs", url(warehouse), data_dir=second)
    assert moved.client("s3").get_object(Bucket="box", Key="k")["Body"].read() == content(12_000_000)
    admin("backup", out, "--data-dir", second, "--blobs", url(warehouse))
    verify(moved, key)
    moved.stop()
    admin("import", out, "--data-dir", third)
    back = Node(data_dir=third)
    assert back.client("s3").get_object(Bucket="box", Key="k")["Body"].read() == content(12_000_000)
    verify(back, key)
    back.stop()


def test_a_bucket_that_is_away_fails_requests_and_loses_nothing(warehouse, tmp_path):
    node = Node("--blobs", url(warehouse), data_dir=tmp_path / "one")
    s3 = node.client("s3", read_timeout=120)
    s3.create_bucket(Bucket="box")
    s3.put_object(Bucket="box", Key="before", Body=content(200_000))
    warehouse.kill()
    with pytest.raises(s3.exceptions.ClientError) as failed:
        s3.put_object(Bucket="box", Key="during", Body=content(200_001))
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] in (500, 503)
    # What lies in the store itself is still served.
    s3.put_object(Bucket="box", Key="small", Body=b"small")
    warehouse.start()
    assert s3.get_object(Bucket="box", Key="before")["Body"].read() == content(200_000)
    s3.put_object(Bucket="box", Key="after", Body=content(200_002))
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="box")["Contents"]] == ["after", "before", "small"]
    node.stop()
