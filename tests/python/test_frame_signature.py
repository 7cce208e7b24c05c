"""Who may speak: signatures in headers and links, good, broken, old and foreign."""

import datetime

import pytest
import requests

from conftest import Node
from raw import FORM, code, form, presigned_query, send, signed_headers, target, utc_now

MINUTE = datetime.timedelta(minutes=1)
WHO = "Action=GetCallerIdentity&Version=2011-06-15"


@pytest.fixture(scope="module")
def key(node):
    """An issued key of a user who may do everything."""
    iam = node.client("iam")
    iam.create_user(UserName="frame")
    document = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
    iam.put_user_policy(UserName="frame", PolicyName="all", PolicyDocument=document)
    made = iam.create_access_key(UserName="frame")["AccessKey"]
    return {"key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}


def who(node, **identity):
    return form(node, "sts", "GetCallerIdentity", "2011-06-15", **identity)


def test_an_issued_key_acts_as_its_user(node, key):
    answer = who(node, **key)
    assert answer.status_code == 200, answer.text
    assert ":user/frame</Arn>" in answer.text


def test_an_issued_key_is_refused_with_a_wrong_secret(node, key):
    answer = who(node, **{**key, "secret": "wrong"})
    assert (answer.status_code, code(answer)) == (403, "SignatureDoesNotMatch")
    answer = target(node, "sqs", "AmazonSQS.ListQueues", **{**key, "secret": "wrong"})
    assert (answer.status_code, code(answer)) == (403, "InvalidSignatureException")


def test_a_signature_covers_body_query_and_headers(node, key):
    host = f"127.0.0.1:{node.port}"
    headers = signed_headers("sts", host, WHO.encode(), FORM, **key)
    changes = [
        ("body", {"data": WHO + "&x=y"}, {}),
        ("query", {"data": WHO, "params": {"x": "y"}}, {}),
        ("header", {"data": WHO}, {"content-type": "application/x-www-form-urlencoded"}),
        ("host", {"data": WHO}, {"host": f"localhost:{node.port}"}),
    ]
    assert requests.post(node.endpoint, data=WHO, headers=headers, timeout=10).status_code == 200
    for what, request, other_headers in changes:
        answer = requests.post(node.endpoint, headers={**headers, **other_headers}, timeout=10, **request)
        assert (answer.status_code, code(answer)) == (403, "SignatureDoesNotMatch"), what


def test_an_unsigned_request_is_refused_in_the_words_of_its_service(node, name):
    answer = requests.post(node.endpoint, data=WHO, headers=FORM, timeout=10)
    assert (answer.status_code, code(answer)) == (403, "MissingAuthenticationToken")
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.ListTables"}
    answer = requests.post(node.endpoint, data="{}", headers=headers, timeout=10)
    assert (answer.status_code, code(answer)) == (400, "MissingAuthenticationTokenException")
    answer = requests.get(f"{node.endpoint}/2015-03-31/functions", timeout=10)
    assert (answer.status_code, code(answer)) == (403, "MissingAuthenticationTokenException")
    # To S3 anybody may come, so that the bucket decides: nobody is let in by one that says nothing.
    bucket = name("closed")
    node.client("s3").create_bucket(Bucket=bucket)
    for path, expected in [(bucket + "/key", (403, "AccessDenied")), ("no-such-" + bucket, (404, "NoSuchBucket"))]:
        answer = requests.get(f"{node.endpoint}/{path}", timeout=10)
        assert (answer.status_code, code(answer)) == expected, answer.text


@pytest.mark.parametrize(
    "authorization,expected",
    [
        ("AWS4-HMAC-SHA256", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 Credential", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=0", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/sts/aws4_request", "IncompleteSignature"),
        ("AWS4-HMAC-SHA1 Credential=AKID/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0",
         "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 Credential=AKID/2026/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0",
         "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 " + "a" * 8000, "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 Credential=\x80\xff", "IncompleteSignature"),
        ("Bearer token", "IncompleteSignature"),
        ("", "IncompleteSignature"),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_malformed_authorization_is_an_incomplete_signature(node, authorization, expected):
    headers = {**FORM, "Authorization": authorization.encode("latin1"), "X-Amz-Date": f"{utc_now():%Y%m%dT%H%M%SZ}"}
    answer = requests.post(node.endpoint, data=WHO, headers=headers, timeout=10)
    assert (answer.status_code, code(answer)) == (400, expected)


def test_a_signature_is_good_for_fifteen_minutes_either_way(node, key):
    for minutes, status in [(-14, 200), (14, 200), (-16, 403), (16, 403)]:
        answer = who(node, at=utc_now() + minutes * MINUTE, **key)
        assert answer.status_code == status, f"{minutes}: {answer.text}"
        if status == 403:
            assert code(answer) == "SignatureDoesNotMatch"
            assert ("Signature expired" if minutes < 0 else "Signature not yet current") in answer.text
    # Keys that were not issued here are held to the same.
    assert who(node, at=utc_now() - 16 * MINUTE).status_code == 403
    answer = target(node, "sqs", "AmazonSQS.ListQueues", at=utc_now() - 16 * MINUTE, **key)
    assert (answer.status_code, code(answer)) == (403, "InvalidSignatureException")
    answer = send(node, "s3", method="GET", path="/b/k", at=utc_now() - 16 * MINUTE,
                  headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})  # fmt: skip
    assert (answer.status_code, code(answer)) == (403, "RequestTimeTooSkewed")


def test_a_signature_for_another_service_or_region_is_refused(node, key):
    host = f"127.0.0.1:{node.port}"
    headers = signed_headers("sqs", host, WHO.encode(), FORM, **key)
    moved = headers["authorization"].replace("/sqs/", "/sts/")
    answer = requests.post(node.endpoint, data=WHO, headers={**headers, "authorization": moved}, timeout=10)
    assert code(answer) == "SignatureDoesNotMatch"


def test_a_presigned_caller_identity_is_good_until_it_expires(node, key):
    """As clusters check who calls them: the link names the cluster in a signed header."""
    host, cluster = f"127.0.0.1:{node.port}", {"x-k8s-aws-id": "cluster"}
    query = presigned_query("sts", host, WHO, headers=cluster, **key)
    answer = requests.get(f"{node.endpoint}/?{query}", headers=cluster, timeout=10)
    assert answer.status_code == 200 and ":user/frame</Arn>" in answer.text
    answer = requests.get(f"{node.endpoint}/?{query}", headers={"x-k8s-aws-id": "other"}, timeout=10)
    assert (answer.status_code, code(answer)) == (403, "SignatureDoesNotMatch")
    answer = requests.get(f"{node.endpoint}/?{query}", timeout=10)
    assert answer.status_code == 403
    old = presigned_query("sts", host, WHO, headers=cluster, at=utc_now() - 2 * MINUTE, **key)
    answer = requests.get(f"{node.endpoint}/?{old}", headers=cluster, timeout=10)
    assert answer.status_code == 403 and "expired" in answer.text
    long = presigned_query("sts", host, WHO, expires=700_000, **key)
    assert requests.get(f"{node.endpoint}/?{long}", timeout=10).status_code in (400, 403)


def test_boto3_presigns_for_the_node(node, key):
    sts = node.client("sts", **key)
    url = sts.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
    answer = requests.get(url, timeout=10, headers={"accept": "application/json"})
    assert answer.status_code == 200, answer.text


def test_a_session_needs_its_own_token(node, key):
    sts = node.client("sts", **key)
    session = sts.get_session_token()["Credentials"]
    identity = {"key": session["AccessKeyId"], "secret": session["SecretAccessKey"]}
    assert who(node, **identity, token=session["SessionToken"]).status_code == 200
    for token in (None, "forged", session["SessionToken"][:-4] + "AAAA"):
        answer = who(node, **identity, token=token)
        assert (answer.status_code, code(answer)) == (403, "InvalidClientTokenId"), token
    other = sts.get_session_token()["Credentials"]
    answer = who(node, **identity, token=other["SessionToken"])
    assert (answer.status_code, code(answer)) == (403, "InvalidClientTokenId")


def test_an_expired_session_says_so():
    """On a node of its own: its clock moves."""
    node = Node()
    try:
        session = node.client("sts").assume_role(
            RoleArn=role(node), RoleSessionName="session", DurationSeconds=900
        )["Credentials"]
        identity = {"key": session["AccessKeyId"], "secret": session["SecretAccessKey"], "token": session["SessionToken"]}
        assert who(node, **identity).status_code == 200
        node.advance(901)
        answer = who(node, **identity)
        assert (answer.status_code, code(answer)) == (403, "ExpiredToken")
        answer = target(node, "sqs", "AmazonSQS.ListQueues", **identity)
        assert (answer.status_code, code(answer)) == (403, "ExpiredTokenException")
    finally:
        node.stop()


def role(node):
    trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}'
    return node.client("iam").create_role(RoleName="frame", AssumeRolePolicyDocument=trust)["Role"]["Arn"]


def test_an_inactive_or_deleted_key_is_unknown(node, name):
    iam = node.client("iam")
    user = name()
    iam.create_user(UserName=user)
    made = iam.create_access_key(UserName=user)["AccessKey"]
    identity = {"key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}
    assert who(node, **identity).status_code == 200
    iam.update_access_key(UserName=user, AccessKeyId=identity["key"], Status="Inactive")
    assert code(who(node, **identity)) == "InvalidClientTokenId"
    iam.update_access_key(UserName=user, AccessKeyId=identity["key"], Status="Active")
    assert who(node, **identity).status_code == 200
    iam.delete_access_key(UserName=user, AccessKeyId=identity["key"])
    assert code(who(node, **identity)) == "InvalidClientTokenId"
    assert code(target(node, "sqs", "AmazonSQS.ListQueues", **identity)) == "UnrecognizedClientException"


def test_a_twelve_digit_key_is_its_accounts_root(node):
    answer = who(node, key="111122223333")
    assert "<Account>111122223333</Account>" in answer.text and ":root</Arn>" in answer.text
    assert "<Account>000000000000</Account>" in who(node).text
