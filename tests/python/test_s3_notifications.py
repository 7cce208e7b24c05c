"""Changes of objects, told to queues, topics and functions."""

import json

import pytest
from harness import error_code

QUEUE = "arn:aws:sqs:us-east-1:000000000000:"


@pytest.fixture
def s3(client):
    return client("s3")


def make_queue(sqs, name, bucket, account="000000000000"):
    """A queue that a bucket may send to: its URL and ARN."""
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = QUEUE + name
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}, "StringEquals": {"aws:SourceAccount": account}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, arn


def take(sqs, url, count):
    """Exactly `count` messages, in the order of their events."""
    taken = []
    while len(taken) < count:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=10)
        assert answer.get("Messages"), f"{len(taken)} of {count} messages came"
        for message in answer["Messages"]:
            taken.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert not sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0).get("Messages")
    return sorted(taken, key=lambda body: body.get("Records", [{}])[0].get("s3", {}).get("object", {}).get("sequencer", ""))


def rule(arn, events, prefix=None, suffix=None, **more):
    made = {"QueueArn": arn, "Events": events, **more}
    rules = [{"Name": name, "Value": value} for name, value in (("prefix", prefix), ("suffix", suffix)) if value]
    if rules:
        made["Filter"] = {"Key": {"FilterRules": rules}}
    return made


def test_a_queue_hears_of_every_change_that_its_rule_names(client, s3, name):
    sqs, bucket = client("sqs"), name("events")
    s3.create_bucket(Bucket=bucket)
    url, arn = make_queue(sqs, name("q"), bucket)
    configuration = {"QueueConfigurations": [rule(arn, ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], "in/", ".txt", Id="mine")]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    (test,) = take(sqs, url, 1)
    assert (test["Event"], test["Bucket"], test["Service"]) == ("s3:TestEvent", bucket, "Amazon S3")
    kept = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert [(one["Id"], one["QueueArn"], one["Events"]) for one in kept] == [("mine", arn, ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"])]

    put = s3.put_object(Bucket=bucket, Key="in/a b.txt", Body=b"hello")
    s3.put_object(Bucket=bucket, Key="in/a.jpg", Body=b"no")
    s3.put_object(Bucket=bucket, Key="out/a.txt", Body=b"no")
    s3.copy_object(Bucket=bucket, Key="in/c.txt", CopySource={"Bucket": bucket, "Key": "in/a b.txt"})
    s3.delete_object(Bucket=bucket, Key="in/a b.txt")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    marker = s3.delete_object(Bucket=bucket, Key="in/c.txt")
    records = [body["Records"][0] for body in take(sqs, url, 4)]
    assert sorted(record["eventName"] for record in records) == [
        "ObjectCreated:Copy", "ObjectCreated:Put", "ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated",
    ]
    by_name = {record["eventName"]: record for record in records}
    created = by_name["ObjectCreated:Put"]
    assert created["eventVersion"] == "2.1" and created["eventSource"] == "aws:s3" and created["awsRegion"] == "us-east-1"
    assert created["s3"]["configurationId"] == "mine"
    assert created["s3"]["bucket"]["arn"] == f"arn:aws:s3:::{bucket}"
    described = created["s3"]["object"]
    assert (described["key"], described["size"], f'"{described["eTag"]}"') == ("in/a+b.txt", 5, put["ETag"])
    gone = by_name["ObjectRemoved:Delete"]["s3"]["object"]
    assert gone["sequencer"] > described["sequencer"]
    assert by_name["ObjectRemoved:DeleteMarkerCreated"]["s3"]["object"]["versionId"] == marker["VersionId"]

    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    s3.put_object(Bucket=bucket, Key="in/z.txt", Body=b"")
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)
    assert not sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0).get("Messages")


def test_a_destination_must_let_the_bucket_in(client, s3, name):
    sqs, bucket = client("sqs"), name("events")
    s3.create_bucket(Bucket=bucket)
    closed = name("closed")
    sqs.create_queue(QueueName=closed)
    _, others = make_queue(sqs, name("q"), "another-bucket")
    _, open_arn = make_queue(sqs, name("q"), bucket)
    for arn in (QUEUE + closed, QUEUE + "none-such", others, open_arn.replace("us-east-1", "eu-west-1")):
        given = {"QueueConfigurations": [rule(arn, ["s3:ObjectCreated:Put"])]}
        assert error_code(s3.put_bucket_notification_configuration, Bucket=bucket, NotificationConfiguration=given) == "InvalidArgument", arn
    overlapping = [rule(open_arn, ["s3:ObjectCreated:*"]), rule(open_arn, ["s3:ObjectCreated:Put"])]
    given = {"QueueConfigurations": overlapping}
    assert error_code(s3.put_bucket_notification_configuration, Bucket=bucket, NotificationConfiguration=given) == "InvalidArgument"


def test_events_wait_for_a_destination_that_fails_for_now(node, client, s3, name):
    sqs, bucket = client("sqs"), name("events")
    s3.create_bucket(Bucket=bucket)
    queue = name("q")
    url, arn = make_queue(sqs, queue, bucket)
    given = {"QueueConfigurations": [rule(arn, ["s3:ObjectCreated:Put"])]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=given)
    take(sqs, url, 1)
    policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert not sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0).get("Messages")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    node.advance(10)
    (body,) = take(sqs, url, 1)
    assert body["Records"][0]["s3"]["object"]["key"] == "k"


def test_a_topic_passes_events_on(client, s3, name):
    sns, sqs, bucket = client("sns"), client("sqs"), name("events")
    s3.create_bucket(Bucket=bucket)
    topic = sns.create_topic(Name=name("topic"))["TopicArn"]
    given = {"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]}
    assert error_code(s3.put_bucket_notification_configuration, Bucket=bucket, NotificationConfiguration=given) == "InvalidArgument"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": topic,
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    queue = name("q")
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    arn = QUEUE + queue
    statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=given)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    bodies = take(sqs, url, 2)
    assert {body["Subject"] for body in bodies} == {"Amazon S3 Notification"}
    messages = [json.loads(body["Message"]) for body in bodies]
    assert [one["Event"] for one in messages if "Event" in one] == ["s3:TestEvent"]
    assert [one["Records"][0]["eventName"] for one in messages if "Records" in one] == ["ObjectCreated:Put"]


def test_an_upload_starts_a_function(node, client, s3, name):
    from test_lambda_made import Functions, allow

    lambda_, sqs, bucket = client("lambda"), client("sqs"), name("events")
    s3.create_bucket(Bucket=bucket)
    url = sqs.create_queue(QueueName=(queue := name("done")))["QueueUrl"]
    functions = Functions(node, name)
    function = functions.create(Role=functions.role(allow("sqs:SendMessage")))
    arn = lambda_.get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    given = {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:Put"]}]}
    assert error_code(s3.put_bucket_notification_configuration, Bucket=bucket, NotificationConfiguration=given) == "InvalidArgument"
    lambda_.add_permission(
        FunctionName=function,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{bucket}",
        SourceAccount="000000000000",
    )
    lambda_.put_function_event_invoke_config(FunctionName=function, DestinationConfig={"OnSuccess": {"Destination": QUEUE + queue}})
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=given)
    s3.put_object(Bucket=bucket, Key="photo.jpg", Body=b"x")
    (outcome,) = take(sqs, url, 1)
    assert outcome["requestPayload"]["Records"][0]["s3"]["object"]["key"] == "photo.jpg"
