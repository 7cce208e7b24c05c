"""HTTP APIs: their control plane, and real requests to them."""

import http.client
import http.server
import json
import socket
import ssl
import threading

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from harness import error_code
from test_lambda_made import ACCOUNT, REGION, allow, eventually, functions, refused  # noqa: F401

ECHO_REPLY = """
import json
def handler(event, context):
    return {"statusCode": 201, "headers": {"x-own": "yes"}, "cookies": ["a=1", "b=2"], "body": json.dumps(event)}
"""
INFERRED = "def handler(event, context):\n    return {'hello': event['rawPath']}\n"
BROKEN = "def handler(event, context):\n    return {'statusCode': 'many'}\n"
FAILS = "def handler(event, context):\n    raise ValueError('no')\n"
SLOW = "import time\ndef handler(event, context):\n    time.sleep(20)\n"


class Apis:
    def __init__(self, node, functions):
        self.node, self.functions = node, functions
        self.v2 = node.client("apigatewayv2")

    def function(self, code=ECHO_REPLY, **more):
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

    def create(self, **more):
        return self.v2.create_api(**{"Name": "api", "ProtocolType": "HTTP", **more})["ApiId"]

    def integrate(self, api, uri, version="2.0", **more):
        arguments = {"IntegrationType": "AWS_PROXY", "IntegrationUri": uri, "PayloadFormatVersion": version, **more}
        return self.v2.create_integration(ApiId=api, **arguments)["IntegrationId"]

    def route(self, api, key, integration, **more):
        return self.v2.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{integration}", **more)["RouteId"]

    def stage(self, api, name="$default", **more):
        self.v2.create_stage(ApiId=api, StageName=name, AutoDeploy=True, **more)

    def call(self, api, path="/", method="GET", host=None, **more):
        headers = {"Host": host or f"{api}.execute-api.{REGION}.amazonaws.com", **more.pop("headers", {})}
        return requests.request(method, self.node.endpoint + path, headers=headers, timeout=30, allow_redirects=False, **more)


@pytest.fixture
def apis(node, functions):  # noqa: F811
    return Apis(node, functions)


def test_quick_create_answers_at_once(apis):
    api = apis.v2.create_api(Name="quick", ProtocolType="HTTP", Target=apis.function(INFERRED))
    assert api["ApiEndpoint"] == f"http://{api['ApiId']}.execute-api.{REGION}.localhost:{apis.node.port}"
    answer = apis.call(api["ApiId"], "/a/b%20c?x=1")
    assert (answer.status_code, answer.json()) == (200, {"hello": "/a/b c"})
    assert answer.headers["content-type"] == "application/json" and len(answer.headers["apigw-requestid"]) == 16
    by_path = requests.get(f"{apis.node.endpoint}/_aws/execute-api/{api['ApiId']}/x", timeout=30)
    assert by_path.json() == {"hello": "/x"}
    stages = apis.v2.get_stages(ApiId=api["ApiId"])["Items"]
    assert [(stage["StageName"], stage["AutoDeploy"], stage["ApiGatewayManaged"]) for stage in stages] == [("$default", True, True)]
    apis.v2.update_api(ApiId=api["ApiId"], RouteKey="GET /only")
    assert apis.call(api["ApiId"], "/only").status_code == 200
    assert apis.call(api["ApiId"], "/other").json() == {"message": "Not Found"}
    apis.v2.delete_api(ApiId=api["ApiId"])
    assert apis.call(api["ApiId"], "/only").status_code == 403


def test_events_tell_everything_of_a_request(apis):
    api = apis.create()
    arn = apis.function()
    apis.route(api, "POST /pets/{id}", apis.integrate(api, arn))
    apis.route(api, "ANY /old/{proxy+}", apis.integrate(api, arn, "1.0"))
    apis.stage(api, "dev", StageVariables={"v": "1"})
    headers = {"X-Multi": "a", "Cookie": "c=1; d=2", "Content-Type": "application/json"}
    answer = apis.call(api, "/dev/pets/7%20x?a=1&a=2&b=", "POST", headers=headers, data=b'{"k": 1}')
    assert answer.status_code == 201 and answer.headers["x-own"] == "yes"
    assert answer.headers["content-type"] == "text/plain;charset=UTF-8"
    assert {cookie.name for cookie in answer.cookies} == {"a", "b"}
    event = answer.json()
    assert (event["version"], event["routeKey"]) == ("2.0", "POST /pets/{id}")
    assert (event["rawPath"], event["rawQueryString"]) == ("/dev/pets/7 x", "a=1&a=2&b=")
    assert event["queryStringParameters"] == {"a": "1,2", "b": ""}
    assert event["pathParameters"] == {"id": "7 x"} and event["stageVariables"] == {"v": "1"}
    assert event["cookies"] == ["c=1", "d=2"] and "cookie" not in event["headers"]
    assert event["headers"]["x-multi"] == "a" and event["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert (event["body"], event["isBase64Encoded"]) == ('{"k": 1}', False)
    context = event["requestContext"]
    assert (context["accountId"], context["apiId"], context["stage"]) == (ACCOUNT, api, "dev")
    assert context["http"]["method"] == "POST" and context["http"]["path"] == "/dev/pets/7 x"
    assert context["requestId"] == answer.headers["apigw-requestid"]
    form = apis.call(api, "/dev/pets/7", "POST", headers={"Content-Type": "application/x-www-form-urlencoded"}, data=b"a=1").json()
    assert (form["body"], form["isBase64Encoded"]) == ("YT0x", True)
    old = apis.call(api, "/dev/old/a/b?q=1&q=2", "PUT", data=b"text", headers={"Content-Type": "text/plain"}).json()
    assert (old["version"], old["httpMethod"], old["resource"], old["path"]) == ("1.0", "PUT", "/old/{proxy+}", "/dev/old/a/b")
    assert (old["queryStringParameters"], old["multiValueQueryStringParameters"]) == ({"q": "2"}, {"q": ["1", "2"]})
    assert old["pathParameters"] == {"proxy": "a/b"} and old["body"] == "text"
    assert old["requestContext"]["identity"]["sourceIp"] == "127.0.0.1"


def test_what_functions_do_wrong_is_said_as_aws_says_it(apis):
    api = apis.create()
    apis.stage(api)
    for path, code in [("broken", BROKEN), ("fails", FAILS)]:
        apis.route(api, f"GET /{path}", apis.integrate(api, apis.function(code)))
    private = apis.functions.arn(apis.functions.create(INFERRED))
    apis.route(api, "GET /private", apis.integrate(api, private))
    apis.route(api, "GET /gone", apis.integrate(api, private + "-gone"))
    apis.v2.create_route(ApiId=api, RouteKey="GET /nothing")
    for path in ["broken", "fails", "private", "gone", "nothing"]:
        answer = apis.call(api, f"/{path}")
        assert (path, answer.status_code, answer.json()) == (path, 500, {"message": "Internal Server Error"})
    answer = apis.call(api, "/unknown")
    assert (answer.status_code, answer.json()) == (404, {"message": "Not Found"})
    assert apis.call("abcdefghij").json() == {"message": "Forbidden"}
    too_large = apis.call(api, "/broken", "GET", data=b"x" * (10 * 1024 * 1024 + 1))
    assert (too_large.status_code, too_large.json()) == (413, {"message": "Request Entity Too Large"})


def test_a_slow_function_is_given_up(apis):
    api = apis.create()
    apis.stage(api)
    apis.route(api, "GET /slow", apis.integrate(api, apis.function(SLOW, Timeout=30), TimeoutInMillis=50))
    answer = apis.call(api, "/slow")
    assert (answer.status_code, answer.json()) == (503, {"message": "Service Unavailable"})


@pytest.fixture(scope="module")
def backend():
    """An HTTP server that says what it was asked."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            length = int(self.headers.get("content-length") or 0)
            said = {
                "method": self.command,
                "path": self.path,
                "headers": {key.lower(): value for key, value in self.headers.items()},
                "body": self.rfile.read(length).decode(),
            }
            body = json.dumps(said).encode()
            self.send_response(int(self.headers.get("x-status") or 200))
            self.send_header("content-type", "application/json")
            self.send_header("x-backend", "b")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_backends_get_the_request_and_parameters_change_it(apis, backend):
    api = apis.create()
    apis.stage(api, StageVariables={"where": backend.removeprefix("http://")})

    def proxy(uri, method="ANY", **more):
        return apis.integrate(api, uri, "1.0", IntegrationType="HTTP_PROXY", IntegrationMethod=method, **more)

    apis.route(api, "ANY /all/{proxy+}", proxy("http://${stageVariables.where}/base/{proxy}"))
    changes = {
        "append:header.x-added": "$request.querystring.q",
        "overwrite:header.x-changed": "id-${request.body.id}-$",
        "remove:header.x-removed": "''",
        "overwrite:querystring.q": "$context.stage",
        "append:querystring.r": "$request.path.name",
        "overwrite:path": "/new/${request.path.name}",
    }
    answers = {"404": {"overwrite:statuscode": "200", "append:header.x-was": "$response.header.x-backend", "remove:header.x-backend": ""}}
    apis.route(api, "POST /mapped/{name}", proxy(f"{backend}/ignored", "PUT", RequestParameters=changes, ResponseParameters=answers))
    said = apis.call(api, "/all/a%20b/c?x=1&y", "POST", data=b"body").json()
    assert (said["method"], said["path"], said["body"]) == ("POST", "/base/a%20b/c?x=1&y", "body")
    assert said["headers"]["host"] == backend.removeprefix("http://") and "for=127.0.0.1" in said["headers"]["forwarded"]
    headers = {"x-removed": "r", "x-changed": "old", "x-status": "404"}
    answer = apis.call(api, "/mapped/n?q=1", "POST", headers=headers, json={"id": 7})
    said = answer.json()
    assert answer.status_code == 200 and answer.headers["x-was"] == "b" and "x-backend" not in answer.headers
    assert (said["method"], said["path"]) == ("PUT", "/new/n?q=%24default&r=n")
    assert said["headers"]["x-added"] == "1" and said["headers"]["x-changed"] == "id-7-$" and "x-removed" not in said["headers"]
    apis.route(api, "GET /dead", proxy("http://127.0.0.1:1/"))
    answer = apis.call(api, "/dead")
    assert (answer.status_code, answer.json()) == (503, {"message": "Service Unavailable"})


def test_cross_origin_requests_are_answered_by_the_gateway(apis):
    cors = {"AllowOrigins": ["https://a.example"], "AllowMethods": ["GET"], "AllowHeaders": ["x-y"], "MaxAge": 60}
    api = apis.v2.create_api(Name="cors", ProtocolType="HTTP", Target=apis.function(INFERRED), CorsConfiguration=cors)["ApiId"]
    asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    answer = apis.call(api, "/x", "OPTIONS", headers=asks)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "https://a.example")
    assert answer.headers["access-control-allow-methods"] == "GET" and answer.headers["access-control-max-age"] == "60"
    assert "access-control-allow-origin" not in apis.call(api, "/x", "OPTIONS", headers={**asks, "Origin": "https://b.example"}).headers
    assert apis.call(api, "/x", headers={"Origin": "https://a.example"}).headers["access-control-allow-origin"] == "https://a.example"
    apis.v2.delete_cors_configuration(ApiId=api)
    assert "access-control-allow-origin" not in apis.call(api, "/x", headers=asks).headers


def test_queues_take_messages_without_a_function(apis):
    url, arn = apis.functions.queue()
    role = apis.functions.role(allow("sqs:SendMessage", arn), trusts="apigateway.amazonaws.com")
    api = apis.create()
    apis.stage(api)
    parameters = {"QueueUrl": url, "MessageBody": "$request.body.text", "DelaySeconds": "0"}
    subtype = {"IntegrationSubtype": "SQS-SendMessage", "PayloadFormatVersion": "1.0", "IntegrationType": "AWS_PROXY"}
    made = apis.v2.create_integration(ApiId=api, CredentialsArn=role, RequestParameters=parameters, **subtype)
    apis.route(api, "POST /send", made["IntegrationId"])
    answer = apis.call(api, "/send", "POST", json={"text": "hello"})
    assert answer.status_code == 200 and answer.json()["MessageId"]
    messages = apis.node.client("sqs").receive_message(QueueUrl=url)["Messages"]
    assert [message["Body"] for message in messages] == ["hello"]
    powerless = apis.functions.role(trusts="apigateway.amazonaws.com")
    apis.v2.update_integration(ApiId=api, IntegrationId=made["IntegrationId"], CredentialsArn=powerless)
    assert apis.call(api, "/send", "POST", json={"text": "x"}).status_code in (400, 403)
    lacking = {**subtype, "CredentialsArn": role, "RequestParameters": {"QueueUrl": url}}
    assert refused(apis.v2.create_integration, ApiId=api, **lacking)[0] == "BadRequestException"


def signed(url, host, method="GET", key="test", secret="test", token=None, data=None):
    request = AWSRequest(method, url, data=data, headers={"Host": host})
    SigV4Auth(Credentials(key, secret, token), "execute-api", REGION).add_auth(request)
    return dict(request.headers)


def test_routes_with_iam_ask_for_a_signature_and_a_permission(apis, node, name):
    api = apis.create()
    apis.stage(api)
    apis.route(api, "GET /{proxy+}", apis.integrate(api, apis.function()), AuthorizationType="AWS_IAM")
    host = f"{api}.execute-api.{REGION}.amazonaws.com"
    answer = apis.call(api, "/open/x")
    assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})
    iam = node.client("iam")
    user = name("caller")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    keys = {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    statement = allow("execute-api:Invoke", f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/$default/GET/open/*")
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document)

    def call(path):
        return apis.call(api, path, headers=signed(f"http://{host}{path}", host, **keys))

    answer = call("/open/x")
    assert answer.status_code == 201
    assert answer.json()["requestContext"]["authorizer"]["iam"]["userArn"].endswith(f"user/{user}")
    assert call("/closed/x").status_code == 403
    wrong = apis.call(api, "/open/x", headers=signed(f"http://{host}/open/x", host, key=keys["key"], secret="wrong"))
    assert wrong.status_code == 403


SIMPLE = """
def handler(event, context):
    token = event["headers"].get("authorization")
    if token == "crash":
        raise ValueError("no")
    if token == "unauthorized":
        raise Exception("Unauthorized")
    print("asked", token)
    return {"isAuthorized": token == "good", "context": {"who": token, "n": 1}}
"""
POLICY = """
calls = 0
def handler(event, context):
    global calls
    calls += 1
    effect = "Allow" if event["headers"].get("authorization") == "good" else "Deny"
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"]}
    return {"principalId": "p", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}, "context": {"calls": calls}}
"""


def test_functions_decide_who_may_pass(apis):
    api = apis.create()
    apis.stage(api)
    target = apis.integrate(api, apis.function())

    def authorizer(name, code, version, **more):
        arn = apis.function(code)
        uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{arn}/invocations"
        made = apis.v2.create_authorizer(
            ApiId=api, Name=name, AuthorizerType="REQUEST", AuthorizerUri=uri, AuthorizerPayloadFormatVersion=version, **more
        )
        return {"AuthorizationType": "CUSTOM", "AuthorizerId": made["AuthorizerId"]}

    header = {"IdentitySource": ["$request.header.Authorization"]}
    apis.route(api, "GET /simple", target, **authorizer("s", SIMPLE, "2.0", EnableSimpleResponses=True, **header))
    apis.route(api, "GET /policy", target, **authorizer("p", POLICY, "1.0", AuthorizerResultTtlInSeconds=300, **header))
    cases = [
        ("/simple", "good", 201, None),
        ("/simple", "bad", 403, {"message": "Forbidden"}),
        ("/simple", None, 401, {"message": "Unauthorized"}),
        ("/simple", "unauthorized", 401, {"message": "Unauthorized"}),
        ("/simple", "crash", 500, {"message": "Internal Server Error"}),
        ("/policy", "good", 201, None),
        ("/policy", "good", 201, None),
        ("/policy", "bad", 403, {"message": "Forbidden"}),
    ]
    for path, token, status, body in cases:
        answer = apis.call(api, path, headers={"Authorization": token} if token else {})
        assert (path, token, answer.status_code) == (path, token, status)
        assert body is None or answer.json() == body
    simple = apis.call(api, "/simple", headers={"Authorization": "good"}).json()
    assert simple["requestContext"]["authorizer"] == {"lambda": {"who": "good", "n": 1}}
    policy = [apis.call(api, "/policy", headers={"Authorization": "good"}).json() for _ in range(2)]
    given = [answer["requestContext"]["authorizer"] for answer in policy]
    assert given == [{"lambda": {"calls": 1}}] * 2, "an answer is remembered for its token"
    without_format = {"ApiId": api, "Name": "x", "AuthorizerType": "REQUEST", "AuthorizerUri": apis.function(SIMPLE), **header}
    assert refused(apis.v2.create_authorizer, **without_format)[0] == "BadRequestException"
    too_long = {**without_format, "AuthorizerPayloadFormatVersion": "2.0", "AuthorizerResultTtlInSeconds": 3601}
    assert refused(apis.v2.create_authorizer, **too_long)[0] == "BadRequestException"


def test_limits_turn_requests_away(apis):
    api = apis.create()
    target = apis.integrate(api, apis.function(INFERRED))
    apis.route(api, "GET /slow", target)
    apis.route(api, "GET /fast", target)
    apis.stage(api, RouteSettings={"GET /slow": {"ThrottlingBurstLimit": 1, "ThrottlingRateLimit": 0.001}})
    assert apis.call(api, "/slow").status_code == 200
    answer = apis.call(api, "/slow")
    assert (answer.status_code, answer.json()) == (429, {"message": "Too Many Requests"})
    assert {apis.call(api, "/fast").status_code for _ in range(3)} == {200}


def test_access_logs_hold_a_line_for_every_request(apis, node, name):
    logs = node.client("logs")
    group = name("/access")
    logs.create_log_group(logGroupName=group)
    form = '{"id":"$context.requestId","route":"$context.routeKey","status":$context.status,"m":"$context.httpMethod","none":"$context.authorizer.x"}'
    settings = {"DestinationArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}", "Format": form}
    api = apis.create()
    apis.stage(api, AccessLogSettings=settings)
    apis.route(api, "GET /a", apis.integrate(api, apis.function(INFERRED)))
    ids = [apis.call(api, path).headers["apigw-requestid"] for path in ("/a", "/none")]

    def lines():
        events = logs.filter_log_events(logGroupName=group)["events"]
        return {line["id"]: line for line in (json.loads(event["message"]) for event in events)}

    eventually(lambda: len(lines()) == 2)
    assert [(lines()[id]["route"], lines()[id]["status"], lines()[id]["m"], lines()[id]["none"]) for id in ids] == [
        ("GET /a", 200, "GET", "-"),
        ("-", 404, "GET", "-"),
    ]
    apis.v2.delete_access_log_settings(ApiId=api, StageName="$default")
    assert "AccessLogSettings" not in apis.v2.get_stage(ApiId=api, StageName="$default")


def test_a_deployment_stays_as_it_was(apis):
    api = apis.create()
    route = apis.route(api, "GET /a", apis.integrate(api, apis.function(INFERRED)))
    first = apis.v2.create_deployment(ApiId=api)["DeploymentId"]
    apis.v2.create_stage(ApiId=api, StageName="prod", DeploymentId=first)
    apis.v2.update_route(ApiId=api, RouteId=route, RouteKey="GET /b")
    assert [apis.call(api, f"/prod/{path}").status_code for path in "ab"] == [200, 404]
    second = apis.v2.create_deployment(ApiId=api, StageName="prod", Description="second")
    assert second["DeploymentStatus"] == "DEPLOYED"
    assert [apis.call(api, f"/prod/{path}").status_code for path in "ab"] == [404, 200]
    apis.v2.update_stage(ApiId=api, StageName="prod", DeploymentId=first)
    assert [apis.call(api, f"/prod/{path}").status_code for path in "ab"] == [200, 404], "rolled back"
    assert refused(apis.v2.delete_deployment, ApiId=api, DeploymentId=first)[0] == "BadRequestException"
    apis.v2.delete_deployment(ApiId=api, DeploymentId=second["DeploymentId"])
    apis.v2.update_stage(ApiId=api, StageName="prod", AutoDeploy=True)
    assert [apis.call(api, f"/prod/{path}").status_code for path in "ab"] == [404, 200]
    apis.v2.update_stage(ApiId=api, StageName="prod", AutoDeploy=False)
    apis.v2.update_route(ApiId=api, RouteId=route, RouteKey="GET /c")
    assert [apis.call(api, f"/prod/{path}").status_code for path in "bc"] == [200, 404]


def test_custom_domains_lead_to_stages(apis, name):
    domain = f"{name('api')}.example.test"
    certificate = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/12345678-1234-1234-1234-123456789012"
    made = apis.v2.create_domain_name(DomainName=domain, DomainNameConfigurations=[{"CertificateArn": certificate}])
    assert made["DomainNameConfigurations"][0]["DomainNameStatus"] == "AVAILABLE"
    api = apis.create()
    apis.route(api, "GET /x", apis.integrate(api, apis.function(INFERRED)))
    apis.stage(api, "dev")
    mapping = apis.v2.create_api_mapping(DomainName=domain, ApiId=api, Stage="dev", ApiMappingKey="orders/v1")
    answer = apis.call(api, "/orders/v1/x", host=domain)
    assert (answer.status_code, answer.json()) == (200, {"hello": "/orders/v1/x"})
    assert apis.call(api, "/orders/v1x", host=domain).status_code == 403
    apis.v2.update_api_mapping(DomainName=domain, ApiId=api, ApiMappingId=mapping["ApiMappingId"], ApiMappingKey="")
    assert apis.call(api, "/x", host=domain).json() == {"hello": "/x"}
    apis.v2.update_api(ApiId=api, DisableExecuteApiEndpoint=True)
    assert apis.call(api, "/dev/x").status_code == 404 and apis.call(api, "/x", host=domain).status_code == 200
    elsewhere = [{"CertificateArn": certificate.replace(REGION, "eu-west-1")}]
    refusals = [
        (apis.v2.create_domain_name, {"DomainName": domain, "DomainNameConfigurations": [{"CertificateArn": certificate}]}, "BadRequestException"),
        (apis.v2.create_domain_name, {"DomainName": "x." + domain, "DomainNameConfigurations": []}, "BadRequestException"),
        (apis.v2.create_domain_name, {"DomainName": "x." + domain, "DomainNameConfigurations": elsewhere}, "BadRequestException"),
        (apis.v2.create_api_mapping, {"DomainName": domain, "ApiId": api, "Stage": "none", "ApiMappingKey": "y"}, "BadRequestException"),
        (apis.v2.create_api_mapping, {"DomainName": domain, "ApiId": api, "Stage": "dev", "ApiMappingKey": "/y"}, "BadRequestException"),
        (apis.v2.create_api_mapping, {"DomainName": domain, "ApiId": api, "Stage": "dev", "ApiMappingKey": "y~"}, "BadRequestException"),
        (apis.v2.create_api_mapping, {"DomainName": domain, "ApiId": api, "Stage": "dev", "ApiMappingKey": ""}, "ConflictException"),
        (apis.v2.create_api_mapping, {"DomainName": domain, "ApiId": "none", "Stage": "dev", "ApiMappingKey": "y"}, "NotFoundException"),
        (apis.v2.get_domain_name, {"DomainName": "none." + domain}, "NotFoundException"),
    ]
    for call, arguments, code in refusals:
        assert refused(call, **arguments)[0] == code, arguments
    assert refused(apis.v2.get_domain_name, DomainName="none." + domain)[1] == "Invalid domain name identifier specified"
    again = {"DomainName": domain, "DomainNameConfigurations": [{"CertificateArn": certificate}]}
    assert refused(apis.v2.create_domain_name, **again)[1] == "The domain name you provided already exists."
    apis.v2.delete_domain_name(DomainName=domain)
    assert domain not in [item["DomainName"] for item in apis.v2.get_domain_names()["Items"]]


def test_custom_domains_are_served_over_tls_by_their_own_names(apis, name):
    domain = f"{name('api')}.example.test"
    certificate = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/12345678-1234-1234-1234-123456789012"
    apis.v2.create_domain_name(DomainName=domain, DomainNameConfigurations=[{"CertificateArn": certificate}])
    api = apis.v2.create_api(Name="quick", ProtocolType="HTTP", Target=apis.function(INFERRED))["ApiId"]
    apis.v2.create_api_mapping(DomainName=domain, ApiId=api, Stage="$default")
    authority = requests.get(f"{apis.node.endpoint}/_pileus/ca", timeout=10).text
    trusting = ssl.create_default_context(cadata=authority)

    def get(host):
        """Asks for the host by name, as a client does whose DNS leads to the node, and checks that the certificate is the host's."""
        with socket.create_connection(("127.0.0.1", apis.node.port), timeout=20) as plain:
            connection = http.client.HTTPConnection(host)
            connection.sock = trusting.wrap_socket(plain, server_hostname=host)
            connection.request("GET", "/x")
            shown = connection.sock.getpeercert()["subjectAltName"]
            answer = connection.getresponse()
            return shown, answer.status, json.loads(answer.read())

    assert get(domain) == ((("DNS", domain),), 200, {"hello": "/x"})
    by_id = f"{api}.execute-api.{REGION}.amazonaws.com"
    assert get(by_id) == ((("DNS", by_id),), 200, {"hello": "/x"})


def test_parts_are_made_shown_listed_changed_and_deleted(apis):
    v2, api = apis.v2, apis.create(Description="d", Tags={"a": "1"})
    shown = v2.get_api(ApiId=api)
    assert (shown["Name"], shown["ProtocolType"], shown["Description"], shown["Tags"]) == ("api", "HTTP", "d", {"a": "1"})
    assert shown["RouteSelectionExpression"] == "$request.method $request.path"
    assert api in [item["ApiId"] for item in v2.get_apis()["Items"]]
    assert v2.update_api(ApiId=api, Name="renamed")["Name"] == "renamed"
    integration = apis.integrate(api, apis.function(INFERRED))
    routes = [apis.route(api, f"GET /{path}", integration) for path in "abc"]
    first = v2.get_routes(ApiId=api, MaxResults="2")
    rest = v2.get_routes(ApiId=api, MaxResults="2", NextToken=first["NextToken"])
    assert sorted(item["RouteId"] for item in first["Items"] + rest["Items"]) == sorted(routes) and "NextToken" not in rest
    shown = v2.get_route(ApiId=api, RouteId=routes[0])
    assert (shown["RouteKey"], shown["AuthorizationType"], shown["ApiKeyRequired"]) == ("GET /a", "NONE", False)
    assert v2.get_integration(ApiId=api, IntegrationId=integration)["TimeoutInMillis"] == 30000
    arn = f"arn:aws:apigateway:{REGION}::/apis/{api}"
    v2.tag_resource(ResourceArn=arn, Tags={"b": "2"})
    v2.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert v2.get_tags(ResourceArn=arn)["Tags"] == {"b": "2"}
    refusals = [
        (v2.delete_integration, {"IntegrationId": integration}, "ConflictException"),
        (v2.create_route, {"RouteKey": "GET /a"}, "ConflictException"),
        (v2.create_route, {"RouteKey": "GET a"}, "BadRequestException"),
        (v2.create_route, {"RouteKey": "GET /z", "Target": "integrations/none"}, "BadRequestException"),
        (v2.create_route, {"RouteKey": "GET /z", "AuthorizationType": "JWT"}, "BadRequestException"),
        (v2.get_route, {"RouteId": "none"}, "NotFoundException"),
        (v2.create_stage, {"StageName": "a b"}, "BadRequestException"),
        (v2.create_stage, {"StageName": "s", "DeploymentId": "none"}, "NotFoundException"),
        (v2.create_integration, {"IntegrationType": "MOCK"}, "BadRequestException"),
        (v2.create_integration, {"IntegrationType": "HTTP_PROXY", "IntegrationUri": "x", "PayloadFormatVersion": "1.0"}, "BadRequestException"),
        (v2.create_integration, {"IntegrationType": "HTTP_PROXY", "ConnectionType": "VPC_LINK"}, "NotImplemented"),
        (v2.create_model, {"Name": "m", "Schema": "{}"}, "BadRequestException"),
    ]
    for call, arguments, code in refusals:
        assert refused(call, ApiId=api, **arguments)[0] == code, arguments
    assert refused(v2.get_api, ApiId="none") == ("NotFoundException", f"Invalid API identifier specified {ACCOUNT}:none")
    for route in routes:
        v2.delete_route(ApiId=api, RouteId=route)
    v2.delete_integration(ApiId=api, IntegrationId=integration)
    assert v2.get_integrations(ApiId=api)["Items"] == []
    v2.delete_api(ApiId=api)
    assert refused(v2.get_api, ApiId=api)[0] == "NotFoundException"


def test_definitions_are_imported_and_exported(apis):
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": apis.function(INFERRED), "payloadFormatVersion": "2.0"}
    document = {
        "openapi": "3.0.1",
        "info": {"title": "imported", "version": "1"},
        "paths": {"/a/{id}": {"get": {"operationId": "GetA", "x-amazon-apigateway-integration": integration}}},
        "x-amazon-apigateway-cors": {"allowOrigins": ["*"]},
    }
    made = apis.v2.import_api(Body=json.dumps(document))
    api = made["ApiId"]
    assert (made["Name"], made["CorsConfiguration"]["AllowOrigins"]) == ("imported", ["*"])
    apis.stage(api)
    assert apis.call(api, "/a/1").json() == {"hello": "/a/1"}
    exported = json.loads(apis.v2.export_api(ApiId=api, Specification="OAS30", OutputType="JSON")["body"].read())
    assert exported["paths"]["/a/{id}"]["get"]["x-amazon-apigateway-integration"]["uri"] == integration["uri"]
    exported["paths"]["/b"] = exported["paths"].pop("/a/{id}")
    apis.v2.reimport_api(ApiId=api, Body=json.dumps(exported))
    assert [apis.call(api, path).status_code for path in ("/a/1", "/b")] == [404, 200]
    assert refused(apis.v2.import_api, Body="{")[0] == "BadRequestException"
    assert refused(apis.v2.import_api, Body='{"swagger": "2.0"}')[0] == "BadRequestException"


def test_who_has_no_permission_does_nothing(apis, denied):
    api, without = apis.create(), denied("apigatewayv2")
    calls = [
        (without.get_apis, {}),
        (without.create_api, {"Name": "x", "ProtocolType": "HTTP"}),
        (without.get_api, {"ApiId": api}),
        (without.update_api, {"ApiId": api, "Name": "y"}),
        (without.delete_api, {"ApiId": api}),
        (without.create_route, {"ApiId": api, "RouteKey": "$default"}),
        (without.get_routes, {"ApiId": api}),
        (without.create_integration, {"ApiId": api, "IntegrationType": "HTTP_PROXY"}),
        (without.create_stage, {"ApiId": api, "StageName": "s"}),
        (without.create_deployment, {"ApiId": api}),
        (without.create_authorizer, {"ApiId": api, "Name": "a", "AuthorizerType": "JWT", "IdentitySource": ["x"]}),
        (without.create_domain_name, {"DomainName": "denied.example.test"}),
        (without.get_api_mappings, {"DomainName": "denied.example.test"}),
        (without.import_api, {"Body": "{}"}),
        (without.export_api, {"ApiId": api, "Specification": "OAS30", "OutputType": "JSON"}),
        (without.get_tags, {"ResourceArn": f"arn:aws:apigateway:{REGION}::/apis/{api}"}),
    ]
    for call, arguments in calls:
        assert error_code(call, **arguments) == "AccessDeniedException", arguments
    assert apis.v2.get_api(ApiId=api)["Name"] == "api"
