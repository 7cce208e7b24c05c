"""Messages of SQS: sending, receiving, waiting, dead letters, moving them back."""

import hashlib
import json
import threading
import time

import pytest
from botocore.exceptions import ClientError

from test_sqs_queues import attributes, refused


@pytest.fixture
def queue(client, name):
    """Makes a queue and gives its URL: `queue(DelaySeconds="1")`; FIFO with `fifo=True`."""

    def make(fifo=False, **settings):
        settings = {key: str(value) for key, value in settings.items()}
        if fifo:
            settings["FifoQueue"] = "true"
        url = client("sqs").create_queue(QueueName=name() + (".fifo" if fifo else ""), Attributes=settings)
        return url["QueueUrl"]

    return make


def bodies(sqs, url, **arguments):
    arguments.setdefault("MaxNumberOfMessages", 10)
    return [message["Body"] for message in sqs.receive_message(QueueUrl=url, **arguments).get("Messages", [])]


def counts(sqs, url):
    found = attributes(sqs, url)
    names = ("", "NotVisible", "Delayed")
    return tuple(int(found[f"ApproximateNumberOfMessages{name}"]) for name in names)


def arn(sqs, url):
    return attributes(sqs, url, "QueueArn")["QueueArn"]


def test_a_message_is_sent_received_and_deleted(client, queue):
    sqs, url = client("sqs"), queue()
    sent = sqs.send_message(QueueUrl=url, MessageBody="hello")
    assert sent["MD5OfMessageBody"] == hashlib.md5(b"hello").hexdigest()
    assert counts(sqs, url) == (1, 0, 0)
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert (message["Body"], message["MessageId"]) == ("hello", sent["MessageId"])
    assert counts(sqs, url) == (0, 1, 0)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert counts(sqs, url) == (0, 0, 0)
    assert refused(sqs.delete_message, QueueUrl=url, ReceiptHandle="nonsense")[0] == "ReceiptHandleIsInvalid"


def test_system_and_message_attributes_are_returned_as_asked_for(client, queue):
    sqs, url = client("sqs"), queue(VisibilityTimeout=0)
    text = {"DataType": "String", "StringValue": "There"}
    sent = sqs.send_message(
        QueueUrl=url,
        MessageBody="msg",
        MessageAttributes={"Hello": text, "Bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}},
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988"}},
    )
    assert sent["MD5OfMessageSystemAttributes"]
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert "Attributes" not in message and "MessageAttributes" not in message
    (message,) = sqs.receive_message(
        QueueUrl=url, MessageSystemAttributeNames=["All"], MessageAttributeNames=["Hel.*"]
    )["Messages"]
    # Recorded: AWS's digest of this one attribute.
    assert message["MD5OfMessageAttributes"] == "a311262e065454b75da111d535b8dacd"
    assert message["MessageAttributes"] == {"Hello": text}
    system = message["Attributes"]
    assert system["ApproximateReceiveCount"] == "2" and system["AWSTraceHeader"] == "Root=1-5759e988"
    assert system["SentTimestamp"] <= system["ApproximateFirstReceiveTimestamp"]
    assert system["SenderId"] == "000000000000"
    (message,) = sqs.receive_message(QueueUrl=url, AttributeNames=["SenderId"], MessageAttributeNames=["All"])["Messages"]
    assert set(message["Attributes"]) == {"SenderId"}
    assert set(message["MessageAttributes"]) == {"Hello", "Bytes"}
    assert message["MessageAttributes"]["Bytes"]["BinaryValue"] == b"\x00\xff"


def test_visibility_timeouts_end_exactly_and_can_be_changed(node, client, queue):
    sqs, url = client("sqs"), queue(VisibilityTimeout=30)
    sqs.send_message(QueueUrl=url, MessageBody="m")
    for timeout in (0, 43_200):
        (message,) = sqs.receive_message(QueueUrl=url, VisibilityTimeout=timeout)["Messages"]
    assert refused(sqs.receive_message, QueueUrl=url, VisibilityTimeout=43_201)[0] == "InvalidParameterValue"
    handle = message["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=100)
    node.advance(90)
    assert bodies(sqs, url) == []
    node.advance(10)
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    handle = message["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    assert bodies(sqs, url) == ["m"]
    too_long = refused(sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=43_201)
    assert too_long[0] == "InvalidParameterValue"
    code, text = refused(sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=1)
    assert code == "InvalidParameterValue" and text.endswith("not available for visibility timeout change.")


def test_delays_hide_messages_and_a_new_delay_is_not_retroactive(node, client, queue):
    sqs, url = client("sqs"), queue(DelaySeconds=10)
    sqs.send_message(QueueUrl=url, MessageBody="queue's")
    sqs.send_message(QueueUrl=url, MessageBody="own", DelaySeconds=20)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "0"})
    assert counts(sqs, url) == (0, 0, 2)
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="m", DelaySeconds=901)[0] == "InvalidParameterValue"
    node.advance(10)
    assert bodies(sqs, url) == ["queue's"]
    node.advance(10)
    assert bodies(sqs, url) == ["own"]


def test_messages_past_their_retention_vanish(node, client, queue):
    sqs, url = client("sqs"), queue(MessageRetentionPeriod=60)
    sqs.send_message(QueueUrl=url, MessageBody="old")
    node.advance(61)
    assert counts(sqs, url) == (0, 0, 0)
    assert bodies(sqs, url) == []


def test_contents_and_sizes_are_checked(client, queue):
    sqs, url = client("sqs"), queue(MaximumMessageSize=1_024)
    sqs.send_message(QueueUrl=url, MessageBody="x" * 1_024)
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="x" * 1_025) == (
        "InvalidParameterValue",
        "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.",
    )
    attribute = {"a": {"DataType": "String", "StringValue": "b"}}
    sized = refused(sqs.send_message, QueueUrl=url, MessageBody="x" * 1_020, MessageAttributes=attribute)
    assert sized[0] == "InvalidParameterValue"
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="a\x01b")[0] == "InvalidMessageContents"
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="")[0] == "MissingParameter"
    large = queue()
    sqs.send_message(QueueUrl=large, MessageBody="y" * 1_048_576)
    (message,) = sqs.receive_message(QueueUrl=large)["Messages"]
    assert len(message["Body"]) == 1_048_576
    sqs.delete_message(QueueUrl=large, ReceiptHandle=message["ReceiptHandle"])


def test_batches_say_what_became_of_each_entry(client, queue):
    sqs, url = client("sqs"), queue()
    entries = [{"Id": str(n), "MessageBody": f"m{n}"} for n in range(9)] + [{"Id": "bad", "MessageBody": "\x01"}]
    sent = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in sent["Successful"]] == [str(n) for n in range(9)]
    (failed,) = sent["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", "InvalidMessageContents", True)
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert sorted(message["Body"] for message in received) == [f"m{n}" for n in range(9)]
    handles = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(received)]
    changed = sqs.change_message_visibility_batch(
        QueueUrl=url, Entries=[{**entry, "VisibilityTimeout": 60} for entry in handles]
    )
    assert len(changed["Successful"]) == 9
    deleted = sqs.delete_message_batch(QueueUrl=url, Entries=[*handles, {"Id": "x", "ReceiptHandle": "nonsense"}])
    assert len(deleted["Successful"]) == 9 and deleted["Failed"][0]["Code"] == "ReceiptHandleIsInvalid"
    assert counts(sqs, url) == (0, 0, 0)


def test_malformed_batches_are_refused(client, queue):
    sqs, url = client("sqs"), queue()
    entry = {"Id": "a", "MessageBody": "m"}
    cases = [
        ([], "AWS.SimpleQueueService.EmptyBatchRequest"),
        ([{**entry, "Id": str(n)} for n in range(11)], "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
        ([entry, entry], "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
        ([{**entry, "Id": "a:b"}], "AWS.SimpleQueueService.InvalidBatchEntryId"),
        (
            [{"Id": "a", "MessageBody": "x" * 1_048_576}, {"Id": "b", "MessageBody": "x"}],
            "AWS.SimpleQueueService.BatchRequestTooLong",
        ),
    ]
    for entries, code in cases:
        assert refused(sqs.send_message_batch, QueueUrl=url, Entries=entries)[0] == code


def test_a_long_poll_wakes_with_a_send(client, queue):
    sqs, url = client("sqs"), queue()
    woken = []

    def poll():
        woken.append((bodies(client("sqs"), url, WaitTimeSeconds=20), time.monotonic()))

    poller = threading.Thread(target=poll)
    poller.start()
    time.sleep(0.3)  # Nothing can be awaited from outside: the poll has arrived when it is waiting.
    sent = time.monotonic()
    sqs.send_message(QueueUrl=url, MessageBody="m")
    poller.join(30)
    assert woken[0][0] == ["m"] and woken[0][1] - sent < 1


def test_a_long_poll_wakes_when_a_delay_or_a_timeout_ends(client, queue):
    sqs, url = client("sqs"), queue(VisibilityTimeout=1)
    sqs.send_message(QueueUrl=url, MessageBody="m", DelaySeconds=1)
    for _ in range(2):
        begin = time.monotonic()
        assert bodies(sqs, url, WaitTimeSeconds=10) == ["m"]
        assert time.monotonic() - begin < 2


def test_an_empty_poll_ends_when_its_time_is_over(client, queue):
    sqs, url = client("sqs"), queue()
    begin = time.monotonic()
    assert bodies(sqs, url) == []
    assert time.monotonic() - begin < 0.5
    assert bodies(sqs, url, WaitTimeSeconds=1) == []
    assert time.monotonic() - begin > 1
    assert refused(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=21)[0] == "InvalidParameterValue"
    assert refused(sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=11)[1] == (
        "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
    )


def test_ten_consumers_see_each_group_in_order(client, queue):
    sqs, url = client("sqs"), queue(fifo=True, ContentBasedDeduplication="true")
    for n in range(60):
        sqs.send_message(QueueUrl=url, MessageBody=f"{n % 3}:{n}", MessageGroupId=str(n % 3))
    seen, lock = {str(group): [] for group in range(3)}, threading.Lock()

    def consume():
        mine = client("sqs")
        while True:
            messages = mine.receive_message(QueueUrl=url, MaxNumberOfMessages=2, WaitTimeSeconds=1).get("Messages", [])
            if not messages:
                return
            for message in messages:
                group, number = message["Body"].split(":")
                with lock:
                    seen[group].append(int(number))
                mine.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    consumers = [threading.Thread(target=consume) for _ in range(10)]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join(60)
    for group in range(3):
        assert seen[str(group)] == list(range(group, 60, 3))


def test_fifo_messages_are_deduplicated_for_five_minutes(node, client, queue):
    sqs, url = client("sqs"), queue(fifo=True, ContentBasedDeduplication="true")
    first = sqs.send_message(QueueUrl=url, MessageBody="m", MessageGroupId="a")
    again = sqs.send_message(QueueUrl=url, MessageBody="m", MessageGroupId="b")
    assert (first["MessageId"], first["SequenceNumber"]) == (again["MessageId"], again["SequenceNumber"])
    assert len(first["SequenceNumber"]) == 20
    node.advance(300)
    later = sqs.send_message(QueueUrl=url, MessageBody="m", MessageGroupId="a")
    assert later["MessageId"] != first["MessageId"] and later["SequenceNumber"] > first["SequenceNumber"]
    grouped = queue(
        fifo=True,
        ContentBasedDeduplication="true",
        DeduplicationScope="messageGroup",
        FifoThroughputLimit="perMessageGroupId",
    )
    ids = {sqs.send_message(QueueUrl=grouped, MessageBody="m", MessageGroupId=g)["MessageId"] for g in "aab"}
    assert len(ids) == 2


def test_what_a_fifo_queue_needs(client, queue):
    sqs, url = client("sqs"), queue(fifo=True)
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="m", MessageDeduplicationId="d") == (
        "MissingParameter",
        "The request must contain the parameter MessageGroupId.",
    )
    without = refused(sqs.send_message, QueueUrl=url, MessageBody="m", MessageGroupId="g")
    assert without[0] == "InvalidParameterValue" and "ContentBasedDeduplication" in without[1]
    delayed = refused(
        sqs.send_message, QueueUrl=url, MessageBody="m", MessageGroupId="g", MessageDeduplicationId="d", DelaySeconds=2
    )
    assert delayed == (
        "InvalidParameterValue",
        "Value 2 for parameter DelaySeconds is invalid. Reason: "
        "The request include parameter that is not valid for this queue type.",
    )
    batch = refused(sqs.send_message_batch, QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "m"}])
    assert batch == ("InvalidParameterValue", "The request must contain the parameter MessageGroupId.")
    assert refused(sqs.send_message, QueueUrl=queue(), MessageBody="m", MessageDeduplicationId="d")[0] == (
        "InvalidParameterValue"
    )


def test_a_receive_attempt_can_be_repeated(client, queue):
    sqs, url = client("sqs"), queue(fifo=True, ContentBasedDeduplication="true")
    sqs.send_message(QueueUrl=url, MessageBody="m", MessageGroupId="g")
    attempt = {"QueueUrl": url, "ReceiveRequestAttemptId": "try-1"}
    (first,) = sqs.receive_message(**attempt)["Messages"]
    (again,) = sqs.receive_message(**attempt)["Messages"]
    assert first["ReceiptHandle"] == again["ReceiptHandle"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url, ReceiveRequestAttemptId="try-2")


def test_failing_messages_are_buried_and_moved_back(node, client, queue):
    sqs, dead = client("sqs"), queue()
    policy = json.dumps({"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": 3})
    url = queue(VisibilityTimeout=0, RedrivePolicy=policy)
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]
    attribute = {"a": {"DataType": "String", "StringValue": "kept"}}
    sent = sqs.send_message(QueueUrl=url, MessageBody="m", MessageAttributes=attribute)
    for _ in range(3):
        assert bodies(sqs, url) == ["m"]
    assert bodies(sqs, url) == []
    (buried,) = sqs.receive_message(
        QueueUrl=dead, AttributeNames=["All"], MessageAttributeNames=["All"], VisibilityTimeout=0
    )["Messages"]
    assert buried["MessageId"] == sent["MessageId"]
    assert buried["MessageAttributes"] == attribute
    assert buried["Attributes"]["DeadLetterQueueSourceArn"] == arn(sqs, url)
    started = sqs.start_message_move_task(SourceArn=arn(sqs, dead))
    assert started["TaskHandle"]
    for _ in range(100):
        (task,) = sqs.list_message_move_tasks(SourceArn=arn(sqs, dead))["Results"]
        if task["Status"] == "COMPLETED":
            break
        time.sleep(0.05)  # The task runs beside us, and nothing announces its end.
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
    assert counts(sqs, dead) == (0, 0, 0)
    (back,) = sqs.receive_message(QueueUrl=url, AttributeNames=["All"])["Messages"]
    assert back["Body"] == "m" and back["MessageId"] != sent["MessageId"]
    assert back["Attributes"]["ApproximateReceiveCount"] == "1"


def test_move_tasks_are_checked_and_cancelled(client, queue):
    sqs, dead, other = client("sqs"), queue(), queue()
    policy = json.dumps({"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": 3})
    queue(RedrivePolicy=policy)
    for n in range(5):
        sqs.send_message(QueueUrl=dead, MessageBody=str(n))
    assert refused(sqs.start_message_move_task, SourceArn=arn(sqs, other)) == (
        "InvalidParameterValue",
        "Source queue must be configured as a Dead Letter Queue.",
    )
    gone = arn(sqs, dead) + "-none"
    assert refused(sqs.start_message_move_task, SourceArn=arn(sqs, dead), DestinationArn=gone) == (
        "ResourceNotFoundException",
        "The resource that you specified for the DestinationArn parameter doesn't exist.",
    )
    task = sqs.start_message_move_task(
        SourceArn=arn(sqs, dead), DestinationArn=arn(sqs, other), MaxNumberOfMessagesPerSecond=1
    )
    second = refused(sqs.start_message_move_task, SourceArn=arn(sqs, dead), DestinationArn=arn(sqs, other))
    assert second[0] == "InvalidParameterValue" and "already a task running" in second[1]
    sqs.cancel_message_move_task(TaskHandle=task["TaskHandle"])
    (listed,) = sqs.list_message_move_tasks(SourceArn=arn(sqs, dead))["Results"]
    assert (listed["Status"], listed["MaxNumberOfMessagesPerSecond"]) == ("CANCELLED", 1)
    assert refused(sqs.cancel_message_move_task, TaskHandle="nonsense") == (
        "InvalidParameterValue",
        "Value for parameter TaskHandle is invalid.",
    )


def test_redrive_policies_are_checked(client, queue):
    sqs, url, fifo = client("sqs"), queue(), queue(fifo=True)
    missing = json.dumps({"deadLetterTargetArn": arn(sqs, url) + "-none", "maxReceiveCount": 1})
    other_kind = json.dumps({"deadLetterTargetArn": arn(sqs, fifo), "maxReceiveCount": 1})
    for policy in (missing, other_kind, "[]", json.dumps({"maxReceiveCount": 1})):
        code, text = refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={"RedrivePolicy": policy})
        assert code == "InvalidParameterValue" and "for parameter RedrivePolicy is invalid" in text
    dead = queue(RedriveAllowPolicy=json.dumps({"redrivePermission": "denyAll"}))
    policy = json.dumps({"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": 1})
    denied = refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={"RedrivePolicy": policy})
    assert denied[0] == "InvalidParameterValue"


def test_messages_survive_kill_9(durable_node, name):
    sqs = durable_node.client("sqs")
    url = sqs.create_queue(QueueName=name())["QueueUrl"]
    for n in range(20):
        sqs.send_message(QueueUrl=url, MessageBody=str(n))
    (taken,) = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=taken["ReceiptHandle"])
    durable_node.kill()
    durable_node.start()
    sqs = durable_node.client("sqs")
    got = []
    while batch := bodies(sqs, url):
        got += batch
    assert sorted(map(int, got)) == sorted(set(range(20)) - {int(taken["Body"])})


def test_the_query_protocol_answers_the_same(node, client, queue):
    import requests
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = queue()

    def call(path="/", **parameters):
        body = {"Version": "2012-11-05", **parameters}
        if path == "/":
            body["QueueUrl"] = url
        request = AWSRequest("POST", node.endpoint + path, data=body)
        request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        SigV4Auth(Credentials("test", "test"), "sqs", "us-east-1").add_auth(request)
        prepared = request.prepare()
        return requests.post(prepared.url, data=prepared.body, headers=dict(prepared.headers), timeout=30)

    sent = call(
        Action="SendMessage",
        MessageBody="hello",
        **{
            "MessageAttribute.1.Name": "Hello",
            "MessageAttribute.1.Value.DataType": "String",
            "MessageAttribute.1.Value.StringValue": "There",
        },
    )
    assert sent.status_code == 200, sent.text
    assert "<MD5OfMessageAttributes>a311262e065454b75da111d535b8dacd<" in sent.text
    got = call(Action="ReceiveMessage", **{"AttributeName.1": "All", "MessageAttributeName.1": "All"})
    assert "<Body>hello</Body>" in got.text and "<Name>SenderId</Name>" in got.text
    path = url.removeprefix(node.endpoint)
    assert "<SendMessageResult>" in call(path, Action="SendMessage", MessageBody="by its path").text
    refused_call = call(Action="ReceiveMessage", MaxNumberOfMessages="11")
    assert refused_call.status_code == 400 and "<Code>InvalidParameterValue</Code>" in refused_call.text
