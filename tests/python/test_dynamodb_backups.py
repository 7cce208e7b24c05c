"""DynamoDB: on-demand backups, and tables made from them."""

import pytest
from conftest import error_code
from dynamo import make_table, n, refused, s, wait_until


@pytest.fixture
def dynamodb(client):
    return client("dynamodb")


def back_up(dynamodb, table, name="backup"):
    arn = dynamodb.create_backup(TableName=table, BackupName=name)["BackupDetails"]["BackupArn"]
    status = lambda: dynamodb.describe_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]["BackupStatus"]  # noqa: E731
    wait_until(lambda: status() == "AVAILABLE")
    return arn


def test_a_backup_outlives_its_table_and_becomes_a_new_one(dynamodb):
    table = make_table(dynamodb, sort=("sk", "N"), indexes=[("by-owner", "owner", None)], local=[("by-kind", "kind")])
    for number in range(150):
        item = {"pk": s("a"), "sk": n(number), "kind": s(number % 7), "owner": s(f"o{number % 3}"), "x": s("x" * 2_000)}
        dynamodb.put_item(TableName=table, Item=item)
    arn = back_up(dynamodb, table)
    dynamodb.put_item(TableName=table, Item={"pk": s("a"), "sk": n(1_000)})
    assert refused(dynamodb.restore_table_from_backup, TargetTableName=table, BackupArn=arn) == ("TableAlreadyExistsException", f"Table already exists: {table}")  # fmt: skip
    dynamodb.delete_table(TableName=table)
    described = dynamodb.describe_backup(BackupArn=arn)["BackupDescription"]["SourceTableDetails"]
    assert (described["TableName"], described["ItemCount"]) == (table, 150)

    for target in (table, "restored"):
        made = dynamodb.restore_table_from_backup(TargetTableName=target, BackupArn=arn)["TableDescription"]
        assert made["TableStatus"] == "CREATING" and made["RestoreSummary"]["SourceBackupArn"] == arn
        status = lambda: dynamodb.describe_table(TableName=target)["Table"]["TableStatus"]  # noqa: B023, E731
        wait_until(lambda: status() == "ACTIVE")
        partition = dict(TableName=target, KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": s("a")})
        assert dynamodb.query(**partition, Select="COUNT")["Count"] == 150
        assert dynamodb.query(**partition, IndexName="by-kind", Select="COUNT")["Count"] == 150
        owner = dict(KeyConditionExpression="#o = :o", ExpressionAttributeNames={"#o": "owner"}, ExpressionAttributeValues={":o": s("o1")})  # fmt: skip
        assert dynamodb.query(TableName=target, IndexName="by-owner", **owner)["Count"] == 50
        dynamodb.put_item(TableName=target, Item={"pk": s("a"), "sk": n(2_000)})
    assert dynamodb.delete_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]["BackupStatus"] == "DELETED"
    assert error_code(dynamodb.describe_backup, BackupArn=arn) == "BackupNotFoundException"
    assert dynamodb.scan(TableName="restored", Select="COUNT")["Count"] == 151


def test_backups_are_listed_by_table_and_age(dynamodb):
    first, second = make_table(dynamodb), make_table(dynamodb)
    arns = [back_up(dynamodb, first, name=f"one-{number}") for number in range(3)]
    back_up(dynamodb, second)
    listed = dynamodb.list_backups(TableName=first)["BackupSummaries"]
    assert sorted(one["BackupArn"] for one in listed) == sorted(arns)
    page = dynamodb.list_backups(TableName=first, Limit=2)
    rest = dynamodb.list_backups(TableName=first, ExclusiveStartBackupArn=page["LastEvaluatedBackupArn"])
    assert len(page["BackupSummaries"]) == 2 and len(rest["BackupSummaries"]) == 1
    assert dynamodb.list_backups(TableName=first, BackupType="SYSTEM")["BackupSummaries"] == []
    assert dynamodb.list_backups(TableName=first, TimeRangeUpperBound=1_000)["BackupSummaries"] == []


def test_backups_need_what_they_are_made_of_and_permission(dynamodb, denied):
    table = make_table(dynamodb)
    arn = back_up(dynamodb, table)
    assert error_code(dynamodb.create_backup, TableName="nowhere", BackupName="backup") == "TableNotFoundException"
    assert error_code(dynamodb.restore_table_from_backup, TargetTableName="x-1", BackupArn=arn + "0") == "BackupNotFoundException"  # fmt: skip
    assert error_code(dynamodb.delete_backup, BackupArn=arn + "0") == "BackupNotFoundException"
    assert error_code(dynamodb.list_backups, ExclusiveStartBackupArn="x" * 40) == "ValidationException"
    user = denied("dynamodb")
    calls = [
        (user.create_backup, dict(TableName=table, BackupName="backup")),
        (user.describe_backup, dict(BackupArn=arn)),
        (user.delete_backup, dict(BackupArn=arn)),
        (user.list_backups, {}),
        (user.restore_table_from_backup, dict(TargetTableName="x-1", BackupArn=arn)),
    ]
    for call, arguments in calls:
        assert error_code(call, **arguments) == "AccessDeniedException", call.__name__
