"""Functions of Lambda: their life, configuration, versions, aliases, tags."""

import base64
import hashlib
import json

import pytest

from test_lambda_made import ECHO, Functions, allow, functions, package, refused  # noqa: F401


def test_a_function_is_created_read_updated_and_deleted(functions):
    lambda_, name, role = functions.lambda_, functions.name("fn"), functions.role()
    code = package()
    made = lambda_.create_function(
        FunctionName=name, Runtime="python3.12", Handler="index.handler", Role=role, Code={"ZipFile": code}, Tags={"a": "1"},
        Environment={"Variables": {"TABLE": "t"}}, MemorySize=256, Timeout=5, Description="d",
    )
    sha = base64.b64encode(hashlib.sha256(code).digest()).decode()
    expected = {
        "FunctionName": name,
        "FunctionArn": functions.arn(name),
        "Runtime": "python3.12",
        "Role": role,
        "Handler": "index.handler",
        "CodeSize": len(code),
        "CodeSha256": sha,
        "Description": "d",
        "Timeout": 5,
        "MemorySize": 256,
        "Version": "$LATEST",
        "Environment": {"Variables": {"TABLE": "t"}},
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }
    assert expected.items() <= made.items()
    lambda_.get_waiter("function_active_v2").wait(FunctionName=name)
    got = lambda_.get_function(FunctionName=name)
    assert got["Tags"] == {"a": "1"} and "Concurrency" not in got
    assert got["Configuration"]["State"] == "Active" and got["Configuration"]["LastUpdateStatus"] == "Successful"
    changed = lambda_.update_function_configuration(FunctionName=name, Timeout=6, Environment={"Variables": {}})
    assert (changed["Timeout"], changed["MemorySize"], changed["LastUpdateStatus"]) == (6, 256, "InProgress")
    assert changed["Environment"] == {"Variables": {}} and changed["RevisionId"] != made["RevisionId"]
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
    other = package("def handler(event, context):\n    return 2\n")
    assert lambda_.update_function_code(FunctionName=name, ZipFile=other, DryRun=True)["CodeSha256"] != sha
    assert lambda_.get_function_configuration(FunctionName=name)["CodeSha256"] == sha
    lambda_.update_function_code(FunctionName=name, ZipFile=other)
    assert lambda_.get_function_configuration(FunctionName=name)["CodeSha256"] != sha
    assert name in [f["FunctionName"] for f in lambda_.get_paginator("list_functions").paginate().build_full_result()["Functions"]]
    assert lambda_.delete_function(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    gone = ("ResourceNotFoundException", f"Function not found: {functions.arn(name)}")
    assert refused(lambda_.get_function, FunctionName=name) == gone
    assert refused(lambda_.delete_function, FunctionName=name) == gone
    assert refused(lambda_.invoke, FunctionName=name) == gone


def test_creation_refuses_what_does_not_fit_in_awss_words(functions):
    lambda_, role = functions.lambda_, functions.role()
    taken = functions.create(Role=role)
    good = {"FunctionName": taken + "x", "Runtime": "python3.12", "Handler": "index.handler", "Role": role, "Code": {"ZipFile": package()}}

    def said(**changes):
        arguments = {key: value for key, value in {**good, **changes}.items() if value is not None}
        return refused(lambda_.create_function, **arguments)

    invalid = "InvalidParameterValueException"
    mandatory = "Runtime and Handler are mandatory parameters for functions created with deployment packages."
    assert said(FunctionName=taken) == ("ResourceConflictException", f"Function already exist: {taken}")
    assert said(Handler=None) == said(Runtime=None) == (invalid, mandatory)
    assert said(Code={"ZipFile": b""}) == (invalid, "Uploaded file must be a non-empty zip")
    unreadable = "Could not unzip uploaded file. Please check your file, then try to upload again."
    assert said(Code={"ZipFile": b"PK"}) == (invalid, unreadable)
    cannot = "The role defined for the function cannot be assumed by Lambda."
    assert said(Role="arn:aws:iam::000000000000:role/none") == (invalid, cannot)
    assert said(Role=functions.role(trusts="ec2.amazonaws.com")) == (invalid, cannot)
    code, message = said(Environment={"Variables": {"AWS_REGION": "x"}})
    assert code == invalid and message.endswith("Reserved keys used in this request: AWS_REGION")
    code, message = said(Environment={"Variables": {"AA": "x" * 4_100}})
    assert code == invalid and "exceeded the 4KB limit" in message
    assert said(Layers=["arn:aws:lambda:us-east-1:000000000000:layer:none:1"])[0] == invalid
    assert said(FunctionName="f" * 65)[0] == "ValidationException"
    for what, changes in {
        "VpcConfig": {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}},
        "KMSKeyArn": {"KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k"},
        "X-Ray": {"TracingConfig": {"Mode": "Active"}},
        "SourceKMSKeyArn": {"Code": {"ZipFile": package(), "SourceKMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k"}},
    }.items():
        code, message = said(**changes)
        assert code == "NotImplemented" and what in message, (what, code, message)


@pytest.mark.parametrize(
    "setting, good, bad",
    [
        ("MemorySize", (128, 129, 10_240), (127, 10_241)),
        ("Timeout", (1, 900), (0, 901)),
        ("EphemeralStorage", (512, 10_240), (511, 10_241)),
    ],
)
def test_sizes_are_bounded_as_the_rows_lam_19_22_and_24_say(node, functions, setting, good, bad):
    name = functions.create()
    lambda_ = node.client("lambda", parameter_validation=False)
    given = lambda value: {setting: {"Size": value} if setting == "EphemeralStorage" else value}
    for value in good:
        assert given(value).items() <= lambda_.update_function_configuration(FunctionName=name, **given(value)).items()
    for value in bad:
        code, message = refused(lambda_.update_function_configuration, FunctionName=name, **given(value))
        assert code == "ValidationException" and "Member must have value" in message and f"'{value}'" in message


def test_a_package_may_unpack_to_250_mb_and_no_more_with_its_layers(functions):
    lambda_ = functions.lambda_
    size = 262_144_000
    zeros = {"big": b"\0" * (size - 10), "index.py": "pass"}
    name = functions.create(zeros)
    code, message = refused(functions.create, {**zeros, "more": b"\0" * 10})
    assert (code, message) == ("InvalidParameterValueException", f"Unzipped size must be smaller than {size} bytes")
    layer = lambda_.publish_layer_version(LayerName=functions.name("layer"), Content={"ZipFile": package({"x": "12345678"})})
    code, message = refused(lambda_.update_function_configuration, FunctionName=name, Layers=[layer["LayerVersionArn"]])
    assert code == "InvalidParameterValueException" and f"maximum allowed size of {size} bytes" in message


def test_versions_stay_as_they_were_published(functions):
    lambda_, name = functions.lambda_, functions.create()
    first = lambda_.publish_version(FunctionName=name, Description="one")
    assert (first["Version"], first["FunctionArn"], first["Description"]) == ("1", functions.arn(name, "1"), "one")
    assert lambda_.publish_version(FunctionName=name)["Version"] == "1", "nothing has changed"
    sha = lambda_.update_function_code(FunctionName=name, ZipFile=package("x = 1"))["CodeSha256"]
    wrong = refused(lambda_.publish_version, FunctionName=name, CodeSha256=first["CodeSha256"])
    assert wrong[0] == "InvalidParameterValueException" and sha in wrong[1]
    assert refused(lambda_.publish_version, FunctionName=name, RevisionId=first["RevisionId"])[0] == "PreconditionFailedException"
    assert lambda_.publish_version(FunctionName=name)["Version"] == "2"
    lambda_.update_function_code(FunctionName=name, ZipFile=package("x = 1"))
    assert lambda_.publish_version(FunctionName=name)["Version"] == "2", "the same code again"
    assert lambda_.get_function(FunctionName=f"{name}:1")["Configuration"]["CodeSha256"] == first["CodeSha256"]
    listed = lambda_.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST", "1", "2"]
    page = lambda_.list_versions_by_function(FunctionName=name, MaxItems=2)
    rest = lambda_.list_versions_by_function(FunctionName=name, Marker=page["NextMarker"])
    assert [version["Version"] for version in rest["Versions"]] == ["2"]
    lambda_.create_alias(FunctionName=name, Name="prod", FunctionVersion="1")
    assert refused(lambda_.delete_function, FunctionName=name, Qualifier="1")[0] == "ResourceConflictException"
    assert refused(lambda_.delete_function, FunctionName=name, Qualifier="$LATEST")[0] == "InvalidParameterValueException"
    lambda_.delete_function(FunctionName=name, Qualifier="2")
    assert refused(lambda_.get_function, FunctionName=name, Qualifier="2") == (
        "ResourceNotFoundException",
        f"Function not found: {functions.arn(name, '2')}",
    )
    lambda_.update_function_code(FunctionName=name, ZipFile=package("x = 2"))
    assert lambda_.publish_version(FunctionName=name)["Version"] == "3", "numbers are not used again"
    assert functions.create(Publish=True) and lambda_.get_function(FunctionName=name, Qualifier="prod")["Configuration"]["Version"] == "1"


def test_aliases_come_move_weigh_and_go(functions):
    lambda_, name = functions.lambda_, functions.create(Publish=True)
    lambda_.update_function_code(FunctionName=name, ZipFile=package("x = 1"), Publish=True)
    made = lambda_.create_alias(FunctionName=name, Name="prod", FunctionVersion="1", Description="d")
    assert (made["AliasArn"], made["FunctionVersion"]) == (functions.arn(name, "prod"), "1")
    assert "RoutingConfig" not in made
    exists = ("ResourceConflictException", f"Alias already exists: {functions.arn(name, 'prod')}")
    assert refused(lambda_.create_alias, FunctionName=name, Name="prod", FunctionVersion="1") == exists
    assert refused(lambda_.create_alias, FunctionName=name, Name="x", FunctionVersion="9")[0] == "ResourceNotFoundException"
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    moved = lambda_.update_alias(FunctionName=name, Name="prod", RoutingConfig=weights)
    assert (moved["RoutingConfig"], moved["Description"]) == (weights, "d")
    same = {"AdditionalVersionWeights": {"1": 0.5}}
    assert "already included" in refused(lambda_.update_alias, FunctionName=name, Name="prod", RoutingConfig=same)[1]
    stale = refused(lambda_.update_alias, FunctionName=name, Name="prod", RevisionId=made["RevisionId"])
    assert stale[0] == "PreconditionFailedException"
    assert [alias["Name"] for alias in lambda_.list_aliases(FunctionName=name, FunctionVersion="2")["Aliases"]] == ["prod"]
    assert lambda_.list_aliases(FunctionName=name, FunctionVersion="$LATEST")["Aliases"] == []
    assert lambda_.get_alias(FunctionName=name, Name="prod")["RoutingConfig"] == weights
    lambda_.delete_alias(FunctionName=name, Name="prod")
    lambda_.delete_alias(FunctionName=name, Name="prod")
    missing = ("ResourceNotFoundException", f"Cannot find alias arn: {functions.arn(name, 'prod')}")
    assert refused(lambda_.get_alias, FunctionName=name, Name="prod") == missing


def test_tags_are_of_functions_only(functions):
    lambda_, name = functions.lambda_, functions.create()
    arn = functions.arn(name)
    assert lambda_.list_tags(Resource=arn)["Tags"] == {}
    lambda_.tag_resource(Resource=arn, Tags={"a": "1", "b": "2"})
    lambda_.untag_resource(Resource=arn, TagKeys=["a"])
    assert lambda_.list_tags(Resource=arn)["Tags"] == {"b": "2"}
    assert lambda_.get_function(FunctionName=name)["Tags"] == {"b": "2"}
    many = {f"k{n}": "" for n in range(50)}
    limit = ("InvalidParameterValueException", "Number of tags exceeds resource tag limit.")
    assert refused(lambda_.tag_resource, Resource=arn, Tags=many) == limit
    assert refused(lambda_.list_tags, Resource=arn + ":1")[0] == "InvalidParameterValueException"
    assert refused(lambda_.list_tags, Resource=arn + "x")[0] == "ResourceNotFoundException"


def test_layers_are_numbered_listed_filtered_attached_and_deleted(functions):
    lambda_, layer = functions.lambda_, functions.name("layer")
    content = {"ZipFile": package({"python/one.py": "x = 1"})}
    publish = lambda **more: lambda_.publish_layer_version(LayerName=layer, Content=content, **more)
    one = publish(CompatibleRuntimes=["python3.12"], CompatibleArchitectures=["x86_64"], LicenseInfo="MIT", Description="d")
    two = publish(CompatibleRuntimes=["nodejs22.x"])
    assert (one["Version"], two["Version"]) == (1, 2)
    arn = f"arn:aws:lambda:us-east-1:000000000000:layer:{layer}"
    assert (one["LayerArn"], one["LayerVersionArn"]) == (arn, f"{arn}:1")
    assert one["Content"]["CodeSize"] == len(content["ZipFile"]) and one["LicenseInfo"] == "MIT"
    got = lambda_.get_layer_version(LayerName=layer, VersionNumber=1)
    assert got["CompatibleRuntimes"] == ["python3.12"] and got["Content"]["CodeSha256"] == one["Content"]["CodeSha256"]
    assert lambda_.get_layer_version_by_arn(Arn=f"{arn}:2")["Version"] == 2
    versions = lambda **more: [v["Version"] for v in lambda_.list_layer_versions(LayerName=layer, **more)["LayerVersions"]]
    assert (versions(), versions(CompatibleRuntime="python3.12")) == ([2, 1], [1])
    latest = {item["LayerName"]: item["LatestMatchingVersion"]["Version"] for item in lambda_.list_layers(CompatibleRuntime="python3.12")["Layers"]}
    assert latest[layer] == 1
    name = functions.create(Layers=[f"{arn}:1"])
    used = lambda_.get_function_configuration(FunctionName=name)["Layers"]
    assert used == [{"Arn": f"{arn}:1", "CodeSize": len(content["ZipFile"])}]
    code, message = refused(lambda_.update_function_configuration, FunctionName=name, Layers=[f"{arn}:1", f"{arn}:2"])
    assert code == "InvalidParameterValueException" and message.startswith("Two different versions of the same layer")
    lambda_.delete_layer_version(LayerName=layer, VersionNumber=1)
    lambda_.delete_layer_version(LayerName=layer, VersionNumber=1)
    assert refused(lambda_.get_layer_version, LayerName=layer, VersionNumber=1)[0] == "ResourceNotFoundException"
    below = ("InvalidParameterValueException", "Layer Version Cannot be less than 1.")
    assert refused(lambda_.get_layer_version, LayerName=layer, VersionNumber=0) == below
    assert publish()["Version"] == 3


def test_a_layer_is_open_to_those_whom_its_policy_names(node, functions):
    lambda_, layer = functions.lambda_, functions.name("layer")
    lambda_.publish_layer_version(LayerName=layer, Content={"ZipFile": package()})
    on = {"LayerName": layer, "VersionNumber": 1}
    none = ("ResourceNotFoundException", "No policy is associated with the given resource.")
    assert refused(lambda_.get_layer_version_policy, **on) == none
    stranger = node.client("lambda", key="111111111111")
    arn = f"arn:aws:lambda:us-east-1:000000000000:layer:{layer}"
    assert refused(stranger.get_layer_version_by_arn, Arn=f"{arn}:1")[0] == "AccessDeniedException"
    grant = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "111111111111"}
    added = lambda_.add_layer_version_permission(**on, **grant)
    assert json.loads(added["Statement"])["Principal"] == {"AWS": "arn:aws:iam::111111111111:root"}
    assert refused(lambda_.add_layer_version_permission, **on, **grant)[0] == "ResourceConflictException"
    assert stranger.get_layer_version_by_arn(Arn=f"{arn}:1")["Version"] == 1
    policy = json.loads(lambda_.get_layer_version_policy(**on)["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == ["s"]
    lambda_.remove_layer_version_permission(**on, StatementId="s")
    assert refused(stranger.get_layer_version_by_arn, Arn=f"{arn}:1")[0] == "AccessDeniedException"
    assert refused(lambda_.remove_layer_version_permission, **on, StatementId="s") == none


def test_runtime_management_recursion_and_code_signing_are_shown(functions):
    lambda_, name = functions.lambda_, functions.create()
    assert lambda_.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "Auto"
    lambda_.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="FunctionUpdate")
    assert lambda_.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "FunctionUpdate"
    assert refused(lambda_.put_runtime_management_config, FunctionName=name, UpdateRuntimeOn="Manual")[0] == "InvalidParameterValueException"
    assert lambda_.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    lambda_.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    assert lambda_.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    assert lambda_.get_function_code_signing_config(FunctionName=name)["FunctionName"] == name
    for call in (lambda_.get_runtime_management_config, lambda_.get_function_recursion_config, lambda_.get_function_code_signing_config):
        assert refused(call, FunctionName=name + "x")[0] == "ResourceNotFoundException"


def test_a_caller_who_may_not_pass_the_role_makes_no_function(node, functions):
    iam, role, user = functions.iam, functions.role(), functions.name("user")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    lambda_ = node.client("lambda", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    policy = lambda *allowed: iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": list(allowed)}))
    create = {"FunctionName": functions.name("fn"), "Runtime": "python3.12", "Handler": "index.handler", "Role": role, "Code": {"ZipFile": package()}}
    policy(allow("lambda:*"))
    code, message = refused(lambda_.create_function, **create)
    assert code == "AccessDeniedException" and "iam:PassRole" in message
    policy(allow("lambda:*"), allow("iam:PassRole", role))
    lambda_.create_function(**create)
