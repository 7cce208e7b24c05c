"""`AssumeRoleWithWebIdentity` against a real provider over HTTPS."""

import datetime
import json

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from conftest import REGION, error_code
from web_identity import EcKey, Issuer, RsaKey, encode

ACCOUNT = "000000000000"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    running = Issuer(tmp_path_factory.mktemp("issuer"), RsaKey("rsa"), EcKey("ec"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def provider(node, issuer):
    """The issuer, registered: its ARN."""
    created = node.client("iam").create_open_id_connect_provider(
        Url=issuer.url, ClientIDList=["app", "web"], ThumbprintList=[issuer.thumbprint]
    )
    return created["OpenIDConnectProviderArn"]


def now(node) -> int:
    text = requests.get(f"{node.endpoint}/_pileus/clock", timeout=10).json()["now"]
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def unsigned(node):
    config = Config(signature_version=UNSIGNED, retries={"max_attempts": 0}, parameter_validation=False)
    return boto3.client("sts", endpoint_url=node.endpoint, region_name=REGION, config=config)


def make_role(node, name, provider, condition=None, actions="sts:AssumeRoleWithWebIdentity"):
    trust = {"Effect": "Allow", "Principal": {"Federated": provider}, "Action": actions}
    if condition:
        trust["Condition"] = condition
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    return node.client("iam").create_role(RoleName=name("web"), AssumeRolePolicyDocument=document)["Role"]


def assume(node, role, token, **more):
    return unsigned(node).assume_role_with_web_identity(
        RoleArn=role["Arn"], RoleSessionName="ann", WebIdentityToken=token, **more
    )


def failure(node, role, token, **more):
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        assume(node, role, token, **more)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.parametrize("at", [0, 1])
def test_a_bearer_whom_the_provider_vouches_for_gets_a_session_of_the_role(node, name, issuer, provider, at):
    role = make_role(node, name, provider)
    answer = assume(node, role, issuer.token(issuer.keys[at], now(node)), DurationSeconds=900)
    assert answer["Provider"] == provider == f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer.host}"
    assert answer["Audience"] == "app"
    assert answer["SubjectFromWebIdentityToken"] == "ann@example"
    assert "PackedPolicySize" not in answer
    credentials = answer["Credentials"]
    key = (credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    identity = node.client("sts", *key).get_caller_identity()
    assert identity["Arn"] == answer["AssumedRoleUser"]["Arn"]
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role['RoleName']}/ann"
    node.advance(901)
    assert error_code(node.client("sts", *key).get_caller_identity) == "ExpiredToken"


@pytest.mark.parametrize("key", [RsaKey("k", alg) for alg in ("RS384", "RS512", "PS256", "PS512")] + [EcKey("k", "ES384")], ids=lambda key: key.alg)
def test_every_algorithm_that_proves_something_is_taken(node, name, tmp_path, key):
    issuer = Issuer(tmp_path, key)
    try:
        created = node.client("iam").create_open_id_connect_provider(
            Url=issuer.url, ClientIDList=["app"], ThumbprintList=[issuer.thumbprint]
        )
        role = make_role(node, name, created["OpenIDConnectProviderArn"])
        assert assume(node, role, issuer.token(key, now(node)))["Audience"] == "app"
    finally:
        issuer.stop()


def test_a_token_that_proves_nothing_is_refused(node, name, issuer, provider):
    role = make_role(node, name, provider)
    rsa, at = issuer.keys[0], now(node)
    good = issuer.token(rsa, at)
    header, claims, signature = good.split(".")
    unsigned_header = encode({"alg": "none"})
    stranger = RsaKey("rsa")
    invalid = "InvalidIdentityToken"
    cases = [
        ("no token", "nonsense", invalid, "The ID Token provided is not a valid JWT"),
        ("unsigned", f"{unsigned_header}.{claims}.", invalid, "The ID Token provided is not a valid JWT"),
        ("another's signature", issuer.token(stranger, at), invalid, "signature is invalid"),
        ("changed claims", f"{header}.{encode({'iss': issuer.url, 'sub': 'root', 'aud': 'app', 'iat': at, 'exp': at + 300})}.{signature}", invalid, "signature is invalid"),
        ("expired", issuer.token(rsa, at, exp=at - 1), "ExpiredTokenException", "must be before the expiration"),
        ("from the future", issuer.token(rsa, at, iat=at + 3600, exp=at + 7200), invalid, "in the future"),
        ("another audience", issuer.token(rsa, at, aud="other"), invalid, "Incorrect token audience"),
        ("another party", issuer.token(rsa, at, azp="other"), invalid, "Incorrect token audience"),
        ("no subject", issuer.token(rsa, at, sub=None), invalid, "Missing a required claim: sub"),
        ("another issuer", issuer.token(rsa, at, iss="https://other.example.com"), invalid, "No OpenIDConnect provider found in your account for https://other.example.com"),
    ]
    for what, token, code, text in cases:
        found = failure(node, role, token)
        assert found[0] == code and text in found[1], (what, found)
    assert assume(node, role, good)["Audience"] == "app"


def test_the_trust_policy_decides_by_what_the_token_says(node, name, issuer, provider):
    rsa = issuer.keys[0]
    condition = {
        "StringEquals": {f"{issuer.host}:aud": "web"},
        "StringLike": {f"{issuer.host}:sub": "repo:mine/*"},
        "ForAnyValue:StringEquals": {f"{issuer.host}:amr": "otp"},
    }
    role = make_role(node, name, provider, condition)
    fitting = {"aud": "web", "sub": "repo:mine/a", "amr": ["pwd", "otp"]}
    assert assume(node, role, issuer.token(rsa, now(node), **fitting))["Audience"] == "web"
    assert assume(node, role, issuer.token(rsa, now(node), **{**fitting, "aud": "app", "azp": "web"}))["Audience"] == "web"
    for other in ({"aud": "app"}, {"sub": "repo:other/a"}, {"amr": ["pwd"]}, {"amr": None}):
        code, text = failure(node, role, issuer.token(rsa, now(node), **{**fitting, **other}))
        assert (code, text) == ("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"), other
    missing = {"Arn": role["Arn"] + "-missing"}
    assert failure(node, missing, issuer.token(rsa, now(node), **fitting))[0] == "AccessDenied"
    signed_only = make_role(node, name, provider, actions="sts:AssumeRole")
    assert failure(node, signed_only, issuer.token(rsa, now(node)))[0] == "AccessDenied"


def test_a_session_keeps_what_the_token_said(node, name, issuer, provider):
    rsa = issuer.keys[0]
    role = make_role(node, name, provider, actions=["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"])
    sqs = node.client("sqs")
    queue = sqs.create_queue(QueueName=name("queue"))["QueueUrl"]
    conditions = {
        f"{issuer.host}:sub": "ann@example",
        "aws:PrincipalTag/Project": "x",
        "aws:SourceIdentity": "ann",
        "aws:FederatedProvider": provider,
    }
    policy = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*", "Condition": {"StringEquals": conditions}}
    node.client("iam").put_role_policy(
        RoleName=role["RoleName"], PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [policy]})
    )
    tags = {"https://aws.amazon.com/tags": {"principal_tags": {"Project": ["x"]}, "transitive_tag_keys": ["Project"]}}
    source = {"https://aws.amazon.com/source_identity": "ann"}

    def send(**claims):
        answer = assume(node, role, issuer.token(rsa, now(node), **claims))
        key = answer["Credentials"]
        client = node.client("sqs", key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"])
        return answer, client.send_message(QueueUrl=queue, MessageBody="x")

    answer, _ = send(**tags, **source)
    assert answer["SourceIdentity"] == "ann"
    assert answer["PackedPolicySize"] > 0
    for claims in ({"sub": "bob@example", **tags, **source}, tags, source):
        assert error_code(send, **claims).startswith("AccessDenied"), claims
    untagged = make_role(node, name, provider)
    assert failure(node, untagged, issuer.token(rsa, now(node), **tags))[0] == "AccessDenied"


def test_keys_are_remembered_and_asked_for_again_when_a_new_one_signs(node, name, tmp_path):
    old, new = RsaKey("old"), EcKey("new")
    issuer = Issuer(tmp_path, old)
    try:
        created = node.client("iam").create_open_id_connect_provider(
            Url=issuer.url, ClientIDList=["app"], ThumbprintList=[issuer.thumbprint]
        )
        role = make_role(node, name, created["OpenIDConnectProviderArn"])
        for _ in range(3):
            assume(node, role, issuer.token(old, now(node)))
        assert issuer.asked == 1
        issuer.keys = [new]
        assert failure(node, role, issuer.token(new, now(node)))[0] == "InvalidIdentityToken", "asked too recently"
        assert issuer.asked == 1
        node.advance(31)
        assume(node, role, issuer.token(new, now(node)))
        assert issuer.asked == 2
        assert failure(node, role, issuer.token(old, now(node)))[0] == "InvalidIdentityToken", "withdrawn"
    finally:
        issuer.stop()


def test_a_provider_must_be_reached_trusted_and_readable(node, name, tmp_path):
    iam = node.client("iam")
    rsa = RsaKey("rsa")
    issuer = Issuer(tmp_path, rsa)
    created = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["app"], ThumbprintList=["0" * 40])
    provider = created["OpenIDConnectProviderArn"]
    role = make_role(node, name, provider)
    token = issuer.token(rsa, now(node), exp=now(node) + 3600)
    code, text = failure(node, role, token)
    assert (code, text) == (
        "InvalidIdentityToken",
        "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
    )
    iam.update_open_id_connect_provider_thumbprint(
        OpenIDConnectProviderArn=provider, ThumbprintList=[issuer.thumbprint]
    )
    issuer.is_broken = True
    code, text = failure(node, role, token)
    assert code == "InvalidIdentityToken" and text.startswith("Couldn't retrieve verification key")
    node.advance(2)
    issuer.stop()
    assert failure(node, role, token)[0] == "IDPCommunicationError"


def test_a_removed_provider_vouches_for_nobody(node, name, tmp_path):
    iam = node.client("iam")
    rsa = RsaKey("rsa")
    issuer = Issuer(tmp_path, rsa)
    try:
        created = iam.create_open_id_connect_provider(
            Url=issuer.url, ClientIDList=["app"], ThumbprintList=[issuer.thumbprint]
        )
        role = make_role(node, name, created["OpenIDConnectProviderArn"])
        assume(node, role, issuer.token(rsa, now(node)))
        iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=created["OpenIDConnectProviderArn"])
        code, text = failure(node, role, issuer.token(rsa, now(node)))
        assert code == "InvalidIdentityToken" and text.startswith("No OpenIDConnect provider found")
    finally:
        issuer.stop()


def test_access_tokens_of_other_providers_are_refused_by_name(node, name, issuer, provider):
    role = make_role(node, name, provider)
    code, text = failure(node, role, issuer.token(issuer.keys[0], now(node)), ProviderId="www.amazon.com")
    assert code == "NotImplemented" and "ProviderId" in text


def test_bad_parameters_are_refused(node, name, issuer, provider):
    role = make_role(node, name, provider)
    token = issuer.token(issuer.keys[0], now(node))
    assert failure(node, role, token, DurationSeconds=899)[0] == "ValidationError"
    assert failure(node, role, token, DurationSeconds=3601)[0] == "ValidationError"
    assert failure(node, {"Arn": "nothing-valid-in-here"}, token) == ("ValidationError", "nothing-valid-in-here is invalid")
