"""JWT authorizers of HTTP APIs: tokens of an OpenID Connect issuer on this machine, asked without TLS."""

import datetime

import pytest
import requests

from test_apigatewayv2_http import apis  # noqa: F401
from test_lambda_made import functions  # noqa: F401
from web_identity import Issuer, RsaKey, encode


@pytest.fixture
def issuer(tmp_path):
    running = Issuer(tmp_path, RsaKey("first"), secure=False)
    yield running
    running.stop()


def now(node) -> int:
    text = requests.get(f"{node.endpoint}/_pileus/clock", timeout=10).json()["now"]
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def authorizer(apis, api, issuer, **more):  # noqa: F811
    """What routes need whose tokens are the issuer's."""
    arguments = {
        "AuthorizerType": "JWT",
        "IdentitySource": ["$request.header.Authorization"],
        "JwtConfiguration": {"Issuer": issuer.url, "Audience": ["app", "another"]},
        **more,
    }
    made = apis.v2.create_authorizer(ApiId=api, Name="tokens", **arguments)
    return {"AuthorizationType": "JWT", "AuthorizerId": made["AuthorizerId"]}


def test_a_token_opens_what_its_claims_allow(apis, issuer, node):  # noqa: F811
    api = apis.create()
    apis.stage(api)
    target, needs = apis.integrate(api, apis.function()), authorizer(apis, api, issuer)
    apis.route(api, "GET /open", target, **needs)
    apis.route(api, "GET /scoped", target, AuthorizationScopes=["read", "write"], **needs)
    key, at = issuer.keys[0], now(node)
    stranger = RsaKey("first")
    unsigned = f"{encode({'alg': 'none', 'kid': 'first'})}.{encode({'iss': issuer.url})}."
    nameless = issuer.token(RsaKey(None), at)

    def call(path, token):
        return apis.call(api, path, headers={"Authorization": token} if token else {})

    cases = [
        ("good", "/open", issuer.token(key, at), 201, None),
        ("one of several audiences", "/open", issuer.token(key, at, aud=["x", "another"]), 201, None),
        ("a client instead of an audience", "/open", issuer.token(key, at, aud=None, client_id="app"), 201, None),
        ("no token", "/open", None, 401, "Bearer"),
        ("text", "/open", "text", 401, "token is malformed"),
        ("wrong audience", "/open", issuer.token(key, at, aud="x"), 401, "the token does not have a valid audience"),
        ("an audience is looked at first", "/open", issuer.token(key, at, aud="x", client_id="app"), 401, "valid audience"),
        ("expired", "/open", issuer.token(key, at, exp=at - 1), 401, "the token has expired"),
        ("not yet", "/open", issuer.token(key, at, nbf=at + 600), 401, "the token is not valid yet"),
        ("from the future", "/open", issuer.token(key, at, iat=at + 600), 401, "issued in the future"),
        ("another issuer", "/open", issuer.token(key, at, iss="https://other.example"), 401, "the issuer is invalid"),
        ("unknown key", "/open", issuer.token(RsaKey("second"), at), 401, "unable to find a signing key that matches"),
        ("no key's name", "/open", nameless, 401, "unable to find a signing key that matches"),
        ("another's signature", "/open", issuer.token(stranger, at), 401, "signature is invalid"),
        ("no signature", "/open", unsigned, 401, "signing method is invalid"),
        ("no scope", "/scoped", issuer.token(key, at), 403, "insufficient_scope"),
        ("another scope", "/scoped", issuer.token(key, at, scope="delete"), 403, "insufficient_scope"),
        ("one of the scopes", "/scoped", issuer.token(key, at, scope="delete read"), 201, None),
        ("scopes as a list", "/scoped", issuer.token(key, at, scp=["write"]), 201, None),
    ]
    for case, path, token, status, reason in cases:
        answer = call(path, token)
        assert (case, answer.status_code) == (case, status)
        challenge = answer.headers.get("www-authenticate")
        if reason is None:
            assert challenge is None
            continue
        assert answer.json() == {"message": "Unauthorized" if status == 401 else "Forbidden"}
        assert reason in challenge, case
        assert (f'scope="{"read write" if path == "/scoped" else ""}"' in challenge) == (reason != "Bearer"), case
    assert issuer.asked == 1, "keys are kept, and unknown ones asked for once a minute at most"
    event = call("/scoped", "bearer " + issuer.token(key, at, scope="read more", n=1, roles=["a", "b"])).json()
    given = event["requestContext"]["authorizer"]["jwt"]
    assert given["scopes"] == ["read", "more"]
    assert (given["claims"]["sub"], given["claims"]["n"], given["claims"]["roles"]) == ("ann@example", "1", "[a b]")
    assert call("/open", issuer.token(key, at)).json()["requestContext"]["authorizer"]["jwt"]["scopes"] is None


def test_an_issuer_may_change_its_keys(apis, issuer, node):  # noqa: F811
    api = apis.create()
    apis.stage(api)
    apis.route(api, "GET /", apis.integrate(api, apis.function()), **authorizer(apis, api, issuer))
    new = RsaKey("second")

    def status(key):
        return apis.call(api, "/", headers={"Authorization": f"Bearer {issuer.token(key, now(node))}"}).status_code

    assert [status(issuer.keys[0]), status(new)] == [201, 401]
    issuer.keys.append(new)
    node.advance(61)
    assert [status(new), status(issuer.keys[0])] == [201, 201] and issuer.asked == 2
    issuer.is_broken = True
    node.advance(3600)
    assert status(new) == 201, "its keys are known"
    node.advance(3601)
    refusal = apis.call(api, "/", headers={"Authorization": issuer.token(new, now(node))})
    assert refusal.status_code == 401 and "OIDC discovery endpoint communication error" in refusal.headers["www-authenticate"]
    issuer.is_broken = False
    assert status(new) == 201, "it is asked again at once"


def test_authorizers_that_cannot_be_asked_are_not_made(apis, issuer):  # noqa: F811
    api = apis.create()
    cases = [
        {"JwtConfiguration": {"Issuer": "http://issuer.example", "Audience": ["app"]}},
        {"JwtConfiguration": {"Issuer": "issuer", "Audience": ["app"]}},
        {"JwtConfiguration": {"Issuer": issuer.url, "Audience": []}},
        {"JwtConfiguration": {"Issuer": issuer.url}},
        {"IdentitySource": ["$request.body.token"]},
        {"IdentitySource": []},
        {"AuthorizerUri": apis.functions.arn("f")},
    ]
    for wrong in cases:
        with pytest.raises(apis.v2.exceptions.BadRequestException):
            authorizer(apis, api, issuer, **wrong)
    assert apis.v2.get_authorizers(ApiId=api)["Items"] == []
