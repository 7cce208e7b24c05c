"""SNS: topics, subscriptions, filters, deliveries to queues and functions."""

import json

from sns_parts import ACCOUNT, Queue, eventually, functions, mails, proves, queue, refused, sns, subscribe, topic  # noqa: F401


def test_a_topic_is_made_shown_changed_and_deleted(sns, name):
    topic_name = name("t")
    arn = sns.create_topic(Name=topic_name, Tags=[{"Key": "team", "Value": "a"}])["TopicArn"]
    assert arn == f"arn:aws:sns:us-east-1:{ACCOUNT}:{topic_name}"
    assert sns.create_topic(Name=topic_name)["TopicArn"] == arn, "the same again"
    shown = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert shown["Owner"] == ACCOUNT and shown["SubscriptionsConfirmed"] == "0" and shown["DisplayName"] == ""
    assert json.loads(shown["Policy"])["Id"] == "__default_policy_ID"
    assert json.loads(shown["EffectiveDeliveryPolicy"])["http"]["defaultHealthyRetryPolicy"]["numRetries"] == 3
    sns.set_topic_attributes(TopicArn=arn, AttributeName="DisplayName", AttributeValue="News")
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["DisplayName"] == "News"
    assert {"TopicArn": arn} in all_topics(sns)
    sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "stage", "Value": "b"}])
    sns.untag_resource(ResourceArn=arn, TagKeys=["team"])
    assert sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "stage", "Value": "b"}]
    policy = json.dumps({"Name": "p", "Version": "2021-06-01", "Statement": []})
    sns.put_data_protection_policy(ResourceArn=arn, DataProtectionPolicy=policy)
    assert sns.get_data_protection_policy(ResourceArn=arn)["DataProtectionPolicy"] == policy
    sns.delete_topic(TopicArn=arn)
    sns.delete_topic(TopicArn=arn)
    assert refused(sns.get_topic_attributes, TopicArn=arn) == ("NotFound", "Topic does not exist")
    assert refused(sns.list_tags_for_resource, ResourceArn=arn)[0] == "ResourceNotFound"


def all_topics(sns):
    pages = sns.get_paginator("list_topics").paginate()
    return [topic for page in pages for topic in page["Topics"]]


def test_topics_are_listed_a_hundred_at_a_time(node, name):
    sns = node.client("sns", region="eu-west-1")
    made = {sns.create_topic(Name=f"{name('page')}")["TopicArn"] for _ in range(101)}
    assert len(sns.list_topics()["Topics"]) == 100
    assert {topic["TopicArn"] for topic in all_topics(sns)} >= made


def test_what_is_wrong_with_a_topic_is_said(sns, topic):
    arn = topic()
    cases = [
        (sns.create_topic, {"Name": "a b"}, "InvalidParameter", "Invalid parameter: Topic Name"),
        (sns.create_topic, {"Name": "t", "Attributes": {"FifoTopic": "true"}}, "InvalidParameter", "must end with .fifo"),
        (sns.create_topic, {"Name": "t.fifo"}, "InvalidParameter", "Topic Name"),
        (sns.create_topic, {"Name": "t", "Attributes": {"Colour": "red"}}, "InvalidParameter", "Unknown attribute Colour"),
        (sns.create_topic, {"Name": arn.split(":")[-1], "Attributes": {"DisplayName": "x"}}, "InvalidParameter", "already exists with different attributes"),
        (sns.create_topic, {"Name": "k", "Attributes": {"TracingConfig": "Active"}}, "NotImplemented", "X-Ray"),
        (sns.set_topic_attributes, {"TopicArn": arn, "AttributeName": "Colour", "AttributeValue": "x"}, "InvalidParameter", "AttributeName"),
        (sns.set_topic_attributes, {"TopicArn": arn, "AttributeName": "Policy", "AttributeValue": "{"}, "InvalidParameter", "Policy"),
        (sns.set_topic_attributes, {"TopicArn": arn, "AttributeName": "DeliveryPolicy", "AttributeValue": "[]"}, "InvalidParameter", "DeliveryPolicy"),
        (sns.get_topic_attributes, {"TopicArn": "t"}, "InvalidParameter", "An ARN must have at least 6 elements, not 1"),
        (sns.tag_resource, {"ResourceArn": arn, "Tags": [{"Key": "aws:x", "Value": ""}]}, "InvalidParameter", "Tags"),
        (sns.put_data_protection_policy, {"ResourceArn": arn, "DataProtectionPolicy": "x"}, "InvalidParameter", "DataProtectionPolicy"),
    ]
    for call, arguments, code, part in cases:
        got = refused(call, **arguments)
        assert got[0] == code and part in got[1], (arguments, got)


def test_permissions_open_a_topic_to_another_account(node, sns, topic):
    arn = topic()
    other = node.client("sns", key="111111111111")
    assert refused(other.publish, TopicArn=arn, Message="m")[0] == "AuthorizationError"
    sns.add_permission(TopicArn=arn, Label="theirs", AWSAccountId=["111111111111"], ActionName=["Publish"])
    assert refused(sns.add_permission, TopicArn=arn, Label="theirs", AWSAccountId=["111111111111"], ActionName=["Publish"])[1] == "Invalid parameter: Statement already exists"
    assert refused(sns.add_permission, TopicArn=arn, Label="l", AWSAccountId=["111111111111"], ActionName=["Fly"])[0] == "InvalidParameter"
    assert other.publish(TopicArn=arn, Message="m")["MessageId"]
    assert refused(other.subscribe, TopicArn=arn, Protocol="email", Endpoint="a@b.c")[0] == "AuthorizationError"
    sns.remove_permission(TopicArn=arn, Label="theirs")
    assert refused(other.publish, TopicArn=arn, Message="m")[0] == "AuthorizationError"


# Queues.


def test_three_subscribers_each_get_a_copy_at_once(sns, topic, queue):
    arn, queues = topic(), [queue() for _ in range(3)]
    subscriptions = [subscribe(sns, arn, "sqs", q.arn) for q in queues]
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["SubscriptionsConfirmed"] == "3"
    sent = sns.publish(TopicArn=arn, Message="hello", Subject="News", MessageAttributes={"n": {"DataType": "Number", "StringValue": "1"}})
    for q, subscription in zip(queues, subscriptions):
        document = json.loads(q.bodies()[0])
        assert document["Type"] == "Notification" and document["Message"] == "hello" and document["Subject"] == "News"
        assert document["TopicArn"] == arn and document["MessageId"] == sent["MessageId"]
        assert document["MessageAttributes"] == {"n": {"Type": "Number", "Value": "1"}}
        assert document["UnsubscribeURL"].endswith(f"SubscriptionArn={subscription}&Version=2010-03-31")
        proves(document)
    assert {s["SubscriptionArn"] for s in sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]} == set(subscriptions)
    pages = sns.get_paginator("list_subscriptions").paginate()
    assert set(subscriptions) <= {s["SubscriptionArn"] for page in pages for s in page["Subscriptions"]}


def test_raw_messages_carry_their_attributes(sns, topic, queue):
    arn, q = topic(SignatureVersion=2), queue()
    subscription = subscribe(sns, arn, "sqs", q.arn)
    sns.publish(TopicArn=arn, Message="enveloped")
    proves(json.loads(q.bodies()[0]))
    sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="RawMessageDelivery", AttributeValue="true")
    attributes = {
        "s": {"DataType": "String", "StringValue": "x"},
        "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    sns.publish(TopicArn=arn, Message="raw", MessageAttributes=attributes)
    (message,) = q.messages()
    assert message["Body"] == "raw" and message["MessageAttributes"]["s"] == attributes["s"]
    assert message["MessageAttributes"]["b"]["BinaryValue"] == b"\x00\xff"


def test_only_queues_whose_policy_lets_the_topic_in_are_sent_to(sns, topic, queue):
    arn, closed, dead = topic(), queue(is_open=False), queue()
    redrive = json.dumps({"deadLetterTargetArn": dead.arn})
    subscribe(sns, arn, "sqs", closed.arn, RedrivePolicy=redrive, RawMessageDelivery="true")
    sns.publish(TopicArn=arn, Message="m")
    (message,) = dead.messages()
    assert message["Body"] == "m" and message["MessageAttributes"]["ErrorCode"]["StringValue"] == "403"
    assert closed.is_empty()


def test_a_protocol_is_sent_its_own_text(sns, topic, queue):
    arn, q = topic(), queue()
    subscribe(sns, arn, "sqs", q.arn, RawMessageDelivery="true")
    sns.publish(TopicArn=arn, MessageStructure="json", Message=json.dumps({"default": "d", "sqs": "for queues"}))
    assert q.bodies() == ["for queues"]


FILTERS = [
    # policy, attributes or body, whether it arrives
    ({"store": ["a"]}, {"store": ("String", "a")}, True),
    ({"store": ["a"]}, {"store": ("String", "b")}, False),
    ({"store": [{"prefix": "ab"}]}, {"store": ("String", "abc")}, True),
    ({"store": [{"suffix": "bc"}]}, {"store": ("String", "abc")}, True),
    ({"store": [{"anything-but": {"prefix": "ab"}}]}, {"store": ("String", "abc")}, False),
    ({"store": [{"equals-ignore-case": "ABC"}]}, {"store": ("String", "abc")}, True),
    ({"price": [{"numeric": [">=", 100, "<", 200]}]}, {"price": ("Number", "150")}, True),
    ({"price": [{"numeric": [">=", 100, "<", 200]}]}, {"price": ("Number", "200")}, False),
    ({"tags": ["x"]}, {"tags": ("String.Array", json.dumps(["x", "y"]))}, True),
    ({"store": [{"exists": False}]}, {}, True),
    ({"ip": [{"cidr": "10.0.0.0/8"}]}, {"ip": ("String", "10.9.9.9")}, True),
    ({"$or": [{"a": ["1"]}, {"b": ["1"]}]}, {"b": ("String", "1")}, True),
]


def test_only_messages_that_pass_the_filter_arrive(sns, topic, queue):
    arn, q = topic(), queue()
    subscription = subscribe(sns, arn, "sqs", q.arn, RawMessageDelivery="true")
    expected = []
    for number, (policy, attributes, arrives) in enumerate(FILTERS):
        sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="FilterPolicy", AttributeValue=json.dumps(policy))
        attributes = {key: {"DataType": kind, "StringValue": value} for key, (kind, value) in attributes.items()}
        sns.publish(TopicArn=arn, Message=str(number), MessageAttributes=attributes)
        if arrives:
            expected.append(str(number))
            assert q.bodies() == [str(number)], policy
    sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="FilterPolicyScope", AttributeValue="MessageBody")
    sns.set_subscription_attributes(
        SubscriptionArn=subscription, AttributeName="FilterPolicy", AttributeValue=json.dumps({"order": {"kind": ["express"]}})
    )
    for kind in ("slow", "express"):
        sns.publish(TopicArn=arn, Message=json.dumps({"order": {"kind": kind}}))
    assert [json.loads(body)["order"]["kind"] for body in q.bodies()] == ["express"]
    assert q.is_empty()
    shown = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert shown["FilterPolicyScope"] == "MessageBody" and shown["RawMessageDelivery"] == "true"
    assert shown["PendingConfirmation"] == "false" and shown["SubscriptionPrincipal"].endswith(":root")


def test_what_is_wrong_with_a_subscription_is_said(sns, topic, queue):
    arn, q = topic(), queue()
    subscription = subscribe(sns, arn, "sqs", q.arn)
    assert subscribe(sns, arn, "sqs", q.arn) == subscription, "the same again"
    cases = [
        ({"Protocol": "sqs", "Endpoint": "q"}, "InvalidParameter", "SQS endpoint ARN"),
        ({"Protocol": "pigeon", "Endpoint": "q"}, "InvalidParameter", "does not support this protocol string: pigeon"),
        ({"Protocol": "firehose", "Endpoint": "arn:aws:firehose:us-east-1:000000000000:deliverystream/s"}, "NotImplemented", "Firehose"),
        ({"Protocol": "http", "Endpoint": "https://x"}, "InvalidParameter", "Endpoint must match the specified protocol"),
        ({"Protocol": "email", "Endpoint": "x"}, "InvalidParameter", "Email address"),
        ({"Protocol": "sqs", "Endpoint": q.arn, "Attributes": {"RawMessageDelivery": "true"}}, "InvalidParameter", "already exists with different attributes"),
        ({"Protocol": "sqs", "Endpoint": q.arn, "Attributes": {"FilterPolicy": "{"}}, "InvalidParameter", "Attributes Reason: FilterPolicy: failed to parse JSON"),
        ({"Protocol": "sqs", "Endpoint": q.arn, "Attributes": {"RedrivePolicy": '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:none"}'}}, "InvalidParameter", "deadLetterTargetArn does not exist"),
    ]
    for arguments, code, part in cases:
        got = refused(sns.subscribe, TopicArn=arn, **arguments)
        assert got[0] == code and part in got[1], (arguments, got)
    gone = arn + "-none"
    assert refused(sns.subscribe, TopicArn=gone, Protocol="sqs", Endpoint=q.arn)[0] == "NotFound"
    assert refused(sns.get_subscription_attributes, SubscriptionArn=subscription + "0") == ("NotFound", "Subscription does not exist")
    assert refused(sns.set_subscription_attributes, SubscriptionArn=subscription, AttributeName="X", AttributeValue="")[1] == "Invalid parameter: AttributeName"
    sns.unsubscribe(SubscriptionArn=subscription)
    sns.unsubscribe(SubscriptionArn=subscription)
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["SubscriptionsDeleted"] == "1"


def test_what_is_wrong_with_a_message_is_said(sns, topic):
    arn, fifo = topic(), topic(fifo=True)
    cases = [
        ({"TopicArn": arn, "Message": ""}, "Empty message"),
        ({"TopicArn": arn, "Message": "x" * 262_145}, "Message too long"),
        ({"TopicArn": arn, "Message": "m", "Subject": "x" * 101}, "Subject"),
        ({"TopicArn": arn, "Message": "m", "MessageStructure": "json"}, "JSON message body failed to parse"),
        ({"TopicArn": arn, "Message": "{}", "MessageStructure": "json"}, "No default entry in JSON message body"),
        ({"TopicArn": arn, "Message": "m", "MessageDeduplicationId": "d"}, "MessageDeduplicationId"),
        ({"TopicArn": fifo, "Message": "m"}, "The MessageGroupId parameter is required for FIFO topics"),
        ({"TopicArn": fifo, "Message": "m", "MessageGroupId": "g"}, "ContentBasedDeduplication enabled or MessageDeduplicationId"),
        ({"Message": "m"}, "TopicArn or TargetArn Reason: no value for required parameter"),
        ({"PhoneNumber": "12", "Message": "m"}, "PhoneNumber"),
    ]
    for arguments, part in cases:
        got = refused(sns.publish, **arguments)
        assert got[0] == "InvalidParameter" and part in got[1], (arguments, got)
    attribute = {"a": {"DataType": "Number", "StringValue": "one"}}
    assert refused(sns.publish, TopicArn=arn, Message="m", MessageAttributes=attribute)[0] == "ParameterValueInvalid"
    assert refused(sns.publish, TopicArn=arn + "-none", Message="m") == ("NotFound", "Topic does not exist")


def test_batches_are_published_entry_by_entry(sns, topic, queue):
    arn, q = topic(), queue()
    subscribe(sns, arn, "sqs", q.arn, RawMessageDelivery="true")

    def batch(*entries):
        return {"TopicArn": arn, "PublishBatchRequestEntries": [{"Id": id, "Message": text} for id, text in entries]}

    answer = sns.publish_batch(**batch(("a", "1"), ("b", ""), ("c", "3")))
    assert [entry["Id"] for entry in answer["Successful"]] == ["a", "c"]
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("b", "InvalidParameter", True)
    assert sorted(q.bodies(2)) == ["1", "3"]
    cases = [
        (batch(), "EmptyBatchRequest"),
        (batch(("a", "1"), ("a", "2")), "BatchEntryIdsNotDistinct"),
        (batch(("a b", "1")), "InvalidBatchEntryId"),
        (batch(*((str(n), "1") for n in range(11))), "TooManyEntriesInBatchRequest"),
        (batch(("a", "x" * 200_000), ("b", "x" * 100_000)), "BatchRequestTooLong"),
    ]
    for arguments, code in cases:
        assert refused(sns.publish_batch, **arguments)[0] == code, code


# FIFO topics.


def test_fifo_topics_keep_order_and_drop_duplicates(node, sns, topic, queue):
    arn, q = topic(fifo=True), queue(fifo=True)
    subscribe(sns, arn, "sqs", q.arn, RawMessageDelivery="true")
    numbers = []
    for number in range(30):
        group = f"g{number % 3}"
        sent = sns.publish(TopicArn=arn, Message=f"{group}/{number}", MessageGroupId=group, MessageDeduplicationId=str(number))
        numbers.append(sent["SequenceNumber"])
        again = sns.publish(TopicArn=arn, Message="again", MessageGroupId=group, MessageDeduplicationId=str(number))
        assert again["MessageId"] == sent["MessageId"]
    assert numbers == sorted(numbers) and len(numbers[0]) == 20
    bodies = q.bodies(30)
    for group in ("g0", "g1", "g2"):
        own = [int(body.split("/")[1]) for body in bodies if body.startswith(group)]
        assert own == sorted(own) and len(own) == 10
    node.advance(301)
    sns.publish(TopicArn=arn, Message="later", MessageGroupId="g0", MessageDeduplicationId="0")
    assert q.bodies() == ["later"]
    assert refused(sns.subscribe, TopicArn=arn, Protocol="email", Endpoint="a@b.c")[0] == "InvalidParameter"


def test_duplicates_may_be_told_by_content_and_within_groups(sns, topic, queue):
    arn, q = topic(fifo=True, ContentBasedDeduplication="true", FifoThroughputScope="MessageGroup"), queue(fifo=True, DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    subscribe(sns, arn, "sqs", q.arn)
    for group in ("a", "a", "b"):
        sns.publish(TopicArn=arn, Message="same", MessageGroupId=group)
    documents = [json.loads(body) for body in q.bodies(2)]
    assert [document["Message"] for document in documents] == ["same"] * 2 and q.is_empty()
    assert all("SequenceNumber" in document and "Signature" not in document for document in documents)


def test_an_archive_is_replayed(node, sns, topic, queue):
    arn = topic(fifo=True, ContentBasedDeduplication="true", ArchivePolicy=json.dumps({"MessageRetentionPeriod": "2"}))
    assert "BeginningArchiveTime" in sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    for number in range(12):
        sns.publish(TopicArn=arn, Message=str(number), MessageGroupId="g")
    q = queue(fifo=True)
    policy = json.dumps({"PointType": "Timestamp", "StartingPoint": "2020-01-01T00:00:00.000Z"})
    subscription = subscribe(sns, arn, "sqs", q.arn, ReplayPolicy=policy)
    documents = [json.loads(body) for body in q.bodies(12)]
    assert [document["Message"] for document in documents] == [str(number) for number in range(12)]
    assert all(document["Replayed"] == "true" for document in documents)

    def status():
        return sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]["ReplayStatus"]

    eventually(lambda: status() == "Completed", 10)
    sns.publish(TopicArn=arn, Message="live", MessageGroupId="g")
    assert json.loads(q.bodies()[0])["Message"] == "live"
    plain = topic(fifo=True)
    assert refused(sns.subscribe, TopicArn=plain, Protocol="sqs", Endpoint=q.arn, Attributes={"ReplayPolicy": policy})[0] == "InvalidParameter"


# Functions.

PRINTS = """
def handler(event, context):
    (record,) = event["Records"]
    print("EVENT", record["EventSource"], record["Sns"]["Message"], record["Sns"]["MessageAttributes"])
"""


def test_a_function_gets_the_message_as_an_event(node, sns, topic, functions):
    arn, name = topic(), functions.create(PRINTS)
    function = functions.lambda_.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    subscribe(sns, arn, "lambda", function)
    functions.lambda_.add_permission(
        FunctionName=name, StatementId="sns", Action="lambda:InvokeFunction", Principal="sns.amazonaws.com", SourceArn=arn
    )
    sns.publish(TopicArn=arn, Message="state one", MessageAttributes={"n": {"DataType": "Number", "StringValue": "1"}})
    logs, group = node.client("logs"), f"/aws/lambda/{name}"

    def lines():
        try:
            return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]
        except logs.exceptions.ResourceNotFoundException:
            return []

    said = "EVENT aws:sns state one {'n': {'Type': 'Number', 'Value': '1'}}"
    eventually(lambda: any(said in line for line in lines()), 20)


# Web servers.


def test_who_has_no_permission_is_refused_everything(denied, sns, topic):
    arn = topic()
    subscription, endpoint = f"{arn}:6b0e71bd-7e97-4d97-80ce-4a0994e55286", f"arn:aws:sns:us-east-1:{ACCOUNT}:endpoint/GCM/a/b"
    app = f"arn:aws:sns:us-east-1:{ACCOUNT}:app/GCM/a"
    on_topic = {"TopicArn": arn}
    calls = {
        "create_topic": {"Name": "x"},
        "delete_topic": on_topic,
        "list_topics": {},
        "get_topic_attributes": on_topic,
        "set_topic_attributes": on_topic | {"AttributeName": "DisplayName", "AttributeValue": "x"},
        "get_data_protection_policy": {"ResourceArn": arn},
        "put_data_protection_policy": {"ResourceArn": arn, "DataProtectionPolicy": "{}"},
        "add_permission": on_topic | {"Label": "l", "AWSAccountId": ["111111111111"], "ActionName": ["Publish"]},
        "remove_permission": on_topic | {"Label": "l"},
        "tag_resource": {"ResourceArn": arn, "Tags": [{"Key": "k", "Value": "v"}]},
        "untag_resource": {"ResourceArn": arn, "TagKeys": ["k"]},
        "list_tags_for_resource": {"ResourceArn": arn},
        "publish": on_topic | {"Message": "m"},
        "publish_batch": on_topic | {"PublishBatchRequestEntries": [{"Id": "a", "Message": "m"}]},
        "subscribe": on_topic | {"Protocol": "email", "Endpoint": "a@b.c"},
        "confirm_subscription": on_topic | {"Token": "t"},
        "unsubscribe": {"SubscriptionArn": subscription},
        "list_subscriptions": {},
        "list_subscriptions_by_topic": on_topic,
        "get_subscription_attributes": {"SubscriptionArn": subscription},
        "set_subscription_attributes": {"SubscriptionArn": subscription, "AttributeName": "FilterPolicy", "AttributeValue": "{}"},
        "create_platform_application": {"Name": "a", "Platform": "GCM", "Attributes": {"PlatformCredential": "c"}},
        "delete_platform_application": {"PlatformApplicationArn": app},
        "get_platform_application_attributes": {"PlatformApplicationArn": app},
        "set_platform_application_attributes": {"PlatformApplicationArn": app, "Attributes": {"Enabled": "true"}},
        "list_platform_applications": {},
        "create_platform_endpoint": {"PlatformApplicationArn": app, "Token": "t"},
        "delete_endpoint": {"EndpointArn": endpoint},
        "get_endpoint_attributes": {"EndpointArn": endpoint},
        "set_endpoint_attributes": {"EndpointArn": endpoint, "Attributes": {"Enabled": "true"}},
        "list_endpoints_by_platform_application": {"PlatformApplicationArn": app},
        "set_sms_attributes": {"attributes": {"DefaultSMSType": "Promotional"}},
        "get_sms_attributes": {},
        "check_if_phone_number_is_opted_out": {"phoneNumber": "+12065550100"},
        "list_phone_numbers_opted_out": {},
        "opt_in_phone_number": {"phoneNumber": "+12065550100"},
        "get_sms_sandbox_account_status": {},
        "create_sms_sandbox_phone_number": {"PhoneNumber": "+12065550100"},
        "verify_sms_sandbox_phone_number": {"PhoneNumber": "+12065550100", "OneTimePassword": "123456"},
        "delete_sms_sandbox_phone_number": {"PhoneNumber": "+12065550100"},
        "list_sms_sandbox_phone_numbers": {},
        "list_origination_numbers": {},
    }
    nobody = denied("sns")
    for operation, arguments in calls.items():
        code, message = refused(getattr(nobody, operation), **arguments)
        assert code == "AuthorizationError" and "is not authorized to perform: SNS:" in message, (operation, code, message)


def test_nothing_published_is_lost_when_the_node_is_killed(durable_node, name):
    node = durable_node
    sns, sqs = node.client("sns"), node.client("sqs")
    q, arn = Queue(sqs, name("q")), sns.create_topic(Name=name("t"))["TopicArn"]
    subscribe(sns, arn, "sqs", q.arn, RawMessageDelivery="true")
    for number in range(50):
        sns.publish(TopicArn=arn, Message=str(number))
    node.kill()
    node.start()
    got = set()

    def ask():
        for message in sqs.receive_message(QueueUrl=q.url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            got.add(message["Body"])
        return len(got) == 50

    eventually(ask, 30)


def test_the_cli_creates_subscribes_publishes_and_reads_mail(node, name):
    arn = json.loads(node.aws("sns", "create-topic", "--name", name("cli")).stdout)["TopicArn"]
    address = f"{name()}@example.com"
    node.aws("sns", "subscribe", "--topic-arn", arn, "--protocol", "email", "--notification-endpoint", address)
    sent = json.loads(node.aws("sns", "publish", "--topic-arn", arn, "--message", "hello").stdout)
    assert sent["MessageId"]
    eventually(lambda: mails(node, address), 10)
