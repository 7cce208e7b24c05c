"""What hangs on functions of Lambda: policies, concurrency, asynchronous settings, event sources, URLs; and who may do what."""

import json

import pytest

from test_lambda_made import allow, functions, package, refused  # noqa: F401


def test_permissions_are_statements_that_are_enforced(node, functions):
    lambda_, name = functions.lambda_, functions.create()
    stranger = node.client("lambda", key="111111111111")
    dry = {"FunctionName": functions.arn(name), "InvocationType": "DryRun"}
    assert refused(stranger.invoke, **dry)[0] == "AccessDeniedException"
    grant = {"FunctionName": name, "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "111111111111"}
    statement = json.loads(lambda_.add_permission(**grant)["Statement"])
    assert statement == {
        "Sid": "s",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
        "Action": "lambda:InvokeFunction",
        "Resource": functions.arn(name),
    }
    assert stranger.invoke(**dry)["StatusCode"] == 204
    code, message = refused(lambda_.add_permission, **grant)
    assert code == "ResourceConflictException" and message.startswith("The statement id (s) provided already exists.")
    policy = lambda_.get_policy(FunctionName=name)
    assert json.loads(policy["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    service = {**grant, "StatementId": "t", "Principal": "s3.amazonaws.com", "SourceArn": "arn:aws:s3:::b", "SourceAccount": "111111111111"}
    added = json.loads(lambda_.add_permission(**service)["Statement"])
    assert added["Condition"] == {"StringEquals": {"AWS:SourceAccount": "111111111111"}, "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"}}
    assert refused(lambda_.add_permission, **{**grant, "StatementId": "u", "Principal": "nobody"}) == (
        "InvalidParameterValueException",
        "The provided principal was invalid. Please check the principal and try again.",
    )
    stale = refused(lambda_.remove_permission, FunctionName=name, StatementId="s", RevisionId=policy["RevisionId"])
    assert stale[0] == "PreconditionFailedException"
    lambda_.remove_permission(FunctionName=name, StatementId="s")
    assert refused(stranger.invoke, **dry)[0] == "AccessDeniedException"
    lambda_.remove_permission(FunctionName=name, StatementId="t")
    assert refused(lambda_.get_policy, FunctionName=name) == ("ResourceNotFoundException", "The resource you requested does not exist.")
    assert refused(lambda_.remove_permission, FunctionName=name, StatementId="s") == (
        "ResourceNotFoundException",
        "No policy is associated with the given resource.",
    )


def test_a_policy_of_an_alias_opens_that_alias_alone(node, functions):
    lambda_, name = functions.lambda_, functions.create(Publish=True)
    lambda_.create_alias(FunctionName=name, Name="prod", FunctionVersion="1")
    grant = {"FunctionName": name, "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "111111111111"}
    lambda_.add_permission(**grant, Qualifier="prod")
    stranger = node.client("lambda", key="111111111111")
    invoke = lambda arn: stranger.invoke(FunctionName=arn, InvocationType="DryRun")
    assert invoke(functions.arn(name, "prod"))["StatusCode"] == 204
    assert refused(invoke, functions.arn(name))[0] == "AccessDeniedException"
    assert refused(invoke, functions.arn(name, "1"))[0] == "AccessDeniedException"
    assert refused(lambda_.add_permission, **grant, Qualifier="$LATEST")[0] == "InvalidParameterValueException"
    assert refused(lambda_.add_permission, **grant, Qualifier="none")[0] == "ResourceNotFoundException"


def test_reserved_and_provisioned_concurrency_are_carved_out_of_a_thousand(functions):
    lambda_, name = functions.lambda_, functions.create(Publish=True)
    assert "ReservedConcurrentExecutions" not in lambda_.get_function_concurrency(FunctionName=name)
    lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
    assert lambda_.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 5
    assert lambda_.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    settings = lambda_.get_account_settings()
    assert settings["AccountLimit"]["ConcurrentExecutions"] == 1_000
    assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 995
    assert settings["AccountUsage"]["FunctionCount"] >= 1
    too_much = refused(lambda_.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=901)
    assert too_much == (
        "InvalidParameterValueException",
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].",
    )
    on = {"FunctionName": name, "Qualifier": "1"}
    missing = ("ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function")
    assert refused(lambda_.get_provisioned_concurrency_config, **on) == missing
    assert refused(lambda_.put_provisioned_concurrency_config, **on, ProvisionedConcurrentExecutions=6) == (
        "InvalidParameterValueException",
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
    )
    put = lambda_.put_provisioned_concurrency_config(**on, ProvisionedConcurrentExecutions=2)
    assert (put["Status"], put["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 2)
    assert refused(lambda_.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=1) == (
        "InvalidParameterValueException",
        " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2].",
    )
    listed = lambda_.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert [(item["FunctionArn"], item["RequestedProvisionedConcurrentExecutions"]) for item in listed] == [(functions.arn(name, "1"), 2)]
    lambda_.create_alias(FunctionName=name, Name="prod", FunctionVersion="1")
    twice = refused(lambda_.put_provisioned_concurrency_config, FunctionName=name, Qualifier="prod", ProvisionedConcurrentExecutions=1)
    assert twice[1] == "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
    unpublished = refused(lambda_.put_provisioned_concurrency_config, FunctionName=name, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1)
    assert unpublished[1] == "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    lambda_.delete_provisioned_concurrency_config(**on)
    lambda_.delete_provisioned_concurrency_config(**on)
    assert refused(lambda_.get_provisioned_concurrency_config, **on) == missing
    lambda_.delete_function_concurrency(FunctionName=name)
    assert "ReservedConcurrentExecutions" not in lambda_.get_function_concurrency(FunctionName=name)


def test_a_function_with_no_room_of_its_own_is_throttled(functions):
    name = functions.create()
    functions.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(functions.lambda_.exceptions.TooManyRequestsException) as caught:
        functions.lambda_.invoke(FunctionName=name)
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert answer["Error"]["Message"] == "Rate Exceeded."
    assert answer["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_settings_of_asynchronous_invocations_come_change_and_go(functions):
    lambda_, name, other = functions.lambda_, functions.create(), functions.create()
    none = f"The function {functions.arn(name, '$LATEST')} doesn't have an EventInvokeConfig"
    assert refused(lambda_.get_function_event_invoke_config, FunctionName=name) == ("ResourceNotFoundException", none)
    assert refused(lambda_.put_function_event_invoke_config, FunctionName=name) == (
        "InvalidParameterValueException",
        "You must specify at least one of error handling or destination setting.",
    )
    destinations = {"OnSuccess": {"Destination": functions.arn(other)}}
    put = lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1, DestinationConfig=destinations)
    assert put["DestinationConfig"] == {**destinations, "OnFailure": {}} and put["FunctionArn"] == functions.arn(name, "$LATEST")
    changed = lambda_.update_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60)
    assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]) == (1, 60)
    assert changed["DestinationConfig"]["OnSuccess"] == destinations["OnSuccess"]
    put = lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    assert "MaximumEventAgeInSeconds" not in put and put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
    listed = lambda_.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]
    assert [item["FunctionArn"] for item in listed] == [functions.arn(name, "$LATEST")]

    def said(arn):
        return refused(lambda_.put_function_event_invoke_config, FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn}})

    assert said(functions.arn(name))[1] == "You can't specify the function as a destination for itself."
    missing = functions.arn("none")
    assert said(missing)[1] == f"The destination ARN {missing} is invalid."
    assert said("arn:aws:events:us-east-1:000000000000:event-bus/b")[0] == "NotImplemented"
    assert refused(lambda_.put_function_event_invoke_config, FunctionName="none", MaximumRetryAttempts=0)[1] == "The function doesn't exist."
    lambda_.delete_function_event_invoke_config(FunctionName=name)
    assert refused(lambda_.delete_function_event_invoke_config, FunctionName=name)[1] == none


def test_a_dead_letter_queue_needs_a_role_that_may_send_to_it(functions):
    _, queue = functions.queue()
    bare = functions.create(Role=functions.role())
    config = {"DeadLetterConfig": {"TargetArn": queue}}
    assert refused(functions.lambda_.update_function_configuration, FunctionName=bare, **config) == (
        "InvalidParameterValueException",
        "The provided execution role does not have permissions to call SendMessage on SQS",
    )
    able = functions.create(Role=functions.role(allow("sqs:SendMessage", queue)))
    assert config.items() <= functions.lambda_.update_function_configuration(FunctionName=able, **config).items()
    assert "DeadLetterConfig" not in functions.lambda_.update_function_configuration(FunctionName=able, DeadLetterConfig={"TargetArn": ""})


def test_event_source_mappings_are_checked_changed_listed_and_deleted(functions):
    lambda_, name = functions.lambda_, functions.create(Timeout=10)
    url, queue = functions.queue()
    made = lambda_.create_event_source_mapping(FunctionName=name, EventSourceArn=queue, Enabled=False)
    uuid = made["UUID"]
    assert (made["BatchSize"], made["MaximumBatchingWindowInSeconds"], made["State"]) == (10, 0, "Disabled")
    assert made["FunctionArn"] == functions.arn(name) and made["FunctionResponseTypes"] == []
    code, message = refused(lambda_.create_event_source_mapping, FunctionName=name, EventSourceArn=queue)
    assert code == "ResourceConflictException"
    assert message == (
        f'An event source mapping with SQS arn (" {queue} ") and function (" {name} ") already exists. '
        f"Please update or delete the existing mapping with UUID {uuid}"
    )
    filters = {"Filters": [{"Pattern": '{"body": ["x"]}'}]}
    changed = lambda_.update_event_source_mapping(UUID=uuid, BatchSize=5, FilterCriteria=filters, ScalingConfig={"MaximumConcurrency": 2})
    assert (changed["BatchSize"], changed["FilterCriteria"], changed["ScalingConfig"]) == (5, filters, {"MaximumConcurrency": 2})
    assert lambda_.get_event_source_mapping(UUID=uuid)["State"] == "Disabled"
    listed = lambda **by: [mapping["UUID"] for mapping in lambda_.list_event_source_mappings(**by)["EventSourceMappings"]]
    assert listed(FunctionName=name) == listed(EventSourceArn=queue) == [uuid]
    lambda_.tag_resource(Resource=made["EventSourceMappingArn"], Tags={"a": "1"})
    assert lambda_.list_tags(Resource=made["EventSourceMappingArn"])["Tags"] == {"a": "1"}

    def said(**changes):
        _, other = functions.queue()
        return refused(lambda_.create_event_source_mapping, **{"FunctionName": name, "EventSourceArn": other, **changes})

    window = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
    assert said(BatchSize=11) == ("InvalidParameterValueException", window)
    assert said(FilterCriteria={"Filters": [{"Pattern": "{"}]})[1] == "Invalid filter pattern definition."
    assert said(FunctionName="none")[1] == "Function does not exist"
    assert said(EventSourceArn="arn:aws:iam:us-east-1:000000000000:x")[1] == "Unrecognized event source."
    gone = said(EventSourceArn="arn:aws:sqs:us-east-1:000000000000:none")[1]
    assert gone.endswith("SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist.")
    _, short = functions.queue(VisibilityTimeout="5")
    assert said(EventSourceArn=short)[1] == "Queue visibility timeout: 5 seconds is less than Function timeout: 10 seconds"
    bare = functions.create(Role=functions.role())
    assert said(FunctionName=bare)[1] == "The provided execution role does not have permissions to call ReceiveMessage on SQS"
    assert lambda_.delete_event_source_mapping(UUID=uuid)["State"] == "Deleting"
    missing = ("ResourceNotFoundException", "The resource you requested does not exist.")
    assert refused(lambda_.get_event_source_mapping, UUID=uuid) == missing
    assert refused(lambda_.update_event_source_mapping, UUID=uuid, BatchSize=1) == missing
    assert refused(lambda_.delete_event_source_mapping, UUID=uuid) == missing


def test_function_urls_are_configured_per_function_and_alias(functions):
    lambda_, name = functions.lambda_, functions.create(Publish=True)
    missing = ("ResourceNotFoundException", "The resource you requested does not exist.")
    assert refused(lambda_.get_function_url_config, FunctionName=name) == missing
    made = lambda_.create_function_url_config(FunctionName=name, AuthType="NONE", Cors={"AllowOrigins": ["*"]})
    assert (made["AuthType"], made["InvokeMode"], made["Cors"]) == ("NONE", "BUFFERED", {"AllowOrigins": ["*"]})
    assert ".lambda-url.us-east-1." in made["FunctionUrl"] and made["FunctionArn"] == functions.arn(name)
    code, message = refused(lambda_.create_function_url_config, FunctionName=name, AuthType="NONE")
    assert code == "ResourceConflictException"
    assert message == f"Failed to create function url config for [functionArn = {functions.arn(name)}]. Error message:  FunctionUrlConfig exists for this Lambda function"
    changed = lambda_.update_function_url_config(FunctionName=name, AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM")
    assert (changed["AuthType"], changed["InvokeMode"], changed["Cors"]) == ("AWS_IAM", "RESPONSE_STREAM", {"AllowOrigins": ["*"]})
    lambda_.create_alias(FunctionName=name, Name="prod", FunctionVersion="1")
    lambda_.create_function_url_config(FunctionName=name, Qualifier="prod", AuthType="NONE")
    listed = lambda_.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    assert [item["FunctionArn"] for item in listed] == [functions.arn(name), functions.arn(name, "prod")]
    assert lambda_.get_function_url_config(FunctionName=name)["FunctionUrl"] == made["FunctionUrl"]
    lambda_.delete_function_url_config(FunctionName=name)
    assert refused(lambda_.delete_function_url_config, FunctionName=name) == missing
    assert refused(lambda_.update_function_url_config, FunctionName=name, AuthType="NONE") == missing


EVERY = {
    "add_layer_version_permission": {"LayerName": "l", "VersionNumber": 1, "StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"},
    "add_permission": {"FunctionName": "f", "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"},
    "create_alias": {"FunctionName": "f", "Name": "a", "FunctionVersion": "1"},
    "create_event_source_mapping": {"FunctionName": "f", "EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:q"},
    "create_function": {"FunctionName": "f", "Role": "arn:aws:iam::000000000000:role/r", "Code": {"ZipFile": b"PK"}},
    "create_function_url_config": {"FunctionName": "f", "AuthType": "NONE"},
    "delete_alias": {"FunctionName": "f", "Name": "a"},
    "delete_event_source_mapping": {"UUID": "0" * 36},
    "delete_function": {"FunctionName": "f"},
    "delete_function_concurrency": {"FunctionName": "f"},
    "delete_function_event_invoke_config": {"FunctionName": "f"},
    "delete_function_url_config": {"FunctionName": "f"},
    "delete_layer_version": {"LayerName": "l", "VersionNumber": 1},
    "delete_provisioned_concurrency_config": {"FunctionName": "f", "Qualifier": "1"},
    "get_account_settings": {},
    "get_alias": {"FunctionName": "f", "Name": "a"},
    "get_event_source_mapping": {"UUID": "0" * 36},
    "get_function": {"FunctionName": "f"},
    "get_function_code_signing_config": {"FunctionName": "f"},
    "get_function_concurrency": {"FunctionName": "f"},
    "get_function_configuration": {"FunctionName": "f"},
    "get_function_event_invoke_config": {"FunctionName": "f"},
    "get_function_recursion_config": {"FunctionName": "f"},
    "get_function_url_config": {"FunctionName": "f"},
    "get_layer_version": {"LayerName": "l", "VersionNumber": 1},
    "get_layer_version_by_arn": {"Arn": "arn:aws:lambda:us-east-1:000000000000:layer:l:1"},
    "get_layer_version_policy": {"LayerName": "l", "VersionNumber": 1},
    "get_policy": {"FunctionName": "f"},
    "get_provisioned_concurrency_config": {"FunctionName": "f", "Qualifier": "1"},
    "get_runtime_management_config": {"FunctionName": "f"},
    "invoke": {"FunctionName": "f"},
    "invoke_async": {"FunctionName": "f", "InvokeArgs": b"{}"},
    "invoke_with_response_stream": {"FunctionName": "f"},
    "list_aliases": {"FunctionName": "f"},
    "list_event_source_mappings": {},
    "list_function_event_invoke_configs": {"FunctionName": "f"},
    "list_function_url_configs": {"FunctionName": "f"},
    "list_functions": {},
    "list_layer_versions": {"LayerName": "l"},
    "list_layers": {},
    "list_provisioned_concurrency_configs": {"FunctionName": "f"},
    "list_tags": {"Resource": "arn:aws:lambda:us-east-1:000000000000:function:f"},
    "list_versions_by_function": {"FunctionName": "f"},
    "publish_layer_version": {"LayerName": "l", "Content": {"ZipFile": b"PK"}},
    "publish_version": {"FunctionName": "f"},
    "put_function_concurrency": {"FunctionName": "f", "ReservedConcurrentExecutions": 1},
    "put_function_event_invoke_config": {"FunctionName": "f", "MaximumRetryAttempts": 1},
    "put_function_recursion_config": {"FunctionName": "f", "RecursiveLoop": "Allow"},
    "put_provisioned_concurrency_config": {"FunctionName": "f", "Qualifier": "1", "ProvisionedConcurrentExecutions": 1},
    "put_runtime_management_config": {"FunctionName": "f", "UpdateRuntimeOn": "Auto"},
    "remove_layer_version_permission": {"LayerName": "l", "VersionNumber": 1, "StatementId": "s"},
    "remove_permission": {"FunctionName": "f", "StatementId": "s"},
    "tag_resource": {"Resource": "arn:aws:lambda:us-east-1:000000000000:function:f", "Tags": {"a": "1"}},
    "untag_resource": {"Resource": "arn:aws:lambda:us-east-1:000000000000:function:f", "TagKeys": ["a"]},
    "update_alias": {"FunctionName": "f", "Name": "a"},
    "update_event_source_mapping": {"UUID": "0" * 36},
    "update_function_code": {"FunctionName": "f", "ZipFile": b"PK"},
    "update_function_configuration": {"FunctionName": "f"},
    "update_function_event_invoke_config": {"FunctionName": "f"},
    "update_function_url_config": {"FunctionName": "f"},
}


def test_a_caller_without_permissions_is_denied_every_operation(denied):
    lambda_ = denied("lambda")
    for operation, arguments in EVERY.items():
        assert refused(getattr(lambda_, operation), **arguments)[0] == "AccessDeniedException", operation
