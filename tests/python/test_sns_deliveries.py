"""SNS: deliveries to web servers and people."""

import json
import time

import requests

from sns_parts import ACCOUNT, eventually, mails, proves, queue, refused, sns, subscribe, topic, web  # noqa: F401


def test_a_web_server_confirms_and_is_sent_signed_messages(sns, topic, web):
    arn = topic()
    assert sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=web.url)["SubscriptionArn"] == "pending confirmation"
    headers, body = web.wait(1)
    document = json.loads(body)
    assert headers["x-amz-sns-message-type"] == document["Type"] == "SubscriptionConfirmation"
    proves(document)
    sns.publish(TopicArn=arn, Message="too early")
    shown = requests.get(document["SubscribeURL"], timeout=5)
    assert shown.status_code == 200 and "SubscriptionArn" in shown.text
    (own,) = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    assert own["SubscriptionArn"].startswith(arn)
    sns.publish(TopicArn=arn, Message="hello", Subject="News")
    headers, body = web.wait(2)
    document = json.loads(body)
    assert document["Message"] == "hello" and headers["x-amz-sns-message-id"] == document["MessageId"]
    assert headers["x-amz-sns-topic-arn"] == arn and headers["x-amz-sns-subscription-arn"] == own["SubscriptionArn"]
    assert headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert headers["User-Agent"] == "Amazon Simple Notification Service Agent"
    proves(document)
    assert requests.get(document["UnsubscribeURL"], timeout=5).status_code == 200
    headers, body = web.wait(3)
    assert headers["x-amz-sns-message-type"] == json.loads(body)["Type"] == "UnsubscribeConfirmation"
    assert sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"] == []


def confirmed(sns, arn, web, **attributes):
    before = len(web.requests)
    sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=web.url, Attributes=attributes)
    token = json.loads(web.wait(before + 1)[1])["Token"]
    return sns.confirm_subscription(TopicArn=arn, Token=token, AuthenticateOnUnsubscribe="true")["SubscriptionArn"]


def test_a_guarded_subscription_is_ended_by_its_owner_only(node, sns, topic, web):
    arn = topic()
    subscription = confirmed(sns, arn, web)
    link = f"{node.endpoint}/?Action=Unsubscribe&SubscriptionArn={subscription}&Version=2010-03-31"
    assert requests.get(link, timeout=5).status_code == 403
    other = node.client("sns", key="111111111111")
    assert refused(other.unsubscribe, SubscriptionArn=subscription)[0] == "AuthorizationError"
    sns.unsubscribe(SubscriptionArn=subscription)
    assert refused(sns.confirm_subscription, TopicArn=arn, Token="nonsense") == ("InvalidParameter", "Invalid parameter: Token")


def test_deliveries_are_tried_again_by_policy_and_then_buried(node, sns, topic, web, queue):
    arn, dead = topic(), queue()
    policy = {"healthyRetryPolicy": {"minDelayTarget": 5, "maxDelayTarget": 5, "numRetries": 2}}
    redrive = json.dumps({"deadLetterTargetArn": dead.arn})
    subscription = confirmed(sns, arn, web, DeliveryPolicy=json.dumps(policy), RedrivePolicy=redrive)
    shown = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert json.loads(shown["EffectiveDeliveryPolicy"])["healthyRetryPolicy"]["numRetries"] == 2
    web.statuses = [500, 503]
    sns.publish(TopicArn=arn, Message="third time")
    for count in (2, 3):
        web.wait(count)
        time.sleep(0.2)  # the attempt's outcome is written
        node.advance(6)
    assert json.loads(web.wait(4)[1])["Message"] == "third time"
    web.statuses = [404]
    sns.publish(TopicArn=arn, Message="refused")
    assert json.loads(dead.bodies()[0])["Message"] == "refused"
    assert len(web.requests) == 5, "what is refused is not tried again"


def test_raw_messages_and_content_types_reach_a_web_server(sns, topic, web):
    arn = topic()
    policy = json.dumps({"requestPolicy": {"headerContentType": "application/json"}})
    confirmed(sns, arn, web, RawMessageDelivery="true", DeliveryPolicy=policy)
    sns.publish(TopicArn=arn, Message='{"a": 1}')
    headers, body = web.wait(2)
    assert body == '{"a": 1}' and headers["x-amz-sns-rawdelivery"] == "true" and headers["Content-Type"] == "application/json"


def test_a_subscription_that_is_not_confirmed_goes_after_two_days(node, sns, topic, name):
    arn, address = topic(), f"{name()}@example.com"
    sns.subscribe(TopicArn=arn, Protocol="email", Endpoint=address)
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["SubscriptionsPending"] == "1"
    node.advance(2 * 86_400 + 1)
    eventually(lambda: sns.get_topic_attributes(TopicArn=arn)["Attributes"]["SubscriptionsPending"] == "0", 10)


# People.


def test_mails_are_confirmed_by_link_and_land_in_the_mailbox(node, sns, topic, name):
    arn, address = topic(DisplayName="News"), f"{name()}@example.com"
    sns.subscribe(TopicArn=arn, Protocol="email", Endpoint=address)
    eventually(lambda: mails(node, address), 10)
    (asked,) = mails(node, address)
    assert asked["subject"] == "AWS Notification - Subscription Confirmation" and asked["from"].startswith("News <")
    link = next(word for word in asked["body"].split() if "ConfirmSubscription" in word)
    assert requests.get(link, timeout=5).status_code == 200
    sns.publish(TopicArn=arn, Message="hello", Subject="Today")
    eventually(lambda: len(mails(node, address)) == 2, 10)
    mail = mails(node, address)[0]
    assert mail["subject"] == "Today" and mail["body"].startswith("hello\n") and "Action=Unsubscribe" in mail["body"]


def test_text_messages_land_in_the_mailbox_unless_stopped(node, sns, topic):
    number = "+12065550111"
    sns.set_sms_attributes(attributes={"DefaultSenderID": "pileus"})
    assert sns.get_sms_attributes(attributes=["DefaultSenderID"])["attributes"] == {"DefaultSenderID": "pileus"}
    assert refused(sns.set_sms_attributes, attributes={"Colour": "red"})[0] == "InvalidParameter"
    sns.publish(PhoneNumber=number, Message="direct")
    arn = topic()
    subscribe(sns, arn, "sms", number)
    sns.publish(TopicArn=arn, Message="by topic")
    eventually(lambda: len(mails(node, number)) == 2, 10)
    assert {(mail["channel"], mail["from"], mail["body"]) for mail in mails(node, number)} == {("sms", "pileus", "direct"), ("sms", "pileus", "by topic")}
    requests.post(f"{node.endpoint}/_pileus/sms/stop", json={"phone_number": number}, timeout=5).raise_for_status()
    assert sns.check_if_phone_number_is_opted_out(phoneNumber=number)["isOptedOut"]
    assert sns.list_phone_numbers_opted_out()["phoneNumbers"] == [number]
    sns.publish(PhoneNumber=number, Message="unwanted")
    assert len(mails(node, number)) == 2
    sns.opt_in_phone_number(phoneNumber=number)
    assert not sns.check_if_phone_number_is_opted_out(phoneNumber=number)["isOptedOut"]
    assert sns.list_origination_numbers()["PhoneNumbers"] == []


def test_numbers_of_the_sandbox_are_verified_by_code(node, sns):
    number = "+12065550122"
    assert sns.get_sms_sandbox_account_status()["IsInSandbox"] is False
    sns.create_sms_sandbox_phone_number(PhoneNumber=number)
    assert sns.list_sms_sandbox_phone_numbers()["PhoneNumbers"] == [{"PhoneNumber": number, "Status": "Pending"}]
    code = mails(node, number)[0]["body"].split()[0]
    wrong = "000000" if code != "000000" else "111111"
    assert refused(sns.verify_sms_sandbox_phone_number, PhoneNumber=number, OneTimePassword=wrong)[0] == "VerificationException"
    sns.verify_sms_sandbox_phone_number(PhoneNumber=number, OneTimePassword=code)
    assert sns.list_sms_sandbox_phone_numbers()["PhoneNumbers"][0]["Status"] == "Verified"
    sns.delete_sms_sandbox_phone_number(PhoneNumber=number)
    assert refused(sns.delete_sms_sandbox_phone_number, PhoneNumber=number)[0] == "ResourceNotFound"


def test_pushes_land_in_the_mailbox(node, sns, topic, name):
    app = sns.create_platform_application(Name=name("app"), Platform="GCM", Attributes={"PlatformCredential": "key"})["PlatformApplicationArn"]
    assert sns.get_platform_application_attributes(PlatformApplicationArn=app)["Attributes"] == {"Enabled": "true"}
    token = name("token")
    device = sns.create_platform_endpoint(PlatformApplicationArn=app, Token=token, CustomUserData="u")["EndpointArn"]
    assert sns.create_platform_endpoint(PlatformApplicationArn=app, Token=token, CustomUserData="u")["EndpointArn"] == device
    assert "different attributes" in refused(sns.create_platform_endpoint, PlatformApplicationArn=app, Token=token, CustomUserData="v")[1]
    sns.publish(TargetArn=device, Message=json.dumps({"default": "d", "GCM": "ping"}), MessageStructure="json")
    arn = topic()
    subscribe(sns, arn, "application", device)
    sns.publish(TopicArn=arn, Message="by topic")
    eventually(lambda: len(mails(node, token)) == 2, 10)
    assert {mail["body"] for mail in mails(node, token)} == {"ping", "by topic"}
    sns.set_endpoint_attributes(EndpointArn=device, Attributes={"Enabled": "false"})
    assert sns.get_endpoint_attributes(EndpointArn=device)["Attributes"]["Enabled"] == "false"
    assert refused(sns.publish, TargetArn=device, Message="m")[0] == "EndpointDisabled"
    assert [e["EndpointArn"] for e in sns.list_endpoints_by_platform_application(PlatformApplicationArn=app)["Endpoints"]] == [device]
    sns.set_platform_application_attributes(PlatformApplicationArn=app, Attributes={"Enabled": "false"})
    assert app in [a["PlatformApplicationArn"] for a in sns.list_platform_applications()["PlatformApplications"]]
    sns.delete_endpoint(EndpointArn=device)
    sns.delete_platform_application(PlatformApplicationArn=app)
    assert refused(sns.get_platform_application_attributes, PlatformApplicationArn=app)[0] == "NotFound"
    assert refused(sns.create_platform_application, Name="a", Platform="PIGEON", Attributes={"PlatformCredential": "c"})[0] == "InvalidParameter"


# What is logged, who may, what lasts.


def test_the_status_of_deliveries_is_logged_where_a_role_says_so(node, sns, topic, queue, name):
    iam = node.client("iam")
    role = iam.create_role(
        RoleName=name("log"),
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sts:AssumeRole"}]}),
    )["Role"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=role["RoleName"], PolicyName="p", PolicyDocument=json.dumps(policy))
    arn, q = topic(SQSSuccessFeedbackRoleArn=role["Arn"], SQSSuccessFeedbackSampleRate=100, SQSFailureFeedbackRoleArn=role["Arn"]), queue()
    subscribe(sns, arn, "sqs", q.arn)
    closed = queue(is_open=False)
    subscribe(sns, arn, "sqs", closed.arn)
    sent = sns.publish(TopicArn=arn, Message="m")
    logs, group = node.client("logs"), f"sns/us-east-1/{ACCOUNT}/{arn.split(':')[-1]}"

    def lines(group):
        try:
            return [json.loads(event["message"]) for event in logs.filter_log_events(logGroupName=group)["events"]]
        except logs.exceptions.ResourceNotFoundException:
            return []

    for group, status, destination in ((group, "SUCCESS", q.arn), (group + "/Failure", "FAILURE", closed.arn)):
        eventually(lambda: lines(group), 10)
        (line,) = lines(group)
        assert line["status"] == status and line["notification"]["messageId"] == sent["MessageId"]
        assert line["delivery"]["destination"] == destination
