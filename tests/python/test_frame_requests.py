"""What a request means and how it is answered: protocols, names, hosts, and everything that can be wrong with a body."""

import base64
import hashlib
import json
import re
import struct

import pytest
import requests

from raw import FORM, code, form, send, target

JSON10 = "application/x-amz-json-1.0"
REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
HTTP_DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")


# Every protocol on every RPC service.


def test_query_speaks_in_the_url_too(node):
    answer = send(node, "sts", method="GET", query="Action=GetCallerIdentity&Version=2011-06-15")
    assert answer.status_code == 200 and "<Arn>arn:aws:iam::000000000000:root</Arn>" in answer.text
    answer = send(node, "sqs", method="GET", query="Action=ListQueues&Version=2012-11-05")
    assert answer.status_code == 200 and "<ListQueuesResponse" in answer.text


def test_sqs_answers_in_the_protocol_asked(node, name):
    queue = name()
    made = json.loads(target(node, "sqs", "AmazonSQS.CreateQueue", json.dumps({"QueueName": queue})).text)
    answer = send(node, "sqs", f"Action=GetQueueUrl&Version=2012-11-05&QueueName={queue}", FORM)
    assert answer.headers["content-type"].startswith("text/xml")
    assert f"<QueueUrl>{made['QueueUrl']}</QueueUrl>" in answer.text
    body = b"\xa1\x69QueueName" + bytes([0x78, len(queue)]) + queue.encode()
    headers = {"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor", "accept": "application/cbor"}
    answer = send(node, "sqs", body, headers, path="/service/AmazonSQS/operation/GetQueueUrl")
    assert answer.status_code == 200, answer.content
    assert answer.headers["smithy-protocol"] == "rpc-v2-cbor"
    assert answer.headers["content-type"] == "application/cbor"
    assert made["QueueUrl"].encode() in answer.content


def test_cloudwatch_answers_cbor_json_and_query(node):
    """Unmodified clients of different ages speak all three."""
    headers = {"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor"}
    answer = send(node, "monitoring", b"\xa0", headers, path="/service/GraniteServiceVersion20100801/operation/ListMetrics")
    assert answer.headers["smithy-protocol"] == "rpc-v2-cbor"
    assert answer.status_code in (200, 501)
    assert code_or_none(target(node, "monitoring", "GraniteServiceVersion20100801.ListMetrics")) in (None, "NotImplemented")
    assert code_or_none(form(node, "monitoring", "ListMetrics", "2010-08-01")) in (None, "NotImplemented")


def code_or_none(answer):
    return None if answer.status_code == 200 else code(answer)


def test_kinesis_speaks_the_older_cbor(node):
    answer = send(node, "kinesis", b"\xa0", {"content-type": "application/x-amz-cbor-1.1",
                                             "x-amz-target": "Kinesis_20131202.ListStreams"})  # fmt: skip
    assert answer.status_code in (200, 501)
    assert answer.headers["content-type"] == "application/x-amz-cbor-1.1"
    assert answer.content[0] >> 5 == 5, "a CBOR map"


def test_unimplemented_operations_say_which_in_every_protocol(node):
    answers = [
        target(node, "dynamodb", "DAX_20170419.Nothing"),
        target(node, "dax", "AmazonDAXV3.DescribeClusters", content_type="application/x-amz-json-1.1"),
        form(node, "elasticbeanstalk", "ListPlatformBranches", "2010-12-01"),
        form(node, "ec2", "DescribeFpgaImages", "2016-11-15"),
        send(node, "ses", method="GET", path="/v2/email/account"),
        send(node, "cloudfront", method="GET", path="/2020-05-31/anycast-ip-list"),
    ]
    expected = [None, "dax:DescribeClusters", "elasticbeanstalk:ListPlatformBranches", "ec2:DescribeFpgaImages",
                "sesv2:GetAccount", "cloudfront:ListAnycastIpLists"]  # fmt: skip
    for answer, operation in zip(answers, expected):
        if operation:
            assert (answer.status_code, code(answer)) == (501, "NotImplemented"), operation
            assert operation in answer.text


# Names that nothing has.


def test_unknown_names_are_refused_in_the_words_of_their_service(node):
    cases = [
        (form(node, "sts", "NoSuchAction", "2011-06-15"), 400, "InvalidAction"),
        (form(node, "sts", "GetCallerIdentity", "1999-01-01"), 400, "InvalidAction"),
        (send(node, "sts", "Version=2011-06-15", FORM), 400, "MissingAction"),
        (form(node, "ec2", "NoSuchAction", "2016-11-15"), 400, "InvalidAction"),
        (target(node, "dynamodb", "DynamoDB_20120810.Nothing"), 400, "UnknownOperationException"),
        (target(node, "sqs", "AmazonSQS.Nothing"), 400, "UnknownOperationException"),
        (target(node, "dynamodb", "Nonsense"), 400, "UnknownOperationException"),
        (send(node, "lambda", method="GET", path="/2015-03-31/nothing"), 403, "AccessDeniedException"),
        (send(node, "s3", method="PATCH", path="/b/k"), 405, "MethodNotAllowed"),
        (send(node, "nosuchservice", method="GET", path="/"), 404, "UnknownOperationException"),
    ]  # fmt: skip
    for answer, status, expected in cases:
        assert (answer.status_code, code(answer)) == (status, expected), answer.text


def test_another_content_type_on_a_json_service_is_an_unknown_operation(node):
    headers = {"content-type": "text/html"}
    answer = send(node, "dynamodb", "<p>", headers)
    assert (answer.status_code, answer.text) == (404, "<UnknownOperationException/>\n")


def test_a_target_wins_over_a_wrong_scope(node):
    answer = target(node, "s3", "AmazonSQS.ListQueues")
    assert code_or_none(answer) is None


# Bodies.


@pytest.mark.parametrize(
    "body", ["{", "[]", "nul", '"text"', "{}{}", '{"QueueName"}', "\xff\xfe", "{" * 100_000, '{"a":' * 100_000, "\x00"],
    ids=range(10),
)  # fmt: skip
def test_a_body_that_is_not_json_is_a_serialization_exception(node, body):
    answer = target(node, "sqs", "AmazonSQS.CreateQueue", body.encode("latin1"))
    assert (answer.status_code, code(answer)) == (400, "SerializationException")


def test_wrong_types_are_serialization_exceptions(node):
    for members in [{"QueueName": []}, {"QueueName": {}}, {"QueueName": "q", "Attributes": "text"},
                    {"QueueName": "q", "Attributes": ["a"]}, {"QueueName": "q", "tags": 1}]:  # fmt: skip
        answer = target(node, "sqs", "AmazonSQS.CreateQueue", json.dumps(members))
        assert (answer.status_code, code(answer)) == (400, "SerializationException"), members
    answer = target(node, "dynamodb", "DynamoDB_20120810.ListTables", '{"Limit": "many"}')
    assert (answer.status_code, code(answer)) == (400, "SerializationException")
    assert "STRING_VALUE cannot be converted to Integer" in answer.text


def test_unknown_members_are_passed_over(node, name):
    body = json.dumps({"QueueName": name(), "NoSuchMember": [{"a": 1}], "Attributes": None})
    assert target(node, "sqs", "AmazonSQS.CreateQueue", body).status_code == 200


@pytest.mark.parametrize(
    "body", [b"\xff", b"\xa1", b"\xbf", b"\x9f", b"\xa1\x69QueueName\x5f", b"\xbb" + b"\xff" * 8, b"\x81" * 50_000,
             b"\xa1\x69QueueName\x7b" + b"\xff" * 8, b"{}"],
    ids=range(9),
)  # fmt: skip
def test_a_body_that_is_not_cbor_is_a_serialization_exception(node, body):
    headers = {"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor"}
    answer = send(node, "sqs", body, headers, path="/service/AmazonSQS/operation/CreateQueue")
    assert answer.status_code == 400
    assert b"SerializationException" in answer.content


@pytest.mark.parametrize(
    "body", ["<", "<a>", "</a>", "<a></b>", "<?xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "text", "\x00",
             "<a>" * 50_000, "<a b=>", "<VersioningConfiguration><Status>Enabled</VersioningConfiguration>"],
    ids=range(11),
)  # fmt: skip
def test_a_body_that_is_not_xml_is_malformed(node, body, name):
    bucket = name("malformed")
    node.client("s3").create_bucket(Bucket=bucket)
    # What came is what was sent: without a digest S3 says so, whatever the body is.
    headers = {"content-type": "application/xml", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    path, query = f"/{bucket}", "versioning="
    answer = send(node, "s3", body, headers, method="PUT", path=path, query=query)
    assert (answer.status_code, code(answer)) == (400, "InvalidRequest")
    headers["content-md5"] = base64.b64encode(hashlib.md5(body.encode()).digest()).decode()
    answer = send(node, "s3", body, headers, method="PUT", path=path, query=query)
    assert (answer.status_code, code(answer)) == (400, "MalformedXML")


@pytest.mark.parametrize(
    "body",
    [
        "Action=CreateQueue&Version=2012-11-05&QueueName=%zz%",
        "Action=CreateQueue&Version=2012-11-05&Attribute.1.Name=a&Attribute.99999999999999999999.Name=b",
        "Action=CreateQueue&Version=2012-11-05&Attribute.-1.Name=b",
        "Action=CreateQueue&Version=2012-11-05&" + "Attribute.1." * 10_000 + "=x",
        "Action=CreateQueue&Version=2012-11-05&" + "&".join(f"x{i}=y" for i in range(20_000)),
        "Action=CreateQueue&Version=2012-11-05&QueueName",
        "Action=CreateQueue&Version=2012-11-05&=&&==&",
        "Action=CreateQueue&Version=2012-11-05&QueueName=%ff%fe",
    ],
    ids=range(8),
)
def test_an_odd_form_is_a_fault_of_its_sender(node, body):
    answer = send(node, "sqs", body, FORM)
    assert 400 <= answer.status_code < 500, answer.text
    assert code(answer)


def test_validation_speaks_in_awss_sentences(node):
    answer = target(node, "sqs", "AmazonSQS.SendMessage")
    assert (answer.status_code, code(answer)) == (400, "MissingRequiredParameterException")
    assert "The request must contain the parameter QueueUrl." in answer.text
    answer = target(node, "dynamodb", "DynamoDB_20120810.ListTables", '{"Limit": 101}')
    assert (answer.status_code, code(answer)) == (400, "ValidationException")
    sentence = "1 validation error detected: Value '101' at 'limit' failed to satisfy constraint: Member must have value less than"
    assert sentence in answer.text


# Frames.


def test_every_answer_has_a_date_and_a_request_id(node):
    answers = [
        form(node, "sts", "GetCallerIdentity", "2011-06-15"),
        form(node, "sts", "Nothing", "2011-06-15"),
        target(node, "sqs", "AmazonSQS.ListQueues"),
        target(node, "dynamodb", "DynamoDB_20120810.Nothing"),
        send(node, "lambda", method="GET", path="/2015-03-31/functions"),
        requests.post(node.endpoint, data="x", timeout=10),
    ]
    ids = [answer.headers["x-amzn-requestid"] for answer in answers]
    assert all(REQUEST_ID.fullmatch(one) for one in ids) and len(set(ids)) == len(ids)
    storage = send(node, "s3", method="GET", path="/b/k")
    assert storage.headers["x-amz-request-id"] and storage.headers["x-amz-id-2"]
    for answer in [*answers, storage]:
        assert HTTP_DATE.fullmatch(answer.headers["date"]), answer.headers


def test_the_date_is_the_real_one_even_when_the_clock_was_moved():
    """SDKs correct their own clocks by it."""
    import email.utils

    from conftest import Node
    from raw import utc_now

    moved = Node()
    try:
        moved.advance(40 * 86_400)
        answer = form(moved, "sts", "GetCallerIdentity", "2011-06-15")
        assert answer.status_code == 200
        assert abs((email.utils.parsedate_to_datetime(answer.headers["date"]) - utc_now()).total_seconds()) < 60
    finally:
        moved.stop()


def test_a_query_code_accompanies_sqss_json_errors(node):
    missing = json.dumps({"QueueName": "no-such-queue"})
    answer = target(node, "sqs", "AmazonSQS.GetQueueUrl", missing)
    assert (answer.status_code, answer.json()["__type"]) == (400, "com.amazonaws.sqs#QueueDoesNotExist")
    assert answer.headers["x-amzn-query-error"] == "AWS.SimpleQueueService.NonExistentQueue;Sender"
    answer = send(node, "sqs", "Action=GetQueueUrl&Version=2012-11-05&QueueName=no-such-queue", FORM)
    assert code(answer) == "AWS.SimpleQueueService.NonExistentQueue"
    error = node.client("sqs").exceptions.QueueDoesNotExist
    with pytest.raises(error):
        node.client("sqs").get_queue_url(QueueName="no-such-queue")


def test_dynamodbs_answers_carry_a_checksum(node):
    import zlib

    answer = target(node, "dynamodb", "DynamoDB_20120810.Nothing")
    if "x-amz-crc32" in answer.headers:
        assert int(answer.headers["x-amz-crc32"]) == zlib.crc32(answer.content)
    answer = target(node, "dynamodb", "DynamoDB_20120810.ListTables")
    assert int(answer.headers["x-amz-crc32"]) == zlib.crc32(answer.content)


def test_a_head_request_has_no_body(node):
    answer = send(node, "s3", method="HEAD", path="/bucket/key")
    assert answer.status_code == 501 or answer.status_code == 404
    assert answer.content == b""


# Hosts.


def test_services_are_found_by_their_host_names(node):
    for host in ["sqs.us-east-1.localhost", "sqs.us-east-1.localhost.localstack.cloud", "sqs.us-east-1.amazonaws.com",
                 "sqs.eu-west-1.amazonaws.com", "SQS.US-EAST-1.LOCALHOST", "localhost", "127.0.0.1", "[::1]"]:  # fmt: skip
        named = f"{host}:{node.port}"
        answer = send(node, "sqs", "Action=ListQueues&Version=2012-11-05", FORM, host=named)
        assert answer.status_code == 200, f"{host}: {answer.text}"
    # Unsigned, the host alone says whose refusal it is.
    answer = requests.post(node.endpoint, data="{}", headers={"host": "sqs.us-east-1.localhost"}, timeout=10)
    assert answer.status_code in (400, 403, 404), answer.text
    answer = requests.get(node.endpoint, headers={"host": "pictures.s3.localhost"}, timeout=10)
    assert "x-amz-id-2" in answer.headers, "a bucket's name is not a service's"


def test_a_host_without_sense_does_no_harm(node):
    for host in ["", "..", "a" * 5000, "[::1", "s3", ".s3.amazonaws.com", "xn--", "host:99999999", "\x01"]:
        try:
            answer = requests.get(node.endpoint, headers={"host": host}, timeout=10)
        except requests.RequestException:
            continue
        assert 400 <= answer.status_code < 500, host
    assert requests.get(f"{node.endpoint}/_pileus/health", timeout=10).status_code == 200


def test_queue_urls_take_requests_of_every_age(node, name):
    queue = name()
    url = node.client("sqs").create_queue(QueueName=queue)["QueueUrl"]
    paths = [f"/000000000000/{queue}", f"/queue/us-east-1/000000000000/{queue}"]
    for path in paths:
        body = "Action=SendMessage&Version=2012-11-05&MessageBody=hello"
        answer = send(node, "sqs", body, FORM, path=path)
        assert answer.status_code == 200, f"{path}: {answer.text}"
    assert url.endswith(queue)


# Event streams and chunks.


def test_chunked_uploads_are_unframed_or_refused_never_stored_as_they_come(node):
    """No object store yet: the answer is the refusal by name, and the framing is read on the way."""
    body = b"5;chunk-signature=" + b"0" * 64 + b"\r\nhello\r\n0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n"
    headers = {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "content-encoding": "aws-chunked",
               "x-amz-decoded-content-length": "5"}  # fmt: skip
    answer = send(node, "s3", body, headers, method="PUT", path="/b/k")
    assert 400 <= answer.status_code <= 501


def test_blobs_that_are_not_base64_are_refused(node):
    body = json.dumps({"StreamName": "s", "PartitionKey": "p", "Data": "***"})
    answer = target(node, "kinesis", "Kinesis_20131202.PutRecord", body, "application/x-amz-json-1.1")
    assert (answer.status_code, code(answer)) == (400, "SerializationException")
    good = {"StreamName": "s", "PartitionKey": "p", "Data": base64.b64encode(struct.pack(">d", 1)).decode()}
    answer = target(node, "kinesis", "Kinesis_20131202.PutRecord", json.dumps(good), "application/x-amz-json-1.1")
    assert code_or_none(answer) != "SerializationException"
