"""DynamoDB: point-in-time recovery, and tables restored to a moment."""

import datetime
import random

import pytest
from conftest import error_code
from dynamo import make_table, n, refused, restored_to, s, wait_until


@pytest.fixture
def dynamodb(client):
    return client("dynamodb")


def switch(dynamodb, table, on=True, **extra):
    specification = {"PointInTimeRecoveryEnabled": on, **extra}
    answer = dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=specification)
    return answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]


def window(dynamodb, table):
    described = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    return described["PointInTimeRecoveryDescription"]


def contents(dynamodb, table):
    items = dynamodb.scan(TableName=table)["Items"]
    return {item["pk"]["S"]: item["v"]["N"] for item in items}


def test_recovery_is_switched_on_and_off_and_says_its_window(node, dynamodb):
    table = make_table(dynamodb)
    assert window(dynamodb, table) == {"PointInTimeRecoveryStatus": "DISABLED"}
    on = switch(dynamodb, table)
    assert (on["PointInTimeRecoveryStatus"], on["RecoveryPeriodInDays"]) == ("ENABLED", 35)
    earliest = on["EarliestRestorableDateTime"]
    node.advance(100)
    on = window(dynamodb, table)
    assert on["EarliestRestorableDateTime"] == earliest
    assert 98 <= (on["LatestRestorableDateTime"] - earliest).total_seconds() <= 110
    assert switch(dynamodb, table, RecoveryPeriodInDays=1)["RecoveryPeriodInDays"] == 1
    node.advance(3 * 86_400)
    on = window(dynamodb, table)
    assert (on["LatestRestorableDateTime"] - on["EarliestRestorableDateTime"]).total_seconds() == 86_399
    assert switch(dynamodb, table, on=False) == {"PointInTimeRecoveryStatus": "DISABLED"}
    again = switch(dynamodb, table)
    assert again["EarliestRestorableDateTime"] > earliest


def test_every_second_of_the_window_can_be_restored(node, dynamodb):
    table = make_table(dynamodb, indexes=[("by-owner", "owner", None)])
    dynamodb.put_item(TableName=table, Item={"pk": s("before"), "v": n(0), "owner": s("a")})
    switch(dynamodb, table)
    chance, state, states = random.Random(7), {"before": "0"}, []
    for step in range(6):
        node.advance(10)
        for _ in range(25):
            key = f"k{chance.randrange(12)}"
            if chance.random() < 0.3:
                dynamodb.delete_item(TableName=table, Key={"pk": s(key)})
                state.pop(key, None)
            else:
                value = str(chance.randrange(1_000))
                owner = s(chance.choice("abc"))
                dynamodb.put_item(TableName=table, Item={"pk": s(key), "v": n(value), "owner": owner})
                state[key] = value
        node.advance(10)
        states.append((window(dynamodb, table)["LatestRestorableDateTime"], dict(state)))
    for step, (moment, expected) in enumerate(states):
        target = f"{table}-{step}"
        made = dynamodb.restore_table_to_point_in_time(SourceTableName=table, TargetTableName=target, RestoreDateTime=moment)
        summary = made["TableDescription"]["RestoreSummary"]
        assert summary["SourceTableArn"].endswith(f"table/{table}") and summary["RestoreInProgress"]
        assert "SourceBackupArn" not in summary
        restored_to(dynamodb, target)
        assert contents(dynamodb, target) == expected
        entries = dynamodb.scan(TableName=target, IndexName="by-owner", Select="COUNT")["Count"]
        assert entries == len(expected)
    target = f"{table}-latest"
    dynamodb.restore_table_to_point_in_time(SourceTableName=table, TargetTableName=target, UseLatestRestorableTime=True)
    restored_to(dynamodb, target)
    assert contents(dynamodb, target) == state


def test_a_table_is_restored_with_other_settings(node, dynamodb):
    table = make_table(
        dynamodb, sort=("sk", "N"), indexes=[("one", "a", None), ("two", "b", None)], local=[("near", "c")],
        OnDemandThroughput={"MaxReadRequestUnits": 50, "MaxWriteRequestUnits": 60},
    )
    switch(dynamodb, table)
    dynamodb.put_item(TableName=table, Item={"pk": s("p"), "sk": n(1), "a": s("x"), "b": s("x"), "c": s("x")})
    node.advance(5)
    backup = dynamodb.create_backup(TableName=table, BackupName="backup")["BackupDetails"]["BackupArn"]
    status = lambda: dynamodb.describe_backup(BackupArn=backup)["BackupDescription"]["BackupDetails"]["BackupStatus"]  # noqa: E731
    wait_until(lambda: status() == "AVAILABLE")
    described = dynamodb.describe_table(TableName=table)["Table"]
    two = next(index for index in described["GlobalSecondaryIndexes"] if index["IndexName"] == "two")
    kept = {key: two[key] for key in ("IndexName", "KeySchema", "Projection")}
    throughput = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}
    provisioned = dict(
        BillingModeOverride="PROVISIONED",
        ProvisionedThroughputOverride=throughput,
        GlobalSecondaryIndexOverride=[{**kept, "ProvisionedThroughput": throughput}],
        LocalSecondaryIndexOverride=[],
    )
    calls = [
        (dynamodb.restore_table_to_point_in_time, dict(SourceTableName=table, UseLatestRestorableTime=True)),
        (dynamodb.restore_table_from_backup, dict(BackupArn=backup)),
    ]
    for number, (call, source) in enumerate(calls):
        target = f"{table}-p{number}"
        call(TargetTableName=target, **source, **provisioned)
        made = restored_to(dynamodb, target)
        assert "LocalSecondaryIndexes" not in made
        (index,) = made["GlobalSecondaryIndexes"]
        assert (index["IndexName"], index["ProvisionedThroughput"]["WriteCapacityUnits"]) == ("two", 6)
        assert (made["ProvisionedThroughput"]["ReadCapacityUnits"], "OnDemandThroughput" in made) == (5, False)
        assert dynamodb.scan(TableName=target, IndexName="two", Select="COUNT")["Count"] == 1

        target = f"{table}-d{number}"
        call(TargetTableName=target, **source, OnDemandThroughputOverride={"MaxReadRequestUnits": 7})
        made = restored_to(dynamodb, target)
        assert made["OnDemandThroughput"]["MaxReadRequestUnits"] == 7
        assert len(made["GlobalSecondaryIndexes"]) == 2

        other = [{**kept, "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}]}]
        assert error_code(call, TargetTableName="other-1", **source, GlobalSecondaryIndexOverride=other) == "ValidationException"
        kms = {"Enabled": True, "SSEType": "KMS"}
        assert error_code(call, TargetTableName="other-1", **source, SSESpecificationOverride=kms) == "ValidationException"


def test_only_what_was_kept_can_be_restored(node, dynamodb, denied):
    table = make_table(dynamodb)
    restore = dynamodb.restore_table_to_point_in_time
    latest = dict(UseLatestRestorableTime=True)
    assert error_code(restore, SourceTableName=table, TargetTableName="new", **latest) == "PointInTimeRecoveryUnavailableException"  # fmt: skip
    switch(dynamodb, table)
    node.advance(60)
    known = window(dynamodb, table)
    second = datetime.timedelta(seconds=1)
    for moment in (known["EarliestRestorableDateTime"] - second, known["LatestRestorableDateTime"] + 60 * second):
        code, text = refused(restore, SourceTableName=table, TargetTableName="new", RestoreDateTime=moment)
        assert code == "InvalidRestoreTimeException" and "between EarliestRestorableDateTime" in text
    assert error_code(restore, SourceTableName=table, TargetTableName=table, **latest) == "TableAlreadyExistsException"
    assert error_code(restore, SourceTableName="nowhere", TargetTableName="new", **latest) == "TableNotFoundException"
    assert error_code(restore, SourceTableName=table, TargetTableName="new") == "ValidationException"
    bad = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 36}
    update = dynamodb.update_continuous_backups
    assert error_code(update, TableName=table, PointInTimeRecoverySpecification=bad) == "ValidationException"
    assert error_code(update, TableName="nowhere", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}) == "TableNotFoundException"  # fmt: skip
    user = denied("dynamodb")
    assert error_code(user.restore_table_to_point_in_time, SourceTableName=table, TargetTableName="new", **latest) == "AccessDeniedException"  # fmt: skip
    assert error_code(user.describe_continuous_backups, TableName=table) == "AccessDeniedException"
    assert error_code(user.update_continuous_backups, TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}) == "AccessDeniedException"  # fmt: skip


def test_a_deleted_table_with_recovery_leaves_a_backup_for_its_days(node, dynamodb):
    table = make_table(dynamodb)
    switch(dynamodb, table)
    dynamodb.put_item(TableName=table, Item={"pk": s("a"), "v": n(1)})
    dynamodb.delete_table(TableName=table)
    (kept,) = dynamodb.list_backups(TableName=table, BackupType="SYSTEM")["BackupSummaries"]
    assert (kept["BackupName"], kept["BackupType"]) == (f"{table}$DeletedTableBackup", "SYSTEM")
    assert dynamodb.list_backups(TableName=table)["BackupSummaries"] == []
    assert error_code(dynamodb.delete_backup, BackupArn=kept["BackupArn"]) == "ValidationException"
    dynamodb.restore_table_from_backup(TargetTableName=table, BackupArn=kept["BackupArn"])
    restored_to(dynamodb, table)
    assert contents(dynamodb, table) == {"a": "1"}
    node.advance(36 * 86_400)
    wait_until(lambda: dynamodb.list_backups(TableName=table, BackupType="SYSTEM")["BackupSummaries"] == [])
    assert contents(dynamodb, table) == {"a": "1"}


def test_a_backup_shows_one_moment_while_writers_go_on(node, dynamodb):
    """Pairs are written together; a backup never has one half of a new pair and one of an old."""
    table = make_table(dynamodb)
    keys = [f"{number:03}" for number in range(150)]

    def write(value):
        for key in keys:
            both = [
                {"Put": {"TableName": table, "Item": {"pk": s(side + key), "v": n(value), "x": s("x" * 500)}}}
                for side in "ab"
            ]
            dynamodb.transact_write_items(TransactItems=both)

    write(0)
    arns = []
    for value in range(1, 4):
        arns.append(dynamodb.create_backup(TableName=table, BackupName="backup")["BackupDetails"]["BackupArn"])
        write(value)
    for number, arn in enumerate(arns):
        status = lambda: dynamodb.describe_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]["BackupStatus"]  # noqa: B023, E731
        wait_until(lambda: status() == "AVAILABLE")
        target = f"{table}-{number}"
        dynamodb.restore_table_from_backup(TargetTableName=target, BackupArn=arn)
        restored_to(dynamodb, target)
        assert set(contents(dynamodb, target).values()) == {str(number)}
