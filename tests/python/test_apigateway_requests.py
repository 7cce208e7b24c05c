"""Requests to REST APIs: integrations, mapping, validation, limits, authorizers, caches, logs."""

import base64
import http.server
import json
import threading

import pytest
import requests
from apigw import policy, rest  # noqa: F401
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from harness import error_code
from test_lambda_made import ACCOUNT, REGION, allow, eventually

ECHO = """
import json
def handler(event, context):
    return {"statusCode": 201, "headers": {"x-own": "yes"}, "multiValueHeaders": {"x-many": ["1", "2"]}, "body": json.dumps(event)}
"""


def proxied(rest, code, path="/{proxy+}", verb="ANY", **more):
    api, _ = rest.create(**more)
    rest.method(api, path, verb, rest.proxy(rest.function(code)))
    rest.deploy(api)
    return api


def test_a_function_answers_by_proxy(rest):
    api = proxied(rest, ECHO)
    rest.gw.update_stage(restApiId=api, stageName="dev", patchOperations=[rest.patch("replace", "/variables/color", "red")])
    answer = rest.call(api, "/a/b%20c?x=1&x=2&y=", "POST", data="hello", headers={"X-Own": "1"})
    event = answer.json()
    assert answer.status_code == 201 and answer.headers["x-own"] == "yes" and answer.headers["x-many"] == "1, 2"
    assert answer.headers["x-amzn-RequestId"] == event["requestContext"]["requestId"] and answer.headers["x-amz-apigw-id"]
    assert (event["resource"], event["path"], event["httpMethod"]) == ("/{proxy+}", "/a/b c", "POST")
    assert event["pathParameters"] == {"proxy": "a/b c"} and event["stageVariables"] == {"color": "red"}
    assert event["queryStringParameters"] == {"x": "2", "y": ""}
    assert event["multiValueQueryStringParameters"] == {"x": ["1", "2"], "y": [""]}
    assert (event["body"], event["isBase64Encoded"]) == ("hello", False)
    assert event["headers"]["x-own"] == "1" and event["headers"]["X-Forwarded-Proto"] == "http"
    context = event["requestContext"]
    assert (context["stage"], context["apiId"], context["accountId"], context["resourcePath"]) == ("dev", api, ACCOUNT, "/{proxy+}")
    assert context["path"] == "/dev/a/b%20c" and context["identity"]["sourceIp"] == "127.0.0.1"
    empty = rest.call(api, "/x").json()
    assert empty["body"] is None and empty["queryStringParameters"] is None


def test_all_addresses_of_an_api_lead_to_it(rest):
    api = proxied(rest, ECHO)
    port = rest.node.port
    for address, host in [
        ("/dev/x", f"{api}.execute-api.{REGION}.localhost:{port}"),
        ("/dev/x", f"{api}.execute-api.localhost:{port}"),
        (f"/_aws/execute-api/{api}/dev/x", None),
        (f"/restapis/{api}/dev/_user_request_/x", None),
    ]:
        answer = requests.get(rest.node.endpoint + address, headers={"Host": host} if host else {}, timeout=30)
        assert answer.status_code == 201 and answer.json()["path"] == "/x", address


def test_answers_that_make_no_sense_are_502_and_late_ones_504(rest):
    malformed = "def handler(event, context):\n    return {'statusCode': 200, 'body': {'a': 1}}\n"
    strange = "def handler(event, context):\n    return ['x']\n"
    fails = "def handler(event, context):\n    raise ValueError('no')\n"
    for code in [malformed, strange, fails]:
        answer = rest.call(proxied(rest, code), "/x")
        assert (answer.status_code, answer.json()) == (502, {"message": "Internal server error"})
        assert answer.headers["x-amzn-ErrorType"] == "InternalServerErrorException"
    api, _ = rest.create()
    slow = rest.function("import time\ndef handler(event, context):\n    time.sleep(20)\n", Timeout=30)
    rest.method(api, "/slow", integration=rest.proxy(slow, timeoutInMillis=200))
    rest.deploy(api)
    answer = rest.call(api, "/slow")
    assert (answer.status_code, answer.json()) == (504, {"message": "Endpoint request timed out"})


def test_a_function_must_let_the_api_in(rest):
    api, _ = rest.create()
    name = rest.functions.create(ECHO)
    rest.method(api, "/x", integration=rest.proxy(rest.functions.arn(name)))
    rest.deploy(api)
    answer = rest.call(api, "/x")
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal server error"})
    source = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/*/GET/x"
    rest.functions.lambda_.add_permission(
        FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com", SourceArn=source
    )
    assert rest.call(api, "/x").status_code == 201
    other, _ = rest.create()
    role = rest.functions.role(allow("lambda:InvokeFunction"), trusts="apigateway.amazonaws.com")
    rest.method(other, "/x", integration=rest.proxy(rest.functions.arn(name), credentials=role))
    rest.deploy(other)
    assert rest.call(other, "/x").status_code == 201


def test_unknown_paths_stages_and_apis(rest):
    api = proxied(rest, ECHO, "/known", "GET")
    for method, path in [("GET", "/unknown"), ("POST", "/known"), ("GET", "/")]:
        answer = rest.call(api, path, method)
        assert (answer.status_code, answer.json()) == (403, {"message": "Missing Authentication Token"})
        assert answer.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"
    for answer in [rest.call(api, "/known", stage="nosuch"), rest.call("nosuchapi1", "/known")]:
        assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})
    assert rest.call(api, "/known", "POST", data=b"x" * (10 << 20) + b"y").status_code == 413


def test_a_mock_answers_by_its_templates(rest):
    api, _ = rest.create()
    headers = {
        "method.response.header.Access-Control-Allow-Origin": "'*'",
        "method.response.header.Access-Control-Allow-Methods": "'GET,OPTIONS'",
    }
    rest.method(api, "/x", "OPTIONS", responses={"200": {"responseParameters": headers}})
    template = '#if($input.params("fail") == "yes"){"statusCode": 500}#else{"statusCode": 200}#end'
    body = """{"q": "$input.params('q')", "stage": "$context.stage", "color": "$stageVariables.color", "id": "$context.requestId"}"""
    override = '#set($context.responseOverride.status = 418)#set($context.responseOverride.header.x-tea = "pot"){}'
    rest.method(
        api,
        "/x",
        "GET",
        {"type": "MOCK", "requestTemplates": {"application/json": template}},
        {"200": {"responseTemplates": {"application/json": body}}, "500": {"selectionPattern": "5\\d{2}", "responseTemplates": {"application/json": override}}},
    )
    rest.deploy(api, variables={"color": "red"})
    answer = rest.call(api, "/x", "OPTIONS")
    assert answer.status_code == 200 and answer.headers["Access-Control-Allow-Methods"] == "GET,OPTIONS"
    answer = rest.call(api, "/x?q=a%22b")
    assert answer.status_code == 200 and answer.text.startswith('{"q": "a"b", "stage": "dev", "color": "red"')
    assert answer.headers["x-amzn-RequestId"] in answer.text
    answer = rest.call(api, "/x?fail=yes")
    assert (answer.status_code, answer.headers["x-tea"]) == (418, "pot")


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    calls = 0

    def answer(self):
        Backend.calls += 1
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        said = {"method": self.command, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": body, "count": Backend.calls}
        text = json.dumps(said).encode()
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Backend", "b")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def backend():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_http_backends_are_reached_whole_or_mapped(rest, backend):
    api, _ = rest.create()
    proxy = {
        "type": "HTTP_PROXY",
        "integrationHttpMethod": "ANY",
        "uri": backend + "/deep/{proxy}",
        "requestParameters": {"integration.request.path.proxy": "method.request.path.proxy", "integration.request.header.x-set": "'s'"},
    }
    rest.method(api, "/all/{proxy+}", "ANY", proxy, requestParameters={"method.request.path.proxy": True})
    mapped = {
        "type": "HTTP",
        "integrationHttpMethod": "POST",
        "uri": backend + "/${stageVariables.where}",
        "requestParameters": {"integration.request.querystring.from": "method.request.header.x-from"},
        "requestTemplates": {"application/json": '{"renamed": $input.json("$.name")}'},
    }
    responses = {
        "200": {
            "responseTemplates": {"application/json": '{"said": $input.path("$.body"), "via": "$input.path(\'$.path\')"}'},
            "responseParameters": {"method.response.header.x-b": "integration.response.header.X-Backend"},
        },
        "410": {"selectionPattern": "404"},
    }
    rest.method(api, "/mapped", "POST", mapped, responses, requestParameters={"method.request.header.x-from": False})
    rest.deploy(api, variables={"where": "here"})
    said = rest.call(api, "/all/a/b?q=1", "PUT", data="body", headers={"X-Mine": "m"}).json()
    assert (said["method"], said["path"], said["body"]) == ("PUT", "/deep/a/b?q=1", "body")
    assert said["headers"]["x-mine"] == "m" and said["headers"]["x-set"] == "s"
    assert said["headers"]["x-amzn-apigateway-api-id"] == api
    answer = rest.call(api, "/mapped", "POST", json={"name": "Ann"}, headers={"X-From": "me"})
    assert answer.json() == {"said": {"renamed": "Ann"}, "via": "/here?from=me"} and answer.headers["x-b"] == "b"
    rest.deploy(api, variables={"where": "missing"})
    assert rest.call(api, "/mapped", "POST", json={"name": "x"}).status_code == 410
    dead, _ = rest.create()
    rest.method(dead, "/x", integration={"type": "HTTP_PROXY", "integrationHttpMethod": "GET", "uri": "http://127.0.0.1:1/"})
    rest.deploy(dead)
    assert rest.call(dead, "/x").status_code == 504


def test_functions_are_called_with_mapped_events(rest):
    code = "def handler(event, context):\n    if event.get('fail'):\n        raise ValueError('no such pet')\n    return {'got': event}\n"
    api, _ = rest.create()
    integration = {
        "type": "AWS",
        "integrationHttpMethod": "POST",
        "uri": rest.uri(rest.function(code)),
        "requestTemplates": {"application/json": '{"id": "$input.params(\'id\')", "fail": $input.json("$.fail"), "who": "$context.identity.sourceIp"}'},
    }
    responses = {
        "200": {"responseTemplates": {"application/json": '$input.json("$.got")'}},
        "404": {"selectionPattern": ".*no such.*", "responseTemplates": {"application/json": '{"error": "$input.path(\'$.errorMessage\')"}'}},
    }
    rest.method(api, "/pets/{id}", "POST", integration, responses)
    rest.deploy(api)
    answer = rest.call(api, "/pets/7", "POST", json={"fail": False})
    assert (answer.status_code, answer.json()) == (200, {"id": "7", "fail": False, "who": "127.0.0.1"})
    answer = rest.call(api, "/pets/7", "POST", json={"fail": True})
    assert (answer.status_code, answer.json()) == (404, {"error": "no such pet"})
    answer = rest.call(api, "/pets/7", "POST", data="<x/>", headers={"Content-Type": "application/xml"})
    assert answer.status_code in (500, 502)


def test_other_services_are_called_without_a_function(rest):
    url, arn = rest.functions.queue()
    table = rest.name("table")
    dynamodb = rest.node.client("dynamodb")
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    role = rest.functions.role(allow("sqs:SendMessage", arn), allow("dynamodb:PutItem"), trusts="apigateway.amazonaws.com")
    api, _ = rest.create()
    queue = arn.rsplit(":", 1)[1]
    send = {
        "type": "AWS",
        "integrationHttpMethod": "POST",
        "uri": f"arn:aws:apigateway:{REGION}:sqs:path/{ACCOUNT}/{queue}",
        "credentials": role,
        "requestParameters": {"integration.request.header.Content-Type": "'application/x-www-form-urlencoded'"},
        "requestTemplates": {"application/json": "Action=SendMessage&MessageBody=$util.urlEncode($input.body)"},
    }
    put = {
        "type": "AWS",
        "integrationHttpMethod": "POST",
        "uri": f"arn:aws:apigateway:{REGION}:dynamodb:action/PutItem",
        "credentials": role,
        "requestTemplates": {"application/json": '{"TableName": "%s", "Item": {"id": {"S": "$input.path(\'$.id\')"}}}' % table},
    }
    scan = {**put, "uri": f"arn:aws:apigateway:{REGION}:dynamodb:action/Scan", "requestTemplates": {"application/json": '{"TableName": "%s"}' % table}}
    failed = {"200": {}, "400": {"selectionPattern": "4\\d{2}"}}
    rest.method(api, "/queue", "PUT", send, {"200": {}})
    rest.method(api, "/item", "POST", put, failed)
    rest.method(api, "/item", "GET", scan, failed)
    powerless = {**send, "credentials": rest.functions.role(trusts="lambda.amazonaws.com")}
    rest.method(api, "/queue", "POST", powerless, {"200": {}})
    rest.deploy(api)
    answer = rest.call(api, "/queue", "PUT", json={"a": "b & c"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["SendMessageResponse"]["SendMessageResult"]["MessageId"]
    messages = rest.node.client("sqs").receive_message(QueueUrl=url)["Messages"]
    assert json.loads(messages[0]["Body"]) == {"a": "b & c"}
    assert rest.call(api, "/item", "POST", json={"id": "7"}).status_code == 200
    assert dynamodb.get_item(TableName=table, Key={"id": {"S": "7"}})["Item"]
    answer = rest.call(api, "/item")
    assert answer.status_code == 400 and "dynamodb:Scan" in answer.text
    assert rest.call(api, "/queue", "POST", json={}).status_code == 500


def test_binary_bodies(rest):
    api = proxied(rest, ECHO, binaryMediaTypes=["image/png"])
    event = rest.call(api, "/x", "POST", data=b"\x00\xff", headers={"Content-Type": "image/png"}).json()
    assert event["isBase64Encoded"] and base64.b64decode(event["body"]) == b"\x00\xff"
    picture = "def handler(event, context):\n    return {'statusCode': 200, 'headers': {'Content-Type': 'image/png'}, 'body': 'AP8=', 'isBase64Encoded': True}\n"
    api = proxied(rest, picture, binaryMediaTypes=["image/png"])
    assert rest.call(api, "/x", headers={"Accept": "image/png"}).content == b"\x00\xff"
    assert rest.call(api, "/x", headers={"Accept": "text/html"}).content == b"AP8="


def test_requests_are_validated_before_anything_is_called(rest):
    gw = rest.gw
    api, _ = rest.create()
    schema = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 1}}}
    gw.create_model(restApiId=api, name="Pet", contentType="application/json", schema=json.dumps(schema))
    validator = gw.create_request_validator(restApiId=api, validateRequestBody=True, validateRequestParameters=True)["id"]
    rest.method(
        api,
        "/pets",
        "POST",
        responses={"200": {}},
        requestModels={"application/json": "Pet"},
        requestValidatorId=validator,
        requestParameters={"method.request.querystring.q": True, "method.request.header.x-h": True},
    )
    gw.put_gateway_response(
        restApiId=api, responseType="BAD_REQUEST_BODY", responseTemplates={"application/json": '{"why": "$context.error.validationErrorString"}'}
    )
    rest.deploy(api)
    good = {"headers": {"X-H": "1"}, "json": {"name": "Bo"}}
    assert rest.call(api, "/pets?q=1", "POST", **good).status_code == 200
    answer = rest.call(api, "/pets", "POST", json={"name": "Bo"})
    assert (answer.status_code, answer.json()) == (400, {"message": "Missing required request parameters: [q, x-h]"})
    for body in [{}, {"name": ""}, {"name": 1}, []]:
        answer = rest.call(api, "/pets?q=1", "POST", headers={"X-H": "1"}, json=body)
        assert answer.status_code == 400 and "why" in answer.text
    answer = rest.call(api, "/pets?q=1", "POST", headers={"X-H": "1", "Content-Type": "application/json"}, data="{")
    assert answer.status_code == 400


def test_gateway_responses_are_worded_by_the_api(rest):
    api = proxied(rest, ECHO, "/known", "GET")
    parameters = {"gatewayresponse.header.Access-Control-Allow-Origin": "'*'", "gatewayresponse.header.x-path": "method.request.header.x-p"}
    rest.gw.put_gateway_response(restApiId=api, responseType="DEFAULT_4XX", responseParameters=parameters)
    rest.gw.put_gateway_response(
        restApiId=api, responseType="MISSING_AUTHENTICATION_TOKEN", statusCode="404", responseParameters=parameters,
        responseTemplates={"application/json": '{"no": $context.error.messageString, "at": "$context.path"}'},
    )
    assert "Access-Control-Allow-Origin" not in rest.call(api, "/gone").headers
    rest.deploy(api)
    answer = rest.call(api, "/gone", headers={"X-P": "p"})
    assert (answer.status_code, answer.json()) == (404, {"no": "Missing Authentication Token", "at": "/dev/gone"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*" and answer.headers["x-path"] == "p"


def test_keys_quotas_and_throttles(rest, node):
    gw = rest.gw
    api, _ = rest.create()
    rest.method(api, "/x", responses={"200": {}}, apiKeyRequired=True)
    rest.method(api, "/free", responses={"200": {}})
    rest.deploy(api)
    plan = gw.create_usage_plan(name="p", apiStages=[{"apiId": api, "stage": "dev"}], quota={"limit": 3, "period": "DAY"})["id"]
    key = gw.create_api_key(name="k", enabled=True)
    gw.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
    other = gw.create_api_key(name="other", enabled=True)
    node.freeze()
    try:
        for headers in [None, {"x-api-key": "nobody's"}, {"x-api-key": other["value"]}]:
            answer = rest.call(api, "/x", headers=headers)
            assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})
        own = {"x-api-key": key["value"]}
        assert [rest.call(api, "/x", headers=own).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert rest.call(api, "/x", headers=own).json() == {"message": "Limit Exceeded"}
        day = requests.get(f"{node.endpoint}/_pileus/clock", timeout=5).json()["now"][:10]
        assert gw.get_usage(usagePlanId=plan, startDate=day, endDate=day)["items"] == {key["id"]: [[3, 0]]}
        assert gw.get_usage(usagePlanId=plan, startDate="2000-01-01", endDate="2000-01-02")["items"] == {key["id"]: [[0, 3], [0, 3]]}
        gw.update_usage(usagePlanId=plan, keyId=key["id"], patchOperations=[rest.patch("replace", "/remaining", "1")])
        assert [rest.call(api, "/x", headers=own).status_code for _ in range(2)] == [200, 429]
        gw.update_api_key(apiKey=key["id"], patchOperations=[rest.patch("replace", "/enabled", "false")])
        assert rest.call(api, "/x", headers=own).status_code == 403
        gw.update_stage(
            restApiId=api,
            stageName="dev",
            patchOperations=[rest.patch("replace", "/*/*/throttling/rateLimit", "0.01"), rest.patch("replace", "/*/*/throttling/burstLimit", "5")],
        )
        answers = [rest.call(api, "/free") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert answers[-1].json() == {"message": "Too Many Requests"}
    finally:
        node.resume()


TOKEN = """
def handler(event, context):
    token = event["authorizationToken"]
    if token == "crash":
        raise ValueError("no")
    if token == "unauthorized":
        raise Exception("Unauthorized")
    if token == "odd":
        return {"principalId": "p"}
    effect = "Allow" if token == "good" else "Deny"
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"].split("/")[0] + "/*/GET/a*"}
    return {"principalId": "p", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}, "context": {"n": 1, "s": "x", "id": context.aws_request_id}}
"""


def test_functions_decide_who_may_pass(rest, node):
    gw = rest.gw
    api, _ = rest.create()
    authorizer = gw.create_authorizer(
        restApiId=api, name="t", type="TOKEN", authorizerUri=rest.uri(rest.function(TOKEN)), identitySource="method.request.header.Auth",
        identityValidationExpression="[a-z]+", authorizerResultTtlInSeconds=60,
    )["id"]
    function = rest.function(ECHO)
    for path in ["/a", "/a2", "/b"]:
        rest.method(api, path, integration=rest.proxy(function), authorizationType="CUSTOM", authorizerId=authorizer)
    rest.deploy(api)
    cases = [
        ("good", "/a", 201, None),
        ("good", "/b", 403, {"Message": "User is not authorized to access this resource"}),
        (None, "/a", 401, {"message": "Unauthorized"}),
        ("123", "/a", 401, {"message": "Unauthorized"}),
        ("unauthorized", "/a", 401, {"message": "Unauthorized"}),
        ("bad", "/a", 403, None),
        ("crash", "/a", 500, {"message": None}),
        ("odd", "/a", 500, {"message": None}),
    ]
    for token, path, status, body in cases:
        answer = rest.call(api, path, headers={"Auth": token} if token else None)
        assert (token, answer.status_code) == (token, status), answer.text
        assert body is None or {key.lower(): value for key, value in answer.json().items()} == {key.lower(): value for key, value in body.items()}

    def asked(path):
        return rest.call(api, path, headers={"Auth": "good"}).json()["requestContext"]["authorizer"]

    first = asked("/a")
    assert (first["principalId"], first["n"], first["s"]) == ("p", "1", "x")
    assert asked("/a2") == first
    node.advance(61)
    assert asked("/a")["id"] != first["id"]
    tried = gw.test_invoke_authorizer(restApiId=api, authorizerId=authorizer, headers={"Auth": "good"})
    assert (tried["clientStatus"], tried["principalId"]) == (0, "p") and "Allow" in tried["policy"]


def signed(url, host, key="test", secret="test"):
    request = AWSRequest("GET", url, headers={"Host": host})
    SigV4Auth(Credentials(key, secret), "execute-api", REGION).add_auth(request)
    return dict(request.headers)


def test_signatures_and_resource_policies(rest, node, name):
    api, _ = rest.create()
    rest.method(api, "/x", responses={"200": {}}, authorizationType="AWS_IAM")
    rest.deploy(api)
    host = f"{api}.execute-api.{REGION}.amazonaws.com"
    answer = rest.call(api, "/x")
    assert (answer.status_code, answer.json()) == (403, {"message": "Missing Authentication Token"})
    iam, user = node.client("iam"), name("caller")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]

    def call():
        headers = signed(f"http://{host}/dev/x", host, key["AccessKeyId"], key["SecretAccessKey"])
        return rest.call(api, "/x", headers=headers)

    answer = call()
    assert answer.status_code == 403 and "is not authorized to perform: execute-api:Invoke on resource" in answer.text
    statement = allow("execute-api:Invoke", f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/dev/GET/*")
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=policy(statement))
    assert call().status_code == 200
    wrong = rest.call(api, "/x", headers=signed(f"http://{host}/dev/x", host, key["AccessKeyId"], "wrong"))
    assert wrong.status_code == 403 and wrong.headers["x-amzn-ErrorType"] == "InvalidSignatureException"
    local = {"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"}
    away = {**local, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}
    here = {**local, "Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}}
    for statement, status in [(away, 403), (here, 200)]:
        open_api, _ = rest.create(policy=policy(statement))
        rest.method(open_api, "/x", responses={"200": {}})
        rest.deploy(open_api)
        assert rest.call(open_api, "/x").status_code == status


def test_answers_are_cached_until_they_are_old(rest, backend, node):
    gw = rest.gw
    api, _ = rest.create()
    integration = {
        "type": "HTTP_PROXY", "integrationHttpMethod": "GET", "uri": backend + "/cached", "cacheKeyParameters": ["method.request.querystring.q"],
        "requestParameters": {"integration.request.querystring.q": "method.request.querystring.q"},
    }
    rest.method(api, "/c", integration=integration, requestParameters={"method.request.querystring.q": False})
    rest.deploy(api, cacheClusterEnabled=True, cacheClusterSize="0.5")
    patches = [
        rest.patch("replace", "/*/*/caching/enabled", "true"),
        rest.patch("replace", "/*/*/caching/ttlInSeconds", "60"),
        rest.patch("replace", "/*/*/caching/requireAuthorizationForCacheControl", "false"),
    ]
    gw.update_stage(restApiId=api, stageName="dev", patchOperations=patches)

    def count(q, **headers):
        return rest.call(api, f"/c?q={q}", headers=headers).json()["count"]

    first = count("a")
    assert count("a") == first and count("b") != first and count("a") == first
    assert count("a", **{"Cache-Control": "max-age=0"}) > first
    again = count("a")
    node.advance(61)
    newer = count("a")
    assert newer > again
    gw.flush_stage_cache(restApiId=api, stageName="dev")
    assert count("a") > newer


def test_stages_variables_canaries_and_rollback(rest):
    gw = rest.gw
    api, _ = rest.create()

    def say(text):
        template = {"application/json": '{"v": "%s", "who": "$stageVariables.who"}' % text}
        gw.put_integration_response(**place, statusCode="200", responseTemplates=template)

    place = rest.method(api, "/", responses={"200": {}})
    say("one")
    one = rest.deploy(api, "prod", variables={"who": "p"})
    rest.deploy(api, "test", variables={"who": "t"})
    say("two")
    assert rest.call(api, "/", stage="prod").json() == {"v": "one", "who": "p"}
    two = gw.create_deployment(
        restApiId=api, stageName="prod", canarySettings={"percentTraffic": 100.0, "stageVariableOverrides": {"who": "c"}}
    )["id"]
    assert rest.call(api, "/", stage="prod").json() == {"v": "two", "who": "c"}
    assert rest.call(api, "/", stage="test").json() == {"v": "one", "who": "t"}
    copies = [
        {"op": "copy", "from": "/canarySettings/deploymentId", "path": "/deploymentId"},
        {"op": "copy", "from": "/canarySettings/stageVariableOverrides", "path": "/variables"},
        {"op": "remove", "path": "/canarySettings"},
    ]
    stage = gw.update_stage(restApiId=api, stageName="prod", patchOperations=copies)
    assert stage["deploymentId"] == two and "canarySettings" not in stage and stage["variables"] == {"who": "c"}
    gw.update_stage(restApiId=api, stageName="prod", patchOperations=[rest.patch("replace", "/deploymentId", one)])
    assert rest.call(api, "/", stage="prod").json()["v"] == "one"


def test_logs_tell_what_was_done(rest, node):
    gw, logs = rest.gw, node.client("logs")
    role = rest.functions.role(allow("logs:*"), trusts="apigateway.amazonaws.com")
    powerless = rest.functions.role(trusts="apigateway.amazonaws.com")
    assert error_code(gw.update_account, patchOperations=[rest.patch("replace", "/cloudwatchRoleArn", powerless)]) == "BadRequestException"
    gw.update_account(patchOperations=[rest.patch("replace", "/cloudwatchRoleArn", role)])
    assert gw.get_account()["cloudwatchRoleArn"] == role
    api, _ = rest.create()
    rest.method(api, "/x", responses={"200": {}})
    rest.deploy(api)
    group = rest.name("access")
    logs.create_log_group(logGroupName=group)
    patches = [
        rest.patch("replace", "/*/*/logging/loglevel", "INFO"),
        rest.patch("replace", "/*/*/logging/dataTrace", "true"),
        rest.patch("replace", "/accessLogSettings/destinationArn", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"),
        rest.patch("replace", "/accessLogSettings/format", '{"id":"$context.requestId","status":"$context.status","who":"$context.authorizer.principalId"}'),
    ]
    gw.update_stage(restApiId=api, stageName="dev", patchOperations=patches)
    answer = rest.call(api, "/x")

    def messages(name):
        def read():
            try:
                return [event["message"] for event in logs.filter_log_events(logGroupName=name)["events"]]
            except logs.exceptions.ResourceNotFoundException:
                return []

        return eventually(read)

    assert [json.loads(line) for line in messages(group)] == [{"id": answer.headers["x-amzn-RequestId"], "status": "200", "who": "-"}]
    lines = messages(f"API-Gateway-Execution-Logs_{api}/dev")
    assert any("Starting execution for request" in line for line in lines)
    assert any("Method completed with status: 200" in line for line in lines)


def test_a_method_is_tried_without_a_deployment(rest):
    api, root = rest.create()
    place = rest.method(api, "/pets/{id}", responses={"200": {"responseTemplates": {"application/json": '{"id": "$input.params(\'id\')"}'}}})
    tried = rest.gw.test_invoke_method(**place, pathWithQueryString="/pets/7?x=1", headers={"a": "b"})
    assert (tried["status"], json.loads(tried["body"])) == (200, {"id": "7"})
    assert tried["log"].startswith("Execution log for request") and "Method completed with status: 200" in tried["log"]
    assert error_code(rest.gw.test_invoke_method, restApiId=api, resourceId=root, httpMethod="GET") == "NotFoundException"


def test_templates_that_never_end_are_errors(rest):
    api, _ = rest.create()
    loops = '#foreach($i in [1..1000])#foreach($j in [1..1000])#foreach($k in [1..1000])x#end#end#end{"statusCode": 200}'
    doubles = '#set($s = "ab")#foreach($i in [1..60])#set($s = "$s$s")#end{"statusCode": 200}'
    broken = '#if(true)'
    for path, template in [("/loops", loops), ("/doubles", doubles), ("/broken", broken)]:
        rest.method(api, path, integration={"type": "MOCK", "requestTemplates": {"application/json": template}}, responses={"200": {}})
    rest.deploy(api)
    for path in ["/loops", "/doubles", "/broken"]:
        answer = rest.call(api, path)
        assert (answer.status_code, answer.json()) == (500, {"message": "Internal server error"}), path


def test_bodies_are_compressed_where_the_api_says_so(rest):
    api = proxied(rest, "def handler(event, context):\n    return {'statusCode': 200, 'body': event['body'] * 100}\n", minimumCompressionSize=50)
    answer = rest.call(api, "/x", "POST", data="0123456789", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip" and answer.text == "0123456789" * 100
    assert "Content-Encoding" not in rest.call(api, "/x", "POST", data="", headers={"Accept-Encoding": "identity"}).headers
