"""Users, roles and queues that a test makes for itself, and what tests of sessions say of them."""

import datetime
import json

import pytest
import requests
from botocore.exceptions import ClientError
from conftest import error_code

ACCOUNT = "000000000000"


def document(*statements) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


class Made:
    """Makes users, roles and queues, each under a name of its own."""

    def __init__(self, node, name):
        self.node, self.name = node, name
        self.iam = node.client("iam")

    def user(self, *statements, **more):
        """The user, and the arguments of `client` for one of its keys."""
        user = self.iam.create_user(UserName=self.name("user"), **more)["User"]
        if statements:
            self.iam.put_user_policy(UserName=user["UserName"], PolicyName="p", PolicyDocument=document(*statements))
        key = self.iam.create_access_key(UserName=user["UserName"])["AccessKey"]
        return user, (key["AccessKeyId"], key["SecretAccessKey"])

    def role(self, principal, *statements, condition=None, actions="sts:AssumeRole", **more):
        trust = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": actions}
        if condition:
            trust["Condition"] = condition
        role = self.iam.create_role(RoleName=self.name("role"), AssumeRolePolicyDocument=document(trust), **more)["Role"]
        if statements:
            self.iam.put_role_policy(RoleName=role["RoleName"], PolicyName="p", PolicyDocument=document(*statements))
        return role

    def queue(self):
        """URL and ARN."""
        sqs = self.node.client("sqs")
        url = sqs.create_queue(QueueName=self.name("queue"))["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


@pytest.fixture
def made(node, name):
    return Made(node, name)


def keys(answer):
    """The arguments of `client` for what an operation issued."""
    credentials = answer["Credentials"]
    return credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]


def assume(sts, role, **more):
    return sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session", **more)


def unchecked(client, *key):
    """A client that sends what it is told, so that the node is the one who refuses."""
    return client("sts", *key, parameter_validation=False)


def failure(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def is_denied(call, *args, **kwargs) -> bool:
    return error_code(call, *args, **kwargs) in ("AccessDenied", "AccessDeniedException")


def now(node) -> datetime.datetime:
    text = requests.get(f"{node.endpoint}/_pileus/clock", timeout=10).json()["now"]
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
