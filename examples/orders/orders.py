"""Order priority queues: one topic, a filter for each queue, and a worker that empties the express queue first. Needs boto3."""

import json
import os

import boto3


def deploy(client, prefix="orders"):
    """`client("sns")` makes clients. Gives the topic's ARN and the queues' URLs, express first."""
    sns, sqs = client("sns"), client("sqs")
    topic = sns.create_topic(Name=f"{prefix}-placed")["TopicArn"]
    queues = {}
    for kind in ("express", "normal"):
        url = sqs.create_queue(QueueName=f"{prefix}-{kind}")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        # Only this topic may send to it.
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        filter_policy = json.dumps({"kind": ["express"] if kind == "express" else [{"anything-but": "express"}]})
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"FilterPolicy": filter_policy, "RawMessageDelivery": "true"},
        )
        queues[kind] = url
    return {"topic": topic, **queues}


def place(client, topic, orders):
    """Publishes orders, ten at a time: each `{"id": .., "kind": "express" | "normal"}`."""
    sns = client("sns")
    for at in range(0, len(orders), 10):
        entries = [
            {
                "Id": str(number),
                "Message": json.dumps(order),
                "MessageAttributes": {"kind": {"DataType": "String", "StringValue": order["kind"]}},
            }
            for number, order in enumerate(orders[at : at + 10])
        ]
        failed = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries).get("Failed")
        if failed:
            raise RuntimeError(failed)


def take(client, express, normal):
    """The next orders: from the express queue while there are any."""
    sqs = client("sqs")
    for url in (express, normal):
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        if messages:
            entries = [{"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]} for at, message in enumerate(messages)]
            sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            return [json.loads(message["Body"]) for message in messages]
    return []


if __name__ == "__main__":
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    print(json.dumps(deploy(lambda service: boto3.client(service, endpoint_url=endpoint))))
