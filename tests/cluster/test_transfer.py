"""A cloud as a file: from engine to engine, and backed up while it works."""

import io
import json
import random
import subprocess
import threading
import zipfile

from harness import BINARY, Node


def admin(*args, ok=True):
    done = subprocess.run([BINARY, "admin", *args], capture_output=True, text=True, timeout=120)
    assert (done.returncode == 0) == ok, done.stderr + done.stdout
    return done.stdout if ok else done.stderr


def package():
    """A function's archive of more than two of the parts that large objects are moved in."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as files:
        files.writestr("f.py", "def handler(event, context):\n    return len(open('ballast', 'rb').read())\n")
        files.writestr("ballast", random.Random(1).randbytes(1_300_000))
    return archive.getvalue()


def fill(node):
    """A bit of everything; returns what is to be found again."""
    sqs, iam = node.client("sqs"), node.client("iam")
    iam.create_user(UserName="ann", Tags=[{"Key": "team", "Value": "blue"}])
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sqs:*","Resource":"*"}]}'
    iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=policy)
    trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
    role = iam.create_role(RoleName="function", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    node.client("lambda").create_function(
        FunctionName="moved", Runtime="python3.12", Role=role, Handler="f.handler", Code={"ZipFile": package()}
    )
    standard = sqs.create_queue(QueueName="plain")["QueueUrl"]
    fifo = sqs.create_queue(QueueName="line.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    for number in range(30):
        sqs.send_message(QueueUrl=standard, MessageBody=f"plain {number}")
        sqs.send_message(QueueUrl=fifo, MessageBody=str(number), MessageGroupId="g", MessageDeduplicationId=str(number))
    return key


def verify(node, key):
    sqs = node.client("sqs", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    plain = sqs.get_queue_url(QueueName="plain")["QueueUrl"]
    fifo = sqs.get_queue_url(QueueName="line.fifo")["QueueUrl"]
    assert sqs.get_queue_attributes(QueueUrl=plain, AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessages"] == "30"
    # A duplicate of before is one still, and a new message comes after all others.
    sqs.send_message(QueueUrl=fifo, MessageBody="again", MessageGroupId="g", MessageDeduplicationId="29")
    sqs.send_message(QueueUrl=fifo, MessageBody="30", MessageGroupId="g", MessageDeduplicationId="30")
    line = []
    while len(line) < 31:
        received = sqs.receive_message(QueueUrl=fifo, MaxNumberOfMessages=10).get("Messages", [])
        assert received, line
        line += [message["Body"] for message in received]
        for message in received:
            sqs.delete_message(QueueUrl=fifo, ReceiptHandle=message["ReceiptHandle"])
    assert line == [str(number) for number in range(31)]
    answer = node.client("lambda").invoke(FunctionName="moved")
    assert json.load(answer["Payload"]) == 1_300_000
    user = node.client("iam").get_user(UserName="ann")["User"]
    assert user["Tags"] == [{"Key": "team", "Value": "blue"}]


def test_a_cloud_moves_from_fjall_to_postgres_to_redb(postgres, tmp_path):
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    store = ["--store", postgres.url()]
    node = Node(data_dir=first)
    key = fill(node)
    assert "in use by another process" in admin("export", str(tmp_path / "x"), "--data-dir", first, ok=False)
    node.stop()
    admin("export", first := str(tmp_path / "one.pileus"), "--data-dir", str(tmp_path / "first"))
    assert "is whole" in admin("check", first)
    assert (tmp_path / "one.pileus").stat().st_mode & 0o777 == 0o600
    admin("import", first, *store)
    assert "not empty" in admin("import", first, *store, ok=False)
    shared = Node(*store, "--node-name", "mover", data_dir=tmp_path / "node")
    assert "nodes run on this store: stop mover" in admin("import", first, *store, "--replace", ok=False)
    # A shared database is exported while nodes work.
    admin("export", str(tmp_path / "two.pileus"), *store)
    verify(shared, key)
    shared.stop()
    admin("import", str(tmp_path / "two.pileus"), "--engine", "redb", "--data-dir", second)
    last = Node("--engine", "redb", data_dir=second)
    verify(last, key)
    last.stop()


def test_a_backup_is_one_moment_of_a_node_that_goes_on_writing(tmp_path):
    for engine in ["fjall", "redb"]:
        data = str(tmp_path / engine)
        node = Node("--engine", engine, data_dir=data)
        sqs = node.client("sqs")
        # Each name is taken only after the one before it, in one of two services: a moment holds no gap.
        done, count = threading.Event(), 0

        def write():
            nonlocal count
            iam = node.client("iam")
            while not done.is_set():
                iam.create_user(UserName=f"user-{count:05}")
                sqs.create_queue(QueueName=f"queue-{count:05}")
                count += 1

        writer = threading.Thread(target=write)
        writer.start()
        files = []
        before = []
        for number in range(3):
            while count < 40 * (number + 1):
                assert writer.is_alive()
            before.append(count)
            files.append(str(tmp_path / f"{engine}-{number}"))
            admin("backup", files[-1], "--data-dir", data)
        done.set()
        writer.join()
        node.stop()
        for file, least in zip(files, before):
            target = tmp_path / (file + "-restored")
            admin("import", file, "--data-dir", str(target))
            restored = Node(data_dir=target)
            users = [user["UserName"] for page in restored.client("iam").get_paginator("list_users").paginate() for user in page["Users"]]
            queues = [url.rsplit("/", 1)[1] for url in restored.client("sqs").list_queues(MaxResults=1000).get("QueueUrls", [])]
            assert users == [f"user-{index:05}" for index in range(len(users))]
            assert queues == [f"queue-{index:05}" for index in range(len(queues))]
            assert len(users) - len(queues) in (0, 1) and len(queues) >= least
            restored.stop()


def test_what_is_not_a_whole_export_is_refused(tmp_path):
    node = Node(data_dir=tmp_path / "data")
    fill(node)
    file = tmp_path / "backup"
    admin("backup", str(file), "--data-dir", str(tmp_path / "data"))
    node.stop()
    assert "no node runs on" in admin("backup", str(file), "--data-dir", str(tmp_path / "data"), ok=False)
    whole = file.read_bytes()
    target = ["--data-dir", str(tmp_path / "target")]
    for name, text, expected in [
        ("cut", whole[: len(whole) // 2], "ends too early"),
        ("flipped", whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], "damaged"),
        ("foreign", b"PK\x03\x04 something else entirely", "not an export"),
    ]:
        bad = tmp_path / name
        bad.write_bytes(text)
        assert expected in admin("import", str(bad), *target, ok=False), name
        assert expected in admin("check", str(bad), ok=False), name
    # Nothing was written by any of these.
    admin("import", str(file), *target)
    assert "No such file" in admin("import", str(tmp_path / "absent"), *target, ok=False)
