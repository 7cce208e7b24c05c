"""CloudWatch Logs Insights: queries from start to answer, and saved ones."""

import time

import pytest

from test_logs_groups import ACCOUNT, ARN, group, logs, now_millis, refused  # noqa: F401


@pytest.fixture
def filled(node, logs, group):  # noqa: F811
    """A group of 60 events in JSON, a second apart, the latest now; and the time of the latest."""
    now = now_millis(node)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    line = '{{"n": {n}, "level": "{level}", "user": {{"id": "u{user}"}}}}'
    batch = [
        {
            "timestamp": now - (59 - n) * 1000,
            "message": line.format(n=n, level="ERROR" if n % 10 == 0 else "INFO", user=n % 3),
        }
        for n in range(60)
    ]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=batch)
    return group, now


def answer(logs, query, now, **more):  # noqa: F811
    started = logs.start_query(startTime=now // 1000 - 3600, endTime=now // 1000 + 60, queryString=query, **more)
    deadline = time.monotonic() + 20
    while True:
        result = logs.get_query_results(queryId=started["queryId"])
        if result["status"] not in ("Running", "Scheduled"):
            return result
        assert time.monotonic() < deadline
        time.sleep(0.01)


def rows(result):
    return [{field["field"]: field["value"] for field in row if field["field"] != "@ptr"} for row in result["results"]]


def test_a_query_is_answered(logs, filled):  # noqa: F811
    group, now = filled  # noqa: F811
    result = answer(logs, "fields n, level | filter level = 'ERROR' | sort n desc | limit 2", now, logGroupName=group)
    assert result["status"] == "Complete" and result["queryLanguage"] == "CWLI"
    assert rows(result) == [{"n": "50", "level": "ERROR"}, {"n": "40", "level": "ERROR"}]
    statistics = result["statistics"]
    assert (statistics["recordsScanned"], statistics["recordsMatched"], statistics["resultCount"]) == (60, 6, 2)
    assert statistics["bytesScanned"] > 0
    plain = answer(logs, "limit 1", now, logGroupName=group)
    assert list(rows(plain)[0]) == ["@timestamp", "@message"]
    count = answer(logs, "stats count(*) as n, max(n) as top by user.id | sort user.id", now, logGroupNames=[group])
    assert rows(count) == [{"user.id": f"u{n}", "n": "20", "top": str(57 + n)} for n in range(3)]
    binned = answer(logs, "stats count(*) by bin(1h)", now, logGroupIdentifiers=[ARN + group])
    assert sum(int(row["count(*)"]) for row in rows(binned)) == 60


def test_a_query_over_groups_is_in_the_order_of_time(node, logs, name):  # noqa: F811
    now, groups = now_millis(node), [name("q"), name("q")]
    for n, group in enumerate(groups):  # noqa: F811
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
        batch = [{"timestamp": now - 1000 * (10 - 2 * i - n), "message": f"{2 * i + n}"} for i in range(4)]
        logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=batch)
    found = rows(answer(logs, "fields @message, @log, @logStream", now, logGroupNames=groups))
    assert [row["@message"] for row in found] == [str(n) for n in reversed(range(8))]
    assert found[0]["@log"] == f"{ACCOUNT}:{groups[1]}" and found[0]["@logStream"] == "s"


def test_a_record_is_found_by_its_pointer(logs, filled):  # noqa: F811
    group, now = filled  # noqa: F811
    result = answer(logs, "filter n = 30", now, logGroupName=group)
    (pointer,) = [field["value"] for field in result["results"][0] if field["field"] == "@ptr"]
    record = logs.get_log_record(logRecordPointer=pointer)["logRecord"]
    assert record["n"] == "30" and record["user.id"] == "u0" and record["@logStream"] == "s"
    assert record["@timestamp"] and record["@message"].startswith('{"n": 30')
    assert refused(logs.get_log_record, logRecordPointer="nonsense")[0] == "InvalidParameterException"
    fields = {field["name"]: field["percent"] for field in logs.get_log_group_fields(logGroupName=group)["logGroupFields"]}
    assert fields["n"] == fields["@message"] == fields["user.id"] == 100
    assert refused(logs.get_log_group_fields, logGroupName="none")[0] == "ResourceNotFoundException"


def test_results_are_paged(logs, filled):  # noqa: F811
    group, now = filled  # noqa: F811
    started = answer(logs, "fields n", now, logGroupName=group)
    assert len(started["results"]) == 60 and "nextToken" not in started
    query = logs.start_query(logGroupName=group, startTime=now // 1000 - 3600, endTime=now // 1000 + 60, queryString="fields n", limit=25)
    while logs.get_query_results(queryId=query["queryId"])["status"] == "Running":
        time.sleep(0.01)
    found, token = [], {}
    while True:
        page = logs.get_query_results(queryId=query["queryId"], maxItems=10, **token)
        found += rows(page)
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert [int(row["n"]) for row in found] == list(range(59, 34, -1))


def test_a_malformed_query_says_where(logs, filled):  # noqa: F811
    from botocore.exceptions import ClientError

    group, now = filled  # noqa: F811
    with pytest.raises(ClientError) as caught:
        logs.start_query(logGroupName=group, startTime=0, endTime=1, queryString="fields @message | nonsense x")
    response = caught.value.response
    assert response["Error"]["Code"] == "MalformedQueryException"
    assert response["queryCompileError"]["location"] == {"startCharOffset": 18, "endCharOffset": 26}
    assert "nonsense" in response["queryCompileError"]["message"]
    lacking = refused(logs.start_query, logGroupName=group, startTime=0, endTime=1, queryString="pattern @message")
    assert lacking == ("MalformedQueryException", "the command pattern is not implemented")
    sql = refused(logs.start_query, queryLanguage="SQL", startTime=0, endTime=1, queryString="SELECT 1")
    assert sql[0] == "NotImplemented"
    missing = refused(logs.start_query, logGroupName="none", startTime=0, endTime=1, queryString="limit 1")
    assert missing[0] == "ResourceNotFoundException"
    assert missing[1].startswith(f"Log group 'none' does not exist for account ID '{ACCOUNT}'")
    both = refused(logs.start_query, logGroupName=group, logGroupNames=[group], startTime=0, endTime=1, queryString="limit 1")
    assert both[0] == "InvalidParameterException"
    assert refused(logs.start_query, logGroupName=group, startTime=2, endTime=1, queryString="limit 1")[0] == "InvalidParameterException"


def test_queries_are_listed(logs, filled):  # noqa: F811
    group, now = filled  # noqa: F811
    for n in range(3):
        answer(logs, f"fields n | limit {n + 1}", now, logGroupName=group)
    found = logs.describe_queries(logGroupName=group)["queries"]
    assert len(found) == 3
    start, end = now // 1000 - 3600, now // 1000 + 60
    newest = max(found, key=lambda query: query["queryString"])
    assert newest["queryString"] == f'SOURCE "{group}" START={start}000 END={end}999 | fields n | limit 3'
    assert newest["status"] == "Complete" and newest["logGroupName"] == group
    assert logs.describe_queries(logGroupName=group, status="Scheduled")["queries"] == []
    page = logs.describe_queries(logGroupName=group, maxResults=2)
    rest = logs.describe_queries(logGroupName=group, maxResults=2, nextToken=page["nextToken"])
    assert len(page["queries"]) == 2 and len(rest["queries"]) == 1
    assert logs.list_log_groups_for_query(queryId=newest["queryId"])["logGroupIdentifiers"] == [ARN + group]
    stop = refused(logs.stop_query, queryId=newest["queryId"])
    assert stop[0] == "InvalidParameterException"
    for call in (logs.stop_query, logs.get_query_results, logs.list_log_groups_for_query):
        assert refused(call, queryId="none")[0] == "ResourceNotFoundException"


def test_a_query_that_is_stopped_stays_stopped(node, logs, group):  # noqa: F811
    now = now_millis(node)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    for n in range(20):
        batch = [{"timestamp": now - 1000 + n, "message": f"{n} {i}"} for i in range(5_000)]
        logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=batch)
    query = logs.start_query(
        logGroupName=group,
        startTime=now // 1000 - 60,
        endTime=now // 1000 + 60,
        queryString="parse @message '* *' as a, b | stats sum(a) by b",
    )["queryId"]
    assert logs.stop_query(queryId=query)["success"] is True
    result = logs.get_query_results(queryId=query)
    assert (result["status"], result["results"]) == ("Cancelled", [])
    assert refused(logs.stop_query, queryId=query)[0] == "InvalidParameterException"


def test_a_query_is_kept_for_a_week(node, logs, filled):  # noqa: F811
    group, now = filled  # noqa: F811
    query = logs.start_query(logGroupName=group, startTime=now // 1000 - 60, endTime=now // 1000 + 60, queryString="limit 1")["queryId"]
    logs.get_query_results(queryId=query)
    node.advance(8 * 86_400)
    deadline = time.monotonic() + 20
    while any(found["queryId"] == query for found in logs.describe_queries(logGroupName=group)["queries"]):
        assert time.monotonic() < deadline
        node.advance(61)
    assert refused(logs.get_query_results, queryId=query)[0] == "ResourceNotFoundException"


def test_queries_are_saved(logs, name):  # noqa: F811
    prefix = name("saved")
    ids = [
        logs.put_query_definition(name=f"{prefix}/{n}", queryString=f"limit {n}", logGroupNames=["g"])["queryDefinitionId"]
        for n in (1, 2, 3)
    ]
    logs.put_query_definition(queryDefinitionId=ids[1], name=f"{prefix}/2", queryString="limit 20")
    page = logs.describe_query_definitions(queryDefinitionNamePrefix=prefix, maxResults=2)
    rest = logs.describe_query_definitions(queryDefinitionNamePrefix=prefix, maxResults=2, nextToken=page["nextToken"])
    found = page["queryDefinitions"] + rest["queryDefinitions"]
    assert [d["queryString"] for d in found] == ["limit 1", "limit 20", "limit 3"]
    assert found[0]["logGroupNames"] == ["g"] and found[0]["queryDefinitionId"] == ids[0]
    assert logs.delete_query_definition(queryDefinitionId=ids[0])["success"] is True
    assert refused(logs.delete_query_definition, queryDefinitionId=ids[0])[0] == "ResourceNotFoundException"
    assert refused(logs.put_query_definition, queryDefinitionId=ids[0], name="n", queryString="limit 1")[0] == "ResourceNotFoundException"
    sql = refused(logs.put_query_definition, queryLanguage="PPL", name="n", queryString="x")
    assert sql[0] == "NotImplemented"
    assert refused(logs.describe_query_definitions, nextToken="!")[0] == "InvalidParameterException"
