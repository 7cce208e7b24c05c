"""STS: who one is, sessions of roles and users, and that they are enforced."""

import base64
import datetime
import hashlib
import hmac
import json
import struct

import pytest
import requests
from botocore.exceptions import ClientError
from conftest import error_code

ACCOUNT = "000000000000"


def document(*statements) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


class Made:
    """Makes users, roles and queues, each under a name of its own."""

    def __init__(self, node, name):
        self.node, self.name = node, name
        self.iam = node.client("iam")

    def user(self, *statements, **more):
        """The user, and the arguments of `client` for one of its keys."""
        user = self.iam.create_user(UserName=self.name("user"), **more)["User"]
        if statements:
            self.iam.put_user_policy(UserName=user["UserName"], PolicyName="p", PolicyDocument=document(*statements))
        key = self.iam.create_access_key(UserName=user["UserName"])["AccessKey"]
        return user, (key["AccessKeyId"], key["SecretAccessKey"])

    def role(self, principal, *statements, condition=None, actions="sts:AssumeRole", **more):
        trust = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": actions}
        if condition:
            trust["Condition"] = condition
        role = self.iam.create_role(RoleName=self.name("role"), AssumeRolePolicyDocument=document(trust), **more)["Role"]
        if statements:
            self.iam.put_role_policy(RoleName=role["RoleName"], PolicyName="p", PolicyDocument=document(*statements))
        return role

    def queue(self):
        """URL and ARN."""
        sqs = self.node.client("sqs")
        url = sqs.create_queue(QueueName=self.name("queue"))["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


@pytest.fixture
def made(node, name):
    return Made(node, name)


def keys(answer):
    """The arguments of `client` for what an operation issued."""
    credentials = answer["Credentials"]
    return credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]


def assume(sts, role, **more):
    return sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session", **more)


def unchecked(client, *key):
    """A client that sends what it is told, so that the node is the one who refuses."""
    return client("sts", *key, parameter_validation=False)


def failure(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def is_denied(call, *args, **kwargs) -> bool:
    return error_code(call, *args, **kwargs) in ("AccessDenied", "AccessDeniedException")


def now(node) -> datetime.datetime:
    text = requests.get(f"{node.endpoint}/_pileus/clock", timeout=10).json()["now"]
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


# GetCallerIdentity


def test_everybody_is_told_who_they_are(node, client, made):
    root = client("sts").get_caller_identity()
    assert (root["Account"], root["UserId"], root["Arn"]) == (ACCOUNT, ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")
    other = client("sts", key="123456789012").get_caller_identity()
    assert other["Arn"] == "arn:aws:iam::123456789012:root"
    user, key = made.user(Path="/team/")
    told = client("sts", *key).get_caller_identity()
    assert (told["Account"], told["UserId"], told["Arn"]) == (ACCOUNT, user["UserId"], user["Arn"])
    assert f":user/team/{user['UserName']}" in told["Arn"]


def test_nobody_can_be_denied_to_know_who_they_are(made, client):
    _, key = made.user({"Effect": "Deny", "Action": "*", "Resource": "*"})
    client("sts", *key).get_caller_identity()


def test_every_protocol_tells_the_same(node):
    told = json.loads(node.aws("sts", "get-caller-identity").stdout)
    assert told["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"


# Keys and signatures


def test_a_wrong_secret_is_no_signature(client, made):
    _, (key, _) = made.user()
    assert error_code(client("sts", key, "wrong").get_caller_identity) == "SignatureDoesNotMatch"


def test_a_key_that_is_inactive_or_deleted_is_no_key(client, made):
    user, key = made.user()
    who = client("sts", *key).get_caller_identity
    change = {"UserName": user["UserName"], "AccessKeyId": key[0]}
    made.iam.update_access_key(**change, Status="Inactive")
    assert error_code(who) == "InvalidClientTokenId"
    made.iam.update_access_key(**change, Status="Active")
    assert who()["Arn"] == user["Arn"]
    made.iam.delete_access_key(**change)
    assert error_code(who) == "InvalidClientTokenId"


def test_a_session_token_is_good_for_its_own_key_only(client, made):
    role = made.role(ACCOUNT)
    one, other = (keys(assume(client("sts"), role)) for _ in range(2))
    cases = [
        ("another session's token", (one[0], one[1], other[2])),
        ("a token that was changed", (one[0], one[1], one[2][:-8] + "AAAAAAA=")),
        ("no token", (one[0], one[1], None)),
        ("a made-up key", ("ASIA" + "A" * 16, "secret", None)),
    ]
    for what, key in cases:
        assert error_code(client("sts", *key).get_caller_identity) == "InvalidClientTokenId", what
    assert error_code(client("sts", one[0], "wrong", one[2]).get_caller_identity) == "SignatureDoesNotMatch"


# GetAccessKeyInfo


def test_a_key_is_known_by_its_account(client, made, denied):
    _, (key, _) = made.user()
    sts = unchecked(client)
    assert sts.get_access_key_info(AccessKeyId=key)["Account"] == ACCOUNT
    assert error_code(sts.get_access_key_info, AccessKeyId="AKIA" + "A" * 16) == "ValidationError"
    assert error_code(sts.get_access_key_info, AccessKeyId="short") == "ValidationError"
    assert is_denied(denied("sts").get_access_key_info, AccessKeyId=key)


# AssumeRole


def test_a_role_may_do_what_its_policy_allows_and_no_more(client, made):
    (own, own_arn), (other, _) = made.queue(), made.queue()
    role = made.role(ACCOUNT, allow("sqs:SendMessage", own_arn))
    answer = assume(client("sts"), role)
    user = answer["AssumedRoleUser"]
    assert user["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role['RoleName']}/session"
    assert user["AssumedRoleId"] == f"{role['RoleId']}:session"
    assert "PackedPolicySize" not in answer and "SourceIdentity" not in answer
    assert answer["Credentials"]["AccessKeyId"].startswith("ASIA")
    assert answer["SessionTokenSize"] == len(answer["Credentials"]["SessionToken"])
    assert 0 < answer["SessionTokenUtilization"] <= 100
    sqs = client("sqs", *keys(answer))
    sqs.send_message(QueueUrl=own, MessageBody="x")
    assert is_denied(sqs.send_message, QueueUrl=other, MessageBody="x")
    assert is_denied(sqs.receive_message, QueueUrl=own)
    assert client("sts", *keys(answer)).get_caller_identity()["Arn"] == user["Arn"]


def test_a_change_of_the_role_reaches_its_sessions_at_once(client, made):
    url, arn = made.queue()
    role = made.role(ACCOUNT, allow("sqs:SendMessage", arn))
    sqs = client("sqs", *keys(assume(client("sts"), role)))
    sqs.send_message(QueueUrl=url, MessageBody="x")
    made.iam.delete_role_policy(RoleName=role["RoleName"], PolicyName="p")
    assert is_denied(sqs.send_message, QueueUrl=url, MessageBody="x")
    made.iam.delete_role(RoleName=role["RoleName"])
    assert is_denied(sqs.send_message, QueueUrl=url, MessageBody="x")


def test_a_session_ends_when_its_time_is_over(node, client, made):
    role = made.role(ACCOUNT, allow("sqs:*"), MaxSessionDuration=7200)
    sts = client("sts")
    for seconds in (900, None, 7200):
        answer = assume(sts, role, **({"DurationSeconds": seconds} if seconds else {}))
        seconds = seconds or 3600
        left = (answer["Credentials"]["Expiration"] - now(node)).total_seconds()
        assert seconds - 5 <= left <= seconds + 1
        session = client("sts", *keys(answer))
        node.advance(seconds - 10)
        session.get_caller_identity()
        node.advance(10)
        code, text = failure(session.get_caller_identity)
        assert (code, text) == ("ExpiredToken", "The security token included in the request is expired")
        assert error_code(client("sqs", *keys(answer)).list_queues) in ("ExpiredToken", "ExpiredTokenException")


def test_a_duration_must_fit_the_role(client, made):
    role = made.role(ACCOUNT)
    sts = unchecked(client)
    cases = [
        (899, "1 validation error detected: Value '899' at 'durationSeconds'"),
        (43201, "1 validation error detected: Value '43201' at 'durationSeconds'"),
        (3601, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."),
    ]
    for seconds, expected in cases:
        code, text = failure(assume, sts, role, DurationSeconds=seconds)
        assert code == "ValidationError" and text.startswith(expected), seconds


def test_bad_parameters_are_refused_in_awss_words(client, made):
    role = made.role(ACCOUNT)
    sts = unchecked(client)
    for arn in ("nothing-valid-in-here", "arn::b:::something/test-role", "arn:a:::something/test-role"):
        assert failure(sts.assume_role, RoleArn=arn, RoleSessionName="session") == ("ValidationError", f"{arn} is invalid")
    code, text = failure(sts.assume_role, RoleArn=role["Arn"], RoleSessionName="Session1:2")
    assert code == "ValidationError"
    assert text == (
        "1 validation error detected: Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [\\w+=,.@-]*"
    )
    code, text = failure(sts.assume_role, RoleArn=role["Arn"], RoleSessionName="s" * 65)
    assert code == "ValidationError" and text.endswith("Member must have length less than or equal to 64")


def test_only_those_whom_the_role_trusts_may_assume_it(client, made, denied):
    trusted, trusted_key = made.user()
    stranger, stranger_key = made.user(allow("sts:AssumeRole"))
    role = made.role(trusted["Arn"])
    assume(client("sts", *trusted_key), role)
    code, text = failure(assume, client("sts", *stranger_key), role)
    assert code == "AccessDenied"
    assert text.startswith(f"User: {stranger['Arn']} is not authorized to perform: sts:AssumeRole on resource: {role['Arn']}")
    assert error_code(assume, denied("sts"), role) == "AccessDenied"
    # Trust in the account leaves it to the account's own policies.
    by_account = made.role(ACCOUNT)
    assume(client("sts", *stranger_key), by_account)
    assert error_code(assume, client("sts", *trusted_key), by_account) == "AccessDenied"
    assert error_code(assume, client("sts", *stranger_key), {"Arn": role["Arn"] + "-missing"}) == "AccessDenied"


def test_a_role_of_another_account_needs_both_sides(node, client, name, made):
    other = Made(node, name)
    other.iam = client("iam", key="111111111111")
    user, key = made.user(allow("sts:AssumeRole", "arn:aws:iam::111111111111:role/*"))
    _, without = made.user()
    role = other.role(f"arn:aws:iam::{ACCOUNT}:root")
    answer = assume(client("sts", *key), role)
    assert client("sts", *keys(answer)).get_caller_identity()["Account"] == "111111111111"
    assert error_code(assume, client("sts", *without), role) == "AccessDenied"
    untrusting = other.role("arn:aws:iam::111111111111:root")
    assert error_code(assume, client("sts", *key), untrusting) == "AccessDenied"


def test_the_trust_policy_sees_external_id_and_session_name(client, made):
    user, key = made.user()
    condition = {"StringEquals": {"sts:ExternalId": "secret-1", "sts:RoleSessionName": "${aws:username}"}}
    role = made.role(user["Arn"], condition=condition)
    sts = client("sts", *key)
    good = {"RoleArn": role["Arn"], "RoleSessionName": user["UserName"], "ExternalId": "secret-1"}
    sts.assume_role(**good)
    assert error_code(sts.assume_role, **{**good, "ExternalId": "secret-2"}) == "AccessDenied"
    assert error_code(sts.assume_role, **{**good, "RoleSessionName": "other"}) == "AccessDenied"
    assert error_code(sts.assume_role, RoleArn=role["Arn"], RoleSessionName=user["UserName"]) == "AccessDenied"


def test_session_policies_narrow_and_never_widen(client, made):
    (one, one_arn), (two, two_arn), (three, three_arn) = made.queue(), made.queue(), made.queue()
    role = made.role(ACCOUNT, allow("sqs:SendMessage", [one_arn, two_arn]))
    managed = made.iam.create_policy(
        PolicyName=made.name("policy"), PolicyDocument=document(allow("sqs:*", [two_arn, three_arn]))
    )["Policy"]["Arn"]
    sts = client("sts")
    cases = [
        ("inline", {"Policy": document(allow("sqs:*", [one_arn, three_arn]))}, one),
        ("managed", {"PolicyArns": [{"arn": managed}]}, two),
        ("AWS-managed", {"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess"}]}, None),
    ]
    for what, more, reached in cases:
        answer = assume(sts, role, **more)
        assert 0 < answer["PackedPolicySize"] <= 100, what
        sqs = client("sqs", *keys(answer))
        for url in (one, two, three):
            if url == reached:
                sqs.send_message(QueueUrl=url, MessageBody="x")
            else:
                assert is_denied(sqs.send_message, QueueUrl=url, MessageBody="x"), (what, url)


def test_managed_session_policies_may_be_large_and_are_as_they_are_now(client, name, node, made):
    url, arn = made.queue()
    role = made.role(ACCOUNT, allow("*"))
    sts = client("sts")
    answer = assume(sts, role, PolicyArns=[{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}])
    sqs = client("sqs", *keys(answer))
    sqs.list_queues()
    assert is_denied(sqs.send_message, QueueUrl=url, MessageBody="x")
    own = made.iam.create_policy(PolicyName=name("policy"), PolicyDocument=document(allow("sqs:SendMessage")))["Policy"]["Arn"]
    sqs = client("sqs", *keys(assume(sts, role, PolicyArns=[{"arn": own}])))
    sqs.send_message(QueueUrl=url, MessageBody="x")
    made.iam.create_policy_version(PolicyArn=own, PolicyDocument=document(allow("sqs:ListQueues")), SetAsDefault=True)
    assert is_denied(sqs.send_message, QueueUrl=url, MessageBody="x")
    for version in made.iam.list_policy_versions(PolicyArn=own)["Versions"]:
        if not version["IsDefaultVersion"]:
            made.iam.delete_policy_version(PolicyArn=own, VersionId=version["VersionId"])
    made.iam.delete_policy(PolicyArn=own)
    assert is_denied(sqs.list_queues)
    other = client("iam", key="111111111111").create_policy(
        PolicyName=name("policy"), PolicyDocument=document(allow("*"))
    )["Policy"]["Arn"]
    assert error_code(assume, sts, role, PolicyArns=[{"arn": other}]) == "ValidationError", "another account's"


def test_session_policies_must_be_policies_of_some_size(client, made):
    role = made.role(ACCOUNT)
    sts = client("sts")
    long = document(allow("sqs:SendMessage", "arn:aws:sqs:us-east-1:000000000000:" + "q" * 2048))
    cases = [
        ({"Policy": "{"}, "MalformedPolicyDocument"),
        ({"Policy": document({**allow("sqs:*"), "Principal": "*"})}, "MalformedPolicyDocument"),
        ({"Policy": long}, "PackedPolicyTooLarge"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/NoSuchPolicyAtAll"}]}, "ValidationError"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}] * 11}, "ValidationError"),
    ]
    for more, expected in cases:
        assert error_code(assume, sts, role, **more) == expected, more


def test_a_session_token_is_as_long_as_was_asked_for(client, made):
    role = made.role(ACCOUNT)
    sts = client("sts")
    answer = assume(sts, role, MinimumSessionTokenSize=4096)
    assert answer["SessionTokenSize"] == len(answer["Credentials"]["SessionToken"]) >= 4096
    client("sts", *keys(answer)).get_caller_identity()
    assert error_code(assume, unchecked(client), role, MinimumSessionTokenSize=4097) == "ValidationError"


# Tags, source identity, chains

TAGGING = ["sts:AssumeRole", "sts:TagSession"]


def test_session_tags_count_in_policies_and_need_their_permission(client, made):
    url, arn = made.queue()
    condition = {"StringEquals": {"aws:PrincipalTag/Project": "x"}}
    role = made.role(ACCOUNT, allow("sqs:SendMessage", arn, Condition=condition), actions=TAGGING, Tags=[{"Key": "project", "Value": "role"}])
    sts = client("sts")

    def send(**more):
        client("sqs", *keys(assume(sts, role, **more))).send_message(QueueUrl=url, MessageBody="x")

    send(Tags=[{"Key": "PROJECT", "Value": "x"}])
    assert is_denied(send, Tags=[{"Key": "Project", "Value": "y"}])
    assert is_denied(send), "the role's own tag"
    user, key = made.user(allow("sts:AssumeRole"))
    assume(client("sts", *key), role)
    code, text = failure(assume, client("sts", *key), role, Tags=[{"Key": "Project", "Value": "x"}])
    assert code == "AccessDenied" and "sts:TagSession" in text
    untagged = made.role(user["Arn"])
    assert error_code(assume, client("sts", *key), untagged, Tags=[{"Key": "a", "Value": "b"}]) == "AccessDenied"


def test_a_trust_policy_may_demand_tags(client, made):
    user, key = made.user()
    condition = {
        "StringEquals": {"aws:RequestTag/Project": ["x", "y"]},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["Project", "Cost"], "sts:TransitiveTagKeys": ["Project"]},
    }
    role = made.role(user["Arn"], actions=TAGGING, condition=condition)
    sts = client("sts", *key)
    tag = lambda **tags: [{"Key": key, "Value": value} for key, value in tags.items()]
    assume(sts, role, Tags=tag(Project="x", Cost="1"), TransitiveTagKeys=["Project"])
    for more in (
        {},
        {"Tags": tag(Project="z")},
        {"Tags": tag(Project="x", Other="1")},
        {"Tags": tag(Project="x", Cost="1"), "TransitiveTagKeys": ["Cost"]},
    ):
        assert error_code(assume, sts, role, **more) == "AccessDenied", more


def test_tags_are_checked_in_awss_words(client, made):
    role = made.role(ACCOUNT, actions=TAGGING)
    sts = unchecked(client)
    a, upper = {"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}
    assert failure(assume, sts, role, Tags=[a, upper]) == (
        "InvalidParameterValue",
        "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
    )
    assert failure(assume, sts, role, Tags=[a], TransitiveTagKeys=["b"]) == (
        "InvalidParameterValue",
        "The specified transitive tag key must be included in the requested tags.",
    )
    many = [{"Key": f"k{at}", "Value": "v"} for at in range(51)]
    assume(sts, role, Tags=many[:50])
    for tags in (many, [{"Key": "k" * 129, "Value": "v"}], [{"Key": "k", "Value": "v" * 257}], [{"Key": "k!", "Value": "v"}]):
        assert error_code(assume, sts, role, Tags=tags) == "ValidationError"


def test_transitive_tags_pass_down_a_chain_of_roles(client, made):
    url, arn = made.queue()
    condition = {"StringEquals": {"aws:PrincipalTag/Star": "1"}, "Null": {"aws:PrincipalTag/Moon": "true"}}
    third = made.role(ACCOUNT, allow("sqs:SendMessage", arn, Condition=condition), actions=TAGGING)
    second = made.role(ACCOUNT, allow(TAGGING), actions=TAGGING)
    first = made.role(ACCOUNT, allow(TAGGING), actions=TAGGING)
    plain = made.role(ACCOUNT, allow("sts:*"))
    tags = [{"Key": "Star", "Value": "1"}, {"Key": "Moon", "Value": "2"}]
    one = client("sts", *keys(assume(client("sts"), first, Tags=tags, TransitiveTagKeys=["Star"])))
    assert error_code(assume, one, plain) == "AccessDenied", "it does not permit tags, and the chain hands one on"
    for key in ("Star", "star"):
        assert failure(assume, one, second, Tags=[{"Key": key, "Value": "3"}]) == (
            "InvalidParameterValue",
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
        )
    two = client("sts", *keys(assume(one, second)))
    sqs = client("sqs", *keys(assume(two, third)))
    sqs.send_message(QueueUrl=url, MessageBody="x")


def test_a_chained_session_lasts_an_hour_at_most(client, made):
    first = made.role(ACCOUNT, allow("sts:AssumeRole"))
    second = made.role(ACCOUNT, MaxSessionDuration=43200)
    chained = client("sts", *keys(assume(client("sts"), first)))
    assume(chained, second, DurationSeconds=3600)
    assert failure(assume, chained, second, DurationSeconds=3601) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
    )
    assume(client("sts"), second, DurationSeconds=43200)


def test_a_source_identity_stays_for_the_whole_chain(client, made):
    setting = ["sts:AssumeRole", "sts:SetSourceIdentity"]
    url, arn = made.queue()
    condition = {"StringEquals": {"aws:SourceIdentity": "ann"}}
    first = made.role(ACCOUNT, allow(setting), actions=setting)
    second = made.role(ACCOUNT, allow("sqs:SendMessage", arn, Condition=condition), actions=setting)
    plain = made.role(ACCOUNT)
    answer = assume(client("sts"), first, SourceIdentity="ann")
    assert answer["SourceIdentity"] == "ann"
    one = client("sts", *keys(answer))
    answer = assume(one, second)
    assert answer["SourceIdentity"] == "ann"
    client("sqs", *keys(answer)).send_message(QueueUrl=url, MessageBody="x")
    assume(one, second, SourceIdentity="ann")
    assert error_code(assume, one, second, SourceIdentity="bob") == "AccessDenied"
    assert error_code(assume, one, plain) == "AccessDenied", "it does not permit the source identity"
    user, key = made.user(allow("sts:AssumeRole"))
    assert "sts:SetSourceIdentity" in failure(assume, client("sts", *key), second, SourceIdentity="ann")[1]
    assert error_code(assume, unchecked(client), second, SourceIdentity="a:b") == "ValidationError"


# GetSessionToken


def test_a_users_session_may_do_what_the_user_may(client, made):
    url, arn = made.queue()
    user, key = made.user(allow("sqs:SendMessage", arn))
    session = keys(client("sts", *key).get_session_token())
    assert client("sts", *session).get_caller_identity()["Arn"] == user["Arn"]
    client("sqs", *session).send_message(QueueUrl=url, MessageBody="x")
    assert is_denied(client("sqs", *session).purge_queue, QueueUrl=url)
    made.iam.delete_user_policy(UserName=user["UserName"], PolicyName="p")
    assert is_denied(client("sqs", *session).send_message, QueueUrl=url, MessageBody="x")


def test_no_policy_can_deny_a_session_token_but_no_session_gets_another(client, made):
    _, key = made.user({"Effect": "Deny", "Action": "*", "Resource": "*"})
    session = client("sts", *keys(client("sts", *key).get_session_token()))
    assert failure(session.get_session_token) == ("AccessDenied", "Cannot call GetSessionToken with session credentials")
    role = made.role(ACCOUNT, allow("*"))
    assert error_code(client("sts", *keys(assume(client("sts"), role))).get_session_token) == "AccessDenied"


def test_a_users_session_ends_when_its_time_is_over(node, client, made):
    _, key = made.user()
    sts = client("sts", *key)
    for more, seconds in (({}, 43200), ({"DurationSeconds": 900}, 900), ({"DurationSeconds": 129600}, 129600)):
        answer = sts.get_session_token(**more)
        left = (answer["Credentials"]["Expiration"] - now(node)).total_seconds()
        assert seconds - 5 <= left <= seconds + 1
    root = client("sts").get_session_token(DurationSeconds=129600)
    assert (root["Credentials"]["Expiration"] - now(node)).total_seconds() <= 3601, "root's lasts an hour at most"
    node.advance(3601)
    assert error_code(client("sts", *keys(root)).get_caller_identity) == "ExpiredToken"
    for seconds in (899, 129601):
        assert error_code(unchecked(client, *key).get_session_token, DurationSeconds=seconds) == "ValidationError"


# MFA


class Device:
    """A virtual MFA device that a user has enabled, and the codes that it shows."""

    def __init__(self, node, iam, user, device_name):
        self.node = node
        device = iam.create_virtual_mfa_device(VirtualMFADeviceName=device_name)["VirtualMFADevice"]
        self.serial = device["SerialNumber"]
        self.seed = base64.b32decode(device["Base32StringSeed"].decode() + "=" * (-len(device["Base32StringSeed"]) % 8))
        iam.enable_mfa_device(
            UserName=user["UserName"],
            SerialNumber=self.serial,
            AuthenticationCode1=self.code(-1),
            AuthenticationCode2=self.code(),
        )

    def code(self, steps=0) -> str:
        step = int(now(self.node).timestamp()) // 30 + steps
        digest = hmac.digest(self.seed, struct.pack(">q", step), hashlib.sha1)
        at = digest[-1] & 15
        return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"

    def next_code(self) -> dict:
        """A fresh code: the last one is used up."""
        self.node.advance(30)
        return {"SerialNumber": self.serial, "TokenCode": self.code()}


def test_a_code_makes_a_session_that_policies_know_for_authenticated(node, client, made):
    url, arn = made.queue()
    condition = {"Bool": {"aws:MultiFactorAuthPresent": "true"}, "NumericLessThan": {"aws:MultiFactorAuthAge": "300"}}
    user, key = made.user(allow("sqs:SendMessage", arn, Condition=condition))
    device = Device(node, made.iam, user, made.name("mfa"))
    sts = client("sts", *key)

    def send(*key):
        return client("sqs", *key).send_message(QueueUrl=url, MessageBody="x")

    assert is_denied(send, *key)
    assert is_denied(send, *keys(sts.get_session_token()))
    session = keys(sts.get_session_token(**device.next_code()))
    send(*session)
    node.advance(301)
    assert is_denied(send, *session), "too long ago"


def test_a_code_is_good_once_and_for_its_own_user(node, client, made):
    user, key = made.user()
    device = Device(node, made.iam, user, made.name("mfa"))
    sts = client("sts", *key)
    code = device.next_code()
    sts.get_session_token(**code)
    code_again, text = failure(sts.get_session_token, **code)
    assert code_again == "AccessDenied"
    assert text.startswith("MultiFactorAuthentication failed with invalid MFA one time pass code.")
    wrong = {**device.next_code(), "TokenCode": device.code(500)}
    assert error_code(sts.get_session_token, **wrong) == "AccessDenied"
    _, other = made.user()
    code, text = failure(client("sts", *other).get_session_token, **device.next_code())
    assert code == "AccessDenied" and "unable to validate MFA code" in text
    assert error_code(sts.get_session_token, SerialNumber=device.serial) == "ValidationError"
    assert error_code(unchecked(client, *key).get_session_token, SerialNumber=device.serial, TokenCode="12") == "ValidationError"


def test_a_trust_policy_may_demand_a_code(node, client, made):
    url, arn = made.queue()
    user, key = made.user()
    device = Device(node, made.iam, user, made.name("mfa"))
    role = made.role(
        user["Arn"],
        allow("sqs:SendMessage", arn),
        allow("sqs:PurgeQueue", arn, Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
        condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}},
    )
    sts = client("sts", *key)
    assert error_code(assume, sts, role) == "AccessDenied"
    wrong = {**device.next_code(), "TokenCode": device.code(500)}
    assert error_code(assume, sts, role, **wrong) == "AccessDenied", "a code that is only claimed"
    sqs = client("sqs", *keys(assume(sts, role, **device.next_code())))
    sqs.send_message(QueueUrl=url, MessageBody="x")
    assert is_denied(sqs.purge_queue, QueueUrl=url), "the role's session itself does not carry it"
    assume(client("sts", *keys(sts.get_session_token(**device.next_code()))), role)


def test_iam_knows_users_sessions_only_with_a_code(node, client, made):
    user, key = made.user(allow(["iam:GetUser", "sts:*"]))
    device = Device(node, made.iam, user, made.name("mfa"))
    sts = client("sts", *key)
    plain, coded = keys(sts.get_session_token()), keys(sts.get_session_token(**device.next_code()))
    federated = keys(sts.get_federation_token(Name="fed", Policy=document(allow("*"))))
    assert client("iam", *coded).get_user()["User"]["Arn"] == user["Arn"]
    client("sts", *coded).get_access_key_info(AccessKeyId=key[0])
    for session in (plain, federated):
        assert error_code(client("iam", *session).get_user) == "InvalidClientTokenId"
        assert error_code(client("sts", *session).get_access_key_info, AccessKeyId=key[0]) == "AccessDenied"


# GetFederationToken


def test_a_federated_user_may_do_what_both_the_user_and_the_policy_allow(client, made):
    (one, one_arn), (two, two_arn), (three, three_arn) = made.queue(), made.queue(), made.queue()
    federation = allow("sts:GetFederationToken")
    user, key = made.user(federation, allow("sqs:SendMessage", [one_arn, two_arn]))
    answer = client("sts", *key).get_federation_token(Name="fed", Policy=document(allow("sqs:*", [one_arn, three_arn])))
    assert answer["FederatedUser"] == {
        "Arn": f"arn:aws:sts::{ACCOUNT}:federated-user/fed",
        "FederatedUserId": f"{ACCOUNT}:fed",
    }
    assert 0 < answer["PackedPolicySize"] <= 100
    sqs = client("sqs", *keys(answer))
    sqs.send_message(QueueUrl=one, MessageBody="x")
    for url in (two, three):
        assert is_denied(sqs.send_message, QueueUrl=url, MessageBody="x")
    told = client("sts", *keys(answer)).get_caller_identity()
    assert (told["Arn"], told["UserId"]) == (answer["FederatedUser"]["Arn"], f"{ACCOUNT}:fed")


def test_a_federated_user_without_policy_has_what_resources_grant(client, made):
    (granted, granted_arn), (other, _) = made.queue(), made.queue()
    _, key = made.user(allow("*"))
    answer = client("sts", *key).get_federation_token(Name="plain")
    assert answer["PackedPolicySize"] == 0
    grant = {
        "Effect": "Allow",
        "Principal": {"AWS": answer["FederatedUser"]["Arn"]},
        "Action": "sqs:SendMessage",
        "Resource": granted_arn,
    }
    client("sqs").set_queue_attributes(QueueUrl=granted, Attributes={"Policy": document(grant)})
    sqs = client("sqs", *keys(answer))
    sqs.send_message(QueueUrl=granted, MessageBody="x")
    assert is_denied(sqs.send_message, QueueUrl=other, MessageBody="x")


def test_federation_is_for_long_lived_keys_with_permission(client, made, denied):
    assert error_code(denied("sts").get_federation_token, Name="fed") == "AccessDenied"
    _, key = made.user(allow("sts:*"))
    sts = client("sts", *key)
    federated = client("sts", *keys(sts.get_federation_token(Name="fed", Policy=document(allow("*")))))
    role = made.role(ACCOUNT, allow("sts:*"))
    for session in (federated, client("sts", *keys(assume(sts, role))), client("sts", *keys(sts.get_session_token()))):
        assert error_code(session.get_federation_token, Name="fed") == "AccessDenied"
    assert error_code(assume, federated, role) == "AccessDenied", "it may not assume roles"
    assert error_code(unchecked(client, *key).get_federation_token, Name="f") == "ValidationError"
    assert error_code(sts.get_federation_token, Name="fed", Policy="{") == "MalformedPolicyDocument"
    tags = [{"Key": "a", "Value": "1"}]
    sts.get_federation_token(Name="fed", Tags=tags)
    _, untagging = made.user(allow("sts:GetFederationToken"))
    assert error_code(client("sts", *untagging).get_federation_token, Name="fed", Tags=tags) == "AccessDenied"


def test_a_federated_users_tags_count(client, made):
    url, arn = made.queue()
    condition = {"StringEquals": {"aws:PrincipalTag/Project": "x"}}
    _, key = made.user(allow("sts:*"), allow("sqs:SendMessage", arn, Condition=condition))
    policy = document(allow("sqs:*"))

    def send(value):
        answer = client("sts", *key).get_federation_token(Name="fed", Policy=policy, Tags=[{"Key": "Project", "Value": value}])
        client("sqs", *keys(answer)).send_message(QueueUrl=url, MessageBody="x")

    send("x")
    assert is_denied(send, "y")


# What is lacking


def test_what_is_lacking_is_refused_by_name(client, made):
    sts = client("sts")
    role = made.role(ACCOUNT)
    contexts = [{"ProviderArn": "arn:aws:iam::aws:contextProvider/IdentityCenter", "ContextAssertion": "abcd"}]
    saml = {"RoleArn": role["Arn"], "PrincipalArn": f"arn:aws:iam::{ACCOUNT}:saml-provider/p", "SAMLAssertion": "abcd"}
    cases = [
        ("ProvidedContexts", lambda: assume(sts, role, ProvidedContexts=contexts)),
        ("AssumeRoleWithSAML", lambda: sts.assume_role_with_saml(**saml)),
        ("DecodeAuthorizationMessage", lambda: sts.decode_authorization_message(EncodedMessage="abcd")),
        ("GetWebIdentityToken", lambda: sts.get_web_identity_token(Audience=["a"], SigningAlgorithm="ES384")),
    ]
    for what, call in cases:
        code, text = failure(call)
        assert code == "NotImplemented" and what in text, what
