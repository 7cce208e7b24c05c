"""Managed and inline policies, AWS's own, the simulators, reports about the account."""

import csv
import io
import json

import pytest
from botocore.exceptions import ClientError
from test_iam_principals import ALLOW_SQS, TRUST, fails

ACCOUNT = "000000000000"
DENY = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "sqs:*", "Resource": "*"}})


@pytest.fixture
def iam(client):
    return client("iam")


def test_a_managed_policy_and_its_versions(iam, name):
    policy = name("policy")
    made = iam.create_policy(PolicyName=policy, Path="/p/", PolicyDocument=ALLOW_SQS, Description="d")["Policy"]
    arn = made["Arn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/p/{policy}" and made["PolicyId"].startswith("ANPA")
    assert (made["DefaultVersionId"], made["AttachmentCount"], made["IsAttachable"]) == ("v1", 0, True)
    got = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (got["Description"], got["Tags"]) == ("d", [])
    message = f"A policy called {policy} already exists. Duplicate names are not allowed."
    fails(iam.create_policy, "EntityAlreadyExists", message, 409, PolicyName=policy, PolicyDocument=ALLOW_SQS)

    version = iam.create_policy_version(PolicyArn=arn, PolicyDocument=DENY, SetAsDefault=True)["PolicyVersion"]
    assert (version["VersionId"], version["IsDefaultVersion"]) == ("v2", True)
    for _ in range(3):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=DENY)
    message = (
        "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."
    )
    fails(iam.create_policy_version, "LimitExceeded", message, 409, PolicyArn=arn, PolicyDocument=DENY)
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [v["VersionId"] for v in versions] == ["v5", "v4", "v3", "v2", "v1"]
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"] == json.loads(ALLOW_SQS)
    fails(iam.delete_policy_version, "DeleteConflict", "Cannot delete the default version of a policy.", 409, PolicyArn=arn, VersionId="v2")
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    iam.delete_policy_version(PolicyArn=arn, VersionId="v5")
    assert iam.create_policy_version(PolicyArn=arn, PolicyDocument=DENY)["PolicyVersion"]["VersionId"] == "v6"
    message = f"Policy {arn} version v9 does not exist or is not attachable."
    for call in [iam.get_policy_version, iam.delete_policy_version, iam.set_default_policy_version]:
        fails(call, "NoSuchEntity", message, 404, PolicyArn=arn, VersionId="v9")
    with pytest.raises(ClientError, match="more than one version"):
        iam.delete_policy(PolicyArn=arn)
    for version in ["v2", "v3", "v4", "v6"]:
        iam.delete_policy_version(PolicyArn=arn, VersionId=version)
    iam.delete_policy(PolicyArn=arn)
    fails(iam.get_policy, "NoSuchEntity", f"Policy {arn} was not found.", 404, PolicyArn=arn)


def test_documents_that_are_no_policies(iam, name):
    for document in ["{", "{}", '{"Version":"2012-10-17","Statement":[{"Effect":"Maybe","Action":"*","Resource":"*"}]}']:
        with pytest.raises(ClientError) as caught:
            iam.create_policy(PolicyName=name("p"), PolicyDocument=document)
        assert caught.value.response["Error"]["Code"] == "MalformedPolicyDocument"
    big = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": "x" * 6200}}
    big["Statement"]["Resource"] = "arn:aws:sqs:us-east-1:000000000000:" + "x" * 6200
    message = "Cannot exceed quota for PolicySize: 6144"
    fails(iam.create_policy, "LimitExceeded", message, 409, PolicyName=name("p"), PolicyDocument=json.dumps(big))
    user = name("user")
    iam.create_user(UserName=user)
    message = f"Maximum policy size of 2048 bytes exceeded for user {user}"
    fails(iam.put_user_policy, "LimitExceeded", message, 409, UserName=user, PolicyName="p", PolicyDocument=json.dumps(big))


@pytest.mark.parametrize("kind", ["user", "group", "role"])
def test_attached_and_inline_policies(iam, name, kind):
    holder, policy = name(kind), name("policy")
    arn = iam.create_policy(PolicyName=policy, PolicyDocument=ALLOW_SQS)["Policy"]["Arn"]
    extra = {"AssumeRolePolicyDocument": TRUST} if kind == "role" else {}
    named = {f"{kind.title()}Name": holder}
    getattr(iam, f"create_{kind}")(**named, **extra)
    attach, detach = getattr(iam, f"attach_{kind}_policy"), getattr(iam, f"detach_{kind}_policy")
    attached = getattr(iam, f"list_attached_{kind}_policies")
    attach(**named, PolicyArn=arn)
    attach(**named, PolicyArn=arn)
    assert attached(**named)["AttachedPolicies"] == [{"PolicyName": policy, "PolicyArn": arn}]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    entities = iam.list_entities_for_policy(PolicyArn=arn, EntityFilter=kind.title())
    assert entities[f"Policy{kind.title()}s"][0][f"{kind.title()}Name"] == holder
    fails(iam.delete_policy, "DeleteConflict", "Cannot delete a policy attached to entities.", 409, PolicyArn=arn)
    fails(attach, "ValidationError", "ARN longpolicynamebutnoarn is not valid.", 400, **named, PolicyArn="longpolicynamebutnoarn")
    absent = arn + "x"
    fails(attach, "NoSuchEntity", f"Policy {absent} does not exist or is not attachable.", 404, **named, PolicyArn=absent)
    detach(**named, PolicyArn=arn)
    fails(detach, "NoSuchEntity", f"Policy {arn} was not found.", 404, **named, PolicyArn=arn)

    getattr(iam, f"put_{kind}_policy")(**named, PolicyName="in", PolicyDocument=ALLOW_SQS)
    got = getattr(iam, f"get_{kind}_policy")(**named, PolicyName="in")
    assert got["PolicyDocument"] == json.loads(ALLOW_SQS) and got[f"{kind.title()}Name"] == holder
    assert getattr(iam, f"list_{kind}_policies")(**named)["PolicyNames"] == ["in"]
    getattr(iam, f"delete_{kind}_policy")(**named, PolicyName="in")
    message = f"The {kind} policy with name in cannot be found."
    fails(getattr(iam, f"get_{kind}_policy"), "NoSuchEntity", message, 404, **named, PolicyName="in")
    fails(getattr(iam, f"delete_{kind}_policy"), "NoSuchEntity", message, 404, **named, PolicyName="in")

    names = [p["Arn"] for p in iam.list_policies(Scope="AWS", MaxItems=11)["Policies"] if "/aws-service-role/" not in p["Arn"]]
    page = iam.get_paginator("list_policies").paginate(Scope="AWS")
    usable = [p["Arn"] for answer in page for p in answer["Policies"] if p["Path"] != "/aws-service-role/"]
    assert set(names) <= set(usable)
    for policy_arn in usable[:10]:
        attach(**named, PolicyArn=policy_arn)
    message = f"Cannot exceed quota for PoliciesPer{kind.title()}: 10"
    fails(attach, "LimitExceeded", message, 409, **named, PolicyArn=usable[10])


def test_policies_that_aws_manages(iam):
    for arn in [
        "arn:aws:iam::aws:policy/AmazonS3FullAccess",
        "arn:aws:iam::aws:policy/AdministratorAccess",
        "arn:aws:iam::aws:policy/AmazonElasticFileSystemClientReadWriteAccess",
        "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole",
        "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    ]:
        policy = iam.get_policy(PolicyArn=arn)["Policy"]
        assert policy["Arn"] == arn and policy["IsAttachable"]
        version = iam.get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
        assert version["Document"]["Statement"] and version["IsDefaultVersion"]
    with pytest.raises(ClientError):
        iam.delete_policy(PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")


def test_tags_of_policies_keep_letter_case(iam, name):
    arn = iam.create_policy(PolicyName=name("p"), PolicyDocument=ALLOW_SQS, Tags=[{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}])["Policy"]["Arn"]
    assert [t["Key"] for t in iam.list_policy_tags(PolicyArn=arn)["Tags"]] == ["A", "a"]
    iam.tag_policy(PolicyArn=arn, Tags=[{"Key": "a", "Value": "3"}])
    iam.untag_policy(PolicyArn=arn, TagKeys=["A"])
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == [{"Key": "a", "Value": "3"}]
    tags = [{"Key": "a", "Value": ""}, {"Key": "a", "Value": ""}]
    fails(iam.tag_policy, "InvalidInput", "Duplicate tag keys found.", 400, PolicyArn=arn, Tags=tags)


def test_local_policies_are_listed_by_scope_and_use(node, name):
    iam = node.client("iam", key="121212121212")
    used = iam.create_policy(PolicyName="used", PolicyDocument=ALLOW_SQS)["Policy"]["Arn"]
    iam.create_policy(PolicyName="unused", PolicyDocument=ALLOW_SQS)
    iam.create_user(UserName="u")
    iam.attach_user_policy(UserName="u", PolicyArn=used)
    listed = lambda **more: [p["PolicyName"] for p in iam.list_policies(Scope="Local", **more)["Policies"]]
    assert listed() == ["unused", "used"]
    assert listed(OnlyAttached=True) == ["used"]
    assert listed(PolicyUsageFilter="PermissionsBoundary") == []


def decisions(answer):
    return [(r["EvalActionName"], r["EvalResourceName"], r["EvalDecision"]) for r in answer["EvaluationResults"]]


def test_custom_policies_are_simulated(iam):
    document = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "sqs:*", "Resource": "*", "Condition": {"StringEquals": {"aws:RequestTag/t": "x"}}},
                {"Effect": "Deny", "Action": "sqs:DeleteQueue", "Resource": "*"},
            ],
        }
    )
    queue = "arn:aws:sqs:us-east-1:000000000000:q"
    actions = ["sqs:SendMessage", "sqs:DeleteQueue"]
    answer = iam.simulate_custom_policy(PolicyInputList=[document], ActionNames=actions, ResourceArns=[queue])
    assert decisions(answer) == [("sqs:SendMessage", queue, "implicitDeny"), ("sqs:DeleteQueue", queue, "explicitDeny")]
    assert answer["EvaluationResults"][0]["MissingContextValues"] == ["aws:RequestTag/t"]
    matched = answer["EvaluationResults"][1]["MatchedStatements"]
    assert [m["SourcePolicyId"] for m in matched] == ["PolicyInputList.1"]
    start, end = matched[0]["StartPosition"], matched[0]["EndPosition"]
    assert json.loads(document[start["Column"] - 1 : end["Column"] - 1])["Effect"] == "Deny"
    entry = {"ContextKeyName": "aws:RequestTag/t", "ContextKeyType": "string", "ContextKeyValues": ["x"]}
    answer = iam.simulate_custom_policy(PolicyInputList=[document], ActionNames=["sqs:SendMessage"], ContextEntries=[entry])
    assert decisions(answer) == [("sqs:SendMessage", "*", "allowed")]
    boundary = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}})
    answer = iam.simulate_custom_policy(
        PolicyInputList=[ALLOW_SQS], PermissionsBoundaryPolicyInputList=[boundary], ActionNames=["sqs:SendMessage"]
    )["EvaluationResults"][0]
    assert answer["EvalDecision"] == "implicitDeny"
    assert answer["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}
    fails(iam.simulate_custom_policy, "InvalidInput", "Invalid Action: nocolon", 400, PolicyInputList=[ALLOW_SQS], ActionNames=["nocolon"])
    keys = iam.get_context_keys_for_custom_policy(PolicyInputList=[document])["ContextKeyNames"]
    assert keys == ["aws:RequestTag/t"]


def test_the_simulator_agrees_with_real_calls(iam, node, name):
    user, group = name("user"), name("group")
    allowed, other = name("queue"), name("queue")
    sqs = node.client("sqs")
    urls = {queue: sqs.create_queue(QueueName=queue)["QueueUrl"] for queue in [allowed, other]}
    arns = {queue: f"arn:aws:sqs:us-east-1:{ACCOUNT}:{queue}" for queue in urls}
    source = iam.create_user(UserName=user)["User"]["Arn"]
    iam.create_group(GroupName=group)
    iam.add_user_to_group(GroupName=group, UserName=user)
    statements = [
        {"Effect": "Allow", "Action": ["sqs:SendMessage", "sqs:GetQueueAttributes"], "Resource": arns[allowed]},
        {"Effect": "Allow", "Action": "sqs:PurgeQueue", "Resource": "*"},
    ]
    iam.put_group_policy(GroupName=group, PolicyName="g", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    deny = {"Effect": "Deny", "Action": "sqs:PurgeQueue", "Resource": arns[allowed]}
    iam.put_user_policy(UserName=user, PolicyName="u", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": deny}))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    own = node.client("sqs", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    calls = {
        "sqs:SendMessage": lambda url: own.send_message(QueueUrl=url, MessageBody="m"),
        "sqs:GetQueueAttributes": lambda url: own.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]),
        "sqs:PurgeQueue": lambda url: own.purge_queue(QueueUrl=url),
        "sqs:DeleteQueue": lambda url: own.delete_queue(QueueUrl=url),
    }
    answer = iam.simulate_principal_policy(PolicySourceArn=source, ActionNames=list(calls), ResourceArns=list(arns.values()))
    seen = set()
    for action, resource, decision in decisions(answer):
        queue = resource.rsplit(":", 1)[1]
        try:
            calls[action](urls[queue])
            assert decision == "allowed", (action, queue)
        except ClientError as error:
            assert "AccessDenied" in error.response["Error"]["Code"]
            assert decision in ("implicitDeny", "explicitDeny"), (action, queue)
        seen.add(decision)
    assert seen == {"allowed", "implicitDeny", "explicitDeny"}
    absent = source + "x"
    with pytest.raises(ClientError) as caught:
        iam.simulate_principal_policy(PolicySourceArn=absent, ActionNames=["sqs:SendMessage"])
    assert caught.value.response["Error"]["Code"] == "NoSuchEntity"
    granting = iam.list_policies_granting_service_access(Arn=source, ServiceNamespaces=["sqs", "s3"])
    granting = {e["ServiceNamespace"]: [p["PolicyName"] for p in e["Policies"]] for e in granting["PoliciesGrantingServiceAccess"]}
    assert granting == {"sqs": ["g"], "s3": []}
    job = iam.generate_service_last_accessed_details(Arn=source)["JobId"]
    details = iam.get_service_last_accessed_details(JobId=job)
    assert details["JobStatus"] == "COMPLETED"
    assert [s["ServiceNamespace"] for s in details["ServicesLastAccessed"]] == ["sqs"]
    assert iam.get_context_keys_for_principal_policy(PolicySourceArn=source)["ContextKeyNames"] == []


def test_authorization_details(node):
    iam = node.client("iam", key="232323232323")
    iam.create_user(UserName="u", Tags=[{"Key": "k", "Value": "v"}])
    iam.create_group(GroupName="g")
    iam.add_user_to_group(GroupName="g", UserName="u")
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    arn = iam.create_policy(PolicyName="p", PolicyDocument=ALLOW_SQS)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="r", PolicyArn=arn)
    iam.attach_role_policy(RoleName="r", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam.put_user_policy(UserName="u", PolicyName="in", PolicyDocument=ALLOW_SQS)
    whole = iam.get_account_authorization_details()
    assert whole["UserDetailList"][0]["GroupList"] == ["g"]
    assert whole["UserDetailList"][0]["UserPolicyList"][0]["PolicyDocument"] == json.loads(ALLOW_SQS)
    assert [p["PolicyName"] for p in whole["RoleDetailList"][0]["AttachedManagedPolicies"]] == ["p", "ReadOnlyAccess"]
    assert [p["PolicyName"] for p in whole["Policies"]] == ["p", "ReadOnlyAccess"]
    only = iam.get_account_authorization_details(Filter=["Role"])
    assert (len(only["RoleDetailList"]), only["UserDetailList"]) == (1, [])
    pages = iam.get_paginator("get_account_authorization_details").paginate(PaginationConfig={"PageSize": 1})
    keys = ["UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"]
    counted = sum(len(page[key]) for page in pages for key in keys)
    assert counted == 5


def test_the_credential_report(node):
    iam = node.client("iam", key="343434343434")
    with pytest.raises(ClientError) as caught:
        iam.get_credential_report()
    assert caught.value.response["Error"]["Code"] == "ReportNotPresent"
    iam.create_user(UserName="u")
    iam.create_access_key(UserName="u")
    assert iam.generate_credential_report()["State"] == "STARTED"
    assert iam.generate_credential_report()["State"] == "COMPLETE"
    report = iam.get_credential_report()
    assert report["ReportFormat"] == "text/csv"
    rows = list(csv.DictReader(io.StringIO(report["Content"].decode())))
    assert [row["user"] for row in rows] == ["<root_account>", "u"]
    assert (rows[1]["access_key_1_active"], rows[1]["access_key_2_active"], rows[1]["mfa_active"]) == ("true", "false", "false")
