"""STS: sessions of users and of federated users, and codes from MFA devices."""

import base64
import hashlib
import hmac
import struct

from conftest import error_code
from made import ACCOUNT, allow, assume, document, failure, is_denied, keys, made, now, unchecked


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
