"""DynamoDB: items, queries, batches, transactions."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import boto3
import pytest
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError
from conftest import error_code
from dynamo import invalid, make_table, n, refused, s
from harness import Node


@pytest.fixture
def dynamodb(client):
    return client("dynamodb")


@pytest.fixture
def resource(node):
    return boto3.resource("dynamodb", endpoint_url=node.endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")  # fmt: skip


def test_boto3s_resources_work_as_they_do_on_aws(resource):
    table = resource.create_table(
        TableName="music",
        KeySchema=[{"AttributeName": "Artist", "KeyType": "HASH"}, {"AttributeName": "SongTitle", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": "Artist", "AttributeType": "S"}, {"AttributeName": "SongTitle", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )  # fmt: skip
    table.wait_until_exists()
    table = resource.Table("music")
    with table.batch_writer() as batch:
        for number in range(30):
            batch.put_item(Item={"Artist": f"a{number % 2}", "SongTitle": f"s{number:02}", "Year": 1990 + number})
    response = table.query(KeyConditionExpression=Key("Artist").eq("a1"))
    assert [item["SongTitle"] for item in response["Items"]] == [f"s{number:02}" for number in range(1, 30, 2)]
    response = table.query(
        KeyConditionExpression=Key("Artist").eq("a1") & Key("SongTitle").between("s05", "s11"),
        FilterExpression=Attr("Year").gt(1996),
        ScanIndexForward=False,
    )
    assert [item["SongTitle"] for item in response["Items"]] == ["s11", "s09", "s07"]
    assert (response["Count"], response["ScannedCount"]) == (3, 4)
    everything = {
        "Artist": "types", "SongTitle": "all", "n": Decimal("1234567890123456789012345678901234.5678"), "b": b"\x00\xff", "t": True,
        "none": None, "l": ["x", 1, {"y": []}], "m": {"k": {"k": "v"}}, "ss": {"a", "b"}, "ns": {1, 2}, "bs": {b"x"}, "empty": "",
    }  # fmt: skip
    table.put_item(Item=everything)
    got = table.get_item(Key={"Artist": "types", "SongTitle": "all"})["Item"]
    got["b"], got["bs"] = bytes(got["b"]), {bytes(value) for value in got["bs"]}
    assert got == everything


def test_what_is_written_is_read_in_the_next_call(dynamodb):
    table = make_table(dynamodb, sort=("sk", "N"))
    item = {"pk": s("a"), "sk": n(1), "x": s("1")}
    assert "Attributes" not in dynamodb.put_item(TableName=table, Item=item, ReturnValues="ALL_OLD")
    assert dynamodb.put_item(TableName=table, Item={**item, "x": s("2")}, ReturnValues="ALL_OLD")["Attributes"] == item
    key = {"pk": s("a"), "sk": n("1.0")}
    assert dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]["x"] == s("2")
    assert dynamodb.get_item(TableName=table, Key=key, ProjectionExpression="x")["Item"] == {"x": s("2")}
    assert dynamodb.get_item(TableName=table, Key=key, AttributesToGet=["pk"])["Item"] == {"pk": s("a")}
    assert dynamodb.delete_item(TableName=table, Key=key, ReturnValues="ALL_OLD")["Attributes"]["x"] == s("2")
    assert "Item" not in dynamodb.get_item(TableName=table, Key=key)


def test_updates_show_what_was_asked_for(dynamodb):
    table = make_table(dynamodb)
    update = lambda expression, values, wanted: dynamodb.update_item(TableName=table, Key={"pk": s("a")}, UpdateExpression=expression, ExpressionAttributeValues=values, ReturnValues=wanted).get("Attributes")  # noqa: E731  # fmt: skip
    assert update("SET m = :m, c = :one", {":m": {"M": {"x": n(1), "y": n(2)}}, ":one": n(1)}, "ALL_NEW")["pk"] == s("a")
    assert update("SET m.x = m.x + :d ADD c :d", {":d": n(5)}, "UPDATED_NEW") == {"m": {"M": {"x": n(6)}}, "c": n(6)}
    assert update("SET c = c + :d", {":d": n(1)}, "UPDATED_OLD") == {"c": n(6)}
    assert dynamodb.update_item(TableName=table, Key={"pk": s("a")}, UpdateExpression="REMOVE m.x", ReturnValues="ALL_NEW")["Attributes"]["m"] == {"M": {"y": n(2)}}  # fmt: skip
    legacy = dynamodb.update_item(TableName=table, Key={"pk": s("a")}, AttributeUpdates={"c": {"Action": "ADD", "Value": n(1)}}, ReturnValues="UPDATED_NEW")  # fmt: skip
    assert legacy["Attributes"] == {"c": n(8)}


def test_conditions_decide(dynamodb):
    table = make_table(dynamodb)
    put = dict(TableName=table, Item={"pk": s("a"), "v": n(1)})
    dynamodb.put_item(**put, ConditionExpression="attribute_not_exists(pk)")
    code, message = refused(dynamodb.put_item, **put, ConditionExpression="attribute_not_exists(pk)")
    assert (code, message) == ("ConditionalCheckFailedException", "The conditional request failed")
    with pytest.raises(ClientError) as caught:
        dynamodb.update_item(TableName=table, Key={"pk": s("a")}, UpdateExpression="SET v = :n", ConditionExpression="v > :n", ExpressionAttributeValues={":n": n(5)}, ReturnValuesOnConditionCheckFailure="ALL_OLD")  # fmt: skip
    assert caught.value.response["Item"] == {"pk": s("a"), "v": n(1)}
    assert error_code(dynamodb.delete_item, TableName=table, Key={"pk": s("a")}, Expected={"v": {"Value": n(2)}}) == "ConditionalCheckFailedException"  # fmt: skip
    dynamodb.delete_item(TableName=table, Key={"pk": s("a")}, Expected={"v": {"Value": n(1)}})


def test_faulty_requests_are_refused_in_awss_words(dynamodb):
    table = make_table(dynamodb, sort=("sk", "N"), indexes=[("by-x", "x", None)])
    key, item = {"pk": s("a"), "sk": n(1)}, {"pk": s("a"), "sk": n(1)}
    one, values = "One or more parameter values were invalid: ", {":v": n(1)}
    cases = [
        (dynamodb.put_item, dict(Item={"pk": s("a")}), one + "Missing the key sk in the item"),
        (dynamodb.put_item, dict(Item={"pk": s("a"), "sk": s("1")}), one + "Type mismatch for key sk expected: N actual: S"),
        (dynamodb.put_item, dict(Item={"pk": s(""), "sk": n(1)}), "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: pk"),
        (dynamodb.put_item, dict(Item={**item, "x": n(1)}), one + "Type mismatch for Index Key x Expected: S Actual: N IndexName: by-x"),
        (dynamodb.put_item, dict(Item={**item, "big": s("x" * 410_000)}), "Item size has exceeded the maximum allowed size"),
        (dynamodb.put_item, dict(Item={**item, "e": {"SS": []}}), one + "An string set  may not be empty"),
        (dynamodb.put_item, dict(Item=item, ReturnValues="ALL_NEW"), "ReturnValues can only be ALL_OLD or NONE"),
        (dynamodb.put_item, dict(Item=item, ExpressionAttributeValues=values), "ExpressionAttributeValues can only be specified when using expressions: ConditionExpression is null"),
        (dynamodb.put_item, dict(Item=item, ConditionExpression="a = :x", ExpressionAttributeValues=values), "Invalid ConditionExpression: An expression attribute value used in expression is not defined; attribute value: :x"),
        (dynamodb.put_item, dict(Item=item, ConditionExpression="a = :v", Expected={"a": {"Exists": False}}, ExpressionAttributeValues=values), "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {Expected} Expression parameters: {ConditionExpression}"),
        (dynamodb.get_item, dict(Key={"pk": s("a")}), "The provided key element does not match the schema"),
        (dynamodb.get_item, dict(Key=key, ExpressionAttributeNames={"#a": "a"}), "ExpressionAttributeNames can only be specified when using expressions"),
        (dynamodb.get_item, dict(Key=key, ProjectionExpression="a", ExpressionAttributeNames={"#a": "a"}), "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a}"),
        (dynamodb.update_item, dict(Key=key, UpdateExpression="SET sk = :v", ExpressionAttributeValues=values), one + "Cannot update attribute sk. This attribute is part of the key"),
        (dynamodb.update_item, dict(Key=key, UpdateExpression="SET a = b"), "The provided expression refers to an attribute that does not exist in the item"),
        (dynamodb.delete_item, dict(Key={"pk": n(1), "sk": n(1)}), "The provided key element does not match the schema"),
        (dynamodb.query, {}, "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."),
        (dynamodb.query, dict(KeyConditionExpression="sk = :v", ExpressionAttributeValues=values), "Query condition missed key schema element: pk"),
        (dynamodb.query, dict(KeyConditionExpression="pk = :v", ExpressionAttributeValues=values), one + "Condition parameter type does not match schema type"),
        (dynamodb.query, dict(IndexName="nope", KeyConditionExpression="pk = :v", ExpressionAttributeValues=values), "The table does not have the specified index: nope"),
        (dynamodb.query, dict(IndexName="by-x", ConsistentRead=True, KeyConditionExpression="x = :v", ExpressionAttributeValues={":v": s("a")}), "Consistent reads are not supported on global secondary indexes"),
        (dynamodb.query, dict(KeyConditionExpression="pk = :v", FilterExpression="sk > :n", ExpressionAttributeValues={":v": s("a"), ":n": n(1)}), "Filter Expression can only contain non-primary key attributes: Primary key attribute: sk"),
        (dynamodb.query, dict(Select="COUNT", ProjectionExpression="a", KeyConditionExpression="pk = :v", ExpressionAttributeValues={":v": s("a")}), "Cannot specify the ProjectionExpression when choosing to get only the Count"),
        (dynamodb.scan, dict(Segment=0), "The TotalSegments parameter is required but was not present in the request when Segment parameter is present"),
        (dynamodb.scan, dict(ExclusiveStartKey={"pk": s("a")}), "The provided starting key is invalid: The provided key element does not match the schema"),
    ]  # fmt: skip
    for call, arguments, expected in cases:
        assert invalid(call, TableName=table, **arguments) == expected


def test_a_query_is_ordered_paged_and_bounded(dynamodb):
    table = make_table(dynamodb, sort=("sk", "N"))
    numbers = [-100, -2.5, -1, 0, 0.001, 1, 2, 10, 99, 1e20]
    for number in numbers:
        dynamodb.put_item(TableName=table, Item={"pk": s("a"), "sk": n(number)})
    everything = dict(TableName=table, KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": s("a")})
    order = lambda answer: [float(item["sk"]["N"]) for item in answer["Items"]]  # noqa: E731
    assert order(dynamodb.query(**everything)) == numbers
    assert order(dynamodb.query(**everything, ScanIndexForward=False)) == numbers[::-1]
    for forward in (True, False):
        pages = dynamodb.get_paginator("query").paginate(**everything, ScanIndexForward=forward, PaginationConfig={"PageSize": 3})  # fmt: skip
        assert [number for page in pages for number in order(page)] == (numbers if forward else numbers[::-1])
    cases = [("sk = :a", [1]), ("sk < :a", numbers[:5]), ("sk <= :a", numbers[:6]), ("sk > :a", numbers[6:]), ("sk >= :a", numbers[5:]), ("sk BETWEEN :a AND :b", [1, 2, 10])]  # fmt: skip
    for condition, expected in cases:
        values = {":p": s("a"), ":a": n(1), **({":b": n(10)} if ":b" in condition else {})}
        assert order(dynamodb.query(TableName=table, KeyConditionExpression=f"pk = :p AND {condition}", ExpressionAttributeValues=values)) == expected, condition  # fmt: skip
    counted = dynamodb.query(**everything, Select="COUNT")
    assert counted["Count"] == 10 and "Items" not in counted
    legacy = dynamodb.query(TableName=table, KeyConditions={"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [s("a")]}, "sk": {"ComparisonOperator": "GT", "AttributeValueList": [n(10)]}})  # fmt: skip
    assert legacy["Count"] == 2


def test_a_page_ends_after_a_megabyte(dynamodb):
    table = make_table(dynamodb, sort=("sk", "N"))
    for number in range(5):
        dynamodb.put_item(TableName=table, Item={"pk": s("a"), "sk": n(number), "x": s("x" * 300_000)})
    query = dict(TableName=table, KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": s("a")}, ReturnConsumedCapacity="TOTAL")  # fmt: skip
    first = dynamodb.query(**query)
    assert first["Count"] == 4 and first["LastEvaluatedKey"] == {"pk": s("a"), "sk": n(3)}
    assert first["ConsumedCapacity"]["CapacityUnits"] == 146.5
    second = dynamodb.query(**query, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert second["Count"] == 1 and "LastEvaluatedKey" not in second


def test_indexes_show_what_they_keep(dynamodb):
    include = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["seen"]}
    table = make_table(dynamodb, sort=("sk", "S"), indexes=[("by-owner", "owner", "at", include)], local=[("by-kind", "kind", "KEYS_ONLY")])  # fmt: skip
    for number in range(4):
        item = {"pk": s("p"), "sk": s(number), "kind": s(9 - number), "owner": s("o"), "at": s(number), "seen": n(1), "unseen": n(2)}
        dynamodb.put_item(TableName=table, Item=item)
    dynamodb.put_item(TableName=table, Item={"pk": s("p"), "sk": s("sparse")})
    by_owner = dict(TableName=table, IndexName="by-owner", KeyConditionExpression="#o = :o", ExpressionAttributeNames={"#o": "owner"}, ExpressionAttributeValues={":o": s("o")})  # fmt: skip
    found = dynamodb.query(**by_owner)["Items"]
    assert len(found) == 4 and set(found[0]) == {"pk", "sk", "owner", "at", "seen"}
    assert "does not project" in invalid(dynamodb.query, **by_owner, ProjectionExpression="unseen")
    by_kind = dict(TableName=table, IndexName="by-kind", KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": s("p")})  # fmt: skip
    assert [item["sk"]["S"] for item in dynamodb.query(**by_kind)["Items"]] == ["3", "2", "1", "0"]
    fetched = dynamodb.query(**by_kind, ProjectionExpression="unseen", ReturnConsumedCapacity="INDEXES")
    assert fetched["Items"][0] == {"unseen": n(2)} and fetched["ConsumedCapacity"]["Table"]["CapacityUnits"] == 2.0
    pages = dynamodb.get_paginator("query").paginate(**by_owner, PaginationConfig={"PageSize": 1})
    assert [item["sk"]["S"] for page in pages for item in page["Items"]] == ["0", "1", "2", "3"]
    dynamodb.update_item(TableName=table, Key={"pk": s("p"), "sk": s("1")}, UpdateExpression="SET #o = :n", ExpressionAttributeNames={"#o": "owner"}, ExpressionAttributeValues={":n": s("other")})  # fmt: skip
    dynamodb.delete_item(TableName=table, Key={"pk": s("p"), "sk": s("2")})
    assert [item["sk"]["S"] for item in dynamodb.query(**by_owner)["Items"]] == ["0", "3"]
    assert dynamodb.scan(TableName=table, IndexName="by-owner")["Count"] == 3


def test_writes_tell_how_large_their_collections_are(dynamodb):
    table = make_table(dynamodb, sort=("sk", "S"), local=[("by-kind", "kind")])
    item = lambda pk, sk: {"pk": s(pk), "sk": s(sk), "kind": s("k")}  # noqa: E731
    wanted = dict(TableName=table, ReturnItemCollectionMetrics="SIZE")
    expected = lambda pk: {"ItemCollectionKey": {"pk": s(pk)}, "SizeEstimateRangeGB": [0.0, 1.0]}  # noqa: E731
    answers = [
        dynamodb.put_item(**wanted, Item=item("a", 1)),
        dynamodb.update_item(**wanted, Key={"pk": s("a"), "sk": s(2)}),
        dynamodb.delete_item(**wanted, Key={"pk": s("a"), "sk": s(2)}),
    ]
    assert [answer["ItemCollectionMetrics"] for answer in answers] == [expected("a")] * 3
    puts = [{"PutRequest": {"Item": item(pk, 3)}} for pk in "ab"]
    batch = dynamodb.batch_write_item(RequestItems={table: puts}, ReturnItemCollectionMetrics="SIZE")
    assert batch["ItemCollectionMetrics"] == {table: [expected("a"), expected("b")]}
    actions = [{"Put": {"TableName": table, "Item": item(pk, 4)}} for pk in "cd"]
    made = dynamodb.transact_write_items(TransactItems=actions, ReturnItemCollectionMetrics="SIZE")
    assert made["ItemCollectionMetrics"] == {table: [expected("c"), expected("d")]}
    # Only who asks is told, and only tables with local indexes have collections.
    assert "ItemCollectionMetrics" not in dynamodb.put_item(TableName=table, Item=item("a", 1))
    plain = make_table(dynamodb, indexes=[("by-kind", "kind", None)])
    answer = dynamodb.put_item(TableName=plain, Item={"pk": s("a")}, ReturnItemCollectionMetrics="SIZE")
    assert "ItemCollectionMetrics" not in answer
    assert "returnItemCollectionMetrics" in invalid(dynamodb.put_item, TableName=table, Item=item("a", 1), ReturnItemCollectionMetrics="ALL")  # fmt: skip


def test_segments_of_a_scan_hold_everything_once(dynamodb):
    table = make_table(dynamodb)
    for number in range(60):
        dynamodb.put_item(TableName=table, Item={"pk": s(number), "v": n(number)})
    seen = []
    for segment in range(4):
        pages = dynamodb.get_paginator("scan").paginate(TableName=table, Segment=segment, TotalSegments=4, PaginationConfig={"PageSize": 7})  # fmt: skip
        seen += [item["pk"]["S"] for page in pages for item in page["Items"]]
    assert sorted(seen, key=int) == [str(number) for number in range(60)]
    filtered = dynamodb.scan(TableName=table, FilterExpression="v >= :v", ExpressionAttributeValues={":v": n(50)})
    assert (filtered["Count"], filtered["ScannedCount"]) == (10, 60)
    assert dynamodb.scan(TableName=table, ScanFilter={"v": {"ComparisonOperator": "LT", "AttributeValueList": [n(3)]}})["Count"] == 3  # fmt: skip


def test_capacity_is_counted_as_aws_does(dynamodb):
    table = make_table(dynamodb, indexes=[("by-x", "x", None)])
    key = {"pk": s("a")}
    put = dynamodb.put_item(TableName=table, Item={**key, "x": s("1"), "body": s("b" * 8_000)}, ReturnConsumedCapacity="INDEXES")  # fmt: skip
    consumed = put["ConsumedCapacity"]
    assert (consumed["CapacityUnits"], consumed["Table"]["CapacityUnits"]) == (16.0, 8.0)
    assert consumed["GlobalSecondaryIndexes"]["by-x"]["CapacityUnits"] == 8.0
    units = lambda **arguments: dynamodb.get_item(TableName=table, Key=key, ReturnConsumedCapacity="TOTAL", **arguments)["ConsumedCapacity"]["CapacityUnits"]  # noqa: E731  # fmt: skip
    assert (units(), units(ConsistentRead=True)) == (1.0, 2.0)
    got = dynamodb.transact_get_items(TransactItems=[{"Get": {"TableName": table, "Key": key}}], ReturnConsumedCapacity="TOTAL")  # fmt: skip
    assert got["ConsumedCapacity"][0]["ReadCapacityUnits"] == 4.0


def test_batches_do_many_things_at_once(dynamodb):
    first, second = make_table(dynamodb), make_table(dynamodb)
    put = lambda pk: {"PutRequest": {"Item": {"pk": s(pk)}}}  # noqa: E731
    written = dynamodb.batch_write_item(RequestItems={first: [put("a"), put("b")], second: [put("c")]}, ReturnConsumedCapacity="TOTAL")  # fmt: skip
    assert written["UnprocessedItems"] == {}
    assert sorted(one["CapacityUnits"] for one in written["ConsumedCapacity"]) == [1.0, 2.0]
    got = dynamodb.batch_get_item(RequestItems={first: {"Keys": [{"pk": s("a")}, {"pk": s("missing")}]}, second: {"Keys": [{"pk": s("c")}]}})  # fmt: skip
    assert got["Responses"] == {first: [{"pk": s("a")}], second: [{"pk": s("c")}]} and got["UnprocessedKeys"] == {}
    dynamodb.batch_write_item(RequestItems={first: [{"DeleteRequest": {"Key": {"pk": s("a")}}}]})
    assert dynamodb.scan(TableName=first)["Count"] == 1
    duplicates = "Provided list of item keys contains duplicates"
    assert invalid(dynamodb.batch_write_item, RequestItems={first: [put("a"), put("a")]}) == duplicates
    assert invalid(dynamodb.batch_get_item, RequestItems={first: {"Keys": [{"pk": s("a")}, {"pk": s("a")}]}}) == duplicates
    assert error_code(dynamodb.batch_get_item, RequestItems={"nowhere": {"Keys": [{"pk": s("a")}]}}) == "ResourceNotFoundException"  # fmt: skip


def test_a_transaction_is_all_or_nothing(dynamodb):
    table = make_table(dynamodb)
    dynamodb.put_item(TableName=table, Item={"pk": s("a"), "v": n(1)})
    update = lambda condition: {"Update": {"TableName": table, "Key": {"pk": s("a")}, "UpdateExpression": "SET v = v + :one", "ConditionExpression": condition, "ExpressionAttributeValues": {":one": n(1)}, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}}  # noqa: E731  # fmt: skip
    put = {"Put": {"TableName": table, "Item": {"pk": s("b")}}}
    with pytest.raises(ClientError) as caught:
        dynamodb.transact_write_items(TransactItems=[put, update("v > :one")])
    answer = caught.value.response
    assert answer["Error"]["Code"] == "TransactionCanceledException"
    assert answer["Error"]["Message"] == "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]"  # fmt: skip
    assert [reason["Code"] for reason in answer["CancellationReasons"]] == ["None", "ConditionalCheckFailed"]
    assert answer["CancellationReasons"][1]["Item"] == {"pk": s("a"), "v": n(1)}
    assert dynamodb.scan(TableName=table)["Count"] == 1
    token = dict(ClientRequestToken="once")
    for _ in range(2):
        dynamodb.transact_write_items(TransactItems=[put, update("v = :one")], **token)
    assert error_code(dynamodb.transact_write_items, TransactItems=[put], **token) == "IdempotentParameterMismatchException"
    got = dynamodb.transact_get_items(TransactItems=[{"Get": {"TableName": table, "Key": {"pk": s(pk)}}} for pk in "abz"])
    assert got["Responses"] == [{"Item": {"pk": s("a"), "v": n(2)}}, {"Item": {"pk": s("b")}}, {}]
    twice = "Transaction request cannot include multiple operations on one item"
    assert invalid(dynamodb.transact_write_items, TransactItems=[put, put]) == twice
    get = {"Get": {"TableName": table, "Key": {"pk": s("a")}}}
    assert invalid(dynamodb.transact_get_items, TransactItems=[get, get]) == twice
    check = {"ConditionCheck": {"TableName": table, "Key": {"pk": s("z")}, "ConditionExpression": "attribute_not_exists(pk)"}}
    dynamodb.transact_write_items(TransactItems=[check, {"Delete": {"TableName": table, "Key": {"pk": s("b")}}}])
    assert dynamodb.scan(TableName=table)["Count"] == 1


def test_concurrent_increments_are_all_counted(dynamodb):
    table = make_table(dynamodb)

    def increment(_):
        dynamodb.update_item(TableName=table, Key={"pk": s("counter")}, UpdateExpression="ADD c :one", ExpressionAttributeValues={":one": n(1)})  # fmt: skip

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(increment, range(80)))
    assert dynamodb.get_item(TableName=table, Key={"pk": s("counter")})["Item"]["c"] == n(80)


def test_acknowledged_items_survive_kill(durable_node):
    client = durable_node.client("dynamodb")
    table = make_table(client, indexes=[("by-x", "x", None)])
    for number in range(20):
        client.put_item(TableName=table, Item={"pk": s(number), "x": s("x")})
    durable_node.kill()
    durable_node.start()
    client = durable_node.client("dynamodb")
    query = dict(TableName=table, IndexName="by-x", KeyConditionExpression="x = :x", ExpressionAttributeValues={":x": s("x")})  # fmt: skip
    assert (client.scan(TableName=table)["Count"], client.query(**query)["Count"]) == (20, 20)


def test_provisioned_throughput_is_enforced_where_awss_limits_are(tmp_path):
    node = Node("--limits", "aws")
    try:
        client = node.client("dynamodb")
        node.freeze()
        table = make_table(client, BillingMode="PROVISIONED", ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1})  # fmt: skip
        # It is being created for a while.
        node.advance(6)
        put = dict(TableName=table, Item={"pk": s("a"), "x": s("x" * 99_000)})
        for _ in range(4):
            client.put_item(**put)
        assert error_code(client.put_item, **put) == "ProvisionedThroughputExceededException"
        node.advance(200)
        client.put_item(**put)
        assert client.get_item(TableName=table, Key={"pk": s("a")})["Item"]["pk"] == s("a")
    finally:
        node.stop()


def test_every_operation_on_items_needs_permission(dynamodb, denied):
    user, table = denied("dynamodb"), make_table(dynamodb)
    key = {"pk": s("a")}
    calls = [
        (user.get_item, dict(TableName=table, Key=key)),
        (user.put_item, dict(TableName=table, Item=key)),
        (user.update_item, dict(TableName=table, Key=key)),
        (user.delete_item, dict(TableName=table, Key=key)),
        (user.query, dict(TableName=table, KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": s("a")})),
        (user.scan, dict(TableName=table)),
        (user.batch_get_item, dict(RequestItems={table: {"Keys": [key]}})),
        (user.batch_write_item, dict(RequestItems={table: [{"PutRequest": {"Item": key}}]})),
        (user.transact_get_items, dict(TransactItems=[{"Get": {"TableName": table, "Key": key}}])),
        (user.transact_write_items, dict(TransactItems=[{"Put": {"TableName": table, "Item": key}}])),
    ]
    for call, arguments in calls:
        assert error_code(call, **arguments) == "AccessDeniedException", call.__name__
