"""STS: who one is, whose keys are taken, and what is refused by name."""

import json

from conftest import error_code
from made import ACCOUNT, assume, failure, is_denied, keys, made, unchecked


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


# What is lacking


def test_what_is_lacking_is_refused_by_name(client, made):
    sts = client("sts")
    role = made.role(ACCOUNT)
    contexts = [{"ProviderArn": "arn:aws:iam::aws:contextProvider/IdentityCenter", "ContextAssertion": "abcd"}]
    saml = {"RoleArn": role["Arn"], "PrincipalArn": f"arn:aws:iam::{ACCOUNT}:saml-provider/p", "SAMLAssertion": "abcd"}
    cases = [
        ("ProvidedContexts", lambda: assume(sts, role, ProvidedContexts=contexts)),
        ("AssumeRoleWithSAML", lambda: sts.assume_role_with_saml(**saml)),
    ]
    for what, call in cases:
        code, text = failure(call)
        assert code == "NotImplemented" and what in text, what
