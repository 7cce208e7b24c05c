"""Settings of DynamoDB's tables that are kept and told: contributor insights, warm throughput."""

import pytest
from conftest import error_code
from dynamo import invalid, make_table, refused, s
from harness import Node


@pytest.fixture
def dynamodb(client):
    return client("dynamodb")


def test_contributor_insights_are_kept(dynamodb):
    name = make_table(dynamodb, indexes=[("by-owner", "owner", None)])
    described = dynamodb.describe_contributor_insights(TableName=name)
    assert (described["ContributorInsightsStatus"], described["ContributorInsightsRuleList"]) == ("DISABLED", [])
    assert dynamodb.list_contributor_insights(TableName=name)["ContributorInsightsSummaries"] == []
    answer = dynamodb.update_contributor_insights(TableName=name, ContributorInsightsAction="ENABLE")
    assert (answer["ContributorInsightsStatus"], answer["TableName"]) == ("ENABLING", name)
    index = dict(TableName=name, IndexName="by-owner")
    answer = dynamodb.update_contributor_insights(
        **index, ContributorInsightsAction="ENABLE", ContributorInsightsMode="THROTTLED_KEYS"
    )
    assert (answer["IndexName"], answer["ContributorInsightsMode"]) == ("by-owner", "THROTTLED_KEYS")
    described = dynamodb.describe_contributor_insights(TableName=name)
    assert described["ContributorInsightsStatus"] == "ENABLED"
    assert described["ContributorInsightsMode"] == "ACCESSED_AND_THROTTLED_KEYS"
    assert "LastUpdateDateTime" in described and "IndexName" not in described
    # The mode of before, unless another one is said.
    answer = dynamodb.update_contributor_insights(**index, ContributorInsightsAction="DISABLE")
    assert (answer["ContributorInsightsStatus"], answer["ContributorInsightsMode"]) == ("DISABLING", "THROTTLED_KEYS")
    assert dynamodb.describe_contributor_insights(**index)["ContributorInsightsStatus"] == "DISABLED"


def test_contributor_insights_are_listed_in_pages(dynamodb):
    names = sorted(make_table(dynamodb, indexes=[("by-owner", "owner", None)]) for _ in range(2))
    for name in names:
        for place in ({}, {"IndexName": "by-owner"}):
            dynamodb.update_contributor_insights(TableName=name, ContributorInsightsAction="ENABLE", **place)
    seen, token = [], {}
    while True:
        page = dynamodb.list_contributor_insights(MaxResults=1, **token)
        seen += [(one["TableName"], one.get("IndexName")) for one in page["ContributorInsightsSummaries"]]
        assert len(page["ContributorInsightsSummaries"]) == 1
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    own = [place for place in seen if place[0] in names]
    assert own == [(name, index) for name in names for index in (None, "by-owner")]
    assert invalid(dynamodb.list_contributor_insights, NextToken="x") == "Invalid NextToken"


def test_contributor_insights_of_nothing_are_refused(dynamodb, denied):
    name = make_table(dynamodb, sort=("sk", "S"), local=[("by-kind", "kind")])
    enable = dict(ContributorInsightsAction="ENABLE")
    missing = refused(dynamodb.update_contributor_insights, TableName="missing", **enable)
    assert missing == ("ResourceNotFoundException", "Requested resource not found: Table: missing not found")
    # A local index has none.
    code, _ = refused(dynamodb.update_contributor_insights, TableName=name, IndexName="by-kind", **enable)
    assert code == "ResourceNotFoundException"
    assert error_code(dynamodb.describe_contributor_insights, TableName=name, IndexName="none") == "ResourceNotFoundException"  # fmt: skip
    assert error_code(dynamodb.list_contributor_insights, TableName="missing") == "ResourceNotFoundException"
    assert "contributorInsightsAction" in invalid(dynamodb.update_contributor_insights, TableName=name, ContributorInsightsAction="MAYBE")  # fmt: skip
    user = denied("dynamodb")
    assert error_code(user.update_contributor_insights, TableName=name, **enable) == "AccessDeniedException"
    assert error_code(user.describe_contributor_insights, TableName=name) == "AccessDeniedException"
    assert error_code(user.list_contributor_insights) == "AccessDeniedException"


def units(described):
    warm = described["WarmThroughput"]
    return warm["ReadUnitsPerSecond"], warm["WriteUnitsPerSecond"]


def warm(read, write):
    return {"ReadUnitsPerSecond": read, "WriteUnitsPerSecond": write}


def test_warm_throughput_goes_up_and_never_down(dynamodb):
    name = make_table(dynamodb, indexes=[("by-owner", "owner", None)], WarmThroughput=warm(13_000, 4_000))
    table = lambda: dynamodb.describe_table(TableName=name)["Table"]  # noqa: E731
    assert units(table()) == (13_000, 4_000)
    assert units(table()["GlobalSecondaryIndexes"][0]) == (12_000, 4_000)
    dynamodb.update_table(TableName=name, WarmThroughput={"WriteUnitsPerSecond": 5_000})
    assert units(table()) == (13_000, 5_000)
    update = {"IndexName": "by-owner", "WarmThroughput": warm(12_001, 4_001)}
    dynamodb.update_table(TableName=name, GlobalSecondaryIndexUpdates=[{"Update": update}])
    assert units(table()["GlobalSecondaryIndexes"][0]) == (12_001, 4_001)
    lower = invalid(dynamodb.update_table, TableName=name, WarmThroughput=warm(12_999, 9_000))
    assert lower == "One or more parameter values were invalid: Requested ReadUnitsPerSecond for WarmThroughput for table is lower than current WarmThroughput, decreasing WarmThroughput is not supported"  # fmt: skip
    update["WarmThroughput"] = {"WriteUnitsPerSecond": 4_000}
    lower = invalid(dynamodb.update_table, TableName=name, GlobalSecondaryIndexUpdates=[{"Update": update}])
    assert "Requested WriteUnitsPerSecond for WarmThroughput for index by-owner is lower than current" in lower
    assert units(table()) == (13_000, 5_000)


def test_what_was_provisioned_stays_warm(dynamodb):
    provisioned = lambda read, write: {"ReadCapacityUnits": read, "WriteCapacityUnits": write}  # noqa: E731
    name = make_table(dynamodb, BillingMode="PROVISIONED", ProvisionedThroughput=provisioned(3, 3))
    table = lambda: dynamodb.describe_table(TableName=name)["Table"]  # noqa: E731
    dynamodb.update_table(TableName=name, ProvisionedThroughput=provisioned(1, 4))
    assert units(table()) == (3, 4)
    dynamodb.update_table(TableName=name, BillingMode="PAY_PER_REQUEST")
    assert units(table()) == (12_000, 4_000)
    keys = dict(KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}], AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}])  # fmt: skip
    few = dict(TableName="warm", BillingMode="PAY_PER_REQUEST", WarmThroughput=warm(100, 4_000), **keys)
    assert invalid(dynamodb.create_table, **few).endswith("Requested ReadUnitsPerSecond for WarmThroughput for table is lower than initial throughput")  # fmt: skip
    assert error_code(dynamodb.describe_table, TableName="warm") == "ResourceNotFoundException"


@pytest.fixture
def strict():
    """A node with AWS's limits, where tables are not made at once; its clock stands still."""
    node = Node("--limits", "aws")
    try:
        node.freeze()
        yield node
    finally:
        node.stop()


def test_tables_pass_through_their_states_where_awss_limits_are(strict):
    dynamodb = strict.client("dynamodb")
    name = make_table(dynamodb, indexes=[("by-owner", "owner", None)])
    table = lambda: dynamodb.describe_table(TableName=name)["Table"]  # noqa: E731
    states = lambda: (table()["TableStatus"], table()["GlobalSecondaryIndexes"][0]["IndexStatus"])  # noqa: E731
    in_use = lambda state: ("ResourceInUseException", f"Attempt to change a resource which is still in use: Table is being {state}: {name}")  # noqa: E731
    put = dict(TableName=name, Item={"pk": s("a")})
    protect = dict(TableName=name, DeletionProtectionEnabled=False)
    assert states() == ("CREATING", "CREATING")
    assert refused(dynamodb.put_item, **put) == ("ResourceNotFoundException", "Requested resource not found")
    assert refused(dynamodb.update_table, **protect) == in_use("created")
    assert refused(dynamodb.delete_table, TableName=name) == in_use("created")
    strict.advance(6)
    assert states() == ("ACTIVE", "ACTIVE")
    dynamodb.put_item(**put)
    assert dynamodb.update_table(**protect)["TableDescription"]["TableStatus"] == "UPDATING"
    assert states() == ("UPDATING", "ACTIVE")
    # Items can be read and written meanwhile.
    dynamodb.put_item(**put)
    assert refused(dynamodb.update_table, **protect) == in_use("updated")
    assert refused(dynamodb.delete_table, TableName=name) == in_use("updated")
    strict.advance(6)
    dynamodb.delete_table(TableName=name)
    assert error_code(dynamodb.describe_table, TableName=name) == "ResourceNotFoundException"
