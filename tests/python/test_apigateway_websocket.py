"""WebSocket APIs: connections, messages, answers, and `@connections`."""

import json

import boto3
import pytest
import requests
import websocket
from botocore.config import Config

from harness import error_code
from test_apigatewayv2_http import Apis, signed
from test_lambda_made import ACCOUNT, REGION, allow, eventually, functions, refused  # noqa: F401

TELLS = """
import json
def handler(event, context):
    print("EVENT " + json.dumps(event))
    return {"statusCode": 200, "body": json.dumps({"said": event.get("body"), "route": event["requestContext"]["routeKey"]})}
"""
REFUSES = "def handler(event, context):\n    return {'statusCode': 403}\n"
FAILS = "def handler(event, context):\n    raise ValueError('no')\n"
AUTHORIZES = """
def handler(event, context):
    effect = "Allow" if event["queryStringParameters"]["token"] == "good" else "Deny"
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"]}
    return {"principalId": "p", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}, "context": {"who": "ann"}}
"""


class Sockets(Apis):
    def create(self, **more):
        return super().create(ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action", **more)

    def integrate(self, api, uri, **more):
        arguments = {"IntegrationType": "AWS_PROXY", "IntegrationUri": uri, **more}
        return self.v2.create_integration(ApiId=api, **arguments)["IntegrationId"]

    def answering(self, api, key, integration, **more):
        """A route whose answers go back to the client."""
        route = self.route(api, key, integration, RouteResponseSelectionExpression="$default", **more)
        self.v2.create_route_response(ApiId=api, RouteId=route, RouteResponseKey="$default")
        return route

    def connect(self, api, stage="dev", query="", **more):
        url = f"ws://127.0.0.1:{self.node.port}/_aws/execute-api/{api}/{stage}{query}"
        return websocket.create_connection(url, timeout=20, **more)

    def refusal(self, api, **more):
        """The status that a client which may not connect is told."""
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            self.connect(api, **more)
        return caught.value.status_code

    def management(self, api, stage="dev", key="test", secret="test"):
        return boto3.client(
            "apigatewaymanagementapi",
            endpoint_url=f"{self.node.endpoint}/_aws/execute-api/{api}/{stage}",
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"max_attempts": 0}),
        )

    def ids(self, client):
        """The connection's id, as an answer to a message without a route tells it."""
        client.send("{}")
        return json.loads(client.recv())["connectionId"]


@pytest.fixture
def sockets(node, functions):  # noqa: F811
    return Sockets(node, functions)


def logged(node, arn, seconds=20):
    """The events that a function printed."""
    group = f"/aws/lambda/{arn.rsplit(':', 1)[1]}"
    found = []

    def look():
        events = node.client("logs").filter_log_events(logGroupName=group)["events"]
        found[:] = [json.loads(e["message"].split("EVENT ", 1)[1]) for e in events if "EVENT " in e["message"]]
        return found

    def tell(count):
        eventually(lambda: len(look()) >= count, seconds)
        return found

    return tell


def test_messages_take_their_routes_and_answers_come_back(sockets, node):
    api, arn = sockets.create(), sockets.function(TELLS)
    target = sockets.integrate(api, arn)
    for key in ("$connect", "$disconnect"):
        sockets.route(api, key, target)
    sockets.answering(api, "send", target)
    sockets.answering(api, "$default", target)
    sockets.stage(api, "dev", StageVariables={"v": "1"})
    client = sockets.connect(api, query="?q=1", header=["X-Own: yes"])
    for message, route in [('{"action": "send", "n": 1}', "send"), ('{"action": "other"}', "$default"), ("text", "$default")]:
        client.send(message)
        assert json.loads(client.recv()) == {"said": message, "route": route}
    client.close(1000)
    events = {e["requestContext"]["eventType"]: e for e in logged(node, arn)(5)}
    connect, message, disconnect = (events[kind] for kind in ("CONNECT", "MESSAGE", "DISCONNECT"))
    assert connect["queryStringParameters"] == {"q": "1"} and connect["headers"]["x-own"] == "yes"
    context = message["requestContext"]
    assert (context["apiId"], context["stage"], message["stageVariables"]) == (api, "dev", {"v": "1"})
    assert {e["requestContext"]["connectionId"] for e in events.values()} == {context["connectionId"]}
    assert disconnect["requestContext"]["disconnectStatusCode"] == 1000


def test_backends_say_something_to_connections(sockets, node, denied):
    api = sockets.create()
    sockets.v2.create_route(ApiId=api, RouteKey="unused")
    sockets.stage(api, "dev")
    client, other = sockets.connect(api), sockets.connect(api)
    id, management = sockets.ids(client), sockets.management(api)
    management.post_to_connection(ConnectionId=id, Data=b"hello \xc3\xa9")
    assert client.recv() == "hello é"
    shown = management.get_connection(ConnectionId=id)
    assert shown["Identity"]["SourceIp"] == "127.0.0.1" and shown["ConnectedAt"] <= shown["LastActiveAt"]
    by_host = requests.get(f"{node.endpoint}/dev/@connections/{id}", headers={"Host": f"{api}.execute-api.{REGION}.amazonaws.com"}, timeout=10)
    assert by_host.status_code == 403, "nobody signed it"
    assert error_code(management.post_to_connection, ConnectionId=id, Data=b"x" * (128 * 1024 + 1)) == "PayloadTooLargeException"
    assert error_code(management.post_to_connection, ConnectionId="none", Data=b"x") == "GoneException"
    iam = node.client("iam")
    user = sockets.functions.name("user")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    powerless = sockets.management(api, key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    for call, more in [("post_to_connection", {"Data": b"x"}), ("get_connection", {}), ("delete_connection", {})]:
        assert "Denied" in error_code(getattr(powerless, call), ConnectionId=id, **more) or "Forbidden" in error_code(getattr(powerless, call), ConnectionId=id, **more)
    management.delete_connection(ConnectionId=id)
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        client.recv()
        client.recv()
    assert error_code(management.get_connection, ConnectionId=id) == "GoneException", "whoever sees it end finds it gone"
    assert sockets.ids(other), "others stay"
    other.close()


def test_who_may_not_connect_is_told_so(sockets):
    api = sockets.create()
    sockets.stage(api, "dev")
    refuses, fails = sockets.integrate(api, sockets.function(REFUSES)), sockets.integrate(api, sockets.function(FAILS))
    route = sockets.route(api, "$connect", refuses)
    assert sockets.refusal(api) == 403
    sockets.v2.update_route(ApiId=api, RouteId=route, Target=f"integrations/{fails}")
    assert sockets.refusal(api) == 502
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{sockets.function(AUTHORIZES)}/invocations"
    source = ["route.request.querystring.token"]
    made = sockets.v2.create_authorizer(ApiId=api, Name="a", AuthorizerType="REQUEST", AuthorizerUri=uri, IdentitySource=source)
    tells = sockets.integrate(api, sockets.function(TELLS))
    sockets.v2.update_route(
        ApiId=api, RouteId=route, Target=f"integrations/{tells}", AuthorizationType="CUSTOM", AuthorizerId=made["AuthorizerId"]
    )
    assert [sockets.refusal(api, query=query) for query in ("", "?token=bad")] == [401, 403]
    client = sockets.connect(api, query="?token=good")
    assert sockets.ids(client)
    client.close()
    sockets.v2.update_route(ApiId=api, RouteId=route, AuthorizationType="AWS_IAM")
    assert sockets.refusal(api) == 403
    host = f"{api}.execute-api.{REGION}.amazonaws.com"
    url = f"http://{host}/dev"
    headers = {k: v for k, v in signed(url, host).items() if k != "Host"}
    client = websocket.create_connection(
        f"ws://127.0.0.1:{sockets.node.port}/dev", host=host, header=[f"{k}: {v}" for k, v in headers.items()], timeout=20
    )
    client.close()
    assert sockets.refusal(api, stage="none") == 403
    plain = requests.get(f"{sockets.node.endpoint}/_aws/execute-api/{api}/dev", timeout=10)
    assert (plain.status_code, plain.json()) == (403, {"message": "Missing Authentication Token"})


def test_templates_make_answers_without_a_backend(sockets):
    api = sockets.create()
    sockets.stage(api, "dev")
    mock = sockets.v2.create_integration(
        ApiId=api,
        IntegrationType="MOCK",
        TemplateSelectionExpression="200",
        RequestTemplates={"200": '{"statusCode": #if($input.path("$.ok"))200#{else}404#end}'},
    )["IntegrationId"]
    answer = '{"id": "$context.connectionId", "route": "$context.routeKey"}'
    sockets.v2.create_integration_response(
        ApiId=api, IntegrationId=mock, IntegrationResponseKey="/2\\d\\d/", ResponseTemplates={"$default": answer}
    )
    sockets.v2.create_integration_response(
        ApiId=api, IntegrationId=mock, IntegrationResponseKey="$default", ResponseTemplates={"$default": '"not found"'}
    )
    sockets.answering(api, "ask", mock)
    client = sockets.connect(api)
    client.send('{"action": "ask", "ok": true}')
    said = json.loads(client.recv())
    assert said["route"] == "ask" and said["id"] == sockets.ids(client)
    client.send('{"action": "ask"}')
    assert client.recv() == '"not found"'
    client.close()


def test_connections_end_by_their_limits(sockets, node):
    api = sockets.create()
    sockets.v2.create_route(ApiId=api, RouteKey="unused")
    sockets.stage(api, "dev")

    def code(send, **more):
        client = sockets.connect(api)
        sockets.ids(client)
        send(client, **more)
        opcode, data = client.recv_data()
        assert opcode == websocket.ABNF.OPCODE_CLOSE
        return int.from_bytes(data[:2], "big")

    assert code(lambda client: client.send_binary(b"x")) == 1003
    assert code(lambda client: client.send("x" * (33 * 1024))) == 1009
    assert code(lambda client: node.advance(601)) == 1001


def test_a_busy_connection_ends_after_two_hours(sockets, node):
    api = sockets.create()
    sockets.v2.create_route(ApiId=api, RouteKey="unused")
    sockets.stage(api, "dev")
    client = sockets.connect(api)
    for _ in range(12):
        node.advance(595)
        assert sockets.ids(client), "it is never idle for ten minutes"
    node.advance(61)
    opcode, data = client.recv_data()
    assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1001)


def test_who_has_no_permission_makes_no_parts(sockets, denied):
    api, without = sockets.create(), denied("apigatewayv2")
    integration = sockets.v2.create_integration(ApiId=api, IntegrationType="MOCK")["IntegrationId"]
    calls = [
        (without.create_integration_response, {"IntegrationId": integration, "IntegrationResponseKey": "$default"}),
        (without.create_route_response, {"RouteId": "r", "RouteResponseKey": "$default"}),
        (without.create_model, {"Name": "m", "Schema": "{}"}),
    ]
    for call, arguments in calls:
        assert error_code(call, ApiId=api, **arguments) == "AccessDeniedException"
    bad = [
        (sockets.v2.create_integration_response, {"IntegrationId": integration, "IntegrationResponseKey": "x"}, "BadRequestException"),
        (sockets.v2.create_route, {"RouteKey": "a", "AuthorizationType": "AWS_IAM"}, "BadRequestException"),
        (sockets.v2.create_model, {"Name": "m", "Schema": "not json"}, "BadRequestException"),
        (sockets.v2.create_integration, {"IntegrationType": "AWS", "IntegrationUri": "arn:aws:apigateway:us-east-1:sqs:path/q"}, "NotImplemented"),
    ]
    for call, arguments, code in bad:
        assert refused(call, ApiId=api, **arguments)[0] == code, arguments
    model = sockets.v2.create_model(ApiId=api, Name="m", Schema='{"type": "object"}')["ModelId"]
    assert sockets.v2.get_models(ApiId=api)["Items"][0]["ModelId"] == model
    sockets.v2.delete_model(ApiId=api, ModelId=model)
