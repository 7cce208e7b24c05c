"""Deploys the conference application with plain AWS calls, or removes it. Run again, it updates what is there.

Works against AWS and against anything that speaks its protocols: `AWS_ENDPOINT_URL` says where. Needs boto3.
"""

import argparse
import base64
import hashlib
import io
import json
import mimetypes
import os
import pathlib
import sys
import time
import urllib.parse
import zipfile

import boto3
from botocore.exceptions import ClientError

import build_layer

HERE = pathlib.Path(__file__).resolve().parent
CONFERENCE = "Serverless Day"
STAGE = "prod"
ALIAS = "live"
# What the badge function waits for each badge, to show that nobody waits with it.
BADGE_SECONDS = "0"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions, resources):
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def zipped(folder: pathlib.Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.py")):
            # A fixed time: the same code is the same archive.
            entry = zipfile.ZipInfo(str(path.relative_to(folder)), (2026, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return packed.getvalue()


def is_code(error: ClientError, *codes) -> bool:
    return error.response["Error"]["Code"] in codes


class Application:
    """One deployment, under names that begin with `prefix`."""

    def __init__(self, session=None, endpoint=None, prefix="conference", build=HERE / "build", say=print, python=None):
        self.session = session or boto3.Session(region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1")
        self.endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL")
        self.region = self.session.region_name
        self.prefix, self.build, self.say = prefix, pathlib.Path(build), say
        # A node runs functions in the Pythons of its machine: this one is there.
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.python = python or (here if self.endpoint else "3.12")
        self.account = self.client("sts").get_caller_identity()["Account"]
        self.bucket = f"{prefix}-site-{self.account}"
        self.table = f"{prefix}-entries"
        self.topic = f"arn:aws:sns:{self.region}:{self.account}:{prefix}-applied"

    def client(self, service):
        return self.session.client(service, endpoint_url=self.endpoint)

    def function_arn(self, name):
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.prefix}-{name}"

    # Where it is found.

    def site_url(self):
        if not self.endpoint:
            return f"http://{self.bucket}.s3-website-{self.region}.amazonaws.com"
        return f"http://{self.bucket}.s3-website-{self.region}.localhost:{self.port()}"

    def api_url(self, api):
        if not self.endpoint:
            return f"https://{api}.execute-api.{self.region}.amazonaws.com/{STAGE}"
        return f"http://{api}.execute-api.{self.region}.localhost:{self.port()}/{STAGE}"

    def port(self):
        return urllib.parse.urlsplit(self.endpoint).port or 80

    # Building.

    def deploy(self):
        """Makes or updates everything; gives the addresses of the site and the API."""
        self.build.mkdir(parents=True, exist_ok=True)
        self.say("table, topic and bucket")
        self.make_table()
        self.client("sns").create_topic(Name=self.topic.split(":")[-1])
        self.make_bucket()
        self.say("layer with Pillow and qrcode")
        layer = self.make_layer()
        self.say("functions and their roles")
        entries = f"arn:aws:dynamodb:{self.region}:{self.account}:table/{self.table}"
        common = {"TABLE": self.table}
        self.make_function(
            "apply",
            [allow("dynamodb:PutItem", entries), allow("sns:Publish", self.topic)],
            common | {"TOPIC": self.topic, "CONFERENCE": CONFERENCE},
        )
        self.make_function("entries", [allow("dynamodb:Query", entries)], common | {"CONFERENCE": CONFERENCE})
        self.make_function(
            "badge",
            [
                allow(["dynamodb:GetItem", "dynamodb:UpdateItem"], entries),
                allow("s3:PutObject", f"arn:aws:s3:::{self.bucket}/badges/*"),
            ],
            common | {"BUCKET": self.bucket, "SECONDS": BADGE_SECONDS},
            layers=[layer],
            timeout=60,
            memory=512,
        )
        self.subscribe_badge()
        self.say("API with GET and POST /conference")
        api = self.make_api()
        self.say("pages")
        self.upload_site(api)
        return {"site": self.site_url() + "/apply.html", "api": self.api_url(api), "rest_api": api}

    def make_table(self):
        dynamodb = self.client("dynamodb")
        try:
            dynamodb.create_table(
                TableName=self.table,
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("conference", "id")],
                KeySchema=[
                    {"AttributeName": "conference", "KeyType": "HASH"},
                    {"AttributeName": "id", "KeyType": "RANGE"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        except ClientError as error:
            if not is_code(error, "ResourceInUseException"):
                raise
        dynamodb.get_waiter("table_exists").wait(TableName=self.table, WaiterConfig={"Delay": 1})

    def make_bucket(self):
        s3 = self.client("s3")
        place = {} if self.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        try:
            s3.create_bucket(Bucket=self.bucket, **place)
        except ClientError as error:
            if not is_code(error, "BucketAlreadyOwnedByYou"):
                raise
        open_to_policies = {name: False for name in ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")}
        s3.put_public_access_block(Bucket=self.bucket, PublicAccessBlockConfiguration=open_to_policies)
        readable = allow("s3:GetObject", f"arn:aws:s3:::{self.bucket}/*") | {"Principal": "*"}
        s3.put_bucket_policy(Bucket=self.bucket, Policy=document(readable))
        s3.put_bucket_website(
            Bucket=self.bucket,
            WebsiteConfiguration={"IndexDocument": {"Suffix": "apply.html"}, "ErrorDocument": {"Key": "apply.html"}},
        )

    def make_layer(self):
        functions, name = self.client("lambda"), f"{self.prefix}-badge-libraries"
        archive = build_layer.build(self.build, self.python).read_bytes()
        digest = base64.b64encode(hashlib.sha256(archive).digest()).decode()
        for newest in functions.list_layer_versions(LayerName=name, MaxItems=1)["LayerVersions"]:
            content = functions.get_layer_version(LayerName=name, VersionNumber=newest["Version"])["Content"]
            if content["CodeSha256"] == digest:
                return newest["LayerVersionArn"]
        published = functions.publish_layer_version(
            LayerName=name,
            Content={"ZipFile": archive},
            CompatibleRuntimes=[f"python{self.python}"],
        )
        return published["LayerVersionArn"]

    def make_role(self, name, statements):
        iam, role = self.client("iam"), f"{self.prefix}-{name}"
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        try:
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=document(trust))
        except ClientError as error:
            if not is_code(error, "EntityAlreadyExists"):
                raise
        logs = f"arn:aws:logs:{self.region}:{self.account}:log-group:/aws/lambda/{self.prefix}-{name}"
        own_logs = [
            allow("logs:CreateLogGroup", logs),
            allow(["logs:CreateLogStream", "logs:PutLogEvents"], f"{logs}:*"),
        ]
        iam.put_role_policy(RoleName=role, PolicyName="what-it-needs", PolicyDocument=document(*statements, *own_logs))
        return f"arn:aws:iam::{self.account}:role/{role}"

    def make_function(self, name, statements, environment, layers=(), timeout=10, memory=256):
        """Code, settings, a version of both, and the alias that callers name."""
        functions, function = self.client("lambda"), f"{self.prefix}-{name}"
        role, code = self.make_role(name, statements), zipped(HERE / "functions" / name)
        settings = {
            "FunctionName": function,
            "Runtime": f"python{self.python}",
            "Handler": "index.handler",
            "Role": role,
            "Timeout": timeout,
            "MemorySize": memory,
            "Environment": {"Variables": environment},
            "Layers": list(layers),
        }
        try:
            functions.get_function_configuration(FunctionName=function)
            is_new = False
        except ClientError as error:
            if not is_code(error, "ResourceNotFoundException"):
                raise
            is_new = True
        if is_new:
            patiently(lambda: functions.create_function(Code={"ZipFile": code}, **settings))
        else:
            functions.update_function_configuration(**settings)
            functions.get_waiter("function_updated").wait(FunctionName=function, WaiterConfig={"Delay": 1})
            functions.update_function_code(FunctionName=function, ZipFile=code)
        functions.get_waiter("function_active_v2").wait(FunctionName=function, WaiterConfig={"Delay": 1})
        functions.get_waiter("function_updated").wait(FunctionName=function, WaiterConfig={"Delay": 1})
        version = functions.publish_version(FunctionName=function)["Version"]
        try:
            functions.create_alias(FunctionName=function, Name=ALIAS, FunctionVersion=version)
        except ClientError as error:
            if not is_code(error, "ResourceConflictException"):
                raise
            functions.update_alias(FunctionName=function, Name=ALIAS, FunctionVersion=version, RoutingConfig={"AdditionalVersionWeights": {}})

    def permit(self, name, statement, principal, source):
        try:
            self.client("lambda").add_permission(
                FunctionName=f"{self.prefix}-{name}",
                Qualifier=ALIAS,
                StatementId=statement,
                Action="lambda:InvokeFunction",
                Principal=principal,
                SourceArn=source,
            )
        except ClientError as error:
            if not is_code(error, "ResourceConflictException"):
                raise

    def subscribe_badge(self):
        self.permit("badge", "applied", "sns.amazonaws.com", self.topic)
        self.client("sns").subscribe(
            TopicArn=self.topic, Protocol="lambda", Endpoint=f"{self.function_arn('badge')}:{ALIAS}"
        )

    def make_api(self):
        gateway, name = self.client("apigateway"), f"{self.prefix}-api"
        for found in [api for api in gateway.get_rest_apis(limit=500)["items"] if api["name"] == name]:
            # The stage comes last: without one, whoever made it was interrupted.
            if any(stage["stageName"] == STAGE for stage in gateway.get_stages(restApiId=found["id"])["item"]):
                return found["id"]
            gateway.delete_rest_api(restApiId=found["id"])
        api = gateway.create_rest_api(name=name, endpointConfiguration={"types": ["REGIONAL"]})["id"]
        (root,) = [resource["id"] for resource in gateway.get_resources(restApiId=api)["items"] if resource["path"] == "/"]
        resource = gateway.create_resource(restApiId=api, parentId=root, pathPart="conference")["id"]
        for method, function in (("GET", "entries"), ("POST", "apply")):
            place = {"restApiId": api, "resourceId": resource, "httpMethod": method}
            gateway.put_method(authorizationType="NONE", **place)
            uri = f"arn:aws:apigateway:{self.region}:lambda:path/2015-03-31/functions/{self.function_arn(function)}:{ALIAS}/invocations"
            gateway.put_integration(type="AWS_PROXY", integrationHttpMethod="POST", uri=uri, **place)
            source = f"arn:aws:execute-api:{self.region}:{self.account}:{api}/*/{method}/conference"
            self.permit(function, f"api-{api}", "apigateway.amazonaws.com", source)
        self.allow_other_origins(gateway, api, resource)
        gateway.create_deployment(restApiId=api, stageName=STAGE)
        return api

    def allow_other_origins(self, gateway, api, resource):
        """The pages come from another origin, so a browser asks first (CORS)."""
        place = {"restApiId": api, "resourceId": resource, "httpMethod": "OPTIONS"}
        headers = {"Origin": "'*'", "Methods": "'GET,POST,OPTIONS'", "Headers": "'Content-Type'"}
        named = {f"method.response.header.Access-Control-Allow-{name}": value for name, value in headers.items()}
        gateway.put_method(authorizationType="NONE", **place)
        gateway.put_method_response(statusCode="200", responseParameters={name: True for name in named}, **place)
        gateway.put_integration(type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'}, **place)
        gateway.put_integration_response(statusCode="200", responseParameters=named, **place)

    def upload_site(self, api):
        s3 = self.client("s3")
        pages = {path.name: path.read_bytes() for path in (HERE / "site").iterdir() if path.is_file()}
        pages["config.js"] = f"window.CONFERENCE = {json.dumps({'api': self.api_url(api)})};\n".encode()
        for name, body in pages.items():
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            s3.put_object(Bucket=self.bucket, Key=name, Body=body, ContentType=kind, CacheControl="no-cache")

    # Removing.

    def remove(self):
        """Removes everything; what is not there is skipped."""
        gateway, functions, iam, s3 = map(self.client, ("apigateway", "lambda", "iam", "s3"))
        for api in gateway.get_rest_apis(limit=500)["items"]:
            if api["name"] == f"{self.prefix}-api":
                gateway.delete_rest_api(restApiId=api["id"])
        self.client("sns").delete_topic(TopicArn=self.topic)
        for name in ("apply", "entries", "badge"):
            missing_is_fine(lambda: functions.delete_function(FunctionName=f"{self.prefix}-{name}"))
            missing_is_fine(lambda: iam.delete_role_policy(RoleName=f"{self.prefix}-{name}", PolicyName="what-it-needs"))
            missing_is_fine(lambda: iam.delete_role(RoleName=f"{self.prefix}-{name}"))
        layer = f"{self.prefix}-badge-libraries"
        for version in functions.list_layer_versions(LayerName=layer)["LayerVersions"]:
            functions.delete_layer_version(LayerName=layer, VersionNumber=version["Version"])
        missing_is_fine(lambda: self.client("dynamodb").delete_table(TableName=self.table))
        missing_is_fine(lambda: self.empty(s3))
        missing_is_fine(lambda: s3.delete_bucket(Bucket=self.bucket))

    def empty(self, s3):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for entry in page.get("Contents", []):
                s3.delete_object(Bucket=self.bucket, Key=entry["Key"])


def missing_is_fine(call):
    try:
        call()
    except ClientError as error:
        if not is_code(error, "ResourceNotFoundException", "NoSuchEntity", "NoSuchBucket", "NotFound"):
            raise


def patiently(call, seconds=60):
    """A role that was just made cannot be assumed everywhere at once."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except ClientError as error:
            if "cannot be assumed" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(2)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--prefix", default="conference")
    arguments.add_argument("--build", default=str(HERE / "build"), help="where the layer is built")
    arguments.add_argument("--python", help="the functions' Python: this one, or 3.12 on AWS")
    arguments.add_argument("--remove", action="store_true")
    arguments.add_argument("--json", action="store_true", help="print the addresses as JSON")
    given = arguments.parse_args()
    say = lambda text: print(f"  {text}", file=sys.stderr, flush=True)  # noqa: E731
    application = Application(prefix=given.prefix, build=given.build, say=say, python=given.python)
    if given.remove:
        application.remove()
        return
    made = application.deploy()
    print(json.dumps(made) if given.json else f"site: {made['site']}\nAPI:  {made['api']}/conference")


if __name__ == "__main__":
    main()
