"""A lab: a function writes a log file to S3, IAM denies it, its role is fixed, and it works. Needs boto3."""

import io
import json
import os
import sys
import zipfile

import boto3

CODE = """
import datetime, json, os
import boto3

def handler(event, context):
    key = datetime.datetime.now(datetime.timezone.utc).strftime("logs/%Y-%m-%dT%H%M%S.txt")
    boto3.client("s3").put_object(Bucket=os.environ["BUCKET"], Key=key, Body=json.dumps(event))
    return {"wrote": key}
"""


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def deploy(client, prefix="denied"):
    """A bucket, and a function whose role may do nothing with it; their names."""
    iam, functions = client("iam"), client("lambda")
    account = client("sts").get_caller_identity()["Account"]
    bucket = f"{prefix}-logs-{account}"
    client("s3").create_bucket(Bucket=bucket)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=prefix, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", CODE)
    functions.create_function(
        FunctionName=prefix,
        Runtime=f"python{sys.version_info.major}.{sys.version_info.minor}",
        Handler="index.handler",
        Role=role,
        Code={"ZipFile": packed.getvalue()},
        Timeout=15,
        Environment={"Variables": {"BUCKET": bucket}},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=prefix, WaiterConfig={"Delay": 1})
    return {"bucket": bucket, "function": prefix, "role": prefix}


def test(client, function):
    """Runs the function: whether it succeeded, and what it answered."""
    answer = client("lambda").invoke(FunctionName=function, Payload=json.dumps({"from": "the lab"}))
    return "FunctionError" not in answer, json.loads(answer["Payload"].read())


def fix(client, role, bucket):
    """Lets the role do the one thing that the function needs."""
    needed = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/logs/*"}
    client("iam").put_role_policy(RoleName=role, PolicyName="write-logs", PolicyDocument=document(needed))


if __name__ == "__main__":
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    make = lambda service: boto3.client(service, endpoint_url=endpoint)  # noqa: E731
    made = deploy(make)
    print("before:", test(make, made["function"]))
    fix(make, made["role"], made["bucket"])
    print("after:", test(make, made["function"]))
