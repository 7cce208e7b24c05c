"""Mixed load on several nodes, and the book of what was acknowledged.

Workers choose among the nodes that a health check found well, as a balancer does. An error that the SDKs retry is retried at
another node; every other error is a finding. The book knows what must hold whatever happens to the nodes:

- a message whose send was acknowledged is received, from a standard queue at least once;
- a FIFO group's messages are received in order, one only after all before it were (perhaps) deleted, none again after its
  deletion was acknowledged, and none while it is in flight elsewhere;
- what IAM has acknowledged is seen at once by every node.
"""

import collections
import random
import threading
import time

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

REGION = "us-east-1"
VISIBILITY = 6
# The SDKs' own lists, in short: transient and throttling errors.
RETRIED = {"Throttling", "ThrottlingException", "RequestThrottled", "RequestTimeout", "ServiceUnavailable", "InternalFailure", "InternalError"}


# Connections refused, reset, closed or timed out.
BROKEN = (ConnectionError, HTTPClientError)


def is_retried(error) -> bool:
    if isinstance(error, BROKEN):
        return True
    return isinstance(error, ClientError) and (
        error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500 or error.response["Error"]["Code"] in RETRIED
    )


class Load:
    def __init__(self, nodes):
        self.nodes = nodes
        self.well = set(nodes)
        self.stopping = threading.Event()
        self.sending = threading.Event()
        self.sending.set()
        self.lock = threading.Lock()
        self.findings = []
        self.retries = collections.Counter()
        self.errors = []
        self.begun = time.monotonic()
        self.acknowledged = collections.Counter()
        self.last_write = {}
        self.gaps = {}
        self.sent, self.received = set(), set()
        self.groups = {}
        self.users = set()
        self.threads = []

    # Workers.

    def start(self):
        sqs = self.client(self.nodes[0], "sqs")
        self.plain = sqs.create_queue(QueueName="plain")["QueueUrl"].rsplit("/", 1)[1]
        attributes = {"FifoQueue": "true", "VisibilityTimeout": str(VISIBILITY)}
        self.line = sqs.create_queue(QueueName="line.fifo", Attributes=attributes)["QueueUrl"].rsplit("/", 1)[1]
        sqs.set_queue_attributes(QueueUrl=self.url(self.nodes[0], self.plain), Attributes={"VisibilityTimeout": str(VISIBILITY)})
        work = [
            *[(self.send_plain, worker) for worker in range(2)],
            *[(self.send_line, group) for group in ("g0", "g1", "g2")],
            *[(self.receive_plain, worker) for worker in range(2)],
            *[(self.receive_line, worker) for worker in range(2)],
            (self.write_identities, 0),
        ]
        self.threads.append(threading.Thread(target=self.check_health, daemon=True))
        self.threads += [threading.Thread(target=self.worker, args=item, daemon=True) for item in work]
        for thread in self.threads:
            thread.start()

    def worker(self, run, argument):
        try:
            run(argument)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            self.find(f"{run.__name__}({argument}) ended: {error!r}")

    def finish(self):
        """Ends sending, waits until everything was received, and returns what is wrong."""
        self.sending.clear()
        deadline = time.monotonic() + 4 * VISIBILITY + 20
        while time.monotonic() < deadline and not (self.sent <= self.received and all(g.is_done() for g in self.groups.values())):
            time.sleep(0.2)
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=20)
            if thread.is_alive():
                self.find(f"{thread} does not end")
        lost = self.sent - self.received
        if lost:
            self.find(f"{len(lost)} acknowledged messages are lost: {sorted(lost)[:5]}")
        for name, group in self.groups.items():
            if not group.is_done():
                self.find(f"group {name}: {group.deleted} of {group.sent} messages came")
        users = {user["UserName"] for page in self.client(self.nodes[0], "iam").get_paginator("list_users").paginate() for user in page["Users"]}
        if self.users - users:
            self.find(f"acknowledged users are lost: {sorted(self.users - users)[:5]}")
        return self.findings

    def check_health(self):
        while not self.stopping.is_set():
            for node in self.nodes:
                try:
                    is_well = requests.get(f"{node.endpoint}/_pileus/health", timeout=1).status_code == 200
                except requests.RequestException:
                    is_well = False
                (self.well.add if is_well else self.well.discard)(node)
            time.sleep(0.3)

    # Calls.

    def client(self, node, service):
        config = Config(retries={"max_attempts": 0}, connect_timeout=1, read_timeout=3)
        return boto3.client(
            service, endpoint_url=node.endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test", config=config
        )

    def url(self, node, queue):
        return f"{node.endpoint}/000000000000/{queue}"

    def call(self, clients, service, operation, queue=None, until=None, besides=None, **arguments):
        """Repeats the call until it is acknowledged; None when `until` is over before. `besides`: not at this node."""
        while until is None or until():
            others = [node for node in (list(self.well) or self.nodes) if node is not besides]
            node = random.choice(others or self.nodes)
            client = clients.get((node, service)) or clients.setdefault((node, service), self.client(node, service))
            if queue:
                arguments["QueueUrl"] = self.url(node, queue)
            begin = time.monotonic()
            try:
                answer = getattr(client, operation)(**arguments)
                answer["node"] = node
                with self.lock:
                    self.acknowledged[operation] += 1
                return answer
            except (ClientError, *BROKEN) as error:
                if not is_retried(error):
                    raise
                with self.lock:
                    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
                    self.retries[f"{operation}: {code}"] += 1
                    now = time.monotonic()
                    self.errors.append(f"{now - self.begun:7.2f} s: {operation} at {node.name}: {code} after {now - begin:.2f} s")
                time.sleep(random.uniform(0.05, 0.2))
        return None

    def find(self, what):
        with self.lock:
            if len(self.findings) < 20:
                self.findings.append(what)

    # Gaps between acknowledged writes, worst first, by worker.

    def wrote(self, worker):
        now = time.monotonic()
        with self.lock:
            gap = now - self.last_write.get(worker, now)
            self.last_write[worker] = now
            self.gaps[worker] = max(gap, self.gaps.get(worker, 0.0))

    def take_worst_gap(self):
        """The longest time that any writer waited for an acknowledgement since the last call."""
        now = time.monotonic()
        with self.lock:
            gaps = [max(gap, now - self.last_write[worker]) for worker, gap in self.gaps.items()]
            self.gaps = dict.fromkeys(self.gaps, 0.0)
        return max(gaps, default=0.0)

    # The standard queue.

    def send_plain(self, worker):
        clients, number = {}, 0
        while self.sending.is_set():
            body = f"{worker}/{number}"
            number += 1
            if number % 5:
                self.call(clients, "sqs", "send_message", self.plain, MessageBody=body)
                bodies = [body]
            else:
                bodies = [f"{body}/{part}" for part in range(5)]
                entries = [{"Id": str(part), "MessageBody": text} for part, text in enumerate(bodies)]
                answer = self.call(clients, "sqs", "send_message_batch", self.plain, Entries=entries)
                bodies = [bodies[int(entry["Id"])] for entry in answer["Successful"]]
            with self.lock:
                self.sent.update(bodies)
            self.wrote(f"plain {worker}")
            time.sleep(0.01)

    def receive_plain(self, _worker):
        clients = {}
        while not self.stopping.is_set():
            until = lambda: not self.stopping.is_set()  # noqa: E731
            answer = self.call(clients, "sqs", "receive_message", self.plain, until=until, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            messages = (answer or {}).get("Messages", [])
            if not messages:
                continue
            with self.lock:
                self.received.update(message["Body"] for message in messages)
            entries = [{"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]} for at, message in enumerate(messages)]
            self.call(clients, "sqs", "delete_message_batch", self.plain, until=until, Entries=entries)

    # The FIFO queue.

    def send_line(self, name):
        clients, group = {}, self.groups.setdefault(name, Group())
        while self.sending.is_set():
            number = group.sent
            self.call(
                clients,
                "sqs",
                "send_message",
                self.line,
                MessageBody=str(number),
                MessageGroupId=name,
                MessageDeduplicationId=f"{name}-{number}",
            )
            group.sent = number + 1
            self.wrote(f"line {name}")
            time.sleep(0.01)

    def receive_line(self, _worker):
        clients = {}
        until = lambda: not self.stopping.is_set()  # noqa: E731
        while not self.stopping.is_set():
            begin = time.monotonic()
            answer = self.call(clients, "sqs", "receive_message", self.line, until=until, MaxNumberOfMessages=10, WaitTimeSeconds=1, AttributeNames=["MessageGroupId"])
            end = time.monotonic()
            for message in (answer or {}).get("Messages", []):
                name, number = message["Attributes"]["MessageGroupId"], int(message["Body"])
                group = self.groups[name]
                with self.lock:
                    wrong = group.take(number, begin, end)
                if wrong:
                    self.find(f"group {name}: {wrong}")
                if time.monotonic() > begin + VISIBILITY - 2:
                    continue  # Its handle may have expired: leave it, it comes again.
                with self.lock:
                    group.attempted.add(number)
                try:
                    deleted = self.call(clients, "sqs", "delete_message", self.line, until=until, ReceiptHandle=message["ReceiptHandle"])
                except ClientError as error:
                    # Deleted by a call whose answer was lost, or too late after retries.
                    if "expired" in str(error) or "ReceiptHandleIsInvalid" in str(error):
                        continue
                    raise
                if deleted:
                    with self.lock:
                        group.gone.add(number)

    # Identities.

    def write_identities(self, worker):
        clients, number = {}, 0
        while self.sending.is_set():
            name = f"user-{worker}-{number}"
            number += 1
            try:
                created = self.call(clients, "iam", "create_user", UserName=name)
                node = created["node"]
            except ClientError as error:
                # The first try has taken effect, and its answer was lost.
                if error.response["Error"]["Code"] != "EntityAlreadyExists":
                    raise
                node = None
            self.users.add(name)
            self.wrote("identities")
            try:
                self.call(clients, "iam", "get_user", besides=node, UserName=name)
                self.call(clients, "iam", "tag_user", UserName=name, Tags=[{"Key": "n", "Value": str(number)}])
                tags = self.call(clients, "iam", "list_user_tags", besides=node, UserName=name)["Tags"]
                if tags != [{"Key": "n", "Value": str(number)}]:
                    self.find(f"{name}: its tags are {tags}")
            except ClientError as error:
                self.find(f"{name}, acknowledged, is not seen elsewhere: {error}")
            time.sleep(0.02)


class Group:
    """What is known of a message group."""

    def __init__(self):
        self.sent = 0
        self.next = 0
        self.attempted, self.gone = set(), set()
        self.in_flight = {}

    @property
    def deleted(self):
        return self.next

    def is_done(self):
        self.advance()
        return self.next >= self.sent

    def advance(self):
        while self.next in self.gone:
            self.gone.discard(self.next)
            self.next += 1

    def take(self, number, begin, end):
        """A message was received by a call of this time. What is wrong with that?"""
        self.advance()
        if number < self.next or number in self.gone:
            return f"message {number} came again after its deletion was acknowledged"
        together = {m for m, (_, when) in self.in_flight.items() if when == begin}
        skipped = [m for m in range(self.next, number) if m not in self.attempted | together]
        held = self.in_flight.get(number)
        earliest = begin + VISIBILITY
        self.in_flight[number] = (earliest, begin)
        if skipped:
            return f"message {number} came before {skipped[:3]}"
        if held and end < held[0] - 0.2:
            return f"message {number} was received twice within its visibility timeout"
        return None
