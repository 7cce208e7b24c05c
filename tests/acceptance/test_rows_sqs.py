"""Rows about SQS. SQS-18, a function that consumes a queue, waits for Lambda.

Waits are made by moving the node's clock: on a frozen clock, what happens at a second happens at exactly that second.
"""

import random
import subprocess
import sys
import threading
import time

import pytest
from botocore.exceptions import ClientError
from conftest import Node, bodies, cli, delete, error_code, queue, receive, refused, send

DAY = 86_400


@pytest.fixture
def frozen(node):
    """The module's node, whose clock moves only when it is advanced."""
    node.freeze()
    yield node
    node.resume()


@pytest.fixture(scope="module")
def limited():
    """A node that enforces AWS's quotas, on a frozen clock: everything happens within one second."""
    running = Node("--limits", "aws")
    running.freeze()
    yield running
    running.stop()


def everything(sqs, url):
    """Receives until nothing is found; deletes what it receives."""
    found = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def batch(first, **more):
    return [{"Id": str(n), "MessageBody": str(first + n), **more} for n in range(10)]


def create_refused(node, name, attribute, value):
    made = ["sqs", "create-queue", "--queue-name", name("q"), "--attributes", f"{attribute}={value}"]
    return refused(node, *made)[0]


def test_sqs_01_a_standard_queue_takes_what_comes_durably_and_uncapped(durable_node, name):
    url, answers, begin = queue(durable_node, name("jobs")), [], time.monotonic()

    def produce(producer):
        sqs = durable_node.client("sqs")
        for n in range(50):
            answers.append(sqs.send_message_batch(QueueUrl=url, Entries=batch((producer * 50 + n) * 10)))

    producers = [threading.Thread(target=produce, args=(producer,)) for producer in range(8)]
    for producer in producers:
        producer.start()
    for producer in producers:
        producer.join(120)
    print(f"{4_000 / (time.monotonic() - begin):.0f} durable messages a second, from one client process")
    assert len(answers) == 400 and all("Failed" not in answer for answer in answers)
    durable_node.kill()
    durable_node.start()
    assert sorted(map(int, everything(durable_node.client("sqs"), url))) == list(range(4_000))


CONSUMER = """
import sys, boto3
sqs = boto3.client("sqs", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
while messages := sqs.receive_message(QueueUrl=sys.argv[2], MaxNumberOfMessages=5).get("Messages"):
    for message in messages:
        print(message["Body"], flush=True)
        sqs.delete_message(QueueUrl=sys.argv[2], ReceiptHandle=message["ReceiptHandle"])
"""


def test_sqs_02_every_message_is_processed_although_consumers_are_killed(node, name):
    url, chance, processed = queue(node, name("jobs"), VisibilityTimeout=30), random.Random(2), []
    sqs, sent = node.client("sqs"), set(map(str, range(60)))
    for first in range(0, 60, 10):
        sqs.send_message_batch(QueueUrl=url, Entries=batch(first))
    for _ in range(4):
        consumer = subprocess.Popen([sys.executable, "-c", CONSUMER, node.endpoint, url], stdout=subprocess.PIPE, text=True)
        for line in consumer.stdout:
            processed.append(line.strip())
            if chance.random() < 0.2:
                break
        consumer.kill()
        processed += consumer.communicate()[0].split()
        node.advance(30)
    processed += everything(sqs, url)
    assert set(processed) == sent
    node.advance(30)
    assert everything(sqs, url) == []


def test_sqs_03_a_standard_queue_keeps_order_mostly(node, name):
    url, sqs = queue(node, name("jobs")), node.client("sqs")
    for n in range(60):
        sqs.send_message(QueueUrl=url, MessageBody=str(n))
    got = list(map(int, everything(sqs, url)))
    assert sorted(got) == list(range(60))
    in_order = sum(one < two for one, two in zip(got, got[1:]))
    assert in_order >= 0.8 * 59, got


def test_sqs_04_a_fifo_group_is_in_order_under_ten_consumers(node, name):
    url, sqs = queue(node, name("jobs") + ".fifo", ContentBasedDeduplication="true"), node.client("sqs")
    for n in range(100):
        sqs.send_message(QueueUrl=url, MessageBody=str(n), MessageGroupId=f"g{n % 5}")
    order, lock = {f"g{group}": [] for group in range(5)}, threading.Lock()

    def consume():
        mine, wanted = node.client("sqs"), ["MessageGroupId"]
        while True:
            messages = mine.receive_message(
                QueueUrl=url, MaxNumberOfMessages=3, WaitTimeSeconds=1, MessageSystemAttributeNames=wanted
            ).get("Messages", [])
            if not messages:
                return
            for message in messages:
                with lock:
                    order[message["Attributes"]["MessageGroupId"]].append(int(message["Body"]))
                mine.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    consumers = [threading.Thread(target=consume) for _ in range(10)]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join(120)
    assert order == {f"g{group}": list(range(group, 100, 5)) for group in range(5)}


def test_sqs_05_an_undeleted_fifo_message_blocks_its_group_and_returns(frozen, name):
    url = queue(frozen, name("jobs") + ".fifo", ContentBasedDeduplication="true", VisibilityTimeout=30)
    for body, group in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        send(frozen, url, body, "--message-group-id", group)
    one = ["sqs", "receive-message", "--queue-url", url]
    first = cli(frozen, *one)["Messages"][0]
    assert first["Body"] == "a1"
    assert bodies(frozen, url) == ["b1"]
    frozen.advance(29)
    assert bodies(frozen, url) == []
    frozen.advance(1)
    again = [message for message in receive(frozen, url) if message["Body"].startswith("a")]
    assert again[0]["Body"] == "a1"
    for message in again:
        delete(frozen, url, message)
    frozen.advance(30)
    left = bodies(frozen, url)
    assert "a1" not in left and "b1" in left


def test_sqs_06_call_301_in_a_second_is_throttled_only_in_the_limits_profile(limited, frozen, name):
    fifo = name("jobs") + ".fifo"

    def calls(node, count):
        url, sqs = queue(node, fifo), node.client("sqs")
        for n in range(count):
            sqs.send_message(QueueUrl=url, MessageBody="m", MessageGroupId="g", MessageDeduplicationId=str(n))
        return url, sqs

    url, sqs = calls(limited, 300)
    more = {"QueueUrl": url, "MessageBody": "m", "MessageGroupId": "g", "MessageDeduplicationId": "300"}
    assert error_code(sqs.send_message, **more) in ("RequestThrottled", "ThrottlingException")
    limited.advance(1)
    assert sqs.send_message(**more)["MessageId"]
    calls(frozen, 301)


def test_sqs_07_batches_reach_3000_messages_a_second_and_high_throughput_exceeds_them(limited, name):
    limited.advance(1)
    sqs = limited.client("sqs")

    def batches(url, count):
        for n in range(count):
            entries = [
                {**entry, "MessageGroupId": f"g{n % 7}", "MessageDeduplicationId": f"{n}-{entry['Id']}"}
                for entry in batch(n * 10)
            ]
            assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 10

    url = queue(limited, name("plain") + ".fifo")
    batches(url, 300)
    with pytest.raises(ClientError) as caught:
        batches(url, 1)
    assert "Throttl" in caught.value.response["Error"]["Code"]
    scope = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    batches(queue(limited, name("fast") + ".fifo", **scope), 320)


def test_sqs_08_visibility_timeouts(frozen, name):
    assert create_refused(frozen, name, "VisibilityTimeout", 43_201) == "InvalidAttributeValue"
    queue(frozen, name("longest"), VisibilityTimeout=43_200)
    none = queue(frozen, name("none"), VisibilityTimeout=0)
    send(frozen, none, "m")
    assert bodies(frozen, none) == bodies(frozen, none) == ["m"]

    url = queue(frozen, name("jobs"), VisibilityTimeout=30)
    send(frozen, url, "m")
    assert bodies(frozen, url) == ["m"]
    frozen.advance(29.999)
    assert bodies(frozen, url) == []
    frozen.advance(0.001)
    [message] = receive(frozen, url)
    extend = ["sqs", "change-message-visibility", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"]]
    frozen.advance(20)
    cli(frozen, *extend, "--visibility-timeout", "100")
    frozen.advance(99)
    assert bodies(frozen, url) == []
    frozen.advance(1)
    assert bodies(frozen, url) == ["m"]
    assert refused(frozen, *extend, "--visibility-timeout", "43201")[0] == "InvalidParameterValue"


def test_sqs_09_messages_vanish_at_the_end_of_their_retention(frozen, name):
    for wrong in (59, 14 * DAY + 1):
        assert create_refused(frozen, name, "MessageRetentionPeriod", wrong) == "InvalidAttributeValue"
    shortest = queue(frozen, name("minute"), MessageRetentionPeriod=60)
    longest = queue(frozen, name("fortnight"), MessageRetentionPeriod=14 * DAY)
    for url in (shortest, longest):
        send(frozen, url, "m")
    frozen.advance(59)
    assert bodies(frozen, shortest, "--visibility-timeout", "0") == ["m"]
    frozen.advance(1)
    assert bodies(frozen, shortest) == []
    frozen.advance(14 * DAY - 61)
    assert bodies(frozen, longest, "--visibility-timeout", "0") == ["m"]
    frozen.advance(1)
    assert bodies(frozen, longest) == []


def test_sqs_10_the_maximum_message_size_is_kept(node, name):
    url = queue(node, name("small"), MaximumMessageSize=1_024)
    send(node, url, "x" * 1_024)
    command = ["sqs", "send-message", "--queue-url", url, "--message-body", "x" * 1_025]
    code, message = refused(node, *command)
    assert code == "InvalidParameterValue" and "1024" in message
    assert bodies(node, url) == ["x" * 1_024]


def test_sqs_11_delivery_is_delayed_up_to_fifteen_minutes(frozen, name):
    assert create_refused(frozen, name, "DelaySeconds", 901) == "InvalidAttributeValue"
    url = queue(frozen, name("later"), DelaySeconds=900)
    send(frozen, url, "the queue's")
    send(frozen, url, "its own", "--delay-seconds", "5")
    command = ["sqs", "send-message", "--queue-url", url, "--message-body", "m", "--delay-seconds", "901"]
    assert refused(frozen, *command)[0] == "InvalidParameterValue"
    assert bodies(frozen, url) == []
    frozen.advance(5)
    assert bodies(frozen, url, "--visibility-timeout", "43200") == ["its own"]
    frozen.advance(894)
    assert bodies(frozen, url) == []
    frozen.advance(1)
    assert bodies(frozen, url) == ["the queue's"]


def test_sqs_12_a_new_delay_is_retroactive_on_fifo_queues_only(frozen, name):
    urls = {}
    for kind, suffix in (("standard", ""), ("fifo", ".fifo")):
        url = urls[kind] = queue(frozen, name(kind) + suffix, DelaySeconds=10)
        group = ["--message-group-id", "g", "--message-deduplication-id", "d"] if suffix else []
        send(frozen, url, "m", *group)
        change = ["sqs", "set-queue-attributes", "--queue-url", url, "--attributes", "DelaySeconds=60"]
        cli(frozen, *change)
    frozen.advance(10)
    assert bodies(frozen, urls["standard"]) == ["m"]
    assert bodies(frozen, urls["fifo"]) == []
    frozen.advance(49)
    assert bodies(frozen, urls["fifo"]) == []
    frozen.advance(1)
    assert bodies(frozen, urls["fifo"]) == ["m"]


def test_sqs_13_a_short_poll_of_an_empty_queue_answers_at_once(frozen, name):
    url = queue(frozen, name("jobs"), ReceiveMessageWaitTimeSeconds=0)
    # On a frozen clock a poll that waits would never end.
    assert bodies(frozen, url) == []
    begin = time.monotonic()
    assert frozen.client("sqs").receive_message(QueueUrl=url).get("Messages") is None
    assert time.monotonic() - begin < 0.5


def test_sqs_14_a_long_poll_wakes_with_a_send_or_ends_after_twenty_seconds(frozen, name):
    url, sqs, woken = queue(frozen, name("jobs"), VisibilityTimeout=43_200), frozen.client("sqs"), []
    wait = ["sqs", "receive-message", "--queue-url", url, "--wait-time-seconds"]
    assert refused(frozen, *wait, "21")[0] == "InvalidParameterValue"

    def poll():
        polling, left = frozen.client("sqs"), threading.Event()
        polling.meta.events.register("before-send.sqs.ReceiveMessage", lambda **_: left.set())
        thread = threading.Thread(target=lambda: woken.append((receive_one(polling), time.monotonic())))
        thread.start()
        assert left.wait(30)
        return thread

    def receive_one(polling):
        return [m["Body"] for m in polling.receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages", [])]

    latencies = []
    for n in range(5):
        thread = poll()
        sqs.get_queue_attributes(QueueUrl=url)
        sqs.send_message(QueueUrl=url, MessageBody=str(n))
        sent = time.monotonic()
        thread.join(30)
        got, at = woken.pop()
        assert got == [str(n)]
        latencies.append(at - sent)
    assert sorted(latencies)[2] < 0.1, latencies

    for polls in (poll, lambda: started(frozen, wait, woken)):
        thread, moved = polls(), 0
        while thread.is_alive():
            frozen.advance(1)
            moved += 1
            thread.join(0.05)
        assert moved >= 20 and not woken.pop()[0]


def started(node, wait, woken):
    """The same poll by the CLI, in the background."""
    thread = threading.Thread(target=lambda: woken.append((cli(node, *wait, "20"), time.monotonic())))
    thread.start()
    return thread


def test_sqs_15_content_is_deduplicated_for_five_minutes_on_fifo_queues(frozen, name):
    url = queue(frozen, name("once") + ".fifo", ContentBasedDeduplication="true")
    group = ["--message-group-id", "g"]
    first = send(frozen, url, "same", *group)
    assert send(frozen, url, "same", *group)["MessageId"] == first["MessageId"]
    [message] = receive(frozen, url)
    delete(frozen, url, message)
    frozen.advance(299)
    send(frozen, url, "same", *group)
    assert bodies(frozen, url) == []
    frozen.advance(1)
    send(frozen, url, "same", *group)
    assert bodies(frozen, url) == ["same"]
    made = ["sqs", "create-queue", "--queue-name", name("q"), "--attributes", "ContentBasedDeduplication=true"]
    assert refused(frozen, *made)[0] == "InvalidAttributeName"


@pytest.fixture
def dead_letters(frozen, name):
    """`dead_letters(3)`: a queue whose messages are buried after so many receives, and the grave."""

    def make(receives):
        grave = queue(frozen, name("grave"))
        attributes = ["sqs", "get-queue-attributes", "--queue-url", grave, "--attribute-names", "QueueArn"]
        arn = cli(frozen, *attributes)["Attributes"]["QueueArn"]
        redrive = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"{receives}"}}'
        return queue(frozen, name("jobs"), RedrivePolicy=redrive, VisibilityTimeout=5), grave, arn

    return make


def test_sqs_16_a_failing_message_is_buried_with_its_attributes_and_moved_back(frozen, dead_letters):
    url, grave, arn = dead_letters(1)
    kind = '{"kind":{"DataType":"String","StringValue":"order"}}'
    sent = send(frozen, url, "poison", "--message-attributes", kind)
    assert bodies(frozen, url) == ["poison"]
    frozen.advance(5)
    assert bodies(frozen, url) == []
    everything_of_it = ["--message-attribute-names", "All", "--message-system-attribute-names", "All"]
    [buried] = receive(frozen, grave, *everything_of_it, "--visibility-timeout", "0")
    assert buried["Body"] == "poison" and buried["MessageId"] == sent["MessageId"]
    assert buried["MessageAttributes"]["kind"]["StringValue"] == "order"
    assert buried["Attributes"]["DeadLetterQueueSourceArn"].endswith(url.rsplit("/", 1)[1])
    cli(frozen, "sqs", "start-message-move-task", "--source-arn", arn)
    listing = ["sqs", "list-message-move-tasks", "--source-arn", arn]
    deadline = time.monotonic() + 30
    while cli(frozen, *listing)["Results"][0]["Status"] != "COMPLETED":
        assert time.monotonic() < deadline
        frozen.advance(1)
    [moved] = receive(frozen, url, "--message-attribute-names", "All")
    assert moved["Body"] == "poison" and moved["MessageAttributes"]["kind"]["StringValue"] == "order"
    assert bodies(frozen, grave) == []


def test_sqs_17_the_fourth_receive_finds_it_in_the_dead_letter_queue(frozen, dead_letters):
    url, grave, _ = dead_letters(3)
    send(frozen, url, "poison")
    for _ in range(3):
        assert bodies(frozen, grave) == []
        assert bodies(frozen, url) == ["poison"]
        frozen.advance(5)
    assert bodies(frozen, url) == []
    assert bodies(frozen, grave) == ["poison"]


def test_sqs_19_a_producer_works_while_the_consumer_is_down(durable_node, name):
    url = queue(durable_node, name("jobs"))
    sent = [str(n) for n in range(5)]
    for body in sent:
        send(durable_node, url, body)
    durable_node.stop()
    durable_node.start()
    durable_node.advance(3 * DAY)
    got = []
    while messages := receive(durable_node, url):
        for message in messages:
            got.append(message["Body"])
            delete(durable_node, url, message)
    assert sorted(got) == sent
