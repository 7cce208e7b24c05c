"""What the tests of SNS share: queues, web servers and mailboxes as subscribers."""

import base64
import http.server
import json
import threading
import time

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from test_lambda_made import eventually as polled
from test_lambda_made import functions, refused  # noqa: F401

ACCOUNT = "000000000000"


def eventually(ask, seconds=10):
    """Polls until the answer is something; fails if it never is."""
    answer = polled(ask, seconds)
    assert answer, "it did not come about in time"
    return answer


def open_queue(sqs, url, arn):
    """Lets any topic send to the queue."""
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
        ],
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})


class Queue:
    def __init__(self, sqs, name, fifo=False, is_open=True, **settings):
        if fifo:
            settings |= {"FifoQueue": "true"}
            name += ".fifo"
        self.sqs = sqs
        self.url = sqs.create_queue(QueueName=name, Attributes=settings)["QueueUrl"]
        self.arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
        if is_open:
            open_queue(sqs, self.url, self.arn)

    def messages(self, count=1, seconds=10):
        got = []

        def ask():
            answer = self.sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=1,
                MessageAttributeNames=["All"],
                AttributeNames=["All"],
            )
            for message in answer.get("Messages", []):
                got.append(message)
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            return len(got) >= count

        eventually(ask, seconds)
        return got

    def bodies(self, count=1):
        return [message["Body"] for message in self.messages(count)]

    def is_empty(self):
        return "Messages" not in self.sqs.receive_message(QueueUrl=self.url)


@pytest.fixture
def sns(client):
    return client("sns")


@pytest.fixture
def queue(client, name):
    return lambda **settings: Queue(client("sqs"), name("q"), **settings)


@pytest.fixture
def topic(sns, name):
    def make(fifo=False, **attributes):
        attributes = {key: str(value) for key, value in attributes.items()}
        if fifo:
            attributes["FifoTopic"] = "true"
        return sns.create_topic(Name=name("t") + (".fifo" if fifo else ""), Attributes=attributes)["TopicArn"]

    return make


def subscribe(sns, topic, protocol, endpoint, **attributes):
    return sns.subscribe(
        TopicArn=topic, Protocol=protocol, Endpoint=endpoint, Attributes=attributes, ReturnSubscriptionArn=True
    )["SubscriptionArn"]


class WebServer:
    """Keeps what it is sent; answers with the statuses that it is given, then 200."""

    def __init__(self):
        self.requests, self.statuses = [], []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.requests.append((requests.structures.CaseInsensitiveDict(self.headers), body))
                self.send_response(outer.statuses.pop(0) if outer.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def wait(self, count):
        eventually(lambda: len(self.requests) >= count, 10)
        return self.requests[count - 1]


@pytest.fixture
def web():
    server = WebServer()
    yield server
    server.server.shutdown()


def mails(node, to):
    return requests.get(f"{node.endpoint}/_pileus/mail", params={"to": to}, timeout=5).json()["mails"]


def proves(document):
    """Checks a message's signature as subscribers do."""
    certificate = x509.load_pem_x509_certificate(requests.get(document["SigningCertURL"], timeout=5).content)
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{document[name]}\n" for name in names if name in document)
    kind = {"1": hashes.SHA1(), "2": hashes.SHA256()}[document["SignatureVersion"]]
    certificate.public_key().verify(base64.b64decode(document["Signature"]), text.encode(), padding.PKCS1v15(), kind)


# Topics.
