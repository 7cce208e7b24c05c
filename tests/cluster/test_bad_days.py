"""Days on which the database is away or full: what clients see, and that nothing acknowledged is lost.

A wrong URL, a wrong password, a replica, a newer schema and two nodes of one name are in `test_start.py`; an old server and a
clock an hour off in the tests of `crates/store-postgres`.
"""

import os
import time

import pytest
import requests
from botocore.exceptions import ClientError
from harness import Node
from postgres import Postgres


def refusal(call, **arguments):
    """Status and code of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not become true"
        time.sleep(0.2)


def test_while_the_database_is_away_every_call_is_unavailable_and_none_an_internal_error(tmp_path):
    server = Postgres()
    node = Node("--store", server.url(), "--node-name", "a", data_dir=tmp_path / "a")
    try:
        sqs, iam = node.client("sqs"), node.client("iam")
        url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="kept")
        server.down()
        unavailable = (503, "ServiceUnavailable")
        assert refusal(sqs.receive_message, QueueUrl=url) == unavailable
        assert refusal(sqs.send_message, QueueUrl=url, MessageBody="refused") == unavailable
        assert refusal(iam.list_users) == unavailable
        server.up()
        until(lambda: requests.get(f"{node.endpoint}/_pileus/health", timeout=5).status_code == 200)
        assert [message["Body"] for message in sqs.receive_message(QueueUrl=url)["Messages"]] == ["kept"]
    finally:
        node.kill()
        server.stop()


@pytest.mark.skipif(os.getuid() != 0, reason="a small disk is mounted by root")
def test_a_full_disk_of_the_database_refuses_writes_and_loses_nothing(tmp_path):
    server = Postgres("max_wal_size = 48MB", "min_wal_size = 32MB", room_mb=192)
    node = Node("--store", server.url(), "--node-name", "a", data_dir=tmp_path / "a")
    try:
        sqs = node.client("sqs")
        url = sqs.create_queue(QueueName="jobs", Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
        acknowledged, refused = set(), []
        filler = server.dir / "filler"
        server.fill(filler)
        for number in range(2_000):
            body = f"{number:06}" + "x" * 100_000
            try:
                sqs.send_message(QueueUrl=url, MessageBody=body)
                acknowledged.add(body[:6])
            except ClientError as error:
                refused.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
                if len(refused) == 3:
                    break
        assert refused == [503, 503, 503], (refused, len(acknowledged))
        assert node.process.poll() is None
        # Room again. A server that could not write its journal has ended itself, and is started by whoever looks after it.
        filler.unlink()
        if not server.answers():
            server.up()
        until(lambda: requests.get(f"{node.endpoint}/_pileus/health", timeout=5).status_code == 200)

        def send_again():
            try:
                sqs.send_message(QueueUrl=url, MessageBody="again!")
                return True
            except ClientError:
                return False

        until(send_again)
        acknowledged.add("again!")
        received = set()
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            received |= {message["Body"][:6] for message in messages}
        assert acknowledged <= received
    finally:
        node.kill()
        server.stop()
