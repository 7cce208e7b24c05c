"""Log lines that start functions, and lines of functions at a rate."""

import base64
import gzip
import json
import threading
import time

from test_lambda_made import allow, eventually, functions, refused  # noqa: F401

UNPACKS = """
import base64, gzip, json

def handler(event, context):
    print("GOT " + gzip.decompress(base64.b64decode(event["awslogs"]["data"])).decode())
"""


def test_a_line_that_a_filter_takes_starts_a_function_as_lam_51_says(node, functions, name):
    logs, fn, group = node.client("logs"), functions.create(UNPACKS), name("group")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    wish = {"logGroupName": group, "filterName": "f", "filterPattern": "ERROR", "destinationArn": functions.arn(fn)}
    assert refused(logs.put_subscription_filter, **wish)[0] == "InvalidParameterException", "it may not be invoked"
    functions.lambda_.add_permission(FunctionName=fn, StatementId="s", Action="lambda:InvokeFunction", Principal="logs.amazonaws.com")
    logs.put_subscription_filter(**wish)
    now = int(time.time() * 1000)
    events = [{"timestamp": now, "message": "all is well"}, {"timestamp": now, "message": "ERROR it is not"}]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)

    def ran():
        try:
            found = logs.filter_log_events(logGroupName=f"/aws/lambda/{fn}", filterPattern="GOT")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return None
        told = [json.loads(event["message"][4:]) for event in found]
        return next((one for one in told if one["messageType"] == "DATA_MESSAGE"), None)

    told = eventually(ran, 60)
    assert (told["logGroup"], told["logStream"], told["subscriptionFilters"]) == (group, "s", ["f"])
    assert [event["message"] for event in told["logEvents"]] == ["ERROR it is not"]


def test_lines_that_come_fast_are_all_kept_as_gen_12_says(node, name):
    logs, group = node.client("logs"), name("group")
    logs.create_log_group(logGroupName=group)
    writers, batches, lines = 4, 10, 1_000

    def write(writer):
        client = node.client("logs")
        client.create_log_stream(logGroupName=group, logStreamName=str(writer))
        for batch in range(batches):
            now = int(time.time() * 1000)
            events = [{"timestamp": now, "message": f"{writer} {batch} {line}"} for line in range(lines)]
            client.put_log_events(logGroupName=group, logStreamName=str(writer), logEvents=events)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = set()
    for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group):
        seen.update(event["message"] for event in page["events"])
    assert len(seen) == writers * batches * lines
