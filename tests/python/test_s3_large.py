"""Objects of 5 GiB through boto3's transfer manager. Minutes and 5 GiB of disk: only with PILEUS_LARGE=1."""

import os
import pathlib
import shutil

import pytest
from boto3.s3.transfer import TransferConfig

pytestmark = pytest.mark.skipif(os.environ.get("PILEUS_LARGE") != "1", reason="PILEUS_LARGE=1 asks for large objects")

MIB = 1 << 20
SIZE = 5 << 30
NOISE = os.urandom(MIB)


def block(number):
    """Each MiB of the object is another one."""
    return number.to_bytes(8, "big") + NOISE[8:]


class Whole:
    """The object as a file, which nobody holds."""

    def __init__(self):
        self.at = 0

    def seek(self, offset, whence=os.SEEK_SET):
        self.at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: SIZE}[whence]
        return self.at

    def tell(self):
        return self.at

    def seekable(self):
        return True


class Sent(Whole):
    def read(self, count=-1):
        end = SIZE if count is None or count < 0 else min(self.at + count, SIZE)
        pieces = []
        while self.at < end:
            number, skip = divmod(self.at, MIB)
            piece = block(number)[skip : skip + end - self.at]
            self.at += len(piece)
            pieces.append(piece)
        return b"".join(pieces)


class Received(Whole):
    """Compares what is written to it, wherever that is."""

    def __init__(self):
        super().__init__()
        self.bytes = 0
        self.wrong = []

    def write(self, data):
        expected = Sent()
        expected.seek(self.at)
        if expected.read(len(data)) != bytes(data):
            self.wrong.append(self.at)
        self.at += len(data)
        self.bytes += len(data)
        return len(data)


def memory(node, field):
    """In MiB."""
    status = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def test_the_transfer_manager_puts_and_gets_5_gib_and_the_node_stays_small(durable_node, name, tmp_path):
    s3, bucket = durable_node.client("s3", read_timeout=600), name("large")
    s3.create_bucket(Bucket=bucket)
    begun = memory(durable_node, "VmRSS:")
    config = TransferConfig(multipart_chunksize=16 * MIB, max_concurrency=8)
    s3.upload_fileobj(Sent(), bucket, "k", Config=config)
    put = memory(durable_node, "VmHWM:")
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == SIZE
    received = Received()
    s3.download_fileobj(bucket, "k", received, Config=config)
    got = memory(durable_node, "VmHWM:")
    assert (received.wrong, received.bytes) == ([], SIZE)
    print(f"resident MiB: {begun:.0f} before, at most {put:.0f} after the upload, {got:.0f} after the download")
    assert got - begun < 150
    durable_node.stop()
    shutil.rmtree(tmp_path / "data")
