"""Queues of SQS: their life, attributes, permissions, tags."""

import json

import pytest
from botocore.exceptions import ClientError

from conftest import denied_client


def refused(call, **arguments):
    """The error that a call ends with: its code and its sentence."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def attributes(sqs, url, *names):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names) or ["All"])["Attributes"]


def test_a_queue_is_created_found_listed_and_deleted(node, client, name):
    sqs, queue = client("sqs"), name("jobs")
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    assert url == f"{node.endpoint}/000000000000/{queue}"
    assert sqs.get_queue_url(QueueName=queue)["QueueUrl"] == url
    assert url in sqs.list_queues(QueueNamePrefix=queue)["QueueUrls"]
    assert sqs.create_queue(QueueName=queue)["QueueUrl"] == url
    sqs.delete_queue(QueueUrl=url)
    assert refused(sqs.get_queue_url, QueueName=queue) == (
        "AWS.SimpleQueueService.NonExistentQueue",
        "The specified queue does not exist.",
    )
    assert refused(sqs.create_queue, QueueName=queue)[0] == "AWS.SimpleQueueService.QueueDeletedRecently"
    node.advance(60)
    assert sqs.create_queue(QueueName=queue)["QueueUrl"] == url


def test_a_new_queue_has_awss_attributes(client, name):
    sqs, queue = client("sqs"), name("jobs")
    found = attributes(sqs, sqs.create_queue(QueueName=queue)["QueueUrl"])
    for changing in ("CreatedTimestamp", "LastModifiedTimestamp"):
        assert found.pop(changing).isdigit()
    assert found == {
        "QueueArn": f"arn:aws:sqs:us-east-1:000000000000:{queue}",
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "VisibilityTimeout": "30",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "DelaySeconds": "0",
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "true",
    }


def test_the_same_name_with_other_attributes_is_refused(client, name):
    sqs, queue = client("sqs"), name("jobs")
    sqs.create_queue(QueueName=queue, Attributes={"DelaySeconds": "1"})
    sqs.create_queue(QueueName=queue, Attributes={"DelaySeconds": "1", "VisibilityTimeout": "30"})
    assert refused(sqs.create_queue, QueueName=queue, Attributes={"DelaySeconds": "2"}) == (
        "QueueAlreadyExists",
        "A queue already exists with the same name and a different value for attribute DelaySeconds",
    )


@pytest.mark.parametrize(
    "attribute, low, high",
    [
        ("VisibilityTimeout", 0, 43_200),
        ("DelaySeconds", 0, 900),
        ("MessageRetentionPeriod", 60, 1_209_600),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("MaximumMessageSize", 1_024, 1_048_576),
    ],
)
def test_attributes_are_bounded(client, name, attribute, low, high):
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=name())["QueueUrl"]
    for value in (low, high):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={attribute: str(value)})
        assert attributes(sqs, url, attribute) == {attribute: str(value)}
    for value in (low - 1, high + 1):
        assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={attribute: str(value)}) == (
            "InvalidAttributeValue",
            f"Invalid value for the parameter {attribute}.",
        )


def test_bad_names_and_attributes_are_refused(client, name):
    sqs = client("sqs")
    assert refused(sqs.create_queue, QueueName="a b")[0] == "InvalidParameterValue"
    assert refused(sqs.create_queue, QueueName="a" * 81)[0] == "InvalidParameterValue"
    assert refused(sqs.create_queue, QueueName=name() + ".fifo")[0] == "InvalidParameterValue"
    assert refused(sqs.create_queue, QueueName=name(), Attributes={"FifoQueue": "true"})[0] == "InvalidParameterValue"
    # SQS-15: a standard queue refuses content-based deduplication.
    assert refused(sqs.create_queue, QueueName=name(), Attributes={"ContentBasedDeduplication": "true"}) == (
        "InvalidAttributeName",
        "Unknown Attribute ContentBasedDeduplication.",
    )
    url = sqs.create_queue(QueueName=name())["QueueUrl"]
    assert refused(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["Nonsense"])[0] == "InvalidAttributeName"
    assert refused(sqs.get_queue_attributes, QueueUrl=url + "-none")[0] == "AWS.SimpleQueueService.NonExistentQueue"
    assert refused(sqs.list_queues, MaxResults=0)[0] == "InvalidParameterValue"


def test_queues_are_listed_by_pages(client, name):
    sqs, prefix = client("sqs"), name("page")
    urls = [sqs.create_queue(QueueName=f"{prefix}-{n}")["QueueUrl"] for n in range(5)]
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 2})
    assert [url for page in pages for url in page.get("QueueUrls", [])] == urls
    assert refused(sqs.list_queues, NextToken="nonsense", MaxResults=1)[0] == "InvalidParameterValue"


def test_tags_come_and_go(client, name):
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=name(), tags={"a": "1"})["QueueUrl"]
    sqs.tag_queue(QueueUrl=url, Tags={"b": "", "a": "2"})
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "2", "b": ""}
    sqs.untag_queue(QueueUrl=url, TagKeys=["a", "none"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"b": ""}
    assert refused(sqs.tag_queue, QueueUrl=url, Tags={"": "v"})[0] == "InvalidParameterValue"


def test_permissions_are_statements_of_the_policy(client, name):
    sqs, queue = client("sqs"), name()
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    sqs.add_permission(QueueUrl=url, Label="one", AWSAccountIds=["111111111111"], Actions=["ReceiveMessage"])
    policy = json.loads(attributes(sqs, url, "Policy")["Policy"])
    arn = f"arn:aws:sqs:us-east-1:000000000000:{queue}"
    assert policy == {
        "Version": "2008-10-17",
        "Id": f"{arn}/SQSDefaultPolicy",
        "Statement": [
            {
                "Sid": "one",
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
                "Action": "SQS:ReceiveMessage",
                "Resource": arn,
            }
        ],
    }
    again = refused(
        sqs.add_permission, QueueUrl=url, Label="one", AWSAccountIds=["111111111111"], Actions=["SendMessage"]
    )
    assert again == (
        "InvalidParameterValue",
        "Value one for parameter Label is invalid. Reason: Already exists.",
    )
    sqs.remove_permission(QueueUrl=url, Label="one")
    assert "Policy" not in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert refused(sqs.remove_permission, QueueUrl=url, Label="one")[1].endswith("can't find label.")


def test_another_account_may_do_what_the_policy_says_and_no_more(client, name):
    owner, other = client("sqs", key="222222222222"), client("sqs", key="333333333333")
    url = owner.create_queue(QueueName=name())["QueueUrl"]
    assert refused(other.send_message, QueueUrl=url, MessageBody="m")[0] in ("AccessDenied", "AccessDeniedException")
    owner.add_permission(QueueUrl=url, Label="other", AWSAccountIds=["333333333333"], Actions=["SendMessage"])
    other.send_message(QueueUrl=url, MessageBody="m")
    assert refused(other.receive_message, QueueUrl=url)[0] in ("AccessDenied", "AccessDeniedException")
    assert refused(other.delete_queue, QueueUrl=url)[0] in ("AccessDenied", "AccessDeniedException")
    assert owner.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "m"


def test_purging_empties_a_queue_and_is_allowed_once_a_minute(node, client, name):
    sqs, queue = client("sqs"), name()
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="m")
    sqs.purge_queue(QueueUrl=url)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert refused(sqs.purge_queue, QueueUrl=url) == (
        "AWS.SimpleQueueService.PurgeQueueInProgress",
        f"Only one PurgeQueue operation on {queue} is allowed every 60 seconds.",
    )
    node.advance(60)
    sqs.purge_queue(QueueUrl=url)


def test_queue_urls_of_other_hosts_work(client, name):
    sqs, queue = client("sqs"), name()
    sqs.create_queue(QueueName=queue)
    for host in ("https://sqs.us-east-1.amazonaws.com", "https://queue.amazonaws.com", "http://anything:1"):
        sqs.send_message(QueueUrl=f"{host}/000000000000/{queue}", MessageBody="m")
    assert refused(sqs.send_message, QueueUrl=queue, MessageBody="m")[0] == "InvalidAddress"


def test_encryption_settings_are_kept(client, name):
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=name())["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "k", "KmsDataKeyReusePeriodSeconds": "6000"})
    names = ["KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"]
    assert attributes(sqs, url, *names) == {
        "KmsMasterKeyId": "k",
        "KmsDataKeyReusePeriodSeconds": "6000",
        "SqsManagedSseEnabled": "false",
    }
    both = {"KmsMasterKeyId": "k", "SqsManagedSseEnabled": "true"}
    assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes=both)[0] == "InvalidAttributeName"


CALLS = {
    "add_permission": {"QueueUrl": "{url}", "Label": "l", "AWSAccountIds": ["111111111111"], "Actions": ["*"]},
    "cancel_message_move_task": {"TaskHandle": "{handle}"},
    "change_message_visibility": {"QueueUrl": "{url}", "ReceiptHandle": "h", "VisibilityTimeout": 0},
    "change_message_visibility_batch": {
        "QueueUrl": "{url}",
        "Entries": [{"Id": "a", "ReceiptHandle": "h", "VisibilityTimeout": 0}],
    },
    "create_queue": {"QueueName": "denied"},
    "delete_message": {"QueueUrl": "{url}", "ReceiptHandle": "h"},
    "delete_message_batch": {"QueueUrl": "{url}", "Entries": [{"Id": "a", "ReceiptHandle": "h"}]},
    "delete_queue": {"QueueUrl": "{url}"},
    "get_queue_attributes": {"QueueUrl": "{url}"},
    "get_queue_url": {"QueueName": "{name}"},
    "list_dead_letter_source_queues": {"QueueUrl": "{url}"},
    "list_message_move_tasks": {"SourceArn": "{arn}"},
    "list_queue_tags": {"QueueUrl": "{url}"},
    "list_queues": {},
    "purge_queue": {"QueueUrl": "{url}"},
    "receive_message": {"QueueUrl": "{url}"},
    "remove_permission": {"QueueUrl": "{url}", "Label": "l"},
    "send_message": {"QueueUrl": "{url}", "MessageBody": "m"},
    "send_message_batch": {"QueueUrl": "{url}", "Entries": [{"Id": "a", "MessageBody": "m"}]},
    "set_queue_attributes": {"QueueUrl": "{url}", "Attributes": {"DelaySeconds": "1"}},
    "start_message_move_task": {"SourceArn": "{arn}"},
    "tag_queue": {"QueueUrl": "{url}", "Tags": {"a": "b"}},
    "untag_queue": {"QueueUrl": "{url}", "TagKeys": ["a"]},
}


def test_a_user_without_permissions_may_do_nothing(node, client, name):
    sqs, queue = client("sqs"), name()
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:000000000000:{queue}"
    import base64

    handle = base64.b64encode(json.dumps({"taskId": "t", "sourceArn": arn, "startedAt": 1}).encode()).decode()
    fill = {"{url}": url, "{arn}": arn, "{name}": queue, "{handle}": handle}
    denied = denied_client(node, "sqs")
    assert len(CALLS) == 23
    for call, arguments in CALLS.items():
        arguments = {key: fill.get(value, value) if isinstance(value, str) else value for key, value in arguments.items()}
        code, message = refused(getattr(denied, call), **arguments)
        assert code in ("AccessDenied", "AccessDeniedException"), (call, code, message)
        assert "is not authorized to perform: sqs:" in message, (call, message)
