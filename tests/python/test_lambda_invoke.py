"""Invocations of Lambda functions: synchronous, streamed, asynchronous, from queues and by URL."""

import base64
import http.client
import json
import threading
import urllib.parse

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from test_lambda_made import allow, eventually, functions, package, refused  # noqa: F401

FAILS = "def handler(event, context):\n    raise ValueError('no')\n"
RAISES_ON_BAD = """
def handler(event, context):
    for record in event["Records"]:
        if record["body"] == "bad":
            raise ValueError("bad")
"""
SAYS = """
def handler(event, context):
    print("said", event)
    return {"version": context.function_version, "arn": context.invoked_function_arn, "id": context.aws_request_id}
"""


def received(sqs, url, count=1, seconds=20):
    """Messages of a queue, once there are so many."""
    got = []

    def ask():
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=1)
        got.extend(answer.get("Messages", []))
        for message in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(got) >= count

    eventually(ask, seconds)
    return got


def test_a_function_answers_with_what_it_returns(functions):
    lambda_, name = functions.lambda_, functions.create()
    answer = lambda_.invoke(FunctionName=name, Payload=b'{"a": [1, "x"]}')
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer and "LogResult" not in answer
    assert json.loads(answer["Payload"].read()) == {"a": [1, "x"]}
    assert json.loads(lambda_.invoke(FunctionName=name)["Payload"].read()) == {}, "no payload is an empty object"
    assert lambda_.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    code, message = refused(lambda_.invoke, FunctionName=name, Payload=b"not json")
    assert code == "InvalidRequestContentException" and message.startswith("Could not parse request body into json")
    long = b'"' + b"x" * 6_291_455 + b'"'
    assert refused(lambda_.invoke, FunctionName=name, Payload=long) == (
        "RequestTooLargeException",
        "6291457 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)",
    )


def test_a_name_of_one_character_is_a_name(functions):
    assert functions.invoke(functions.create(FunctionName="x"), 1) == 1
    functions.lambda_.delete_function(FunctionName="x")


def test_a_functions_error_is_an_answer(functions):
    answer = functions.lambda_.invoke(FunctionName=functions.create(FAILS))
    payload = json.loads(answer["Payload"].read())
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert (payload["errorMessage"], payload["errorType"]) == ("no", "ValueError")


def test_the_end_of_the_log_comes_with_the_answer_if_asked_for(functions):
    answer = functions.lambda_.invoke(FunctionName=functions.create(SAYS), LogType="Tail", Payload=b"1")
    assert b"said 1" in base64.b64decode(answer["LogResult"])


def test_versions_and_aliases_run_their_own_code(functions):
    lambda_, name = functions.lambda_, functions.create("def handler(e, c):\n    return 1\n", Publish=True)
    lambda_.update_function_code(FunctionName=name, ZipFile=package("def handler(e, c):\n    return 2\n"), Publish=True)
    lambda_.create_alias(FunctionName=name, Name="prod", FunctionVersion="1")
    assert [functions.invoke(f"{name}:{q}") for q in ("1", "2", "prod", "$LATEST")] == [1, 2, 1, 2]
    lambda_.update_alias(FunctionName=name, Name="prod", FunctionVersion="2")
    answer = lambda_.invoke(FunctionName=name, Qualifier="prod")
    assert (answer["ExecutedVersion"], json.loads(answer["Payload"].read())) == ("2", 2)
    lambda_.update_alias(FunctionName=name, Name="prod", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}})
    seen = {functions.invoke(name, Qualifier="prod") for _ in range(40)}
    assert seen == {1, 2}, "both come with a chance of 1 to 2 ** 39"
    assert functions.invoke(functions.arn(name, "1")) == 1


def test_layers_and_variables_reach_the_code(functions):
    lambda_ = functions.lambda_
    layer = {"ZipFile": package({"python/shared.py": "x = 41\n"})}
    arn = lambda_.publish_layer_version(LayerName=functions.name("layer"), Content=layer)["LayerVersionArn"]
    code = "import os, shared\ndef handler(e, c):\n    return [shared.x, os.environ['TABLE']]\n"
    name = functions.create(code, Layers=[arn], Environment={"Variables": {"TABLE": "t"}})
    assert functions.invoke(name) == [41, "t"]
    lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": {"TABLE": "u"}})
    assert functions.invoke(name) == [41, "u"]


def test_a_response_is_streamed(functions):
    answer = functions.lambda_.invoke_with_response_stream(FunctionName=functions.create(), Payload=b'{"a":1}', LogType="Tail")
    events = list(answer["EventStream"])
    data = b"".join(event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event)
    assert json.loads(data) == {"a": 1}
    assert "ErrorCode" not in events[-1]["InvokeComplete"] and "LogResult" in events[-1]["InvokeComplete"]
    failed = functions.lambda_.invoke_with_response_stream(FunctionName=functions.create(FAILS))
    last = list(failed["EventStream"])[-1]["InvokeComplete"]
    assert last["ErrorCode"] == "Unhandled" and "ValueError" in last["ErrorDetails"]


def test_log_lines_go_to_the_functions_group_if_the_role_lets_them(node, functions):
    logs = node.client("logs")
    name = functions.create(SAYS)
    functions.invoke(name, "hello")
    lines = lambda: [e["message"] for e in logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]]
    there = lambda: logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    assert eventually(there)
    assert eventually(lambda: any("said hello" in line for line in lines())), lines()
    silent = functions.create(SAYS, Role=functions.role())
    functions.invoke(silent, "hello")
    functions.invoke(name, "again")
    assert eventually(lambda: any("said again" in line for line in lines()))
    assert not logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{silent}")["logGroups"]


def test_an_event_runs_after_it_was_accepted_and_success_is_told(node, functions):
    url, queue = functions.queue()
    name = functions.create(SAYS)
    functions.lambda_.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": queue}})
    answer = functions.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"a": 1}')
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    [message] = received(node.client("sqs"), url)
    record = json.loads(message["Body"])
    assert record["version"] == "1.0" and record["requestPayload"] == {"a": 1}
    assert record["requestContext"]["condition"] == "Success"
    assert record["requestContext"]["approximateInvokeCount"] == 1
    assert record["requestContext"]["functionArn"] == functions.arn(name, "$LATEST")
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert record["requestContext"]["requestId"] == record["responsePayload"]["id"] == request_id


def test_an_event_that_fails_is_retried_twice_and_then_told_of(node, functions):
    (url, queue), (dead_url, dead) = functions.queue(), functions.queue()
    name = functions.create(FAILS, DeadLetterConfig={"TargetArn": dead})
    functions.lambda_.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnFailure": {"Destination": queue}})
    long = {"text": "x" * 300_000}
    functions.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(long))
    sqs, got = node.client("sqs"), []

    def ask():
        # Each pause between attempts passes at once: the clock moves.
        node.advance(60)
        got.extend(received(sqs, url, seconds=1))
        return got

    eventually(ask, 40)
    record = json.loads(got[0]["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorMessage"] == "no" and record["requestPayload"] == long
    [letter] = received(sqs, dead_url)
    assert json.loads(letter["Body"]) == long
    attributes = {key: value["StringValue"] for key, value in letter["MessageAttributes"].items()}
    assert (attributes["ErrorCode"], attributes["ErrorMessage"]) == ("200", "no")
    assert attributes["RequestID"] == record["requestContext"]["requestId"]


def test_an_event_of_a_function_without_room_is_told_of_at_once(node, functions):
    url, queue = functions.queue()
    name = functions.create()
    functions.lambda_.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnFailure": {"Destination": queue}})
    functions.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    functions.lambda_.invoke(FunctionName=name, InvocationType="Event")
    context = json.loads(received(node.client("sqs"), url)[0]["Body"])["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == ("ZeroReservedConcurrency", 0)


def test_functions_are_destinations_and_invoke_async_still_works(node, functions):
    told = "def handler(event, context):\n    return event['requestPayload']\n"
    queue = functions.queue()
    second = functions.create(told)
    functions.lambda_.put_function_event_invoke_config(FunctionName=second, DestinationConfig={"OnSuccess": {"Destination": queue[1]}})
    first = functions.create()
    functions.lambda_.put_function_event_invoke_config(FunctionName=first, DestinationConfig={"OnSuccess": {"Destination": functions.arn(second)}})
    assert functions.lambda_.invoke_async(FunctionName=first, InvokeArgs=b'{"n": 5}')["Status"] == 202
    record = json.loads(received(node.client("sqs"), queue[0])[0]["Body"])
    assert record["responsePayload"] == {"n": 5}


def test_messages_of_a_queue_become_events_and_go(node, functions):
    sqs = node.client("sqs")
    url, queue = functions.queue()
    relay = "import json\ndef handler(event, context):\n    print(json.dumps(event))\n"
    name = functions.create(relay)
    functions.lambda_.create_event_source_mapping(FunctionName=name, EventSourceArn=queue, BatchSize=10)
    for n in range(10):
        sqs.send_message(QueueUrl=url, MessageBody=f"m{n}", MessageAttributes={"a": {"DataType": "String", "StringValue": "x"}})
    logs = node.client("logs")

    def records():
        try:
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="Records")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        found = [record for event in events for record in json.loads(event["message"])["Records"]]
        return found if len(found) >= 10 else []

    found = eventually(records)
    assert sorted(record["body"] for record in found) == sorted(f"m{n}" for n in range(10))
    record = found[0]
    assert (record["eventSource"], record["eventSourceARN"], record["awsRegion"]) == ("aws:sqs", queue, "us-east-1")
    assert record["messageAttributes"]["a"]["stringValue"] == "x" and record["attributes"]["ApproximateReceiveCount"] == "1"
    count = lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    empty = lambda: all(count()[k] == "0" for k in ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"))
    assert eventually(empty)


def test_a_batch_that_fails_comes_again_and_ends_in_the_dead_letter_queue(node, functions):
    sqs = node.client("sqs")
    dead_url, dead = functions.queue()
    redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 2})
    url, queue = functions.queue(VisibilityTimeout="30", RedrivePolicy=redrive)
    name = functions.create(RAISES_ON_BAD)
    functions.lambda_.create_event_source_mapping(FunctionName=name, EventSourceArn=queue, BatchSize=1)
    sqs.send_message(QueueUrl=url, MessageBody="good")
    sqs.send_message(QueueUrl=url, MessageBody="bad")
    got = []

    def ask():
        node.advance(10)
        got.extend(received(sqs, dead_url, seconds=1))
        return got

    eventually(ask, 40)
    assert [message["Body"] for message in got] == ["bad"]


def test_messages_that_a_function_names_come_again_alone(node, functions):
    sqs = node.client("sqs")
    dead_url, dead = functions.queue()
    redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 1})
    url, queue = functions.queue(RedrivePolicy=redrive)
    code = """
def handler(event, context):
    bad = [r["messageId"] for r in event["Records"] if r["body"] == "bad"]
    return {"batchItemFailures": [{"itemIdentifier": id} for id in bad]}
"""
    name = functions.create(code)
    functions.lambda_.create_event_source_mapping(
        FunctionName=name, EventSourceArn=queue, FunctionResponseTypes=["ReportBatchItemFailures"],
        FilterCriteria={"Filters": [{"Pattern": json.dumps({"body": [{"anything-but": "ignored"}]})}]},
    )
    for body in ("good", "bad", "ignored"):
        sqs.send_message(QueueUrl=url, MessageBody=body)

    def left():
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return found["ApproximateNumberOfMessages"], found["ApproximateNumberOfMessagesNotVisible"]

    assert eventually(lambda: left() == ("0", "1")), left()
    node.advance(30)
    assert [message["Body"] for message in received(sqs, dead_url)] == ["bad"]


# Function URLs.


def ask_url(node, url, method="GET", path="/", body=None, headers=None, sign=None):
    """A request to a function URL, whose host name need not resolve: status, headers, body."""
    host = urllib.parse.urlsplit(url).netloc
    headers = {"Host": host, **(headers or {})}
    if sign:
        request = AWSRequest(method, f"http://{host}{path}", data=body, headers={k: v for k, v in headers.items() if k != "Host"})
        SigV4Auth(Credentials(*sign), "lambda", "us-east-1").add_auth(request)
        headers = {**headers, **dict(request.headers)}
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def public(functions, name, **more):
    """Opens a function's URL to everyone; the URL."""
    lambda_ = functions.lambda_
    url = lambda_.create_function_url_config(FunctionName=name, AuthType="NONE", **more)["FunctionUrl"]
    lambda_.add_permission(FunctionName=name, StatementId="u", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
    lambda_.add_permission(FunctionName=name, StatementId="i", Action="lambda:InvokeFunction", Principal="*", InvokedViaFunctionUrl=True)
    return url


def test_a_url_hands_the_request_to_the_function_and_its_answer_back(node, functions):
    url = public(functions, functions.create())
    status, headers, body = ask_url(node, url, "POST", "/a/b?q=1", b"hello", {"Content-Type": "text/plain", "Cookie": "c=1"})
    event = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json") and headers["x-amzn-requestid"]
    assert (event["rawPath"], event["rawQueryString"], event["body"]) == ("/a/b", "q=1", "hello")
    assert event["cookies"] == ["c=1"] and event["requestContext"]["http"]["method"] == "POST"
    teapot = "def handler(e, c):\n    return {'statusCode': 418, 'body': 'aGk=', 'isBase64Encoded': True, 'headers': {'X-A': 'b'}, 'cookies': ['s=1']}\n"
    status, headers, body = ask_url(node, public(functions, functions.create(teapot)))
    assert (status, body, headers["x-a"], headers["set-cookie"]) == (418, b"hi", "b", "s=1")
    status, _, body = ask_url(node, public(functions, functions.create(FAILS)))
    assert (status, body) == (502, b"Internal Server Error")


def test_a_url_is_closed_until_the_policy_opens_it(node, functions):
    name = functions.create()
    url = functions.lambda_.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    status, headers, body = ask_url(node, url)
    assert (status, headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert json.loads(body)["Message"].startswith("Forbidden. For troubleshooting Function URL authorization issues")
    functions.lambda_.delete_function_url_config(FunctionName=name)
    status, headers, body = ask_url(node, url)
    assert (status, json.loads(body)) == (404, {"Message": None})


def test_a_url_with_iam_lets_in_those_who_sign_and_may(node, functions):
    name = functions.create()
    url = functions.lambda_.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")["FunctionUrl"]
    assert ask_url(node, url)[0] == 403
    status, _, body = ask_url(node, url, "POST", "/x", b"{}", sign=("test", "test"))
    assert status == 200
    iam = json.loads(body)["requestContext"]["authorizer"]["iam"]
    assert (iam["accountId"], iam["accessKey"]) == ("000000000000", "test")
    user = functions.name("user")
    functions.iam.create_user(UserName=user)
    key = functions.iam.create_access_key(UserName=user)["AccessKey"]
    keys = (key["AccessKeyId"], key["SecretAccessKey"])
    assert ask_url(node, url, sign=keys)[0] == 403
    assert ask_url(node, url, sign=(keys[0], "wrong"))[0] == 403


def test_cross_origin_requests_are_answered_from_the_configuration(node, functions):
    cors = {"AllowOrigins": ["https://a.example"], "AllowMethods": ["GET"], "AllowHeaders": ["x-h"], "MaxAge": 5, "ExposeHeaders": ["x-e"]}
    url = public(functions, functions.create(), Cors=cors)
    asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    status, headers, body = ask_url(node, url, "OPTIONS", headers=asks)
    assert (status, body, headers["access-control-allow-origin"]) == (200, b"", "https://a.example")
    assert (headers["access-control-allow-methods"], headers["access-control-max-age"]) == ("GET", "5")
    assert "access-control-allow-origin" not in ask_url(node, url, "OPTIONS", headers={**asks, "Origin": "https://b.example"})[1]
    headers = ask_url(node, url, headers={"Origin": "https://a.example"})[1]
    assert (headers["access-control-allow-origin"], headers["access-control-expose-headers"]) == ("https://a.example", "x-e")


def test_a_url_can_stream(node, functions):
    url = public(functions, functions.create(), InvokeMode="RESPONSE_STREAM")
    status, headers, body = ask_url(node, url, "POST", "/s", b"x", {"Content-Type": "text/plain"})
    assert status == 200 and json.loads(body)["rawPath"] == "/s"


def test_acknowledged_events_run_after_the_node_was_killed(durable_node, name):
    from test_lambda_made import Functions

    made = Functions(durable_node, name)
    url, queue = made.queue()
    function = made.create()
    made.lambda_.put_function_event_invoke_config(FunctionName=function, DestinationConfig={"OnSuccess": {"Destination": queue}})
    for n in range(5):
        made.lambda_.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(n))
    durable_node.kill()
    durable_node.start()
    got = received(durable_node.client("sqs"), url, 5, 40)
    assert {json.loads(message["Body"])["requestPayload"] for message in got} == set(range(5))


ASKS = """
import os, urllib.error, urllib.request

def handler(event, context):
    answers = {}
    for path in event:
        request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + path, method=event[path])
        try:
            answers[path] = urllib.request.urlopen(request, timeout=10).status
        except urllib.error.HTTPError as error:
            answers[path] = error.code
    return answers
"""


def test_a_function_does_not_reach_what_is_the_operators(node, functions):
    name = functions.create(ASKS)
    asked = {"/_pileus/state/reset": "POST", "/_localstack/state/reset": "POST", "/_pileus/clock": "GET", "/metrics": "GET"}
    answer = functions.lambda_.invoke(FunctionName=name, Payload=json.dumps(asked).encode())
    answers = json.loads(answer["Payload"].read())
    assert set(answers) == set(asked) and all(status >= 400 for status in answers.values()), answers
    assert functions.lambda_.get_function(FunctionName=name), "nothing was reset"


def test_a_function_has_a_session_of_its_role(node, functions):
    code = "import os\ndef handler(e, c):\n    return [os.environ['AWS_' + k] for k in ('ACCESS_KEY_ID', 'SECRET_ACCESS_KEY', 'SESSION_TOKEN')]\n"
    name = functions.create(code, Role=functions.role(allow("sqs:ListQueues")))
    key, secret, token = functions.invoke(name)
    session = {"key": key, "secret": secret, "token": token}
    identity = node.client("sts", **session).get_caller_identity()
    assert key.startswith("ASIA") and identity["Arn"].startswith("arn:aws:sts::000000000000:assumed-role/role-")
    assert identity["Arn"].endswith(f"/{name}")
    node.client("sqs", **session).list_queues()
    assert refused(node.client("sqs", **session).create_queue, QueueName="q")[0] in ("AccessDenied", "AccessDeniedException")


def test_a_reservation_throttles_the_one_too_many(functions):
    name = functions.create("import time\ndef handler(event, context):\n    time.sleep(event)\n")
    functions.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)

    def throttled(seconds):
        try:
            functions.invoke(name, seconds)
        except functions.lambda_.exceptions.TooManyRequestsException as error:
            return error.response["Reason"]

    # Either may come first; the one that stays is then in the other's way.
    first = threading.Thread(target=eventually, args=(lambda: not throttled(3),))
    first.start()
    assert eventually(lambda: throttled(0)) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    first.join()
    assert functions.invoke(name, 0) is None, "there is room again"


def test_provisioned_environments_become_ready(functions):
    lambda_, name = functions.lambda_, functions.create(Publish=True)
    on = {"FunctionName": name, "Qualifier": "1"}
    lambda_.put_provisioned_concurrency_config(**on, ProvisionedConcurrentExecutions=2)
    ready = lambda: lambda_.get_provisioned_concurrency_config(**on)["Status"] == "READY"
    assert eventually(ready)
    assert lambda_.get_provisioned_concurrency_config(**on)["AvailableProvisionedConcurrentExecutions"] == 2
    assert functions.invoke(f"{name}:1", 7) == 7


def test_a_function_that_sleeps_past_its_timeout_is_ended(functions):
    name = functions.create("import time\ndef handler(event, context):\n    time.sleep(30)\n", Timeout=1)
    answer = functions.lambda_.invoke(FunctionName=name)
    payload = json.loads(answer["Payload"].read())
    assert (answer["FunctionError"], payload["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    assert payload["errorMessage"].endswith("Task timed out after 1.00 seconds")


def test_a_mapping_that_was_changed_or_enabled_goes_on_at_once(node, functions):
    sqs, lambda_ = node.client("sqs"), functions.lambda_
    url, queue = functions.queue()
    uuid = lambda_.create_event_source_mapping(FunctionName=functions.create(), EventSourceArn=queue)["UUID"]

    def is_consumed():
        sqs.send_message(QueueUrl=url, MessageBody="m")
        found = lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        empty = lambda: all(found()[k] == "0" for k in ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"))
        return eventually(empty, 10)

    assert is_consumed()
    lambda_.update_event_source_mapping(UUID=uuid, BatchSize=1)
    assert is_consumed()
    lambda_.update_event_source_mapping(UUID=uuid, Enabled=False)
    lambda_.update_event_source_mapping(UUID=uuid, Enabled=True)
    assert is_consumed()
