"""REST APIs that the tests of API Gateway make for themselves."""

import json

import pytest
import requests
from test_lambda_made import ACCOUNT, REGION, Functions

MOCK = {"application/json": '{"statusCode": 200}'}


class Rest:
    def __init__(self, node, name):
        self.node, self.name = node, name
        self.functions = Functions(node, name)
        self.gw = node.client("apigateway")

    def create(self, **more):
        """A new API; its id and the id of its root resource."""
        made = self.gw.create_rest_api(name=self.name("api"), **more)
        return made["id"], made["rootResourceId"]

    def resource(self, api, path):
        """The resource of a path, made with those above it."""
        known = {row["path"]: row["id"] for row in self.gw.get_resources(restApiId=api, limit=500)["items"]}
        at, so_far = known["/"], ""
        for part in [part for part in path.split("/") if part]:
            so_far += "/" + part
            at = known.get(so_far) or self.gw.create_resource(restApiId=api, parentId=at, pathPart=part)["id"]
        return at

    def method(self, api, path, verb="GET", integration=None, responses=None, **more):
        """A method with its integration; `responses`: status to the arguments of its integration response."""
        place = {"restApiId": api, "resourceId": self.resource(api, path), "httpMethod": verb}
        self.gw.put_method(**place, **{"authorizationType": "NONE", **more})
        self.gw.put_integration(**place, **(integration or {"type": "MOCK", "requestTemplates": MOCK}))
        for status, response in (responses or {}).items():
            response = dict(response)
            headers = response.get("responseParameters", {})
            self.gw.put_method_response(**place, statusCode=status, responseParameters={name: False for name in headers})
            self.gw.put_integration_response(**place, statusCode=status, **response)
        return place

    def deploy(self, api, stage="dev", **more):
        return self.gw.create_deployment(restApiId=api, stageName=stage, **more)["id"]

    def call(self, api, path="/", method="GET", stage="dev", host=None, **more):
        headers = {"Host": host or f"{api}.execute-api.{REGION}.amazonaws.com", **(more.pop("headers", None) or {})}
        prefix = f"/{stage}" if stage else ""
        return requests.request(method, self.node.endpoint + prefix + path, headers=headers, timeout=30, **more)

    def function(self, code, **more):
        """A function that every API may call; its ARN."""
        name = self.functions.create(code, **more)
        self.functions.lambda_.add_permission(
            FunctionName=name,
            StatementId="gateway",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:*/*",
        )
        return self.functions.arn(name)

    def uri(self, function):
        return f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function}/invocations"

    def proxy(self, function, **more):
        return {"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": self.uri(function), **more}

    def patch(self, operation, path, value=None):
        made = {"op": operation, "path": path}
        return made if value is None else {**made, "value": value}


@pytest.fixture
def rest(node, name):
    return Rest(node, name)


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
