"""`GetWebIdentityToken` and the account as an issuer: enabled by IAM, signed by STS, proven by what the node publishes."""

import base64
import hashlib
import json
import ssl
import tempfile

import pytest
import requests
from conftest import Node, error_code
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from made import Made, allow, assume, failure, is_denied, keys, now
from test_sts_web_identity import assume as assume_with_token
from test_sts_web_identity import make_role

AWS = "https://sts.amazonaws.com/"
AUDIENCE = "https://api.example.com"


@pytest.fixture(scope="module")
def issuing():
    """A node of its own, because an account is one issuer."""
    running = Node()
    running.issuer = running.client("iam").enable_outbound_web_identity_federation()["IssuerIdentifier"]
    yield running
    running.stop()


@pytest.fixture
def made(issuing, name):
    return Made(issuing, name)


def token(sts, algorithm="ES384", **more):
    more.setdefault("Audience", [AUDIENCE])
    return sts.get_web_identity_token(SigningAlgorithm=algorithm, **more)


def decoded(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def number(part):
    return int.from_bytes(decoded(part), "big")


def published(node, issuer, document):
    """Fetched where the issuer's address says, over TLS with the node's own authority."""
    assert issuer.startswith(f"https://localhost:{node.port}/")
    answer = requests.get(f"{issuer}/.well-known/{document}", timeout=10, verify=authority(node))
    answer.raise_for_status()
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def authority(node):
    """A file with the certificate that the node's own is signed by."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
        file.write(requests.get(f"{node.endpoint}/_pileus/ca", timeout=10).text)
    return file.name


def proven(node, text):
    """The claims, if one of the published keys has signed: raises `InvalidSignature` otherwise."""
    signed, _, signature = text.rpartition(".")
    header, claims = (json.loads(decoded(part)) for part in signed.split("."))
    configuration = published(node, claims["iss"], "openid-configuration")
    assert configuration["issuer"] == claims["iss"]
    assert configuration["jwks_uri"] == claims["iss"] + "/.well-known/jwks.json"
    assert header["alg"] in configuration["id_token_signing_alg_values_supported"]
    (key,) = [key for key in published(node, claims["iss"], "jwks.json")["keys"] if key["kid"] == header["kid"]]
    assert key["alg"] == header["alg"]
    if key["kty"] == "RSA":
        public = rsa.RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key()
        assert public.key_size == 2048
        public.verify(decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        public = ec.EllipticCurvePublicNumbers(number(key["x"]), number(key["y"]), ec.SECP384R1()).public_key()
        raw = decoded(signature)
        assert len(raw) == 96
        r, s = int.from_bytes(raw[:48], "big"), int.from_bytes(raw[48:], "big")
        public.verify(utils.encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA384()))
    return claims


@pytest.mark.parametrize("algorithm", ["ES384", "RS256"])
def test_a_users_token_is_proven_by_the_published_keys(issuing, made, algorithm):
    user, key = made.user(allow(["sts:GetWebIdentityToken", "sts:TagGetWebIdentityToken"]), Tags=[{"Key": "team", "Value": "a"}])
    answer = token(issuing.client("sts", *key), algorithm, DurationSeconds=60, Tags=[{"Key": "job", "Value": "7"}])
    claims = proven(issuing, answer["WebIdentityToken"])
    assert claims["iss"] == issuing.issuer
    assert (claims["sub"], claims["aud"]) == (user["Arn"], AUDIENCE)
    assert claims["exp"] - claims["iat"] == 60
    assert answer["Expiration"].timestamp() == claims["exp"]
    assert abs(claims["iat"] - now(issuing).timestamp()) < 10
    assert claims[AWS] == {
        "aws_account": "000000000000",
        "source_region": "us-east-1",
        "principal_id": user["Arn"],
        "principal_tags": {"team": "a"},
        "request_tags": {"job": "7"},
    }
    again = token(issuing.client("sts", *key), algorithm)
    assert proven(issuing, again["WebIdentityToken"])["jti"] != claims["jti"]


def test_a_sessions_token_is_about_its_role_and_does_not_outlive_it(issuing, made):
    _, key = made.user(allow("*"))
    role = made.role("000000000000", allow("sts:*"))
    session = issuing.client("sts", *keys(assume(issuing.client("sts", *key), role, DurationSeconds=900)))
    claims = proven(issuing, token(session, Audience=["a", "b"])["WebIdentityToken"])
    assert claims["exp"] - claims["iat"] == 300
    assert (claims["sub"], claims["aud"]) == (role["Arn"], ["a", "b"])
    assert claims[AWS]["original_session_exp"].endswith("Z")
    code, message = failure(token, session, DurationSeconds=1000)
    assert code == "SessionDurationEscalationException"
    assert "which ends in " in message


def test_our_own_cloud_takes_the_token_of_a_registered_issuer(issuing, name):
    pem = requests.get(f"{issuing.endpoint}/_pileus/ca", timeout=10).text
    thumbprint = hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    provider = issuing.client("iam").create_open_id_connect_provider(
        Url=issuing.issuer, ClientIDList=[AUDIENCE], ThumbprintList=[thumbprint]
    )["OpenIDConnectProviderArn"]
    role = make_role(issuing, name, provider)
    for algorithm in ("ES384", "RS256"):
        good = token(issuing.client("sts"), algorithm)["WebIdentityToken"]
        answer = assume_with_token(issuing, role, good)
        assert answer["SubjectFromWebIdentityToken"] == "arn:aws:iam::000000000000:root"
        head, _, signature = good.rpartition(".")
        forged = head + "." + ("A" if signature[0] != "A" else "B") + signature[1:]
        assert error_code(assume_with_token, issuing, role, forged) == "InvalidIdentityToken"
    other = token(issuing.client("sts"), Audience=["another"])["WebIdentityToken"]
    assert failure(assume_with_token, issuing, role, other) == ("InvalidIdentityToken", "Incorrect token audience")


def test_policies_limit_audience_lifetime_algorithm_and_tags(issuing, made):
    condition = {
        "ForAllValues:StringEquals": {"sts:IdentityTokenAudience": [AUDIENCE]},
        "NumericLessThanEquals": {"sts:DurationSeconds": 300},
        "StringEquals": {"sts:SigningAlgorithm": "ES384"},
    }
    _, key = made.user(allow("sts:GetWebIdentityToken", Condition=condition))
    sts = issuing.client("sts", *key)
    token(sts)
    assert is_denied(token, sts, Audience=[AUDIENCE, "b"])
    assert is_denied(token, sts, DurationSeconds=301)
    assert is_denied(token, sts, "RS256")
    assert is_denied(token, sts, Tags=[{"Key": "a", "Value": "1"}])
    _, none = made.user()
    assert is_denied(token, issuing.client("sts", *none))


def test_what_no_token_can_be_is_refused(issuing):
    sts = issuing.client("sts")
    assert failure(token, sts, "HS256")[0] == "ValidationError"
    twice = [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]
    assert failure(token, sts, Tags=twice)[0] == "InvalidParameterValue"
    loose = issuing.client("sts", parameter_validation=False)
    for more in ({"DurationSeconds": 59}, {"DurationSeconds": 3601}, {"Audience": []}, {"Audience": ["a"] * 11}):
        assert failure(token, loose, **more)[0] == "ValidationError", more
    large = [{"Key": f"k{at}", "Value": "v" * 256} for at in range(50)]
    assert failure(token, sts, Tags=large, Audience=["a" * 1000] * 10)[0] == "JWTPayloadSizeExceededException"


def test_an_account_that_is_no_issuer_signs_nothing(issuing):
    iam, sts = issuing.client("iam", key="111111111111"), issuing.client("sts", key="111111111111")
    assert failure(token, sts)[0] == "OutboundWebIdentityFederationDisabledException"
    assert error_code(iam.get_outbound_web_identity_federation_info) == "FeatureDisabled"
    assert error_code(iam.disable_outbound_web_identity_federation) == "FeatureDisabled"
    issuer = iam.enable_outbound_web_identity_federation()["IssuerIdentifier"]
    assert issuer != issuing.issuer
    assert error_code(iam.enable_outbound_web_identity_federation) == "FeatureEnabled"
    info = iam.get_outbound_web_identity_federation_info()
    assert (info["IssuerIdentifier"], info["JwtVendingEnabled"]) == (issuer, True)
    signed = token(sts)["WebIdentityToken"]

    iam.disable_outbound_web_identity_federation()
    assert error_code(iam.get_outbound_web_identity_federation_info) == "FeatureDisabled"
    assert failure(token, sts)[0] == "OutboundWebIdentityFederationDisabledException"
    assert proven(issuing, signed)[AWS]["aws_account"] == "111111111111", "what was signed before is still proven"
    assert iam.enable_outbound_web_identity_federation()["IssuerIdentifier"] == issuer


def test_nobody_enables_or_asks_without_permission(issuing, made):
    _, key = made.user()
    iam = issuing.client("iam", *key)
    assert is_denied(iam.enable_outbound_web_identity_federation)
    assert is_denied(iam.disable_outbound_web_identity_federation)
    assert is_denied(iam.get_outbound_web_identity_federation_info)


def test_an_issuer_publishes_no_private_key_and_nothing_else(issuing):
    private = {"d", "p", "q", "dp", "dq", "qi"}
    for key in published(issuing, issuing.issuer, "jwks.json")["keys"]:
        assert not private & key.keys()
    base = f"{issuing.endpoint}/_pileus/issuers"
    for path in ("x/.well-known/jwks.json", "/.well-known/jwks.json", "", issuing.issuer.rpartition("/")[2]):
        assert requests.get(f"{base}/{path}", timeout=10).status_code == 404, path
    name = issuing.issuer.rpartition("/")[2]
    assert requests.get(f"{base}/{name}/.well-known/other", timeout=10).status_code == 404


def test_keys_and_address_survive_a_kill(tmp_path):
    node = Node(data_dir=tmp_path)
    try:
        issuer = node.client("iam").enable_outbound_web_identity_federation()["IssuerIdentifier"]
        signed = token(node.client("sts"))["WebIdentityToken"]
        node.kill()
        node.start()
        assert node.client("iam").get_outbound_web_identity_federation_info()["IssuerIdentifier"] == issuer
        assert proven(node, signed)["iss"] == issuer
    finally:
        node.stop()
