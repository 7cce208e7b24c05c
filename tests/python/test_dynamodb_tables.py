"""DynamoDB: tables, their indexes, tags, policies and time to live."""

import json
import time

import pytest
from conftest import error_code
from dynamo import invalid, make_table, n, refused, s


@pytest.fixture
def dynamodb(client):
    return client("dynamodb")


def wait_until(check):
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.02)


def test_a_table_lives_from_its_creation_to_its_deletion(dynamodb):
    name = make_table(dynamodb, sort=("sk", "N"), indexes=[("by-owner", "owner", "sk")], local=[("by-kind", "kind")])
    dynamodb.get_waiter("table_exists").wait(TableName=name)
    table = dynamodb.describe_table(TableName=name)["Table"]
    assert table["TableStatus"] == "ACTIVE"
    assert table["TableArn"] == f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}"
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["by-owner"]
    assert [index["IndexName"] for index in table["LocalSecondaryIndexes"]] == ["by-kind"]
    assert name in dynamodb.list_tables()["TableNames"]
    dynamodb.put_item(TableName=name, Item={"pk": s("a"), "sk": n(1)})
    assert dynamodb.describe_table(TableName=table["TableArn"])["Table"]["ItemCount"] == 1
    assert error_code(dynamodb.create_table, TableName=name, BillingMode="PAY_PER_REQUEST", AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}], KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}]) == "ResourceInUseException"  # fmt: skip
    assert dynamodb.delete_table(TableName=name)["TableDescription"]["TableStatus"] == "DELETING"
    dynamodb.get_waiter("table_not_exists").wait(TableName=name)
    assert refused(dynamodb.describe_table, TableName=name) == ("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")  # fmt: skip
    assert refused(dynamodb.get_item, TableName=name, Key={"pk": s("a")}) == ("ResourceNotFoundException", "Requested resource not found")  # fmt: skip


def test_a_table_made_again_is_empty(dynamodb):
    schema = dict(TableName="again", BillingMode="PAY_PER_REQUEST", AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}], KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}])  # fmt: skip
    dynamodb.create_table(**schema)
    dynamodb.put_item(TableName="again", Item={"pk": s("a")})
    dynamodb.delete_table(TableName="again")
    dynamodb.create_table(**schema)
    assert dynamodb.scan(TableName="again")["Count"] == 0


def test_faulty_definitions_are_refused_in_awss_words(dynamodb):
    hash_key = [{"AttributeName": "pk", "KeyType": "HASH"}]
    text = [{"AttributeName": "pk", "AttributeType": "S"}]
    cases = [
        ({"KeySchema": hash_key, "AttributeDefinitions": text}, "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"),
        ({"KeySchema": hash_key, "AttributeDefinitions": [{"AttributeName": "x", "AttributeType": "S"}], "BillingMode": "PAY_PER_REQUEST"}, "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [pk], AttributeDefinitions: [x]"),
        ({"KeySchema": hash_key, "AttributeDefinitions": text + [{"AttributeName": "x", "AttributeType": "S"}], "BillingMode": "PAY_PER_REQUEST"}, "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions"),
        ({"KeySchema": [{"AttributeName": "pk", "KeyType": "RANGE"}], "AttributeDefinitions": text, "BillingMode": "PAY_PER_REQUEST"}, "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"),
        ({"KeySchema": hash_key, "AttributeDefinitions": text, "BillingMode": "PAY_PER_REQUEST", "StreamSpecification": {"StreamEnabled": True}}, "One or more parameter values were invalid: StreamViewType must be specified when StreamEnabled is true"),
    ]  # fmt: skip
    for arguments, expected in cases:
        assert invalid(dynamodb.create_table, TableName="faulty", **arguments) == expected


def test_what_is_not_there_is_refused_by_name(dynamodb):
    name = make_table(dynamodb)
    with_key = {"Enabled": True, "SSEType": "KMS"}
    assert "KMS" in invalid(dynamodb.update_table, TableName=name, SSESpecification=with_key)
    stream = {"StreamArn": "arn:aws:kinesis:us-east-1:000000000000:stream/x"}
    assert "EnableKinesisStreamingDestination" in refused(
        dynamodb.enable_kinesis_streaming_destination, TableName=name, **stream
    )[1]


def test_settings_of_a_table_are_changed(dynamodb):
    name = make_table(dynamodb)
    assert "At least one of" in invalid(dynamodb.update_table, TableName=name)
    dynamodb.update_table(TableName=name, DeletionProtectionEnabled=True, TableClass="STANDARD_INFREQUENT_ACCESS")
    table = dynamodb.describe_table(TableName=name)["Table"]
    assert table["DeletionProtectionEnabled"] is True
    assert table["TableClassSummary"]["TableClass"] == "STANDARD_INFREQUENT_ACCESS"
    assert "protected against deletion" in invalid(dynamodb.delete_table, TableName=name)
    units = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}
    dynamodb.update_table(TableName=name, BillingMode="PROVISIONED", ProvisionedThroughput=units)
    table = dynamodb.describe_table(TableName=name)["Table"]
    assert table["ProvisionedThroughput"]["WriteCapacityUnits"] == 6
    assert "will not change" in invalid(dynamodb.update_table, TableName=name, ProvisionedThroughput=units)


def test_an_index_added_to_a_table_is_filled(dynamodb):
    name = make_table(dynamodb)
    for number in range(120):
        item = {"pk": s(number), "owner": s(f"o{number % 3}")} if number % 2 else {"pk": s(number)}
        dynamodb.put_item(TableName=name, Item=item)
    dynamodb.update_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "owner", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[{"Create": {"IndexName": "late", "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}], "Projection": {"ProjectionType": "KEYS_ONLY"}}}],
    )  # fmt: skip
    index = lambda: dynamodb.describe_table(TableName=name)["Table"]["GlobalSecondaryIndexes"][0]  # noqa: E731
    wait_until(lambda: index()["IndexStatus"] == "ACTIVE")
    assert index()["ItemCount"] == 60
    found = dynamodb.query(TableName=name, IndexName="late", KeyConditionExpression="#o = :o", ExpressionAttributeNames={"#o": "owner"}, ExpressionAttributeValues={":o": s("o1")})  # fmt: skip
    assert found["Count"] == 20 and set(found["Items"][0]) == {"pk", "owner"}
    dynamodb.update_table(TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "late"}}])
    assert "GlobalSecondaryIndexes" not in dynamodb.describe_table(TableName=name)["Table"]


def test_tags_are_kept(dynamodb):
    name = make_table(dynamodb, Tags=[{"Key": "a", "Value": "1"}])
    arn = dynamodb.describe_table(TableName=name)["Table"]["TableArn"]
    dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    dynamodb.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    assert error_code(dynamodb.list_tags_of_resource, ResourceArn=arn + "x") == "ResourceNotFoundException"
    assert error_code(dynamodb.tag_resource, ResourceArn="arn:x", Tags=[]) == "ValidationException"
    assert error_code(dynamodb.untag_resource, ResourceArn="arn:x", TagKeys=[]) == "ValidationException"


def test_a_resource_policy_rules_a_table(dynamodb, denied):
    name = make_table(dynamodb)
    dynamodb.put_item(TableName=name, Item={"pk": s("a")})
    arn = dynamodb.describe_table(TableName=name)["Table"]["TableArn"]
    assert error_code(dynamodb.get_resource_policy, ResourceArn=arn) == "PolicyNotFoundException"
    user = denied("dynamodb")
    assert error_code(user.get_item, TableName=name, Key={"pk": s("a")}) == "AccessDeniedException"
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "dynamodb:GetItem", "Resource": arn}]}  # fmt: skip
    policy["Statement"][0]["Principal"] = "*"
    revision = dynamodb.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy))["RevisionId"]
    assert dynamodb.get_resource_policy(ResourceArn=arn)["RevisionId"] == revision
    assert user.get_item(TableName=name, Key={"pk": s("a")})["Item"] == {"pk": s("a")}
    assert error_code(user.put_item, TableName=name, Item={"pk": s("b")}) == "AccessDeniedException"
    assert error_code(dynamodb.put_resource_policy, ResourceArn=arn, Policy="{}", ExpectedRevisionId="no") == "ValidationException"  # fmt: skip
    dynamodb.delete_resource_policy(ResourceArn=arn)
    assert error_code(user.get_item, TableName=name, Key={"pk": s("a")}) == "AccessDeniedException"


def test_a_policy_limits_a_user_to_their_own_items(node, dynamodb):
    name = make_table(dynamodb, sort=("sk", "S"))
    iam = node.client("iam")
    iam.create_user(UserName="leading")
    key = iam.create_access_key(UserName="leading")["AccessKey"]
    statement = {
        "Effect": "Allow",
        "Action": ["dynamodb:*"],
        "Resource": "*",
        "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["${aws:username}"]}, "Null": {"dynamodb:LeadingKeys": "false"}},
    }  # fmt: skip
    iam.put_user_policy(UserName="leading", PolicyName="own", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))  # fmt: skip
    user = node.client("dynamodb", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    user.put_item(TableName=name, Item={"pk": s("leading"), "sk": s("1")})
    own = dict(KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": s("leading")})
    assert user.query(TableName=name, **own)["Count"] == 1
    other = dict(KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": s("other")})
    denied = "AccessDeniedException"
    assert error_code(user.query, TableName=name, **other) == denied
    assert error_code(user.put_item, TableName=name, Item={"pk": s("other"), "sk": s("1")}) == denied
    assert error_code(user.scan, TableName=name) == denied
    both = [{"Put": {"TableName": name, "Item": {"pk": s(pk), "sk": s("2")}}} for pk in ("leading", "other")]
    assert error_code(user.transact_write_items, TransactItems=both) == denied


def test_expired_items_go_and_leave_a_record_by_the_service(node, dynamodb):
    name = make_table(dynamodb, StreamSpecification={"StreamEnabled": True, "StreamViewType": "OLD_IMAGE"})
    now = int(time.time())
    dynamodb.put_item(TableName=name, Item={"pk": s("early"), "expires": n(now + 3_000)})
    specification = {"Enabled": True, "AttributeName": "expires"}
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)
    assert invalid(dynamodb.update_time_to_live, TableName=name, TimeToLiveSpecification=specification) == "TimeToLive is already enabled"  # fmt: skip
    status = lambda: dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"]  # noqa: E731
    wait_until(lambda: status() == "ENABLED")
    dynamodb.put_item(TableName=name, Item={"pk": s("session"), "expires": n(now + 7_200)})
    dynamodb.put_item(TableName=name, Item={"pk": s("renewed"), "expires": n(now + 7_200)})
    dynamodb.put_item(TableName=name, Item={"pk": s("ancient"), "expires": n(now - 10 * 365 * 86_400)})
    dynamodb.put_item(TableName=name, Item={"pk": s("text"), "expires": s(now)})
    dynamodb.update_item(TableName=name, Key={"pk": s("renewed")}, UpdateExpression="SET expires = :t", ExpressionAttributeValues={":t": n(now + 20_000)})  # fmt: skip
    left = lambda: {item["pk"]["S"] for item in dynamodb.scan(TableName=name)["Items"]}  # noqa: E731
    node.advance(7_201)
    wait_until(lambda: "session" not in left() and "early" not in left())
    assert left() == {"renewed", "ancient", "text"}
    streams = node.client("dynamodbstreams")
    arn = dynamodb.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    records = streams.get_records(ShardIterator=iterator)["Records"]
    removed = {record["dynamodb"]["Keys"]["pk"]["S"]: record for record in records if record["eventName"] == "REMOVE"}
    assert set(removed) == {"early", "session"}
    identity = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
    assert all(record["userIdentity"] == identity for record in removed.values())


def test_every_operation_on_tables_needs_permission(dynamodb, denied):
    user, name = denied("dynamodb"), make_table(dynamodb)
    arn = dynamodb.describe_table(TableName=name)["Table"]["TableArn"]
    keys = dict(AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}], KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}])  # fmt: skip
    calls = [
        (user.create_table, dict(TableName="denied", BillingMode="PAY_PER_REQUEST", **keys)),
        (user.describe_table, dict(TableName=name)),
        (user.update_table, dict(TableName=name, DeletionProtectionEnabled=True)),
        (user.delete_table, dict(TableName=name)),
        (user.list_tables, {}),
        (user.describe_limits, {}),
        (user.describe_endpoints, {}),
        (user.tag_resource, dict(ResourceArn=arn, Tags=[])),
        (user.untag_resource, dict(ResourceArn=arn, TagKeys=[])),
        (user.list_tags_of_resource, dict(ResourceArn=arn)),
        (user.put_resource_policy, dict(ResourceArn=arn, Policy="{}")),
        (user.get_resource_policy, dict(ResourceArn=arn)),
        (user.delete_resource_policy, dict(ResourceArn=arn)),
        (user.update_time_to_live, dict(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "t"})),
        (user.describe_time_to_live, dict(TableName=name)),
    ]  # fmt: skip
    for call, arguments in calls:
        assert error_code(call, **arguments) == "AccessDeniedException", call.__name__


def test_limits_and_endpoints_are_told(dynamodb):
    assert dynamodb.describe_limits()["TableMaxReadCapacityUnits"] == 40_000
    assert dynamodb.describe_endpoints()["Endpoints"][0]["Address"].startswith("127.0.0.1:")
