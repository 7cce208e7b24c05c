"""What the rows need beside the harness of `tests/python`: the AWS CLI, as a person uses it.

One test is one row of what the project promises, and is named by it. The binary is `PILEUS_BIN`: the release build, under
`cargo xtask acceptance`.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
os.environ["AWS_MAX_ATTEMPTS"] = "1"  # the first answer is the one that counts

from harness import *  # noqa: E402, F403

ACCOUNT = "000000000000"
SAID = re.compile(r"An error occurred \(([\w.]+)\) when calling the (\w+) operation[^:]*: (.*)", re.S)


def cli(node, *args, **settings):
    """What a command prints, read as JSON; fails the test if the command fails."""
    text = node.aws(*args, "--output", "json", **settings).stdout
    return json.loads(text) if text.strip() else {}


def refused(node, *args, **settings):
    """Code and sentence of the error that a command ends with; fails the test if it succeeds."""
    done = node.aws(*args, check=False, **settings)
    assert done.returncode != 0, f"aws {' '.join(args)} succeeded: {done.stdout}"
    said = SAID.search(done.stderr)
    assert said, done.stderr
    return said[1], said[3].strip()


def at_home(node, home, *args, typed=None):
    """Runs the CLI with nothing but its files under `home`: no keys in the environment."""
    path = os.environ["PATH"]
    env = {"HOME": str(home), "PATH": path, "AWS_ENDPOINT_URL": node.endpoint, "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1"}
    command = [str(pathlib.Path(sys.executable).parent / "aws"), *args]
    if args[0] != "configure":
        command[1:1] = ["--endpoint-url", node.endpoint]
    return subprocess.run(command, env=env, input=typed, capture_output=True, text=True, timeout=120)


def policy(effect, action, resource="*"):
    statement = {"Effect": effect, "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}],
    }
)


def user(node, name):
    """A new user without permissions: its name, and its key as settings of the CLI."""
    cli(node, "iam", "create-user", "--user-name", name)
    key = cli(node, "iam", "create-access-key", "--user-name", name)["AccessKey"]
    return name, {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def role_session(node, name):
    """A new role without permissions that this account may assume: its name, and a session as settings of the CLI."""
    role = cli(node, "iam", "create-role", "--role-name", name, "--assume-role-policy-document", TRUST)["Role"]
    command = ["sts", "assume-role", "--role-arn", role["Arn"], "--role-session-name", "handler"]
    session = cli(node, *command)["Credentials"]
    keys = {"key": session["AccessKeyId"], "secret": session["SecretAccessKey"], "token": session["SessionToken"]}
    return name, keys


def queue(node, name, **attributes):
    """A new queue: its URL. FIFO if its name says so."""
    if name.endswith(".fifo"):
        attributes["FifoQueue"] = "true"
    command = ["sqs", "create-queue", "--queue-name", name]
    if attributes:
        command += ["--attributes", json.dumps({key: str(value) for key, value in attributes.items()})]
    return cli(node, *command)["QueueUrl"]


def send(node, url, body, *more, **settings):
    return cli(node, "sqs", "send-message", "--queue-url", url, "--message-body", body, *more, **settings)


def receive(node, url, *more, **settings):
    command = ["sqs", "receive-message", "--queue-url", url, "--max-number-of-messages", "10", *more]
    return cli(node, *command, **settings).get("Messages", [])


def bodies(node, url, *more):
    return [message["Body"] for message in receive(node, url, *more)]


def delete(node, url, message):
    cli(node, "sqs", "delete-message", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"])
