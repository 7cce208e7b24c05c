"""DynamoDB Streams: records of changes, and who reads them."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import error_code
from dynamo import invalid, make_table, n, refused, s


@pytest.fixture
def dynamodb(client):
    return client("dynamodb")


@pytest.fixture
def streams(client):
    return client("dynamodbstreams")


def streaming_table(dynamodb, view):
    name = make_table(dynamodb, StreamSpecification={"StreamEnabled": True, "StreamViewType": view})
    return name, dynamodb.describe_table(TableName=name)["Table"]["LatestStreamArn"]


def iterator(streams, arn, kind="TRIM_HORIZON", **more):
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    return streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]


def records(streams, arn, **more):
    return streams.get_records(ShardIterator=iterator(streams, arn, **more))["Records"]


def change_thrice(dynamodb, table):
    for version in (1, 2, 2):
        dynamodb.put_item(TableName=table, Item={"pk": s("a"), "v": n(version)})
    dynamodb.delete_item(TableName=table, Key={"pk": s("a")})
    dynamodb.delete_item(TableName=table, Key={"pk": s("a")})


@pytest.mark.parametrize("view", ["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"])
def test_each_change_leaves_a_record_of_its_view(dynamodb, streams, view):
    table, arn = streaming_table(dynamodb, view)
    change_thrice(dynamodb, table)
    found = records(streams, arn)
    assert [record["eventName"] for record in found] == ["INSERT", "MODIFY", "REMOVE"]
    assert all(record["dynamodb"]["Keys"] == {"pk": s("a")} for record in found)
    new = [record["dynamodb"].get("NewImage", {}).get("v", {}).get("N") for record in found]
    old = [record["dynamodb"].get("OldImage", {}).get("v", {}).get("N") for record in found]
    assert new == (["1", "2", None] if "NEW" in view else [None] * 3)
    assert old == ([None, "1", "2"] if "OLD" in view else [None] * 3)
    assert found[0]["eventSource"] == "aws:dynamodb" and found[0]["dynamodb"]["StreamViewType"] == view
    numbers = [record["dynamodb"]["SequenceNumber"] for record in found]
    assert numbers == sorted(numbers) and "userIdentity" not in found[0]


def test_an_iterator_goes_on_where_it_was(dynamodb, streams):
    table, arn = streaming_table(dynamodb, "KEYS_ONLY")
    latest = iterator(streams, arn, kind="LATEST")
    for number in range(5):
        dynamodb.put_item(TableName=table, Item={"pk": s(number)})
    first = streams.get_records(ShardIterator=latest, Limit=2)
    rest = streams.get_records(ShardIterator=first["NextShardIterator"])
    keys = [record["dynamodb"]["Keys"]["pk"]["S"] for record in first["Records"] + rest["Records"]]
    assert keys == ["0", "1", "2", "3", "4"]
    assert streams.get_records(ShardIterator=rest["NextShardIterator"])["Records"] == []
    third = rest["Records"][0]["dynamodb"]["SequenceNumber"]
    assert len(records(streams, arn, kind="AT_SEQUENCE_NUMBER", SequenceNumber=third)) == 3
    assert len(records(streams, arn, kind="AFTER_SEQUENCE_NUMBER", SequenceNumber=third)) == 2


def test_transactions_and_batches_leave_records_too(dynamodb, streams):
    table, arn = streaming_table(dynamodb, "NEW_IMAGE")
    put = lambda pk: {"Item": {"pk": s(pk)}}  # noqa: E731
    dynamodb.transact_write_items(TransactItems=[{"Put": {"TableName": table, **put(pk)}} for pk in "ab"])
    dynamodb.batch_write_item(RequestItems={table: [{"PutRequest": put(pk)} for pk in "cd"]})
    error = error_code(dynamodb.transact_write_items, TransactItems=[{"Put": {"TableName": table, **put("e")}}, {"Put": {"TableName": table, "ConditionExpression": "attribute_not_exists(pk)", **put("a")}}])  # fmt: skip
    assert error == "TransactionCanceledException"
    assert sorted(record["dynamodb"]["Keys"]["pk"]["S"] for record in records(streams, arn)) == ["a", "b", "c", "d"]


def test_a_reader_among_many_writers_misses_no_record(durable_node):
    client, streams = durable_node.client("dynamodb"), durable_node.client("dynamodbstreams")
    table, arn = streaming_table(client, "NEW_IMAGE")
    position = iterator(streams, arn)

    def write(writer):
        for number in range(40):
            client.put_item(TableName=table, Item={"pk": s(f"{writer}"), "v": n(number)})

    seen = []
    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, writer) for writer in range(8)]
        while True:
            were_done = all(writer.done() for writer in writers)
            answer = streams.get_records(ShardIterator=position)
            seen += answer["Records"]
            position = answer["NextShardIterator"]
            if were_done and not answer["Records"]:
                break
    for writer in writers:
        writer.result()
    for writer in range(8):
        own = [record for record in seen if record["dynamodb"]["Keys"]["pk"]["S"] == str(writer)]
        assert [int(record["dynamodb"]["NewImage"]["v"]["N"]) for record in own] == list(range(40))
    assert len({record["dynamodb"]["SequenceNumber"] for record in seen}) == 320


def test_a_stream_is_switched_on_and_off(dynamodb, streams):
    table = make_table(dynamodb)
    on = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    arn = dynamodb.update_table(TableName=table, StreamSpecification=on)["TableDescription"]["LatestStreamArn"]
    assert "already has an enabled stream" in invalid(dynamodb.update_table, TableName=table, StreamSpecification=on)
    dynamodb.put_item(TableName=table, Item={"pk": s("a")})
    dynamodb.update_table(TableName=table, StreamSpecification={"StreamEnabled": False})
    dynamodb.put_item(TableName=table, Item={"pk": s("b")})
    assert streams.describe_stream(StreamArn=arn)["StreamDescription"]["StreamStatus"] == "DISABLED"
    answer = streams.get_records(ShardIterator=iterator(streams, arn))
    assert len(answer["Records"]) == 1 and "NextShardIterator" not in answer
    assert [stream["StreamArn"] for stream in streams.list_streams(TableName=table)["Streams"]] == [arn]


def test_records_and_iterators_do_not_live_for_ever(node, dynamodb, streams):
    table, arn = streaming_table(dynamodb, "KEYS_ONLY")
    dynamodb.put_item(TableName=table, Item={"pk": s("a")})
    old = iterator(streams, arn)
    number = streams.get_records(ShardIterator=old)["Records"][0]["dynamodb"]["SequenceNumber"]
    node.advance(16 * 60)
    assert error_code(streams.get_records, ShardIterator=old) == "ExpiredIteratorException"
    assert len(records(streams, arn)) == 1
    node.advance(24 * 3_600)
    assert records(streams, arn) == []
    code, message = refused(iterator, streams=streams, arn=arn, kind="AT_SEQUENCE_NUMBER", SequenceNumber=number)
    assert (code, message) == ("TrimmedDataAccessException", "The operation attempted to read past the oldest stream record in a shard")  # fmt: skip


def test_what_does_not_exist_is_refused(dynamodb, streams):
    _, arn = streaming_table(dynamodb, "KEYS_ONLY")
    assert error_code(streams.describe_stream, StreamArn=arn + "1") == "ResourceNotFoundException"
    shard = "shardId-00000000000000000000-00000000"
    assert error_code(streams.get_shard_iterator, StreamArn=arn, ShardId=shard, ShardIteratorType="LATEST") == "ResourceNotFoundException"  # fmt: skip
    assert error_code(streams.get_records, ShardIterator="nonsense") == "ValidationException"


def test_every_operation_on_streams_needs_permission(dynamodb, streams, denied):
    user = denied("dynamodbstreams")
    _, arn = streaming_table(dynamodb, "KEYS_ONLY")
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    calls = [
        (user.list_streams, {}),
        (user.describe_stream, dict(StreamArn=arn)),
        (user.get_shard_iterator, dict(StreamArn=arn, ShardId=shard, ShardIteratorType="LATEST")),
        (user.get_records, dict(ShardIterator=iterator(streams, arn))),
    ]
    for call, arguments in calls:
        assert error_code(call, **arguments) == "AccessDeniedException", call.__name__


def test_a_resource_policy_rules_a_stream(dynamodb, streams, denied):
    table, arn = streaming_table(dynamodb, "KEYS_ONLY")
    dynamodb.put_item(TableName=table, Item={"pk": s("a")})
    user, keeper = denied("dynamodbstreams"), denied("dynamodb")
    assert error_code(dynamodb.get_resource_policy, ResourceArn=arn) == "PolicyNotFoundException"
    assert error_code(user.describe_stream, StreamArn=arn) == "AccessDeniedException"
    actions = ["dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream"]
    statement = {"Effect": "Allow", "Principal": "*", "Action": actions, "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    revision = dynamodb.put_resource_policy(ResourceArn=arn, Policy=policy)["RevisionId"]
    assert dynamodb.get_resource_policy(ResourceArn=arn)["Policy"] == policy
    assert len(records(user, arn)) == 1
    assert error_code(user.list_streams) == "AccessDeniedException"
    # It says nothing of the table.
    assert error_code(keeper.scan, TableName=table) == "AccessDeniedException"
    assert error_code(keeper.put_resource_policy, ResourceArn=arn, Policy=policy) == "AccessDeniedException"
    assert error_code(dynamodb.get_resource_policy, ResourceArn=arn[: arn.index("/stream")]) == "PolicyNotFoundException"  # fmt: skip
    other = dict(ResourceArn=arn, ExpectedRevisionId=revision + "0")
    assert error_code(dynamodb.delete_resource_policy, **other) == "PolicyNotFoundException"
    assert invalid(dynamodb.put_resource_policy, ResourceArn=arn, Policy="{}").startswith("Resource-based policy is malformed")  # fmt: skip
    assert error_code(dynamodb.put_resource_policy, ResourceArn=arn + "1", Policy=policy) == "ResourceNotFoundException"
    # A stream outlives its table, and so does its policy.
    dynamodb.delete_table(TableName=table)
    assert user.describe_stream(StreamArn=arn)["StreamDescription"]["StreamStatus"] == "DISABLED"
    assert dynamodb.delete_resource_policy(ResourceArn=arn, ExpectedRevisionId=revision)["RevisionId"] == revision
    assert error_code(user.describe_stream, StreamArn=arn) == "AccessDeniedException"
