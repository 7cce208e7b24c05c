"""`DecodeAuthorizationMessage`: what an EC2 refusal carries, for those who may know why."""

import json

from conftest import error_code
from made import allow, failure, is_denied, made

MARK = " Encoded authorization failure message: "


def refusal(ec2):
    code, message = failure(ec2.run_instances, MinCount=1, MaxCount=1, ImageId="ami-12345678")
    assert code == "UnauthorizedOperation"
    text, mark, encoded = message.partition(MARK)
    assert mark
    return text, encoded


def decode(client, encoded):
    return json.loads(client("sts").decode_authorization_message(EncodedMessage=encoded)["DecodedMessage"])


def test_a_refusal_for_want_of_a_permission_tells_who_and_what(client, made):
    user, key = made.user()
    text, encoded = refusal(client("ec2", *key))
    assert text == (
        f"You are not authorized to perform this operation. User: {user['Arn']} is not authorized to perform: "
        "ec2:RunInstances because no identity-based policy allows the ec2:RunInstances action."
    )
    assert user["Arn"] not in encoded
    decoded = decode(client, encoded)
    assert (decoded["allowed"], decoded["explicitDeny"]) == (False, False)
    assert decoded["matchedStatements"] == decoded["failures"] == {"items": []}
    context = decoded["context"]
    assert context["principal"] == {"id": user["UserId"], "arn": user["Arn"]}
    assert context["action"] == "ec2:RunInstances"
    conditions = {item["key"]: [value["value"] for value in item["values"]["items"]] for item in context["conditions"]["items"]}
    assert conditions["aws:requestedregion"] == ["us-east-1"]
    assert conditions["aws:principalarn"] == [user["Arn"]]


def test_an_explicit_denial_names_its_statement(client, made):
    deny = {"Sid": "NoMachines", "Effect": "Deny", "Action": "ec2:Run*", "Resource": "*"}
    user, key = made.user(allow("ec2:*"), deny)
    decoded = decode(client, refusal(client("ec2", *key))[1])
    assert decoded["explicitDeny"] is True
    (statement,) = decoded["matchedStatements"]["items"]
    assert (statement["statementId"], statement["effect"]) == ("NoMachines", "DENY")
    assert statement["principals"]["items"] == [{"value": user["UserId"]}]


def test_describing_carries_nothing_to_decode(client, made):
    _, key = made.user()
    assert MARK not in failure(client("ec2", *key).describe_regions)[1]


def test_what_this_cloud_did_not_encode_is_not_decoded(client, made):
    _, key = made.user()
    encoded = refusal(client("ec2", *key))[1]
    changed = ("A" if encoded[40] != "A" else "B").join((encoded[:40], encoded[41:]))
    session = client("sts").get_session_token()["Credentials"]["SessionToken"]
    for bad in ("x", changed, encoded[:-8], session, "&%"):
        assert error_code(client("sts").decode_authorization_message, EncodedMessage=bad) == "InvalidAuthorizationMessageException"


def test_decoding_takes_a_permission(client, made):
    _, key = made.user()
    encoded = refusal(client("ec2", *key))[1]
    assert is_denied(client("sts", *key).decode_authorization_message, EncodedMessage=encoded)
    _, reader = made.user(allow("sts:DecodeAuthorizationMessage"))
    decoded = client("sts", *reader).decode_authorization_message(EncodedMessage=encoded)["DecodedMessage"]
    assert json.loads(decoded)["allowed"] is False
