"""botocore as an oracle: it writes a request of every operation of every API, and reads the answer.

Random parameters that a model allows must be routed, read and validated; what is not implemented then says so by its name. What
botocore wrote is also handed to the decoders alone (`pileus probe`), which must read exactly the parameters that botocore was
given.
"""

import base64
import copy
import datetime
import json
import math
import os
import pathlib
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import BINARY, ROOT
from shapes import Unsatisfiable, Values

SEED = int(os.environ.get("PILEUS_ORACLE_SEED", "7"))

# Services that speak more than botocore's first choice.
VARIANTS = [
    ("cloudwatch", "smithy-rpc-v2-cbor"),
    ("cloudwatch", "query"),
    ("shield", "smithy-rpc-v2-cbor"),
    ("sqs", "query"),
]

# Members with one value wherever they occur in a service: botocore itself acts on them before it sends anything.
FIXED = {
    "s3": {
        "Bucket": "oracle-bucket",
        "CopySource": "oracle-bucket/key",
        "Key": "folder/key with space+plus",
        "ChecksumAlgorithm": "SHA256",
        "ChecksumMode": "ENABLED",
        "EncodingType": "url",
        "RequestRoute": "route",
    },
    "s3control": {"AccountId": "123456789012", "OutpostId": "op-01ac5d28a6a232904", "ChecksumAlgorithm": "SHA256"},
    # botocore says here which region it calls, for the one that it signs a copy's link for.
    "ec2": {"DestinationRegion": "us-east-1"},
    "apigateway": {"patchOperations": [{"op": "replace", "path": "/a", "value": "b"}]},
}
LEFT_OUT = {
    # A map of all query parameters holds these too.
    "apigateway": {"failOnWarnings", "mode"},
    # Checksums of a random body, and keys whose digest botocore works out by itself.
    "s3": {
        "ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256", "ContentMD5", "ChecksumSHA512",
        "ChecksumMD5", "ChecksumXXHASH64", "ChecksumXXHASH3", "ChecksumXXHASH128", "SSECustomerKey", "SSECustomerKeyMD5",
        "CopySourceSSECustomerKey", "CopySourceSSECustomerKeyMD5", "ContentLength",
        # Members of deprecated twins that their successors do not have.
        "TopicConfiguration", "QueueConfiguration", "CloudFunctionConfiguration",
    },
    # Names another endpoint.
    "events": {"EndpointId"},
    "sesv2": {"EndpointId"},
    # botocore signs a request for another region into them, or encodes them.
    "rds": {"PreSignedUrl", "SourceRegion"},
    "ec2": {"PresignedUrl", "UserData"},
}  # fmt: skip

# What botocore adds to a request by itself.
ADDED = {"ContentLength", "ChecksumSHA256", "PresignedUrl"}

# Deprecated twins that AWS tells from their successors by nothing in the request.
SUCCESSORS = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
}

LACKING_IN_S3 = re.compile(r"A header or query you provided implies functionality that is not implemented: \w.*\.")


def apis():
    for line in (ROOT / "models" / "apis.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            ours, botocores, _ = line.split()
            if botocores != "-":
                yield ours, botocores


CASES = [(ours, theirs, None) for ours, theirs in apis()]
CASES += [(ours, ours, protocol) for ours, protocol in VARIANTS]


@pytest.fixture(scope="module")
def implemented():
    lines = subprocess.run([BINARY, "operations"], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    return {(service, operation) for service, operation, state in rows if state == "yes"}


class Recorder:
    """What botocore was finally given and what it sent, by thread."""

    def __init__(self, client):
        self.here = threading.local()
        client.meta.events.register_last("before-parameter-build.*.*", self.parameters)
        client.meta.events.register_last("before-send.*.*", self.request)

    def parameters(self, params, **_):
        self.here.params = copy.deepcopy(params)

    def request(self, request, **_):
        self.here.request = request


def oracle_client(node, name, protocol):
    session = botocore.session.Session()
    if protocol:
        loader = session.get_component("data_loader")
        load = loader.load_service_model

        def patched(*args, **kwargs):
            model = load(*args, **kwargs)
            if "metadata" in model and "operations" in model:
                model = {**model, "metadata": {**model["metadata"], "protocol": protocol, "protocols": [protocol]}}
            return model

        loader.load_service_model = patched
    client = session.create_client(
        name,
        region_name="us-east-1",
        endpoint_url=node.endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(
            retries={"max_attempts": 0},
            parameter_validation=False,
            inject_host_prefix=False,
            max_pool_connections=8,
            s3={"addressing_style": "path"},
        ),
    )
    if name != "s3":
        # Some services' rules for endpoints would put an account from the parameters before the host's name.
        client._ruleset_resolver = None
    return client


def call(client, operation, params):
    """How the call ended: the error that AWS's client made of the answer, or its output."""
    try:
        return None, client._make_api_call(operation, params)
    except ClientError as error:
        return error, error.response


def tighten(model, service):
    """AWS holds some shapes to limits that its model does not say: those of `models/<service>.overlay`."""
    overlay = ROOT / "models" / f"{service}.overlay"
    for line in overlay.read_text().splitlines() if overlay.exists() else ():
        words = line.split()
        if words[:2] == ["set", "shape"]:
            shape = model._shape_resolver._shape_map.get(words[2], {})
            limits = dict(word.split("=", 1) for word in words[3:] if re.match(r"(min|max)=\d+$", word))
            shape.update({name: int(value) for name, value in limits.items()})


def judge(service, operation, error, answer, is_implemented):
    """What is wrong with an answer, or nothing."""
    code = answer.get("Error", {}).get("Code")
    message = answer.get("Error", {}).get("Message", "")
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    if not headers.get("x-amzn-requestid") and not headers.get("x-amz-request-id"):
        return f"no request id: {answer}"
    if is_implemented:
        # `MalformedXML` is how S3 calls a body that it cannot read.
        refused = code in ("SerializationException", "MalformedXML", "InternalFailure", "InternalServerError")
        # The model's constraints are kept by what is asked; what a service itself thinks of the values is its own.
        refused |= code == "ValidationException" and re.match(r"\d+ validation errors? detected: ", message) is not None
        # A part of an operation may be refused, by its name; S3 has a sentence for it.
        by_name = code == "NotImplemented" and message.startswith("pileus does not ")
        if service == "s3":
            by_name |= (status, code) == (501, "NotImplemented") and LACKING_IN_S3.fullmatch(message) is not None
        return f"{status} {code}: {message}" if refused or status >= 500 and not by_name else None
    if status != 501:
        return f"{status} {code}: {message}"
    if operation in ("HeadBucket", "HeadObject"):
        # An answer without a body, which is where the code would be.
        return None
    if code != "NotImplemented" or f"{service}:{SUCCESSORS.get(operation, operation)} " not in message:
        return f"{status} {code}: {message}"
    return None


@pytest.mark.parametrize("service,theirs,protocol", CASES, ids=lambda value: value or "")
def test_every_operation_is_understood_as_botocore_writes_it(node, implemented, service, theirs, protocol):
    client = oracle_client(node, theirs, protocol)
    recorder = Recorder(client)
    model = client.meta.service_model
    tighten(model, service)
    problems, questions = [], []

    def run(name):
        operation = model.operation_model(name)
        values = Values(f"{SEED} {service} {name}", FIXED.get(service, ()), LEFT_OUT.get(service, ()))
        try:
            params = values.parameters(operation)
        except Unsatisfiable as pattern:
            return problems.append(f"{name}: no value for {pattern}")
        recorder.here.params, recorder.here.request = params, None
        try:
            error, answer = call(client, name, params)
        except Exception as broken:  # noqa: BLE001 whatever botocore makes of an answer that it cannot read
            return problems.append(f"{name}: {type(broken).__name__}: {broken}")
        wrong = judge(service, name, error, answer, (service, SUCCESSORS.get(name, name)) in implemented)
        if wrong:
            problems.append(f"{name}: {wrong}")
        questions.append(question(model, operation, recorder.here.request, recorder.here.params))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, model.operation_names))
    # botocore's model of SQS has lost the names that its query protocol uses.
    if (service, protocol) != ("sqs", "query"):
        problems += unread(questions)
    assert not problems, f"{len(problems)} of {len(model.operation_names)}:\n" + "\n".join(sorted(problems))


# The decoders alone.


def question(model, operation, request, params):
    """A line for `pileus probe`, and what it must answer."""
    # The part of the model that this operation's input reaches.
    everything = model._service_description["shapes"]
    shapes, todo = {}, [operation._operation_model.get("input", {}).get("shape")]
    while todo:
        name = todo.pop()
        if name is None or name in shapes:
            continue
        shape = everything[name]
        shapes[name] = {key: value for key, value in shape.items() if key != "documentation"}
        inner = [*shape.get("members", {}).values(), *(shape[key] for key in ("member", "key", "value") if key in shape)]
        todo += [reference["shape"] for reference in inner]
    described = {key: value for key, value in operation._operation_model.items() if key in ("name", "http", "input")}
    # botocore takes S3's bucket out of the model's paths, as it may go into the host.
    described["http"] = {**described["http"], "requestUri": operation.http.get("authPath", operation.http["requestUri"])}
    body = request.body
    if hasattr(body, "read"):
        body.seek(0)
        body = body.read()
    body = body.encode() if isinstance(body, str) else body or b""
    headers = {k: v.decode() if isinstance(v, bytes) else str(v) for k, v in request.headers.items()}
    uri = "/" + request.url.split("://", 1)[1].partition("/")[2] if "/" in request.url.split("://", 1)[1] else "/"
    asked = {
        "id": operation.name,
        "kind": "decode",
        "protocol": model.resolved_protocol,
        "model": {"metadata": dict(model.metadata), "shapes": shapes, "operations": {operation.name: described}},
        "operation": operation.name,
        "request": {"method": request.method, "uri": uri, "headers": headers, "body_b64": base64.b64encode(body).decode()},
    }
    return asked, params


def unread(questions):
    """Operations whose parameters the decoders do not read as botocore was given them."""
    lines = "".join(json.dumps(asked) + "\n" for asked, _ in questions)
    done = subprocess.run([BINARY, "probe"], input=lines, capture_output=True, text=True, check=True)
    answers = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    for asked, params in questions:
        answer = answers.get(asked["id"], {"error": "no answer"})
        read = {key: value for key, value in answer.get("ok", {}).items() if key not in ADDED}
        if "error" in answer:
            yield f"{asked['id']}: not read: {answer['error']}"
        elif (difference := differ(plain(params), plain(read), "")):
            yield f"{asked['id']}: read otherwise: {difference}"


def plain(value):
    """As JSON holds it; what protocols cannot tell from absence is left out."""
    if isinstance(value, dict):
        inner = {key: plain(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item not in ({}, [], None)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    return value.decode() if isinstance(value, bytes) else value


def differ(given, read, path):
    if isinstance(given, dict) and isinstance(read, dict):
        for key in given.keys() | read.keys():
            if given.get(key) != read.get(key) and (found := differ(given.get(key), read.get(key), f"{path}.{key}")):
                return found
        return None
    if isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        found = (differ(one, other, f"{path}[{at}]") for at, (one, other) in enumerate(zip(given, read)))
        return next((difference for difference in found if difference), None)
    if isinstance(given, float) and isinstance(read, (int, float)) and math.isclose(given, read, rel_tol=1e-6):
        return None
    return None if given == read else f"{path}: {given!r:.80} was read as {read!r:.80}"
