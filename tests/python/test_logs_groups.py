"""CloudWatch Logs: groups, streams, tags, retention, filters and policies as resources; who may not call what."""

import io
import json
import zipfile

import pytest
from botocore.exceptions import ClientError
from made import Made, allow, document, made  # noqa: F401

ACCOUNT = "000000000000"
ARN = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:"


def refused(call, **arguments):
    """The error that a call ends with: its code and its sentence."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


NO_GROUP = ("ResourceNotFoundException", "The specified log group does not exist.")
NO_STREAM = ("ResourceNotFoundException", "The specified log stream does not exist.")


@pytest.fixture
def logs(client):
    return client("logs")


@pytest.fixture
def group(logs, name):
    """The name of a new group."""
    group = name("/test/group")
    logs.create_log_group(logGroupName=group)
    return group


def now_millis(node):
    import requests
    from datetime import datetime

    text = requests.get(f"{node.endpoint}/_pileus/clock", timeout=10).json()["now"]
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def test_a_group_is_created_described_and_deleted(logs, name):
    group = name("/app/web")
    logs.create_log_group(logGroupName=group)
    (found,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert found.pop("creationTime") > 1_600_000_000_000
    assert found == {
        "logGroupName": group,
        "metricFilterCount": 0,
        "arn": f"{ARN}{group}:*",
        "storedBytes": 0,
        "logGroupClass": "STANDARD",
        "logGroupArn": f"{ARN}{group}",
        "deletionProtectionEnabled": False,
    }
    assert refused(logs.create_log_group, logGroupName=group) == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    long = ("InvalidParameterException", "Invalid LogGroup or LogStream, both must have length less than or equal to 512.")
    assert refused(logs.create_log_group, logGroupName="g" * 513) == long
    assert refused(logs.create_log_stream, logGroupName=group, logStreamName="s" * 513) == long
    assert refused(logs.create_log_group, logGroupName="a b")[0] == "InvalidParameterException"
    logs.create_log_stream(logGroupName=group, logStreamName="s" * 512)
    logs.delete_log_group(logGroupName=group)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []
    assert refused(logs.delete_log_group, logGroupName=group) == NO_GROUP


def test_groups_are_listed_by_prefix_pattern_class_and_pages(logs, name):
    prefix = name("list")
    groups = [f"{prefix}/{n}" for n in range(5)]
    for group in groups:
        logs.create_log_group(logGroupName=group)
    logs.create_log_group(logGroupName=f"{prefix}/rare", logGroupClass="INFREQUENT_ACCESS")
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix, PaginationConfig={"PageSize": 2})
    assert [g["logGroupName"] for page in pages for g in page["logGroups"]] == [*groups, f"{prefix}/rare"]

    def names(answer):
        return [g["logGroupName"] for g in answer["logGroups"]]

    assert names(logs.describe_log_groups(logGroupNamePattern=f"{prefix.upper()}/3")) == [groups[3]]
    assert names(logs.describe_log_groups(logGroupNamePrefix=prefix, logGroupClass="INFREQUENT_ACCESS")) == [f"{prefix}/rare"]
    assert names(logs.describe_log_groups(logGroupIdentifiers=[groups[1], ARN + groups[2]])) == groups[1:3]
    assert names(logs.list_log_groups(logGroupNamePattern=f"^{prefix[:20]}", limit=50)) == [*groups, f"{prefix}/rare"]
    assert refused(logs.describe_log_groups, logGroupNamePrefix="a", logGroupNamePattern="a") == (
        "InvalidParameterException",
        "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
    )
    assert refused(logs.describe_log_groups, nextToken="!")[0] == "InvalidParameterException"
    assert refused(logs.list_log_groups, fieldIndexNames=["a"])[0] == "NotImplemented"


def test_what_is_lacking_is_refused_by_name(logs, name):
    code, message = refused(logs.create_log_group, logGroupName=name(), kmsKeyId=f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k")
    assert code == "NotImplemented" and "kmsKeyId" in message
    assert refused(logs.create_log_group, logGroupName=name(), logGroupClass="DELIVERY")[0] == "NotImplemented"
    answer = refused(logs.create_export_task, logGroupName="g", fromTime=0, to=1, destination="bucket")
    assert answer[0] == "NotImplemented" and "CreateExportTask" in answer[1]


def test_a_protected_group_stays(logs, name):
    group = name()
    logs.create_log_group(logGroupName=group, deletionProtectionEnabled=True)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    assert refused(logs.delete_log_group, logGroupName=group)[0] == "ValidationException"
    assert refused(logs.delete_log_stream, logGroupName=group, logStreamName="s")[0] == "ValidationException"
    logs.put_log_group_deletion_protection(logGroupIdentifier=ARN + group, deletionProtectionEnabled=False)
    logs.delete_log_group(logGroupName=group)
    assert refused(logs.put_log_group_deletion_protection, logGroupIdentifier=group, deletionProtectionEnabled=True) == NO_GROUP


def test_tags_come_and_go_by_either_api(logs, name):
    group = name()
    logs.create_log_group(logGroupName=group, tags={"env": "test"})
    logs.tag_resource(resourceArn=ARN + group, tags={"a": "1"})
    logs.tag_log_group(logGroupName=group, tags={"b": "2"})
    expected = {"env": "test", "a": "1", "b": "2"}
    assert logs.list_tags_for_resource(resourceArn=ARN + group)["tags"] == expected
    assert logs.list_tags_log_group(logGroupName=group)["tags"] == expected
    logs.untag_resource(resourceArn=ARN + group, tagKeys=["env"])
    logs.untag_log_group(logGroupName=group, tags=["a"])
    assert logs.list_tags_log_group(logGroupName=group)["tags"] == {"b": "2"}
    many = {f"k{n}": "" for n in range(50)}
    assert refused(logs.tag_resource, resourceArn=ARN + group, tags=many)[0] == "TooManyTagsException"
    missing = ARN + name()
    assert refused(logs.list_tags_for_resource, resourceArn=missing) == NO_GROUP
    assert refused(logs.untag_resource, resourceArn=missing, tagKeys=["a"]) == NO_GROUP
    assert refused(logs.tag_log_group, logGroupName="none", tags={"a": "b"}) == NO_GROUP
    assert refused(logs.untag_log_group, logGroupName="none", tags=["a"]) == NO_GROUP
    assert refused(logs.list_tags_log_group, logGroupName="none") == NO_GROUP


def test_retention_is_set_and_carried_out(node, logs, group):
    now = now_millis(node)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    day = 86_400_000
    for at in (now - 5 * day, now - 3 * day, now - 1000):
        logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[{"timestamp": at, "message": "x" * 100}])

    def times():
        return [e["timestamp"] for e in logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True)["events"]]

    assert len(times()) == 3
    logs.put_retention_policy(logGroupName=group, retentionInDays=3)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"] == 3
    assert times() == [now - 1000]
    assert len(logs.filter_log_events(logGroupName=group)["events"]) == 1
    assert logs.describe_log_streams(logGroupName=group)["logStreams"][0]["firstEventTimestamp"] == now - 1000
    # Without the policy nothing hides what the sweeper has not removed; it has, once the clock went on.
    node.advance(120)
    import time

    deadline = time.monotonic() + 20
    while logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["storedBytes"] > 300:
        assert time.monotonic() < deadline, "the sweeper does not come"
        node.advance(61)
    logs.delete_retention_policy(logGroupName=group)
    # The hour that the boundary lies in may stay a while; what is older is gone.
    assert now - 5 * day not in times()
    assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    assert refused(logs.put_retention_policy, logGroupName=group, retentionInDays=2)[0] == "InvalidParameterException"
    assert refused(logs.put_retention_policy, logGroupName="none", retentionInDays=1) == NO_GROUP
    assert refused(logs.delete_retention_policy, logGroupName="none") == NO_GROUP


def test_a_stream_is_created_described_and_deleted(logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="2026/01/01/[$LATEST]abc")
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert stream.pop("creationTime") > 1_600_000_000_000
    assert stream == {
        "logStreamName": "2026/01/01/[$LATEST]abc",
        "arn": f"{ARN}{group}:log-stream:2026/01/01/[$LATEST]abc",
        "storedBytes": 0,
    }
    assert refused(logs.create_log_stream, logGroupName=group, logStreamName="2026/01/01/[$LATEST]abc") == (
        "ResourceAlreadyExistsException",
        "The specified log stream already exists",
    )
    assert refused(logs.create_log_stream, logGroupName="none", logStreamName="s") == NO_GROUP
    assert refused(logs.create_log_stream, logGroupName=group, logStreamName="a:b")[0] == "InvalidParameterException"
    logs.delete_log_stream(logGroupName=group, logStreamName="2026/01/01/[$LATEST]abc")
    assert logs.describe_log_streams(logGroupName=group)["logStreams"] == []
    assert refused(logs.delete_log_stream, logGroupName=group, logStreamName="s") == NO_STREAM
    assert refused(logs.describe_log_streams, logGroupName="none") == NO_GROUP


def test_streams_are_listed_by_name_and_by_their_last_event(node, logs, group):
    now = now_millis(node)
    for n, age in enumerate((30, 10, 20)):
        logs.create_log_stream(logGroupName=group, logStreamName=f"s{n}")
        event = {"timestamp": now - age * 1000, "message": "x"}
        logs.put_log_events(logGroupName=group, logStreamName=f"s{n}", logEvents=[event])
    logs.create_log_stream(logGroupName=group, logStreamName="empty")

    def names(**arguments):
        pages = logs.get_paginator("describe_log_streams").paginate(PaginationConfig={"PageSize": 2}, **arguments)
        return [s["logStreamName"] for page in pages for s in page["logStreams"]]

    assert names(logGroupName=group) == ["empty", "s0", "s1", "s2"]
    assert names(logGroupName=group, descending=True) == ["s2", "s1", "s0", "empty"]
    assert names(logGroupIdentifier=ARN + group, logStreamNamePrefix="s") == ["s0", "s1", "s2"]
    assert names(logGroupName=group, orderBy="LastEventTime", descending=True) == ["s1", "s2", "s0", "empty"]
    assert names(logGroupName=group, orderBy="LastEventTime") == ["empty", "s0", "s2", "s1"]
    stream = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="s1")["logStreams"][0]
    assert stream["firstEventTimestamp"] == stream["lastEventTimestamp"] == now - 10_000
    assert stream["lastIngestionTime"] >= now
    assert refused(logs.describe_log_streams, logGroupName=group, logGroupIdentifier=group) == (
        "ValidationException",
        "LogGroup name and LogGroup ARN are mutually exclusive parameters.",
    )
    assert refused(logs.describe_log_streams, logGroupName=group, orderBy="LastEventTime", logStreamNamePrefix="s") == (
        "InvalidParameterException",
        "Cannot order by LastEventTime with a logStreamNamePrefix.",
    )


def metric(name, **more):
    return {"metricName": name, "metricNamespace": "space", "metricValue": "1", **more}


def test_metric_filters_are_kept_and_listed(logs, group, name):
    metric_name = name("errors")
    transformation = metric(metric_name, defaultValue=0.0)
    logs.put_metric_filter(logGroupName=group, filterName="f1", filterPattern=" ", metricTransformations=[transformation])
    (found,) = logs.describe_metric_filters(logGroupName=group)["metricFilters"]
    assert found.pop("creationTime") > 0
    assert found == {
        "filterName": "f1",
        "filterPattern": " ",
        "metricTransformations": [transformation],
        "logGroupName": group,
        "applyOnTransformedLogs": False,
    }
    dimensions = metric("sizes", metricValue="$size", dimensions={"Code": "$code"})
    logs.put_metric_filter(logGroupName=group, filterName="f2", filterPattern="[code, size]", metricTransformations=[dimensions])
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["metricFilterCount"] == 2

    def names(**arguments):
        return [f["filterName"] for f in logs.describe_metric_filters(**arguments)["metricFilters"]]

    assert names(logGroupName=group, filterNamePrefix="f2") == ["f2"]
    assert names(metricName=metric_name, metricNamespace="space") == ["f1"]
    page = logs.describe_metric_filters(logGroupName=group, limit=1)
    assert [f["filterName"] for f in page["metricFilters"]] == ["f1"]
    assert names(logGroupName=group, limit=1, nextToken=page["nextToken"]) == ["f2"]
    logs.delete_metric_filter(logGroupName=group, filterName="f1")
    assert names(logGroupName=group) == ["f2"]
    assert refused(logs.delete_metric_filter, logGroupName=group, filterName="f1") == (
        "ResourceNotFoundException",
        "The specified metric filter does not exist.",
    )
    bad = {"logGroupName": group, "filterName": "f", "metricTransformations": [metric("m")]}
    assert refused(logs.put_metric_filter, filterPattern="{ $.a", **bad)[0] == "InvalidParameterException"
    assert refused(logs.put_metric_filter, filterPattern="", **bad, applyOnTransformedLogs=True)[0] == "NotImplemented"
    assert refused(logs.put_metric_filter, filterPattern="", **{**bad, "logGroupName": "none"}) == NO_GROUP
    assert refused(logs.describe_metric_filters, metricName="m")[0] == "InvalidParameterException"
    assert refused(logs.describe_metric_filters, logGroupName="none") == NO_GROUP


def test_a_metric_filter_is_tried_on_messages(logs):
    line = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'
    answer = logs.test_metric_filter(
        filterPattern="[..., request=*.html*, status_code=4*,]", logEventMessages=["one two", line, line.replace("404", "200")]
    )
    (match,) = answer["matches"]
    assert (match["eventNumber"], match["eventMessage"]) == (1, line)
    assert match["extractedValues"] == {
        "$status_code": "404",
        "$request": "GET /index.html HTTP/1.0",
        "$7": "1534",
        "$4": "10/Oct/2000:13:25:15 -0700",
        "$3": "frank",
        "$2": "-",
        "$1": "127.0.0.1",
    }
    assert refused(logs.test_metric_filter, filterPattern="foo.bar", logEventMessages=["x"])[0] == "InvalidParameterException"


def test_groups_of_infrequent_access_have_no_filters(logs, name):
    group = name()
    logs.create_log_group(logGroupName=group, logGroupClass="INFREQUENT_ACCESS")
    arguments = {"logGroupName": group, "filterName": "f", "filterPattern": ""}
    assert refused(logs.put_metric_filter, metricTransformations=[metric("m")], **arguments)[0] == "InvalidOperationException"


def test_destinations_that_are_lacking_or_wrong_are_refused(logs, group):
    arguments = {"logGroupName": group, "filterName": "f", "filterPattern": ""}
    kinesis = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s"
    assert refused(logs.put_subscription_filter, destinationArn=kinesis, **arguments) == (
        "InvalidParameterException",
        "destinationArn for vendor kinesis cannot be used without roleArn",
    )
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    code, message = refused(logs.put_subscription_filter, destinationArn=kinesis, roleArn=role, **arguments)
    assert code == "NotImplemented" and "kinesis" in message
    other = "arn:aws:lambda:us-east-1:999999999999:function:f"
    assert refused(logs.put_subscription_filter, destinationArn=other, **arguments)[0] == "AccessDeniedException"
    missing = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:none"
    assert refused(logs.put_subscription_filter, destinationArn=missing, **arguments) == (
        "InvalidParameterException",
        "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to execute your function.",
    )
    assert logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"] == []
    assert refused(logs.describe_subscription_filters, logGroupName="none") == NO_GROUP
    assert refused(logs.delete_subscription_filter, logGroupName=group, filterName="f") == (
        "ResourceNotFoundException",
        "The specified subscription filter does not exist.",
    )
    assert refused(logs.delete_subscription_filter, logGroupName="none", filterName="f") == NO_GROUP


def test_a_subscription_to_a_function_needs_its_permission(client, logs, group, name, made):  # noqa: F811
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("main.py", "def handler(event, context):\n    return event\n")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = made.iam.create_role(RoleName=name("role"), AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    functions, function = client("lambda"), name("fn")
    arn = functions.create_function(
        FunctionName=function, Runtime="python3.12", Role=role, Handler="main.handler", Code={"ZipFile": archive.getvalue()}
    )["FunctionArn"]
    functions.get_waiter("function_active_v2").wait(FunctionName=function)

    def put(filter_name, pattern=""):
        logs.put_subscription_filter(logGroupName=group, filterName=filter_name, filterPattern=pattern, destinationArn=arn)

    def permit(principal, source):
        functions.add_permission(
            FunctionName=function,
            StatementId=name("s"),
            Action="lambda:InvokeFunction",
            Principal=principal,
            SourceArn=source,
            SourceAccount=ACCOUNT,
        )

    permit("logs.us-east-1.amazonaws.com", f"{ARN}another:*")
    with pytest.raises(ClientError, match="Could not execute the lambda function"):
        put("errors")
    permit("logs.us-east-1.amazonaws.com", f"{ARN}{group}:*")
    put("errors")
    put("errors", "ERROR")
    (found,) = logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"]
    assert found.pop("creationTime") > 0
    assert found == {
        "filterName": "errors",
        "logGroupName": group,
        "filterPattern": "ERROR",
        "destinationArn": arn,
        "distribution": "ByLogStream",
        "applyOnTransformedLogs": False,
    }
    put("all")
    with pytest.raises(ClientError, match="Resource limit exceeded."):
        put("third")
    names = [f["filterName"] for f in logs.describe_subscription_filters(logGroupName=group, filterNamePrefix="a")["subscriptionFilters"]]
    assert names == ["all"]
    logs.delete_subscription_filter(logGroupName=group, filterName="errors")
    names = [f["filterName"] for f in logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"]]
    assert names == ["all"]


def test_resource_policies_are_kept_and_count(client, name):
    # A region of its own: there can be only ten.
    logs = client("logs", region="eu-west-3")
    statement = allow("logs:PutLogEvents", "*", Principal={"Service": "route53.amazonaws.com"})
    answer = logs.put_resource_policy(policyName="one", policyDocument=document(statement))["resourcePolicy"]
    assert answer["policyScope"] == "ACCOUNT" and json.loads(answer["policyDocument"])["Statement"] == [statement]
    for n in range(9):
        logs.put_resource_policy(policyName=f"p{n}", policyDocument=document(statement))
    assert refused(logs.put_resource_policy, policyName="more", policyDocument=document(statement)) == (
        "LimitExceededException",
        "Resource limit exceeded.",
    )
    logs.put_resource_policy(policyName="one", policyDocument=document(statement, statement))
    page = logs.describe_resource_policies(limit=4)
    rest = logs.describe_resource_policies(nextToken=page["nextToken"])
    assert [p["policyName"] for p in page["resourcePolicies"] + rest["resourcePolicies"]] == sorted(["one", *(f"p{n}" for n in range(9))])
    logs.delete_resource_policy(policyName="one")
    assert refused(logs.delete_resource_policy, policyName="one") == (
        "ResourceNotFoundException",
        "Policy with name [one] does not exist.",
    )
    assert refused(logs.put_resource_policy, policyName="x", policyDocument="no JSON")[0] == "InvalidParameterException"
    assert refused(logs.describe_resource_policies, resourceArn=ARN + "g")[0] == "NotImplemented"


def test_a_user_reaches_what_the_policy_names(node, client, made, logs, group):  # noqa: F811
    logs.create_log_stream(logGroupName=group, logStreamName="own")
    logs.create_log_stream(logGroupName=group, logStreamName="other")
    _, key = made.user(
        allow("logs:PutLogEvents", f"{ARN}{group}:log-stream:own"),
        allow(["logs:FilterLogEvents", "logs:DescribeLogStreams"], f"{ARN}{group}:*"),
        allow("logs:ListTagsForResource", ARN + group),
    )
    user = client("logs", *key)
    event = {"timestamp": now_millis(node), "message": "mine"}
    user.put_log_events(logGroupName=group, logStreamName="own", logEvents=[event])
    code, message = refused(user.put_log_events, logGroupName=group, logStreamName="other", logEvents=[event])
    assert code == "AccessDeniedException"
    assert f"logs:PutLogEvents on resource: {ARN}{group}:log-stream:other because" in message
    assert [e["message"] for e in user.filter_log_events(logGroupName=group)["events"]] == ["mine"]
    user.filter_log_events(logGroupIdentifier=ARN + group)
    user.describe_log_streams(logGroupName=group)
    user.list_tags_for_resource(resourceArn=ARN + group)
    code, message = refused(user.get_log_events, logGroupName=group, logStreamName="own")
    assert code == "AccessDeniedException"
    code, message = refused(user.describe_log_groups)
    assert f"logs:DescribeLogGroups on resource: {ARN}:log-stream: because" in message


CALLS = {
    "create_log_group": {"logGroupName": "g"},
    "delete_log_group": {"logGroupName": "g"},
    "describe_log_groups": {},
    "list_log_groups": {},
    "put_log_group_deletion_protection": {"logGroupIdentifier": "g", "deletionProtectionEnabled": True},
    "put_retention_policy": {"logGroupName": "g", "retentionInDays": 1},
    "delete_retention_policy": {"logGroupName": "g"},
    "tag_resource": {"resourceArn": ARN + "g", "tags": {"a": "b"}},
    "untag_resource": {"resourceArn": ARN + "g", "tagKeys": ["a"]},
    "list_tags_for_resource": {"resourceArn": ARN + "g"},
    "tag_log_group": {"logGroupName": "g", "tags": {"a": "b"}},
    "untag_log_group": {"logGroupName": "g", "tags": ["a"]},
    "list_tags_log_group": {"logGroupName": "g"},
    "create_log_stream": {"logGroupName": "g", "logStreamName": "s"},
    "delete_log_stream": {"logGroupName": "g", "logStreamName": "s"},
    "describe_log_streams": {"logGroupName": "g"},
    "put_log_events": {"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]},
    "get_log_events": {"logGroupName": "g", "logStreamName": "s"},
    "filter_log_events": {"logGroupName": "g"},
    "get_log_record": {"logRecordPointer": "p"},
    "get_log_group_fields": {"logGroupName": "g"},
    "start_live_tail": {"logGroupIdentifiers": [ARN + "g"]},
    "put_resource_policy": {"policyName": "p", "policyDocument": "{}"},
    "delete_resource_policy": {"policyName": "p"},
    "describe_resource_policies": {},
    "put_metric_filter": {
        "logGroupName": "g",
        "filterName": "f",
        "filterPattern": "",
        "metricTransformations": [metric("m")],
    },
    "delete_metric_filter": {"logGroupName": "g", "filterName": "f"},
    "describe_metric_filters": {"logGroupName": "g"},
    "test_metric_filter": {"filterPattern": "", "logEventMessages": ["m"]},
    "put_subscription_filter": {"logGroupName": "g", "filterName": "f", "filterPattern": "", "destinationArn": "arn:aws:lambda:us-east-1:000000000000:function:f"},
    "delete_subscription_filter": {"logGroupName": "g", "filterName": "f"},
    "describe_subscription_filters": {"logGroupName": "g"},
    "start_query": {"logGroupName": "g", "startTime": 0, "endTime": 1, "queryString": "fields a"},
    "stop_query": {"queryId": "q"},
    "get_query_results": {"queryId": "q"},
    "describe_queries": {},
    "list_log_groups_for_query": {"queryId": "q"},
    "put_query_definition": {"name": "n", "queryString": "fields a"},
    "delete_query_definition": {"queryDefinitionId": "q"},
    "describe_query_definitions": {},
}


def test_nobody_calls_anything_without_permission(node, denied):
    logs = denied("logs")
    # Live tail's host has a prefix, which the node's address has no room for.
    logs.meta.config.inject_host_prefix = False
    for call, arguments in CALLS.items():
        code, message = refused(getattr(logs, call), **arguments)
        assert code == "AccessDeniedException", call
        action = "logs:" + "".join(word.capitalize() for word in call.split("_"))
        assert action in message, call
