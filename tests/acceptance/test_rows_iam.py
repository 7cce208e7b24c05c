"""Rows about identity and access. SQS, IAM, STS and EC2 stand for the guarded services."""

import json
import subprocess

import pytest
from conftest import ACCOUNT, BINARY, TRUST, at_home, bodies, cli, policy, queue, receive, refused, role_session, send, user


def arn_of(jobs):
    return f"arn:aws:sqs:us-east-1:{ACCOUNT}:{jobs}"


def allow(node, role, document):
    cli(node, "iam", "put-role-policy", "--role-name", role, "--policy-name", "own", "--policy-document", document)


def test_iam_01_the_simulator_agrees_with_real_calls(node, name):
    jobs, team, group_policy = name("jobs"), name("team"), name("may")
    url = queue(node, jobs)
    person, keys = user(node, name("person"))
    cli(node, "iam", "create-group", "--group-name", team)
    cli(node, "iam", "add-user-to-group", "--group-name", team, "--user-name", person)
    document = policy("Allow", ["sqs:SendMessage", "sqs:GetQueueAttributes"], arn_of(jobs))
    made = cli(node, "iam", "create-policy", "--policy-name", group_policy, "--policy-document", document)["Policy"]
    cli(node, "iam", "attach-group-policy", "--group-name", team, "--policy-arn", made["Arn"])
    deny = policy("Deny", "sqs:PurgeQueue")
    cli(node, "iam", "put-user-policy", "--user-name", person, "--policy-name", "own", "--policy-document", deny)

    calls = {
        "sqs:SendMessage": ["send-message", "--message-body", "m"],
        "sqs:GetQueueAttributes": ["get-queue-attributes"],
        "sqs:ReceiveMessage": ["receive-message"],
        "sqs:PurgeQueue": ["purge-queue"],
    }
    command = ["iam", "simulate-principal-policy", "--policy-source-arn", f"arn:aws:iam::{ACCOUNT}:user/{person}"]
    results = cli(node, *command, "--action-names", *calls, "--resource-arns", arn_of(jobs))["EvaluationResults"]
    decided = {result["EvalActionName"]: result["EvalDecision"] for result in results}
    assert decided == {
        "sqs:SendMessage": "allowed",
        "sqs:GetQueueAttributes": "allowed",
        "sqs:ReceiveMessage": "implicitDeny",
        "sqs:PurgeQueue": "explicitDeny",
    }
    for action, call in calls.items():
        done = node.aws("sqs", *call, "--queue-url", url, check=False, **keys)
        assert (done.returncode == 0) == (decided[action] == "allowed"), f"{action}: {done.stderr}"


def test_iam_02_a_role_may_do_one_thing_on_one_resource(node, name):
    jobs, others = name("jobs"), name("others")
    url, other = queue(node, jobs), queue(node, others)
    role, session = role_session(node, name("GetData"))
    allow(node, role, policy("Allow", "sqs:ReceiveMessage", arn_of(jobs)))
    send(node, url, "data")
    assert [message["Body"] for message in receive(node, url, **session)] == ["data"]
    code, _ = refused(node, "sqs", "send-message", "--queue-url", url, "--message-body", "m", **session)
    assert code == "AccessDenied"
    assert refused(node, "sqs", "receive-message", "--queue-url", other, **session)[0] == "AccessDenied"


def test_iam_03_and_04_nothing_is_allowed_until_a_managed_policy_is_attached(node, name):
    url = queue(node, name("jobs"))
    role, session = role_session(node, name("handler"))
    put = ["sqs", "send-message", "--queue-url", url, "--message-body", "the same event"]
    assert refused(node, *put, **session)[0] == "AccessDenied"
    attach = ["iam", "attach-role-policy", "--role-name", role]
    cli(node, *attach, "--policy-arn", "arn:aws:iam::aws:policy/AmazonSQSFullAccess")
    assert cli(node, *put, **session)["MessageId"]
    assert bodies(node, url) == ["the same event"]


@pytest.mark.parametrize(
    "path, grants",
    [
        ("service-role/AWSLambdaVPCAccessExecutionRole", "ec2:CreateNetworkInterface"),
        ("AmazonElasticFileSystemClientReadWriteAccess", "elasticfilesystem:ClientMount"),
        ("AmazonS3FullAccess", "s3:*"),
    ],
)
def test_iam_05_managed_policies_by_name_with_their_documents(node, path, grants):
    arn = f"arn:aws:iam::aws:policy/{path}"
    found = cli(node, "iam", "get-policy", "--policy-arn", arn)["Policy"]
    assert found["Arn"] == arn and found["PolicyName"] == path.split("/")[-1]
    version = ["iam", "get-policy-version", "--policy-arn", arn, "--version-id", found["DefaultVersionId"]]
    document = cli(node, *version)["PolicyVersion"]["Document"]
    assert grants in json.dumps(document["Statement"])


def test_iam_06_an_access_key_in_a_profile_is_its_user(node, name, tmp_path):
    person, keys = user(node, name("person"))
    typed = f"{keys['key']}\n{keys['secret']}\nus-east-1\njson\n"
    assert at_home(node, tmp_path, "configure", "--profile", "x", typed=typed).returncode == 0
    asked = at_home(node, tmp_path, "sts", "get-caller-identity", "--profile", "x")
    assert asked.returncode == 0, asked.stderr
    identity = json.loads(asked.stdout)
    assert identity["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/{person}" and identity["Account"] == ACCOUNT
    assert identity["UserId"].startswith("AIDA")


def test_iam_07_a_deny_holds_on_every_service(node, name):
    url = queue(node, name("jobs"))
    person, keys = user(node, name("person"))
    attach = ["iam", "attach-user-policy", "--user-name", person]
    cli(node, *attach, "--policy-arn", "arn:aws:iam::aws:policy/AdministratorAccess")
    role = cli(node, "iam", "create-role", "--role-name", name("r"), "--assume-role-policy-document", TRUST)["Role"]
    calls = {
        "sqs:SendMessage": (["sqs", "send-message", "--queue-url", url, "--message-body", "m"], "AccessDenied"),
        "iam:ListUsers": (["iam", "list-users"], "AccessDenied"),
        "sts:AssumeRole": (
            ["sts", "assume-role", "--role-arn", role["Arn"], "--role-session-name", "anybody"],
            "AccessDenied",
        ),
        "ec2:DescribeRegions": (["ec2", "describe-regions"], "UnauthorizedOperation"),
    }
    for call, _ in calls.values():
        cli(node, *call, **keys)
    put = ["iam", "put-user-policy", "--user-name", person, "--policy-name", "no"]
    cli(node, *put, "--policy-document", policy("Deny", list(calls)))
    for action, (call, expected) in calls.items():
        code, message = refused(node, *call, **keys)
        assert code == expected, action
        assert "with an explicit deny in an identity-based policy" in message, message
    cli(node, "sqs", "list-queues", **keys)


def test_iam_08_a_denial_says_who_what_where_and_why_and_offers_the_smallest_policy(node, name):
    jobs = name("jobs")
    url = queue(node, jobs)
    person, keys = user(node, name("person"))
    _, message = refused(node, "sqs", "send-message", "--queue-url", url, "--message-body", "m", **keys)
    assert message == (
        f"User: arn:aws:iam::{ACCOUNT}:user/{person} is not authorized to perform: sqs:SendMessage on resource: "
        f"{arn_of(jobs)} because no identity-based policy allows the sqs:SendMessage action"
    )
    explain = [BINARY, "iam", "explain", "--port", str(node.port)]
    said = subprocess.run(explain, capture_output=True, text=True, timeout=60, check=True).stdout
    suggested = json.loads(said[said.index("{", said.index(person)) : said.rindex("}") + 1])
    assert suggested == {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn_of(jobs)}],
    }
    put = ["iam", "put-user-policy", "--user-name", person, "--policy-name", "suggested"]
    cli(node, *put, "--policy-document", json.dumps(suggested))
    send(node, url, "m", **keys)

    denial = policy("Deny", "sqs:SendMessage")
    put = ["iam", "put-user-policy", "--user-name", person, "--policy-name", "frozen"]
    cli(node, *put, "--policy-document", denial)
    _, message = refused(node, "sqs", "send-message", "--queue-url", url, "--message-body", "m", **keys)
    assert message.endswith("with an explicit deny in an identity-based policy")
    said = subprocess.run(explain, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "frozen" in said, said
