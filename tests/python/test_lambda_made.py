"""Functions, roles and packages that the tests of Lambda make for themselves."""

import io
import json
import time
import zipfile

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"
REGION = "us-east-1"
ECHO = "def handler(event, context):\n    return event\n"


def package(files=ECHO) -> bytes:
    """A zip archive: the text of `index.py`, or names and contents."""
    files = {"index.py": files} if isinstance(files, str) else files
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o755 if name == "bootstrap" else 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


def refused(call, *args, **kwargs):
    """The error that a call ends with: its code and its sentence."""
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def document(*statements) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*"):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


class Functions:
    def __init__(self, node, name):
        self.node, self.name = node, name
        self.iam, self.lambda_ = node.client("iam"), node.client("lambda")

    def role(self, *statements, trusts="lambda.amazonaws.com"):
        """A role that Lambda may assume; its ARN."""
        trust = {"Effect": "Allow", "Principal": {"Service": trusts}, "Action": "sts:AssumeRole"}
        role = self.iam.create_role(RoleName=self.name("role"), AssumeRolePolicyDocument=document(trust))["Role"]
        if statements:
            self.iam.put_role_policy(RoleName=role["RoleName"], PolicyName="p", PolicyDocument=document(*statements))
        return role["Arn"]

    def create(self, code=ECHO, **more):
        """A new function; its name."""
        arguments = {
            "FunctionName": self.name("fn"),
            "Runtime": "python3.11",
            "Handler": "index.handler",
            "Code": {"ZipFile": package(code)},
            **more,
        }
        arguments.setdefault("Role", None)
        arguments["Role"] = arguments["Role"] or self.role(allow("logs:*"), allow("sqs:*"), allow("lambda:InvokeFunction"))
        self.lambda_.create_function(**arguments)
        return arguments["FunctionName"]

    def arn(self, function, qualifier=None):
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"
        return f"{arn}:{qualifier}" if qualifier else arn

    def level(self):
        """The isolation that this machine gives."""
        import subprocess

        from harness import BINARY

        said = subprocess.run([BINARY, "doctor"], capture_output=True, text=True).stdout
        line = next(line for line in said.splitlines() if " isolation " in line)
        return line.split()[2]

    def queue(self, **attributes):
        """A new queue: URL and ARN."""
        sqs = self.node.client("sqs")
        suffix = ".fifo" if attributes.get("FifoQueue") else ""
        url = sqs.create_queue(QueueName=self.name("queue") + suffix, Attributes=attributes)["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def invoke(self, function, payload=None, **more):
        """What a function answers, read as JSON."""
        answer = self.lambda_.invoke(FunctionName=function, Payload=json.dumps(payload), **more)
        text = answer["Payload"].read()
        return json.loads(text) if text else None


@pytest.fixture
def functions(node, name):
    return Functions(node, name)


def eventually(ask, seconds=20):
    """The first answer of `ask` that is something; polls a background worker, whose end no call announces."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(0.02)
