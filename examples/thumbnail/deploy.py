"""Deploys the thumbnail function: one bucket for pictures, one for what is made of them. Needs boto3."""

import io
import json
import os
import pathlib
import sys
import zipfile

import boto3

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "conference"))
from build_layer import build  # noqa: E402
from deploy import patiently  # noqa: E402


def allow(actions, resources):
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def deploy(client, prefix="thumbnail", out=HERE / "build"):
    """`client("s3")` makes clients. Gives the names of the two buckets and the table."""
    s3, iam, functions, dynamodb = map(client, ("s3", "iam", "lambda", "dynamodb"))
    account = client("sts").get_caller_identity()["Account"]
    region = s3.meta.region_name
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    source, made, table = f"{prefix}-in-{account}", f"{prefix}-out-{account}", f"{prefix}-pictures"
    for bucket in (source, made):
        s3.create_bucket(Bucket=bucket)
    dynamodb.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "picture", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "picture", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=prefix, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    needed = document(
        allow("s3:GetObject", f"arn:aws:s3:::{source}/*"),
        allow("s3:PutObject", f"arn:aws:s3:::{made}/*"),
        allow("dynamodb:PutItem", f"arn:aws:dynamodb:{region}:{account}:table/{table}"),
        allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "*"),
    )
    iam.put_role_policy(RoleName=prefix, PolicyName="what-it-needs", PolicyDocument=needed)
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    layer = functions.publish_layer_version(LayerName=prefix, Content={"ZipFile": build(out, python).read_bytes()})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(HERE / "index.py", "index.py")
    function = patiently(
        lambda: functions.create_function(
            FunctionName=prefix,
            Runtime=f"python{python}",
            Handler="index.handler",
            Role=role,
            Code={"ZipFile": packed.getvalue()},
            Layers=[layer["LayerVersionArn"]],
            Timeout=30,
            MemorySize=512,
            Environment={"Variables": {"OUT": made, "TABLE": table}},
        )
    )["FunctionArn"]
    functions.get_waiter("function_active_v2").wait(FunctionName=prefix, WaiterConfig={"Delay": 1})
    functions.add_permission(
        FunctionName=prefix,
        StatementId="uploads",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{source}",
        SourceAccount=account,
    )
    s3.put_bucket_notification_configuration(
        Bucket=source,
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [{"LambdaFunctionArn": function, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    return {"in": source, "out": made, "table": table}


if __name__ == "__main__":
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    print(json.dumps(deploy(lambda service: boto3.client(service, endpoint_url=endpoint))))
