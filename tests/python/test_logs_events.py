"""CloudWatch Logs: what goes in comes out, in order, by pages, by patterns, and as it happens."""

import concurrent.futures
import random

import pytest

from test_logs_groups import ARN, NO_GROUP, NO_STREAM, group, logs, now_millis, refused  # noqa: F401


@pytest.fixture
def stream(logs, group):  # noqa: F811
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    return {"logGroupName": group, "logStreamName": "s"}


def events(*pairs):
    return [{"timestamp": at, "message": message} for at, message in pairs]


def messages(answer):
    return [event["message"] for event in answer["events"]]


def test_events_are_put_and_got_in_the_order_of_time(node, logs, stream):  # noqa: F811
    now = now_millis(node)
    answer = logs.put_log_events(**stream, logEvents=events((now - 2000, "b"), (now, "d 🙀 日本語")))
    assert answer["nextSequenceToken"].isdigit() and "rejectedLogEventsInfo" not in answer
    logs.put_log_events(**stream, logEvents=events((now - 3000, "a"), (now - 1000, "c")), sequenceToken="ignored")
    got = logs.get_log_events(**stream)
    assert messages(got) == ["a", "b", "c", "d 🙀 日本語"]
    assert [e["timestamp"] for e in got["events"]] == [now - 3000, now - 2000, now - 1000, now]
    assert all(e["ingestionTime"] >= now for e in got["events"])
    window = logs.get_log_events(**stream, startTime=now - 2000, endTime=now)
    assert messages(window) == ["b", "c"]
    assert messages(logs.get_log_events(logGroupIdentifier=ARN + stream["logGroupName"], logStreamName="s", limit=1)) == ["d 🙀 日本語"]


def test_a_stream_is_paged_in_both_directions(node, logs, stream):  # noqa: F811
    now = now_millis(node)
    expected = [f"m{n}" for n in range(25)]
    for start in range(0, 25, 5):
        logs.put_log_events(**stream, logEvents=events(*((now - 25_000 + n * 1000, expected[n]) for n in range(start, start + 5))))
    found, token = [], None
    while True:
        arguments = {"nextToken": token} if token else {"startFromHead": True}
        page = logs.get_log_events(**stream, limit=10, **arguments)
        if page["nextForwardToken"] == token:
            break
        found += messages(page)
        token = page["nextForwardToken"]
    assert found == expected
    # The end's token reads what comes later.
    logs.put_log_events(**stream, logEvents=events((now, "later")))
    assert messages(logs.get_log_events(**stream, nextToken=token)) == ["later"]

    found, token = [], None
    while True:
        page = logs.get_log_events(**stream, limit=10, **({"nextToken": token} if token else {}))
        if page["nextBackwardToken"] == token:
            break
        found = messages(page) + found
        token = page["nextBackwardToken"]
    assert found == [*expected, "later"]
    first = logs.get_log_events(**stream, limit=3)
    again = logs.get_log_events(**stream, limit=3, nextToken=first["nextBackwardToken"])
    assert messages(again) == expected[-5:-2]
    assert messages(logs.get_log_events(**stream, limit=3, nextToken=again["nextForwardToken"])) == messages(first)


def test_what_is_not_there_or_wrong_is_refused(node, logs, group, stream):  # noqa: F811
    now = now_millis(node)
    batch = events((now, "x"))
    assert refused(logs.put_log_events, logGroupName="none", logStreamName="s", logEvents=batch) == NO_GROUP
    assert refused(logs.put_log_events, logGroupName=group, logStreamName="none", logEvents=batch) == NO_STREAM
    assert refused(logs.get_log_events, logGroupName="none", logStreamName="s") == NO_GROUP
    assert refused(logs.get_log_events, logGroupName=group, logStreamName="none") == NO_STREAM
    assert refused(logs.filter_log_events, logGroupName="none") == NO_GROUP
    assert refused(logs.filter_log_events, logGroupName=group, logStreamNames=["s", "none"]) == NO_STREAM
    bad_token = ("InvalidParameterException", "The specified nextToken is invalid.")
    assert refused(logs.get_log_events, **stream, nextToken="invalid-token") == bad_token
    assert refused(logs.filter_log_events, logGroupName=group, nextToken="invalid-token") == bad_token
    assert refused(logs.get_log_events, **stream, limit=10_001) == (
        "InvalidParameterException",
        "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000",
    )
    assert refused(logs.put_log_events, **stream, logEvents=events((now, "a"), (now - 1, "b"))) == (
        "InvalidParameterException",
        "Log events in a single PutLogEvents request must be in chronological order.",
    )
    assert refused(logs.put_log_events, **stream, logEvents=events((now - 86_400_001, "a"), (now, "b"))) == (
        "InvalidParameterException",
        "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
    )
    large = events(*((now, "x" * 300_000) for _ in range(4)))
    assert refused(logs.put_log_events, **stream, logEvents=large) == (
        "InvalidParameterException",
        "Upload too large: 1200104 bytes exceeds limit of 1048576",
    )
    assert refused(logs.filter_log_events, logGroupName=group, filterPattern="{ $.a = ")[0] == "InvalidParameterException"
    assert refused(logs.filter_log_events, logGroupName=group, logStreamNames=["s"], logStreamNamePrefix="s")[0] == "InvalidParameterException"
    assert messages(logs.get_log_events(**stream)) == []


def test_events_too_old_or_too_new_are_left_out(node, logs, stream):  # noqa: F811
    now, day = now_millis(node), 86_400_000
    batch = events((now - 15 * day, "old"), (now, "fits"), (now + 3 * 3_600_000, "new"))
    answer = logs.put_log_events(**stream, logEvents=batch)
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}
    assert messages(logs.get_log_events(**stream)) == ["fits"]
    logs.put_retention_policy(logGroupName=stream["logGroupName"], retentionInDays=7)
    answer = logs.put_log_events(**stream, logEvents=events((now - 8 * day, "expired")))
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}


def test_a_group_is_filtered_over_its_streams(node, logs, group):  # noqa: F811
    now = now_millis(node)
    for name in ("web-1", "web-2", "db"):
        logs.create_log_stream(logGroupName=group, logStreamName=name)
    # Hours apart, so that the search goes from one hour to the next.
    for n in range(30):
        event = events((now - (30 - n) * 1_800_000, f"n={n} " + ("ERROR" if n % 3 == 0 else "fine")))
        logs.put_log_events(logGroupName=group, logStreamName=("web-1", "web-2", "db")[n % 3], logEvents=event)

    def numbers(**arguments):
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, PaginationConfig={"PageSize": 4}, **arguments)
        found = [event for page in pages for event in page["events"]]
        ids = [event["eventId"] for event in found]
        assert len(set(ids)) == len(ids)
        return [int(event["message"].split()[0][2:]) for event in found]

    assert numbers() == list(range(30))
    assert numbers(filterPattern="ERROR") == list(range(0, 30, 3))
    assert numbers(logStreamNames=["db"]) == list(range(2, 30, 3))
    assert numbers(logStreamNamePrefix="web") == [n for n in range(30) if n % 3 != 2]
    assert numbers(startTime=now - 10 * 1_800_000, endTime=now - 8 * 1_800_000) == [20, 21, 22]
    assert numbers(filterPattern="nothing") == []
    newest = logs.filter_log_events(logGroupName=group, startFromHead=False, limit=2)
    assert [e["message"].split()[0] for e in newest["events"]] == ["n=29", "n=28"]
    logs.delete_log_stream(logGroupName=group, logStreamName="db")
    assert numbers() == [n for n in range(30) if n % 3 != 2]
    logs.create_log_stream(logGroupName=group, logStreamName="db")
    assert numbers(logStreamNames=["db"]) == []


def test_patterns_pick_events(node, logs, group, stream):  # noqa: F811
    now = now_millis(node)
    lines = [
        "[ERROR 401] UNAUTHORIZED REQUEST",
        '{"level": "error", "latency": 120.5, "tags": ["a", "b"]}',
        '{"level": "info", "latency": 20, "user": null}',
        '10.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /a.html HTTP/1.0" 404 15',
        "WARN disk full",
    ]
    logs.put_log_events(**stream, logEvents=events(*((now + n, line) for n, line in enumerate(lines))))
    cases = {
        "ERROR": [0],
        "?ERROR ?WARN": [0, 4],
        "-ERROR -WARN": [1, 2, 3],
        '"disk full"': [4],
        "%[EW]%": [0, 3, 4],
        "{ $.latency > 100 }": [1],
        "{ $.level = info && $.user IS NULL }": [2],
        '{ $.tags[*] = "b" || $.latency < 50 }': [1, 2],
        "[ip, id, user, time, request, status = 4*, size]": [3],
        "": [0, 1, 2, 3, 4],
    }
    for pattern, expected in cases.items():
        found = messages(logs.filter_log_events(logGroupName=group, filterPattern=pattern))
        assert found == [lines[n] for n in expected], pattern


def test_many_writers_of_one_stream_lose_nothing(node, group):  # noqa: F811
    now, rng = now_millis(node), random.Random(7)
    clients = [node.client("logs") for _ in range(8)]
    clients[0].create_log_stream(logGroupName=group, logStreamName="s")

    def write(worker):
        for n in range(10):
            times = sorted(now - rng.randrange(5_000) for _ in range(20))
            batch = events(*((at, f"{worker}-{n}-{i}") for i, at in enumerate(times)))
            clients[worker].put_log_events(logGroupName=group, logStreamName="s", logEvents=batch)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    client = clients[0]
    found, token = [], None
    while True:
        arguments = {"nextToken": token} if token else {"startFromHead": True}
        page = client.get_log_events(logGroupName=group, logStreamName="s", limit=333, **arguments)
        if page["nextForwardToken"] == token:
            break
        found += page["events"]
        token = page["nextForwardToken"]
    assert [e["timestamp"] for e in found] == sorted(e["timestamp"] for e in found)
    assert sorted(e["message"] for e in found) == sorted(f"{w}-{n}-{i}" for w in range(8) for n in range(10) for i in range(20))
    backward = client.get_log_events(logGroupName=group, logStreamName="s")["events"]
    assert [e["message"] for e in backward] == [e["message"] for e in found]


def test_a_sparse_batch_is_read_as_it_was_put(node, logs, stream):  # noqa: F811
    now = now_millis(node)
    times = [now - 86_000_000 + n * 60_000 for n in range(1_400)]
    logs.put_log_events(**stream, logEvents=events(*((at, str(n)) for n, at in enumerate(times))))
    logs.put_log_events(**stream, logEvents=events((times[700] + 1, "between")))
    expected = [str(n) for n in range(701)] + ["between"] + [str(n) for n in range(701, 1_400)]
    assert messages(logs.get_log_events(**stream, startFromHead=True)) == expected
    assert messages(logs.get_log_events(**stream)) == expected
    assert messages(logs.get_log_events(**stream, startTime=times[700], endTime=times[702])) == ["700", "between", "701"]
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=stream["logGroupName"])
    assert [m for page in pages for m in messages(page)] == expected


def test_a_page_holds_no_more_than_a_megabyte(node, logs, stream):  # noqa: F811
    now = now_millis(node)
    for n in range(3):
        logs.put_log_events(**stream, logEvents=events((now + n, str(n) + "x" * 600_000)))
    page = logs.get_log_events(**stream, startFromHead=True)
    assert [m[0] for m in messages(page)] == ["0"]
    page = logs.get_log_events(**stream, nextToken=page["nextForwardToken"])
    assert [m[0] for m in messages(page)] == ["1"]
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=stream["logGroupName"])
    assert [m[0] for page in pages for m in messages(page)] == ["0", "1", "2"]


def test_events_outlive_a_kill(durable_node):
    logs = durable_node.client("logs")  # noqa: F811
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="s")
    now = now_millis(durable_node)
    for n in range(20):
        logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=events((now + n, str(n))))
    durable_node.kill()
    durable_node.start()
    logs = durable_node.client("logs")
    assert messages(logs.get_log_events(logGroupName="g", logStreamName="s")) == [str(n) for n in range(20)]
    assert messages(logs.filter_log_events(logGroupName="g")) == [str(n) for n in range(20)]
    logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=events((now + 20, "20")))
    assert messages(logs.get_log_events(logGroupName="g", logStreamName="s", limit=1)) == ["20"]


def test_live_tail_shows_events_as_they_come(node, group):  # noqa: F811
    logs = node.client("logs", inject_host_prefix=False)  # noqa: F811
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    tail = logs.start_live_tail(logGroupIdentifiers=[ARN + group], logEventFilterPattern="ERROR")["responseStream"]
    updates = iter(tail)
    start = next(updates)["sessionStart"]
    assert start["logGroupIdentifiers"] == [ARN + group] and start["logEventFilterPattern"] == "ERROR"
    now = now_millis(node)
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events((now, "ERROR 1"), (now, "fine")))
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events((now - 5000, "ERROR 0")))
    found = []
    for _ in range(10):
        update = next(updates)["sessionUpdate"]
        assert update["sessionMetadata"] == {"sampled": False}
        found += update["sessionResults"]
        if len(found) == 2:
            break
    tail.close()
    assert sorted(e["message"] for e in found) == ["ERROR 0", "ERROR 1"]
    assert found[0]["logGroupIdentifier"] == ARN + group and found[0]["logStreamName"] == "s"
    assert refused(logs.start_live_tail, logGroupIdentifiers=[group])[0] == "InvalidParameterException"
    assert refused(logs.start_live_tail, logGroupIdentifiers=[ARN + "none"]) == NO_GROUP
