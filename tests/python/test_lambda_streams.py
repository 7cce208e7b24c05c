"""DynamoDB streams as event sources of functions: order, retries, what is given up, windows, filters; topics as destinations."""

import json

import pytest

from test_lambda_made import ACCOUNT, REGION, allow, document, functions, refused  # noqa: F401
from test_lambda_invoke import received
from test_sns import eventually

pytestmark = pytest.mark.usefixtures("sdk")

# Sends what it gets to a queue; fails on items that say so.
TELLS = """
import json, os, boto3
sqs = boto3.client("sqs") if "QUEUE" in os.environ else None

def handler(event, context):
    told = [(r["eventName"], r["dynamodb"]["Keys"]["id"]["S"], r["dynamodb"].get("NewImage", {}).get("n", {}).get("N")) for r in event["Records"]]
    sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(told))
    if any(id.startswith("bad") for _, id, _ in told):
        raise ValueError("bad item")
"""


class Source:
    def __init__(self, functions, code=TELLS, **mapping):
        self.functions, node = functions, functions.node
        self.dynamodb, self.sqs = node.client("dynamodb"), node.client("sqs")
        self.table = functions.name("table")
        made = self.dynamodb.create_table(
            TableName=self.table,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self.stream = made["TableDescription"]["LatestStreamArn"]
        self.url, _ = functions.queue()
        role = functions.role(allow("logs:*"), allow("sqs:*"), allow("sns:*"), allow("dynamodb:*"))
        self.function = functions.create(code, Role=role, Environment={"Variables": {"QUEUE": self.url}}, Timeout=10)
        mapping.setdefault("StartingPosition", "TRIM_HORIZON")
        self.mapping = functions.lambda_.create_event_source_mapping(
            EventSourceArn=self.stream, FunctionName=self.function, **mapping
        )

    def put(self, id, n=0):
        self.dynamodb.put_item(TableName=self.table, Item={"id": {"S": id}, "n": {"N": str(n)}})

    def told(self, count=1, seconds=20):
        return [json.loads(message["Body"]) for message in received(self.sqs, self.url, count, seconds)]


def test_a_change_reaches_the_function_within_a_second_or_so(functions):
    source = Source(functions)
    assert source.mapping["StartingPosition"] == "TRIM_HORIZON" and source.mapping["BatchSize"] == 100
    source.put("a", 1)
    assert source.told() == [[["INSERT", "a", "1"]]]
    source.put("a", 2)
    assert source.told() == [[["MODIFY", "a", "2"]]]
    source.dynamodb.delete_item(TableName=source.table, Key={"id": {"S": "a"}})
    assert source.told() == [[["REMOVE", "a", None]]]


def test_records_come_in_order_and_only_those_that_pass_the_filter(functions):
    pattern = json.dumps({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"n": {"N": [{"exists": True}]}}}})
    source = Source(functions, BatchSize=5, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    for number in range(12):
        source.put(f"i{number:02}", number)
    source.put("i00", 99)
    told = []
    eventually(lambda: told.extend(sum(source.told(1, 2), [])) or len(told) >= 12, 30)
    assert [id for _, id, _ in told] == [f"i{number:02}" for number in range(12)]
    assert {event for event, _, _ in told} == {"INSERT"}


def test_a_batch_is_halved_until_the_bad_record_is_alone_and_given_up(functions):
    sns = functions.node.client("sns")
    topic = sns.create_topic(Name=functions.name("failed"))["TopicArn"]
    url, arn = functions.queue()
    open_policy = document({"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn})
    functions.node.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": open_policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    source = Source(
        functions,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=0,
        MaximumBatchingWindowInSeconds=2,
        BatchSize=4,
        DestinationConfig={"OnFailure": {"Destination": topic}},
    )
    for id in ("a", "bad", "c", "d"):
        source.put(id)
    (failed,) = received(functions.node.client("sqs"), url, 1, 40)
    record = json.loads(failed["Body"])
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["DDBStreamBatchInfo"]["batchSize"] == 1 and record["DDBStreamBatchInfo"]["streamArn"] == source.stream
    batches = [[id for _, id, _ in batch] for batch in source.told(5)]
    assert batches == [["a", "bad", "c", "d"], ["a", "bad"], ["a"], ["bad"], ["c", "d"]]


REPORTS = """
import json, os, boto3
sqs, tries = boto3.client("sqs"), {}

def handler(event, context):
    ids = [r["dynamodb"]["Keys"]["id"]["S"] for r in event["Records"]]
    sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(ids))
    failed = []
    for record in event["Records"]:
        id = record["dynamodb"]["Keys"]["id"]["S"]
        tries[id] = tries.get(id, 0) + 1
        if id == "b" and tries[id] == 1:
            failed.append({"itemIdentifier": record["dynamodb"]["SequenceNumber"]})
    return {"batchItemFailures": failed}
"""


def test_a_function_says_where_it_failed(functions):
    source = Source(functions, REPORTS, FunctionResponseTypes=["ReportBatchItemFailures"], MaximumBatchingWindowInSeconds=2, BatchSize=3)
    for id in ("a", "b", "c"):
        source.put(id)
    batches = source.told(2, 30)
    assert batches[0] == ["a", "b", "c"] and batches[1] == ["b", "c"]


COUNTS = """
import json, os, boto3
sqs = boto3.client("sqs")

def handler(event, context):
    state = event["state"]
    state["count"] = state.get("count", 0) + len(event["Records"])
    if event["isFinalInvokeForWindow"]:
        sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps([state["count"], event["window"]]))
    return {"state": state}
"""


def test_a_window_carries_a_state_to_its_end(functions):
    source = Source(functions, COUNTS, TumblingWindowInSeconds=60, BatchSize=2)
    for number in range(5):
        source.put(f"i{number}")
    eventually(lambda: True)
    counts = []

    def ask():
        functions.node.advance(15)
        counts.extend(count for count, _ in source.told(1, 1))
        return sum(counts) == 5

    eventually(ask, 40)


def test_what_is_wrong_with_a_mapping_is_said(functions):
    source = Source(functions)
    create, update = functions.lambda_.create_event_source_mapping, functions.lambda_.update_event_source_mapping
    base = {"EventSourceArn": source.stream, "FunctionName": source.function}
    assert refused(create, **base, StartingPosition="LATEST")[0] == "ResourceConflictException"
    other = functions.create(Role=functions.role(allow("logs:*")))
    cases = [
        ({"FunctionName": source.function}, "StartingPosition is required"),
        ({"FunctionName": source.function, "StartingPosition": "LATEST", "BatchSize": 1_001}, "between 1 and 1000"),
        ({"FunctionName": source.function, "StartingPosition": "LATEST", "MaximumRecordAgeInSeconds": 59}, "MaximumRecordAgeInSeconds"),
        ({"FunctionName": source.function, "StartingPosition": "LATEST", "ScalingConfig": {"MaximumConcurrency": 2}}, "ScalingConfig"),
        ({"FunctionName": other, "StartingPosition": "LATEST"}, "Cannot access stream"),
    ]
    for arguments, part in cases:
        code, message = refused(create, EventSourceArn=source.stream, **arguments)
        assert code == "InvalidParameterValueException" and part in message, (arguments, code, message)
    gone = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/none/stream/2026-01-01T00:00:00.000"
    assert "Stream not found" in refused(create, EventSourceArn=gone, FunctionName=source.function, StartingPosition="LATEST")[1]
    uuid = source.mapping["UUID"]
    shown = update(UUID=uuid, MaximumRetryAttempts=3, BisectBatchOnFunctionError=True, ParallelizationFactor=2)
    assert (shown["MaximumRetryAttempts"], shown["BisectBatchOnFunctionError"], shown["ParallelizationFactor"]) == (3, True, 2)
    functions.lambda_.delete_event_source_mapping(UUID=uuid)


def test_a_topic_is_a_destination_of_an_asynchronous_invocation(functions):
    sns, sqs = functions.node.client("sns"), functions.node.client("sqs")
    topic = sns.create_topic(Name=functions.name("done"))["TopicArn"]
    url, arn = functions.queue()
    open_policy = document({"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": open_policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    function = functions.create(Role=functions.role(allow("logs:*"), allow("sns:Publish")))
    functions.lambda_.put_function_event_invoke_config(
        FunctionName=function, DestinationConfig={"OnSuccess": {"Destination": topic}}
    )
    functions.lambda_.invoke(FunctionName=function, InvocationType="Event", Payload=b'{"a": 1}')
    (told,) = received(sqs, url)
    assert json.loads(told["Body"])["requestContext"]["condition"] == "Success"
