"""The control plane of REST APIs: good calls, bad calls, denied calls."""

import json

import pytest
from apigw import rest  # noqa: F401
from harness import error_code
from test_lambda_made import ACCOUNT, REGION, refused

PET = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}


def test_an_api_is_made_read_changed_and_deleted(rest):
    gw = rest.gw
    made = gw.create_rest_api(name="pets", description="d", binaryMediaTypes=["image/png"], tags={"a": "b"})
    api = made["id"]
    assert made["apiKeySource"] == "HEADER" and made["endpointConfiguration"]["types"] == ["EDGE"]
    assert made["disableExecuteApiEndpoint"] is False and made["tags"] == {"a": "b"} and made["rootResourceId"]
    got = gw.get_rest_api(restApiId=api)
    assert (got["name"], got["binaryMediaTypes"], got["createdDate"]) == ("pets", ["image/png"], made["createdDate"])
    patches = [
        rest.patch("replace", "/name", "cats"),
        rest.patch("add", "/binaryMediaTypes/image~1gif"),
        rest.patch("remove", "/binaryMediaTypes/image~1png"),
        rest.patch("replace", "/minimumCompressionSize", "10"),
        rest.patch("replace", "/endpointConfiguration/types/EDGE", "REGIONAL"),
    ]
    got = gw.update_rest_api(restApiId=api, patchOperations=patches)
    assert (got["name"], got["binaryMediaTypes"], got["minimumCompressionSize"]) == ("cats", ["image/gif"], 10)
    assert got["endpointConfiguration"]["types"] == ["REGIONAL"]
    models = {row["name"] for row in gw.get_models(restApiId=api)["items"]}
    assert models == {"Empty", "Error"}
    gw.delete_rest_api(restApiId=api)
    sentence = f"Invalid API identifier specified {ACCOUNT}:{api}"
    assert refused(gw.get_rest_api, restApiId=api) == ("NotFoundException", sentence)
    assert refused(gw.get_resources, restApiId=api) == ("NotFoundException", sentence)


def test_bad_apis_and_patches_are_refused(rest):
    api, _ = rest.create()
    cases = [
        (dict(name=""), "BadRequestException"),
        (dict(name="x", policy="{"), "BadRequestException"),
        (dict(name="x", minimumCompressionSize=-1), "BadRequestException"),
        (dict(name="x", cloneFrom="nosuchapi1"), "NotFoundException"),
        (dict(name="x", endpointConfiguration={"types": ["PRIVATE"]}), "NotImplemented"),
        (dict(name="x", tags={"aws:x": "y"}), "BadRequestException"),
    ]
    for arguments, code in cases:
        assert error_code(rest.gw.create_rest_api, **arguments) == code, arguments
    for operation in [("replace", "/nothing", "x"), ("add", "/name", "x"), ("move", "/name", "x"), ("replace", "/name", "")]:
        patches = [rest.patch(*operation)]
        assert error_code(rest.gw.update_rest_api, restApiId=api, patchOperations=patches) == "BadRequestException", operation


def test_resources_form_a_tree(rest):
    gw = rest.gw
    api, root = rest.create()

    def create(parent, part):
        return gw.create_resource(restApiId=api, parentId=parent, pathPart=part)

    pets = create(root, "pets")
    pet = create(pets["id"], "{id}")
    assert (pets["path"], pet["path"], pet["parentId"]) == ("/pets", "/pets/{id}", pets["id"])
    greedy = create(root, "{proxy+}")
    cases = [
        ((root, "pets"), "ConflictException", "Another resource with the same parent already has this name: pets"),
        ((pets["id"], "{other}"), "BadRequestException", f"A sibling ({pet['id']}) of this resource already has a variable path part -- only one is allowed"),
        ((root, "a b"), "BadRequestException", "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and the end."),
        ((greedy["id"], "x"), "BadRequestException", "Cannot create a child of a resource with a greedy path variable: proxy+"),
        (("nosuch", "x"), "NotFoundException", "Invalid Resource identifier specified"),
    ]
    for (parent, part), code, sentence in cases:
        assert refused(create, parent, part) == (code, sentence), part
    moved = gw.update_resource(restApiId=api, resourceId=pets["id"], patchOperations=[rest.patch("replace", "/pathPart", "cats")])
    assert moved["path"] == "/cats"
    assert gw.get_resource(restApiId=api, resourceId=pet["id"])["path"] == "/cats/{id}"
    assert error_code(gw.delete_resource, restApiId=api, resourceId=root) == "BadRequestException"
    gw.delete_resource(restApiId=api, resourceId=pets["id"])
    assert {row["path"] for row in gw.get_resources(restApiId=api)["items"]} == {"/", "/{proxy+}"}
    first = gw.get_resources(restApiId=api, limit=1)
    second = gw.get_resources(restApiId=api, limit=1, position=first["position"])
    assert len(first["items"]) == len(second["items"]) == 1 and "position" not in second


def test_methods_integrations_and_their_responses(rest):
    gw = rest.gw
    api, root = rest.create()
    place = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
    none = {**place, "authorizationType": "NONE"}
    assert error_code(gw.put_method, **{**none, "httpMethod": "FETCH"}) == "BadRequestException"
    assert error_code(gw.put_method, **{**none, "authorizationType": "CUSTOM"}) == "BadRequestException"
    assert error_code(gw.put_method, **none, requestParameters={"method.request.nowhere.x": True}) == "BadRequestException"
    assert error_code(gw.put_method, **none, requestModels={"application/json": "Nobody"}) == "BadRequestException"
    assert refused(gw.get_method, **place) == ("NotFoundException", "Invalid Method identifier specified")
    made = gw.put_method(**none, requestParameters={"method.request.querystring.q": True})
    assert made["apiKeyRequired"] is False and made["requestParameters"] == {"method.request.querystring.q": True}
    assert refused(gw.put_method, **none) == ("ConflictException", "Method already exists for this resource")
    assert refused(gw.get_integration, **place) == ("NotFoundException", "Invalid Integration identifier specified")
    bad = [
        ({"type": "HTTP", "integrationHttpMethod": "GET"}, "Invalid HTTP endpoint specified for URI"),
        ({"type": "HTTP", "uri": "http://a.example"}, "Enumeration value for HttpMethod must be non-empty"),
        ({"type": "AWS", "integrationHttpMethod": "POST", "uri": "x"}, "Invalid ARN specified in the request"),
        ({"type": "AWS", "integrationHttpMethod": "POST", "uri": "arn:aws:apigateway:us-east-1:sqs:x"}, "AWS ARN for integration must contain path or action"),
    ]
    for arguments, sentence in bad:
        assert refused(gw.put_integration, **place, **arguments) == ("BadRequestException", sentence)
    unknown = {"integration.request.header.x": "method.request.header.other"}
    assert error_code(gw.put_integration, **place, type="MOCK", requestParameters=unknown) == "BadRequestException"
    known = {"integration.request.header.x": "method.request.querystring.q"}
    integration = gw.put_integration(**place, type="MOCK", requestParameters=known, requestTemplates={"application/json": "{}"})
    assert (integration["passthroughBehavior"], integration["timeoutInMillis"], integration["cacheNamespace"]) == ("WHEN_NO_MATCH", 29000, root)
    gw.put_method_response(**place, statusCode="200", responseParameters={"method.response.header.x": False})
    assert error_code(gw.put_method_response, **place, statusCode="200") == "ConflictException"
    undeclared = {"method.response.header.y": "'1'"}
    assert error_code(gw.put_integration_response, **place, statusCode="200", responseParameters=undeclared) == "BadRequestException"
    gw.put_integration_response(**place, statusCode="200", responseParameters={"method.response.header.x": "'1'"})
    whole = gw.get_method(**place)
    assert whole["methodIntegration"]["integrationResponses"]["200"]["responseParameters"] == {"method.response.header.x": "'1'"}
    patches = [rest.patch("replace", "/requestTemplates/application~1json", "x"), rest.patch("add", "/cacheKeyParameters/method.request.querystring.q")]
    changed = gw.update_integration(**place, patchOperations=patches)
    assert changed["requestTemplates"] == {"application/json": "x"} and changed["cacheKeyParameters"] == ["method.request.querystring.q"]
    changed = gw.update_method(**place, patchOperations=[rest.patch("replace", "/apiKeyRequired", "true")])
    assert changed["apiKeyRequired"] is True
    gw.delete_integration_response(**place, statusCode="200")
    gw.delete_method_response(**place, statusCode="200")
    gw.delete_integration(**place)
    gw.delete_method(**place)
    assert error_code(gw.get_method, **place) == "NotFoundException"


def test_deployments_and_stages(rest):
    gw = rest.gw
    api, _ = rest.create()
    assert refused(gw.create_deployment, restApiId=api) == ("BadRequestException", "The REST API doesn't contain any methods")
    rest.method(api, "/x", responses={"200": {}})
    first = rest.deploy(api, variables={"a": "1"}, description="one")
    second = gw.create_deployment(restApiId=api)["id"]
    stage = gw.get_stage(restApiId=api, stageName="dev")
    assert (stage["deploymentId"], stage["variables"], stage["cacheClusterStatus"]) == (first, {"a": "1"}, "NOT_AVAILABLE")
    summary = gw.get_deployment(restApiId=api, deploymentId=first, embed=["apisummary"])
    assert summary["apiSummary"] == {"/x": {"GET": {"authorizationType": "NONE", "apiKeyRequired": False}}}
    patches = [
        rest.patch("replace", "/deploymentId", second),
        rest.patch("replace", "/variables/b", "2"),
        rest.patch("replace", "/*/*/throttling/rateLimit", "5"),
        rest.patch("replace", "/~1x/GET/caching/ttlInSeconds", "60"),
    ]
    stage = gw.update_stage(restApiId=api, stageName="dev", patchOperations=patches)
    assert stage["deploymentId"] == second and stage["variables"] == {"a": "1", "b": "2"}
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 5.0
    assert stage["methodSettings"]["~1x/GET"]["cacheTtlInSeconds"] == 60
    gw.update_stage(restApiId=api, stageName="dev", patchOperations=[rest.patch("remove", "/~1x/GET")])
    assert list(gw.get_stage(restApiId=api, stageName="dev")["methodSettings"]) == ["*/*"]
    cases = [
        (dict(stageName="dev", deploymentId=first), "ConflictException"),
        (dict(stageName="a b", deploymentId=first), "BadRequestException"),
        (dict(stageName="new", deploymentId="nosuch"), "BadRequestException"),
        (dict(stageName="new", deploymentId=first, variables={"a-b": "1"}), "BadRequestException"),
    ]
    for arguments, code in cases:
        assert error_code(gw.create_stage, restApiId=api, **arguments) == code, arguments
    for patch in [("replace", "/*/*/logging/loglevel", "INFO"), ("replace", "/variables", "x"), ("add", "/*/*/nothing/here", "1")]:
        assert error_code(gw.update_stage, restApiId=api, stageName="dev", patchOperations=[rest.patch(*patch)]) == "BadRequestException"
    sentence = "Active stages pointing to this deployment must be moved or deleted"
    assert refused(gw.delete_deployment, restApiId=api, deploymentId=second) == ("BadRequestException", sentence)
    gw.delete_deployment(restApiId=api, deploymentId=first)
    gw.delete_stage(restApiId=api, stageName="dev")
    assert refused(gw.get_stage, restApiId=api, stageName="dev") == ("NotFoundException", "Invalid stage identifier specified")
    assert gw.get_stages(restApiId=api)["item"] == []


def test_models_validators_authorizers_and_gateway_responses(rest):
    gw = rest.gw
    api, _ = rest.create()
    model = gw.create_model(restApiId=api, name="Pet", contentType="application/json", schema=json.dumps(PET))
    assert json.loads(model["schema"]) == PET
    assert error_code(gw.create_model, restApiId=api, name="Pet", contentType="application/json") == "ConflictException"
    assert error_code(gw.create_model, restApiId=api, name="Bad", contentType="application/json", schema="{") == "BadRequestException"
    assert error_code(gw.create_model, restApiId=api, name="Bad", contentType="application/json", schema='{"type": "thing"}') == "BadRequestException"
    assert "$inputRoot.name" in gw.get_model_template(restApiId=api, modelName="Pet")["value"]
    validator = gw.create_request_validator(restApiId=api, name="v", validateRequestBody=True)
    rest.method(api, "/pets", "POST", requestModels={"application/json": "Pet"}, requestValidatorId=validator["id"])
    assert error_code(gw.delete_model, restApiId=api, modelName="Pet") == "ConflictException"
    assert error_code(gw.delete_request_validator, restApiId=api, requestValidatorId=validator["id"]) == "ConflictException"
    uri = rest.uri(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f")
    authorizer = gw.create_authorizer(restApiId=api, name="a", type="TOKEN", authorizerUri=uri, identitySource="method.request.header.Auth")
    assert (authorizer["authType"], authorizer["authorizerResultTtlInSeconds"]) == ("custom", 300)
    bad = [dict(type="TOKEN"), dict(type="REQUEST", authorizerUri=uri), dict(type="TOKEN", authorizerUri=uri, authorizerResultTtlInSeconds=9999)]
    for arguments in bad:
        assert error_code(gw.create_authorizer, restApiId=api, name="b", **arguments) == "BadRequestException", arguments
    response = gw.put_gateway_response(restApiId=api, responseType="DEFAULT_4XX", responseParameters={"gatewayresponse.header.x": "'1'"})
    assert response["defaultResponse"] is False
    everything = gw.get_gateway_responses(restApiId=api)["items"]
    assert len(everything) == 21 and sum(not row["defaultResponse"] for row in everything) == 1
    assert gw.get_gateway_response(restApiId=api, responseType="THROTTLED")["statusCode"] == "429"
    gw.delete_gateway_response(restApiId=api, responseType="DEFAULT_4XX")
    assert error_code(gw.delete_gateway_response, restApiId=api, responseType="DEFAULT_4XX") == "NotFoundException"


def test_keys_plans_and_tags(rest):
    gw = rest.gw
    api, _ = rest.create()
    rest.method(api, "/", responses={"200": {}})
    rest.deploy(api)
    key = gw.create_api_key(name=rest.name("key"), enabled=True)
    assert len(key["value"]) == 40 and "value" not in gw.get_api_key(apiKey=key["id"])
    assert gw.get_api_key(apiKey=key["id"], includeValue=True)["value"] == key["value"]
    assert error_code(gw.create_api_key, value="short") == "BadRequestException"
    assert error_code(gw.create_api_key, value=key["value"]) == "ConflictException"
    csv = f"name,key,description,enabled\nimported,{'k' * 30}{key['id']},from a file,true\n"
    imported = gw.import_api_keys(body=csv.encode(), format="csv")["ids"]
    assert gw.get_api_key(apiKey=imported[0])["name"] == "imported"
    stages = [{"apiId": api, "stage": "dev"}]
    plan = gw.create_usage_plan(name="p", apiStages=stages, throttle={"rateLimit": 1.5, "burstLimit": 2}, quota={"limit": 3, "period": "DAY"})
    assert plan["quota"] == {"limit": 3, "offset": 0, "period": "DAY"}
    assert error_code(gw.create_usage_plan, name="p", apiStages=[{"apiId": api, "stage": "nosuch"}]) == "NotFoundException"
    assert error_code(gw.create_usage_plan, name="p", quota={"limit": 0, "period": "DAY"}) == "BadRequestException"
    linked = gw.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
    assert linked["value"] == key["value"] and gw.get_usage_plans(keyId=key["id"])["items"][0]["id"] == plan["id"]
    patches = [
        rest.patch("replace", "/quota/limit", "9"),
        rest.patch("add", f"/apiStages/{api}:dev/throttle/~1/GET/rateLimit", "4"),
    ]
    changed = gw.update_usage_plan(usagePlanId=plan["id"], patchOperations=patches)
    assert changed["quota"]["limit"] == 9 and changed["apiStages"][0]["throttle"] == {"//GET": {"rateLimit": 4.0}}
    assert error_code(gw.delete_usage_plan, usagePlanId=plan["id"]) == "BadRequestException"
    gw.update_usage_plan(usagePlanId=plan["id"], patchOperations=[rest.patch("remove", "/apiStages", f"{api}:dev")])
    gw.delete_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"])
    gw.delete_usage_plan(usagePlanId=plan["id"])
    gw.delete_api_key(apiKey=key["id"])
    assert error_code(gw.get_api_key, apiKey=key["id"]) == "NotFoundException"
    for path in [f"/restapis/{api}", f"/restapis/{api}/stages/dev"]:
        arn = f"arn:aws:apigateway:{REGION}::{path}"
        gw.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
        gw.untag_resource(resourceArn=arn, tagKeys=["a"])
        assert gw.get_tags(resourceArn=arn)["tags"] == {"b": "2"}
    assert error_code(gw.get_tags, resourceArn="arn:aws:apigateway:us-east-1::/nothing/x") == "BadRequestException"


def test_domains_and_documentation(rest):
    gw = rest.gw
    api, _ = rest.create()
    rest.method(api, "/", responses={"200": {}})
    rest.deploy(api)
    name = f"{rest.name('d')}.example.test"
    made = gw.create_domain_name(domainName=name, regionalCertificateArn="arn:aws:acm:us-east-1:0:certificate/x", endpointConfiguration={"types": ["REGIONAL"]})
    assert made["regionalDomainName"].startswith("d-") and made["domainNameStatus"] == "AVAILABLE"
    again = dict(domainName=name, regionalCertificateArn="arn:aws:acm:us-east-1:0:certificate/x", endpointConfiguration={"types": ["REGIONAL"]})
    assert refused(gw.create_domain_name, **again) == ("BadRequestException", "The domain name you provided already exists.")
    mapping = gw.create_base_path_mapping(domainName=name, basePath="v1", restApiId=api, stage="dev")
    assert mapping == {**mapping, "basePath": "v1", "restApiId": api, "stage": "dev"}
    assert error_code(gw.create_base_path_mapping, domainName=name, basePath="v1", restApiId=api) == "ConflictException"
    assert error_code(gw.create_base_path_mapping, domainName=name, basePath="v2", restApiId="nosuchapi1") == "BadRequestException"
    answer = rest.call(api, "/v1", stage=None, host=name)
    assert answer.status_code == 200, answer.text
    assert error_code(gw.delete_rest_api, restApiId=api) == "BadRequestException"
    gw.delete_base_path_mapping(domainName=name, basePath="v1")
    gw.delete_domain_name(domainName=name)
    assert error_code(gw.get_domain_name, domainName=name) == "NotFoundException"
    part = gw.create_documentation_part(restApiId=api, location={"type": "API"}, properties='{"description": "pets"}')
    assert error_code(gw.create_documentation_part, restApiId=api, location={"type": "API"}, properties="{}") == "ConflictException"
    assert error_code(gw.create_documentation_part, restApiId=api, location={"type": "METHOD", "path": "/"}, properties="[") == "BadRequestException"
    gw.update_documentation_part(restApiId=api, documentationPartId=part["id"], patchOperations=[rest.patch("replace", "/properties", '{"description": "cats"}')])
    assert gw.create_documentation_version(restApiId=api, documentationVersion="1", stageName="dev")["version"] == "1"
    assert gw.get_stage(restApiId=api, stageName="dev")["documentationVersion"] == "1"
    gw.delete_documentation_part(restApiId=api, documentationPartId=part["id"])
    gw.delete_documentation_version(restApiId=api, documentationVersion="1")


def test_nobody_does_what_their_policies_do_not_allow(rest, denied, node, name):
    api, root = rest.create()
    rest.method(api, "/", responses={"200": {}})
    rest.deploy(api)
    gw = denied("apigateway")
    place = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
    calls = [
        (gw.create_rest_api, dict(name="x")),
        (gw.get_rest_apis, {}),
        (gw.delete_rest_api, dict(restApiId=api)),
        (gw.create_resource, dict(restApiId=api, parentId=root, pathPart="x")),
        (gw.put_method, {**place, "authorizationType": "NONE"}),
        (gw.put_integration, {**place, "type": "MOCK"}),
        (gw.put_method_response, {**place, "statusCode": "200"}),
        (gw.put_integration_response, {**place, "statusCode": "200"}),
        (gw.create_deployment, dict(restApiId=api)),
        (gw.update_stage, dict(restApiId=api, stageName="dev")),
        (gw.create_model, dict(restApiId=api, name="X", contentType="application/json")),
        (gw.create_request_validator, dict(restApiId=api)),
        (gw.create_authorizer, dict(restApiId=api, name="x", type="TOKEN")),
        (gw.put_gateway_response, dict(restApiId=api, responseType="THROTTLED")),
        (gw.create_api_key, {}),
        (gw.create_usage_plan, dict(name="x")),
        (gw.get_usage, dict(usagePlanId="x", startDate="2024-01-01", endDate="2024-01-02")),
        (gw.get_account, {}),
        (gw.update_account, {}),
        (gw.create_domain_name, dict(domainName="a.example.test")),
        (gw.create_documentation_part, dict(restApiId=api, location={"type": "API"}, properties="{}")),
        (gw.get_tags, dict(resourceArn=f"arn:aws:apigateway:{REGION}::/restapis/{api}")),
        (gw.test_invoke_method, place),
        (gw.import_rest_api, dict(body=b"{}")),
        (gw.get_export, dict(restApiId=api, stageName="dev", exportType="oas30")),
        (gw.get_sdk, dict(restApiId=api, stageName="dev", sdkType="javascript")),
    ]
    for call, arguments in calls:
        code, sentence = refused(call, **arguments)
        assert code == "AccessDeniedException" and "apigateway:" in sentence, (call, sentence)
    # What the request's own method and path say is what a policy names.
    iam, user = node.client("iam"), name("reader")
    iam.create_user(UserName=user)
    statement = {"Effect": "Allow", "Action": "apigateway:GET", "Resource": f"arn:aws:apigateway:{REGION}::/restapis/{api}/*"}
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    reader = node.client("apigateway", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    assert reader.get_stage(restApiId=api, stageName="dev")["stageName"] == "dev"
    assert error_code(reader.get_rest_api, restApiId=api) == "AccessDeniedException"
    assert error_code(reader.delete_stage, restApiId=api, stageName="dev") == "AccessDeniedException"


def test_what_is_lacking_is_refused_by_name(rest):
    gw = rest.gw
    api, root = rest.create()
    place = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
    gw.put_method(**place, authorizationType="NONE")
    calls = [
        (gw.create_vpc_link, dict(name="x", targetArns=["arn:aws:elasticloadbalancing:us-east-1:0:loadbalancer/net/x/y"])),
        (gw.generate_client_certificate, {}),
        (gw.put_integration, {**place, "type": "HTTP", "uri": "http://a.example", "integrationHttpMethod": "GET", "connectionType": "VPC_LINK", "connectionId": "x"}),
    ]
    for call, arguments in calls:
        code, sentence = refused(call, **arguments)
        assert code == "NotImplemented" and "pileus does not" in sentence


@pytest.mark.parametrize("path", ["/restapis/x/resources/y/methods/GET"])
def test_the_cli_reads_what_it_made(rest, path):
    made = json.loads(rest.node.aws("apigateway", "create-rest-api", "--name", "cli").stdout)
    listed = json.loads(rest.node.aws("apigateway", "get-rest-apis").stdout)["items"]
    assert made["id"] in {row["id"] for row in listed}
