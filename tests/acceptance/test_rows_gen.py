"""Rows about the cloud as a whole: durability, regions, runtimes, the CLI's own set-up."""

import json
import threading
import zipfile

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from conftest import ACCOUNT, Node, at_home, bodies, cli, queue, refused, send, user


@pytest.mark.parametrize("engine", ["fjall", "redb"])
def test_gen_05_every_acknowledged_message_survives_kill_9_during_writes(tmp_path, name, engine):
    node = Node("--engine", engine, data_dir=tmp_path / "data")
    url, acknowledged, lock = queue(node, name("jobs")), set(), threading.Lock()
    enough = threading.Event()

    def produce(producer):
        sqs, number = node.client("sqs"), 0
        while True:
            body = f"{producer}:{number}"
            try:
                sqs.send_message(QueueUrl=url, MessageBody=body)
            except (BotoCoreError, ClientError):
                return
            with lock:
                acknowledged.add(body)
                if len(acknowledged) >= 200:
                    enough.set()
            number += 1

    producers = [threading.Thread(target=produce, args=(producer,)) for producer in range(4)]
    for producer in producers:
        producer.start()
    assert enough.wait(60)
    node.kill()
    for producer in producers:
        producer.join(60)
    node.start()
    try:
        found = set(bodies(node, url))
        sqs = node.client("sqs")
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found.update(message["Body"] for message in messages)
        # A message whose answer was on its way may be there as well: one for each producer.
        assert acknowledged <= found and len(found) <= len(acknowledged) + 4
    finally:
        node.stop()


def test_gen_06_regions_and_their_availability_zones(node):
    regions = {region["RegionName"]: region for region in cli(node, "ec2", "describe-regions")["Regions"]}
    assert {"us-east-1", "us-west-2", "eu-west-1", "ap-northeast-2"} <= regions.keys()
    assert regions["ap-northeast-2"]["Endpoint"] == "ec2.ap-northeast-2.amazonaws.com"
    assert regions["ap-northeast-2"]["OptInStatus"] == "opt-in-not-required"
    command = ["ec2", "describe-availability-zones", "--region", "ap-northeast-2"]
    zones = cli(node, *command)["AvailabilityZones"]
    assert len(zones) >= 2 and {zone["State"] for zone in zones} == {"available"}
    assert zones[0] == {
        "OptInStatus": "opt-in-not-required",
        "Messages": [],
        "RegionName": "ap-northeast-2",
        "ZoneName": "ap-northeast-2a",
        "ZoneId": "apne2-az1",
        "GroupName": "ap-northeast-2-zg-1",
        "NetworkBorderGroup": "ap-northeast-2",
        "ZoneType": "availability-zone",
        "GroupLongName": "Asia Pacific (Seoul) 1",
        "Geography": [{"Name": "South Korea"}],
        "State": "available",
    }
    second = cli(node, *command, "--filters", "Name=zone-id,Values=*az2")["AvailabilityZones"]
    assert [zone["ZoneName"] for zone in second] == ["ap-northeast-2b"]
    wrong = refused(node, *command, "--zone-names", "ap-northeast-2a", "us-east-1a")
    assert wrong == ("InvalidParameterValue", "Invalid availability zone: [us-east-1a]")


def test_gen_07_regions_are_isolated_from_each_other(node, name):
    jobs, regions = name("jobs"), ["us-east-1", "ap-northeast-2"]
    urls = {}
    for region in regions:
        urls[region] = cli(node, "sqs", "create-queue", "--queue-name", jobs, region=region)["QueueUrl"]
        send(node, urls[region], f"of {region}", region=region)
    for region in regions:
        got = cli(node, "sqs", "receive-message", "--queue-url", urls[region], region=region)["Messages"]
        assert [message["Body"] for message in got] == [f"of {region}"]
        arn = ["sqs", "get-queue-attributes", "--queue-url", urls[region], "--attribute-names", "QueueArn"]
        found = cli(node, *arn, region=region)["Attributes"]["QueueArn"]
        assert found == f"arn:aws:sqs:{region}:{ACCOUNT}:{jobs}"
    assert cli(node, "sqs", "list-queues", region="eu-north-1") == {}
    assert refused(node, "sqs", "get-queue-url", "--queue-name", jobs, region="eu-north-1")[0].endswith("NonExistentQueue")


@pytest.fixture
def create_function(node, tmp_path):
    """Creates a function with a runtime; gives the error that it ends with."""
    archive = tmp_path / "code.zip"
    archive.write_bytes(b"PK\5\6" + bytes(18))
    command = ["lambda", "create-function", "--function-name", "f", "--handler", "h.h", "--zip-file", f"fileb://{archive}"]
    command += ["--role", f"arn:aws:iam::{ACCOUNT}:role/r", "--runtime"]
    return lambda runtime: refused(node, *command, runtime)


def test_gen_13_every_supported_runtime_makes_a_function(node, name, tmp_path):
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = cli(node, "iam", "create-role", "--role-name", name("role"), "--assume-role-policy-document", document)["Role"]["Arn"]
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("index.py", "")
    lambda_ = node.client("lambda")
    supported = "nodejs18.x nodejs20.x nodejs22.x nodejs24.x java8.al2 java11 java17 java21 java25 python3.9 python3.10 python3.11"
    supported += " python3.12 python3.13 python3.14 dotnet8 dotnet10 ruby3.2 ruby3.3 ruby3.4 provided.al2 provided.al2023"
    for runtime in supported.split():
        function = name("f")
        made = {"FunctionName": function, "Handler": "h.h", "Role": role, "Runtime": runtime, "Code": {"ZipFile": archive.read_bytes()}}
        assert lambda_.create_function(**made)["Runtime"] == runtime
    command = ["lambda", "create-function", "--function-name", name("f"), "--handler", "h.h", "--zip-file", f"fileb://{archive}"]
    assert cli(node, *command, "--role", role, "--runtime", "python3.13")["Runtime"] == "python3.13"
    ended = refused(node, *command, "--role", role, "--runtime", "python2.7")
    assert ended[0] == "InvalidParameterValueException" and "no longer supported" in ended[1]


def test_gen_13_an_unknown_runtime_is_refused(create_function):
    code, message = create_function("cobol85")
    assert "cobol85" in message and "'runtime'" in message and "python3.13" in message
    assert code == "InvalidParameterValueException"


def test_gen_14_the_cli_is_set_up_with_a_named_profile(node, name, tmp_path):
    person, keys = user(node, name("person"))
    attach = ["iam", "attach-user-policy", "--user-name", person]
    cli(node, *attach, "--policy-arn", "arn:aws:iam::aws:policy/AmazonSQSFullAccess")
    jobs = queue(node, name("jobs"))

    def configure(profile, secret):
        typed = f"{keys['key']}\n{secret}\nus-east-1\njson\n"
        done = at_home(node, tmp_path, "configure", "--profile", profile, typed=typed)
        assert done.returncode == 0, done.stderr

    configure("work", keys["secret"])
    configure("typo", keys["secret"][:-1] + ("x" if keys["secret"][-1] != "x" else "y"))
    assert "[work]" in (tmp_path / ".aws" / "credentials").read_text()
    listed = at_home(node, tmp_path, "sqs", "list-queues", "--profile", "work")
    assert listed.returncode == 0 and jobs in listed.stdout, listed.stderr
    for service in (["sqs", "list-queues"], ["sts", "get-caller-identity"]):
        wrong = at_home(node, tmp_path, *service, "--profile", "typo")
        assert wrong.returncode != 0 and "(SignatureDoesNotMatch)" in wrong.stderr, wrong.stderr
