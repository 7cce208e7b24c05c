"""DynamoDB: global tables, of both versions."""

import datetime

import pytest
from conftest import error_code
from dynamo import make_table, n, refused, restored_to, s, wait_until

STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}


@pytest.fixture
def regions(client):
    """A client of each of three regions."""
    return {region: client("dynamodb", region=region) for region in ("us-east-1", "eu-west-1", "ap-northeast-1")}


def add_replica(client, table, region, **extra):
    updates = [{"Create": {"RegionName": region, **extra}}]
    return client.update_table(TableName=table, ReplicaUpdates=updates)["TableDescription"]


def records(node, region, table, client):
    streams = node.client("dynamodbstreams", region=region)
    arn = client.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    return streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]


def test_a_new_replica_has_everything_and_all_are_written_from_anywhere(node, regions):
    home, europe, asia = regions.values()
    table = make_table(home, sort=("sk", "N"), indexes=[("by-owner", "owner", None)], StreamSpecification=STREAM)
    for number in range(120):
        home.put_item(TableName=table, Item={"pk": s("p"), "sk": n(number), "owner": s("ann")})
    made = add_replica(home, table, "eu-west-1")
    assert made["TableStatus"] == "UPDATING" and made["GlobalTableVersion"] == "2019.11.21"
    assert made["Replicas"][0]["RegionName"] == "eu-west-1" and made["Replicas"][0]["ReplicaStatus"] == "CREATING"
    restored_to(europe, table)
    add_replica(europe, table, "ap-northeast-1")
    restored_to(asia, table)
    for region, client in regions.items():
        described = client.describe_table(TableName=table)["Table"]
        others = {replica["RegionName"]: replica["ReplicaStatus"] for replica in described["Replicas"]}
        assert others == {other: "ACTIVE" for other in regions if other != region}
        assert described["TableArn"].split(":")[3] == region
        query = dict(KeyConditionExpression="#o = :o", ExpressionAttributeNames={"#o": "owner"}, ExpressionAttributeValues={":o": s("ann")})  # fmt: skip
        assert client.query(TableName=table, IndexName="by-owner", Select="COUNT", **query)["Count"] == 120

    key = {"pk": s("q"), "sk": n(1)}
    for number, client in enumerate(regions.values()):
        client.put_item(TableName=table, Item={**key, "v": n(number), "owner": s("bob")})
        for other in regions.values():
            assert other.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]["v"] == n(number)
    asia.update_item(TableName=table, Key=key, UpdateExpression="ADD v :one", ExpressionAttributeValues={":one": n(1)})
    assert home.get_item(TableName=table, Key=key)["Item"]["v"] == n(3)
    europe.transact_write_items(TransactItems=[{"Delete": {"TableName": table, "Key": key}}])
    assert all("Item" not in client.get_item(TableName=table, Key=key) for client in regions.values())
    seen = [
        [(one["eventName"], one["dynamodb"].get("NewImage", {}).get("v")) for one in records(node, region, table, client)[-5:]]
        for region, client in regions.items()
    ]
    expected = [("INSERT", n(0)), ("MODIFY", n(1)), ("MODIFY", n(2)), ("MODIFY", n(3)), ("REMOVE", None)]
    assert seen == [expected] * 3


def test_settings_that_all_replicas_share_follow(node, regions):
    home, europe, _ = regions.values()
    table = make_table(home, StreamSpecification=STREAM)
    home.put_item(TableName=table, Item={"pk": s("a"), "owner": s("ann"), "until": n(1)})
    add_replica(home, table, "eu-west-1", TableClassOverride="STANDARD_INFREQUENT_ACCESS")
    made = restored_to(europe, table)
    assert made["TableClassSummary"]["TableClass"] == "STANDARD_INFREQUENT_ACCESS"
    index = {
        "IndexName": "by-owner",
        "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    europe.update_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "owner", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[{"Create": index}],
    )
    for client in (home, europe):
        restored_to(client, table)
        assert client.scan(TableName=table, IndexName="by-owner", Select="COUNT")["Count"] == 1
    home.update_table(TableName=table, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-owner"}}])
    assert "GlobalSecondaryIndexes" not in europe.describe_table(TableName=table)["Table"]
    ttl = {"Enabled": True, "AttributeName": "until"}
    home.update_time_to_live(TableName=table, TimeToLiveSpecification=ttl)
    state = lambda: europe.describe_time_to_live(TableName=table)["TimeToLiveDescription"]  # noqa: E731
    wait_until(lambda: state() == {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"})


def test_an_item_that_expires_goes_everywhere_and_one_stream_names_the_service(node, regions):
    home, europe, _ = regions.values()
    table = make_table(home, StreamSpecification=STREAM)
    home.update_time_to_live(TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"})
    add_replica(home, table, "eu-west-1")
    restored_to(europe, table)
    now = int(datetime.datetime.fromisoformat(node.advance(0)["now"]).timestamp())
    europe.put_item(TableName=table, Item={"pk": s("session"), "until": n(now + 7_200)})
    europe.put_item(TableName=table, Item={"pk": s("renewed"), "until": n(now + 90_000)})
    node.advance(7_300)
    wait_until(lambda: "Item" not in home.get_item(TableName=table, Key={"pk": s("session")}))
    assert "Item" not in europe.get_item(TableName=table, Key={"pk": s("session")})
    assert "Item" in home.get_item(TableName=table, Key={"pk": s("renewed")})
    removed = [
        [one for one in records(node, region, table, client) if one["eventName"] == "REMOVE"]
        for region, client in list(regions.items())[:2]
    ]
    assert [len(one) for one in removed] == [1, 1]
    assert sum("userIdentity" in one for (one,) in removed) == 1


def test_replicas_are_taken_away_and_refused_by_reason(node, regions, denied):
    home, europe, asia = regions.values()
    plain = make_table(home)
    assert "streams enabled" in refused(add_replica, client=home, table=plain, region="eu-west-1")[1]
    throughput = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    provisioned = make_table(home, StreamSpecification=STREAM, BillingMode="PROVISIONED", ProvisionedThroughput=throughput)
    assert "Pay-Per-Request" in refused(add_replica, client=home, table=provisioned, region="eu-west-1")[1]
    table = make_table(home, StreamSpecification=STREAM)
    add_replica(home, table, "eu-west-1")
    restored_to(europe, table)
    assert error_code(add_replica, home, table, "eu-west-1") == "ValidationException"
    strong = dict(TableName=table, MultiRegionConsistency="STRONG", ReplicaUpdates=[{"Create": {"RegionName": "ap-northeast-1"}}])  # fmt: skip
    assert "MultiRegionConsistency" in refused(home.update_table, **strong)[1]
    off = dict(TableName=table, StreamSpecification={"StreamEnabled": False})
    assert error_code(home.update_table, **off) == "ValidationException"
    gone = [{"Delete": {"RegionName": "ap-northeast-1"}}]
    assert error_code(home.update_table, TableName=table, ReplicaUpdates=gone) == "ReplicaNotFoundException"
    assert error_code(denied("dynamodb").update_table, TableName=table, ReplicaUpdates=gone) == "AccessDeniedException"
    home.update_table(TableName=table, ReplicaUpdates=[{"Delete": {"RegionName": "eu-west-1"}}])
    assert "Replicas" not in home.describe_table(TableName=table)["Table"]
    assert error_code(europe.describe_table, TableName=table) == "ResourceNotFoundException"
    home.put_item(TableName=table, Item={"pk": s("a")})
    add_replica(home, table, "ap-northeast-1")
    restored_to(asia, table)
    home.delete_table(TableName=table)
    assert "Replicas" not in asia.describe_table(TableName=table)["Table"]
    assert asia.get_item(TableName=table, Key={"pk": s("a")})["Item"] == {"pk": s("a")}


def test_the_legacy_version_joins_empty_tables(node, regions, denied):
    home, europe, asia = regions.values()
    group = [{"RegionName": "us-east-1"}, {"RegionName": "eu-west-1"}]
    table = make_table(home, StreamSpecification=STREAM)
    create = lambda **extra: home.create_global_table(GlobalTableName=table, ReplicationGroup=group, **extra)  # noqa: E731
    assert error_code(create) == "TableNotFoundException"
    definition = dict(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    europe.create_table(**definition)
    assert "streams enabled" in refused(create)[1]
    europe.update_table(TableName=table, StreamSpecification=STREAM)
    made = create()["GlobalTableDescription"]
    assert [one["RegionName"] for one in made["ReplicationGroup"]] == ["us-east-1", "eu-west-1"]
    assert error_code(create) == "GlobalTableAlreadyExistsException"
    europe.put_item(TableName=table, Item={"pk": s("a"), "v": n(1)})
    assert home.get_item(TableName=table, Key={"pk": s("a")})["Item"]["v"] == n(1)
    asia.create_table(**definition, StreamSpecification=STREAM)
    update = lambda change: home.update_global_table(GlobalTableName=table, ReplicaUpdates=[change])  # noqa: E731
    assert len(update({"Create": {"RegionName": "ap-northeast-1"}})["GlobalTableDescription"]["ReplicationGroup"]) == 3
    home.put_item(TableName=table, Item={"pk": s("b"), "v": n(2)})
    assert asia.scan(TableName=table)["Items"] == [{"pk": s("b"), "v": n(2)}]
    update({"Delete": {"RegionName": "eu-west-1"}})
    assert error_code(update, {"Delete": {"RegionName": "eu-west-1"}}) == "ReplicaNotFoundException"
    home.put_item(TableName=table, Item={"pk": s("c"), "v": n(3)})
    assert "Item" not in europe.get_item(TableName=table, Key={"pk": s("c")})
    described = home.describe_global_table(GlobalTableName=table)["GlobalTableDescription"]
    assert (described["GlobalTableStatus"], len(described["ReplicationGroup"])) == ("ACTIVE", 2)
    assert len(home.describe_global_table_settings(GlobalTableName=table)["ReplicaSettings"]) == 2
    names = [one["GlobalTableName"] for one in home.list_global_tables(RegionName="ap-northeast-1")["GlobalTables"]]
    assert table in names
    assert error_code(home.describe_global_table, GlobalTableName="nowhere") == "GlobalTableNotFoundException"
    user = denied("dynamodb")
    for call in (user.describe_global_table, user.describe_global_table_settings):
        assert error_code(call, GlobalTableName=table) == "AccessDeniedException"
    assert error_code(user.list_global_tables) == "AccessDeniedException"
