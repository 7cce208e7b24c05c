"""Who may call what: every implemented operation denied to a stranger, and the policies that decide."""

import json

import pytest
from botocore.exceptions import ClientError
from test_iam_principals import TRUST

ACCOUNT = "000000000000"
ALLOW_SQS = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}})
# Operations that answer 501 before anybody may do anything with them.
NOT_IMPLEMENTED = {
    "AcceptDelegationRequest", "AcquireRole", "AssociateDelegationRequest", "CreateDelegationRequest",
    "DisableOrganizationsRootCredentialsManagement", "DisableOrganizationsRootSessions",
    "DisableOutboundWebIdentityFederation", "EnableOrganizationsRootCredentialsManagement",
    "EnableOrganizationsRootSessions", "EnableOutboundWebIdentityFederation", "GenerateOrganizationsAccessReport",
    "GetAccountProperties", "GetDelegationRequest", "GetHumanReadableSummary", "GetOrganizationsAccessReport",
    "GetOutboundWebIdentityFederationInfo", "GetRoleTemplateVersion", "GetServiceLastAccessedDetailsWithEntities",
    "ListDelegationRequests", "ListOrganizationsFeatures", "PutAccountProperties", "RejectDelegationRequest",
    "SendDelegationToken", "SetSecurityTokenServicePreferences", "UpdateDelegationRequest",
}
VALUES = {
    "AWSServiceName": "autoscaling.amazonaws.com", "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "AccountAlias": "alias",
    "ActionNames": ["sqs:SendMessage"], "Arn": f"arn:aws:iam::{ACCOUNT}:user/nobody", "AssumeRolePolicyDocument": TRUST,
    "AuthenticationCode1": "000000", "AuthenticationCode2": "000000", "CertificateId": "A" * 24, "Encoding": "SSH",
    "JobId": "0" * 36, "OpenIDConnectProviderArn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/x.example",
    "PermissionsBoundary": "arn:aws:iam::aws:policy/ReadOnlyAccess", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
    "PolicyDocument": ALLOW_SQS, "PolicyInputList": [ALLOW_SQS], "PolicySourceArn": f"arn:aws:iam::{ACCOUNT}:user/nobody",
    "SAMLMetadataDocument": "x" * 1000, "SAMLProviderArn": f"arn:aws:iam::{ACCOUNT}:saml-provider/nobody",
    "SSHPublicKeyId": "A" * 21, "SerialNumber": f"arn:aws:iam::{ACCOUNT}:mfa/nobody", "ServiceNamespaces": ["sqs"],
    "ServiceSpecificCredentialId": "A" * 21, "Status": "Active", "TagKeys": ["k"], "Tags": [{"Key": "k", "Value": "v"}],
    "ThumbprintList": ["a" * 40], "Url": "https://x.example", "VersionId": "v1",
}  # fmt: skip


@pytest.fixture
def iam(client):
    return client("iam")


@pytest.fixture
def user_with(iam, node, name):
    """A client of a new user whose one policy has these statements."""

    def make(*statements, service="iam", path="/"):
        user = name("user")
        iam.create_user(UserName=user, Path=path)
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        own = node.client(service, key=key["AccessKeyId"], secret=key["SecretAccessKey"])
        own.user = user
        return own

    return make


def outcome(call, **parameters):
    try:
        call(**parameters)
        return "ok"
    except ClientError as error:
        return error.response["Error"]["Code"]


def test_a_stranger_may_do_nothing(client, denied):
    stranger = denied("iam")
    model = stranger.meta.service_model
    let_in = []
    for operation in model.operation_names:
        if operation in NOT_IMPLEMENTED:
            continue
        shape = model.operation_model(operation).input_shape
        required = shape.required_members if shape else []
        parameters = {member: VALUES.get(member, "nobody") for member in required}
        method = next(m for m, api in stranger.meta.method_to_api_mapping.items() if api == operation)
        code = outcome(getattr(stranger, method), **parameters)
        if code != "AccessDenied":
            let_in.append((operation, code))
    assert let_in == []


def test_operations_that_are_lacking_say_so(iam):
    with pytest.raises(ClientError) as caught:
        iam.list_organizations_features()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "iam:ListOrganizationsFeatures" in caught.value.response["Error"]["Message"]


def test_a_denial_names_principal_action_and_resource(iam, node, name):
    user = name("user")
    iam.create_user(UserName=user, Path="/team/")
    key = iam.create_access_key(UserName=user)["AccessKey"]
    own = node.client("iam", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    with pytest.raises(ClientError) as caught:
        own.get_user()
    arn = f"arn:aws:iam::{ACCOUNT}:user/team/{user}"
    message = caught.value.response["Error"]["Message"]
    assert message.startswith(f"User: {arn} is not authorized to perform: iam:GetUser on resource: ")
    assert arn in message.split("on resource: ")[1] and "identity-based policy" in message


def test_resources_are_judged_with_their_paths(iam, user_with, name):
    inside, outside = name("in"), name("out")
    iam.create_role(RoleName=inside, Path="/app/", AssumeRolePolicyDocument=TRUST)
    iam.create_role(RoleName=outside, AssumeRolePolicyDocument=TRUST)
    own = user_with({"Effect": "Allow", "Action": "iam:GetRole", "Resource": f"arn:aws:iam::{ACCOUNT}:role/app/*"})
    assert outcome(own.get_role, RoleName=inside) == "ok"
    assert outcome(own.get_role, RoleName=outside) == "AccessDenied"


def test_condition_keys_of_iam(iam, user_with, name):
    target = name("target")
    iam.create_user(UserName=target, Tags=[{"Key": "team", "Value": "a"}])
    read_only, full = "arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess", "arn:aws:iam::aws:policy/AmazonSQSFullAccess"
    own = user_with(
        {"Effect": "Allow", "Action": "iam:AttachUserPolicy", "Resource": "*", "Condition": {"ArnEquals": {"iam:PolicyARN": read_only}}},
        {"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/team": "a"}}},
        {"Effect": "Allow", "Action": ["iam:TagUser", "iam:CreateUser"], "Resource": "*", "Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": ["x"]}}},
        {"Effect": "Allow", "Action": "iam:CreateRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PermissionsBoundary": read_only}}},
    )
    assert outcome(own.attach_user_policy, UserName=target, PolicyArn=read_only) == "ok"
    assert outcome(own.attach_user_policy, UserName=target, PolicyArn=full) == "AccessDenied"
    assert outcome(own.get_user, UserName=target) == "ok"
    assert outcome(own.get_user) == "AccessDenied"
    assert outcome(own.tag_user, UserName=target, Tags=[{"Key": "x", "Value": "1"}]) == "ok"
    assert outcome(own.tag_user, UserName=target, Tags=[{"Key": "y", "Value": "1"}]) == "AccessDenied"
    role = {"RoleName": name("role"), "AssumeRolePolicyDocument": TRUST}
    assert outcome(own.create_role, **role) == "AccessDenied"
    assert outcome(own.create_role, **role, PermissionsBoundary=read_only) == "ok"


def test_passing_a_role_takes_its_own_permission(iam, user_with, name):
    profile, role = name("profile"), name("role")
    iam.create_instance_profile(InstanceProfileName=profile)
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    add = {"Effect": "Allow", "Action": "iam:AddRoleToInstanceProfile", "Resource": "*"}
    to = lambda service: {"Effect": "Allow", "Action": "iam:PassRole", "Resource": arn, "Condition": {"StringEquals": {"iam:PassedToService": service}}}
    call = {"InstanceProfileName": profile, "RoleName": role}
    assert outcome(user_with(add).add_role_to_instance_profile, **call) == "AccessDenied"
    assert outcome(user_with(add, to("lambda.amazonaws.com")).add_role_to_instance_profile, **call) == "AccessDenied"
    assert outcome(user_with(add, to("ec2.amazonaws.com")).add_role_to_instance_profile, **call) == "ok"


def test_every_change_is_seen_by_the_next_request(iam, user_with, name):
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    own = user_with(everything, service="sqs")
    user, group, policy = own.user, name("group"), name("policy")
    document = lambda effect: json.dumps({"Version": "2012-10-17", "Statement": {**everything, "Effect": effect}})
    iam.create_group(GroupName=group)
    iam.add_user_to_group(GroupName=group, UserName=user)
    arn = iam.create_policy(PolicyName=policy, PolicyDocument=document("Deny"))["Policy"]["Arn"]
    steps = [
        (lambda: None, "ok"),
        (lambda: iam.put_group_policy(GroupName=group, PolicyName="g", PolicyDocument=document("Deny")), "AccessDenied"),
        (lambda: iam.delete_group_policy(GroupName=group, PolicyName="g"), "ok"),
        (lambda: iam.attach_group_policy(GroupName=group, PolicyArn=arn), "AccessDenied"),
        (lambda: iam.create_policy_version(PolicyArn=arn, PolicyDocument=document("Allow"), SetAsDefault=True), "ok"),
        (lambda: iam.set_default_policy_version(PolicyArn=arn, VersionId="v1"), "AccessDenied"),
        (lambda: iam.remove_user_from_group(GroupName=group, UserName=user), "ok"),
        (lambda: iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary="arn:aws:iam::aws:policy/AmazonS3FullAccess"), "AccessDenied"),
        (lambda: iam.delete_user_permissions_boundary(UserName=user), "ok"),
        (lambda: iam.delete_user_policy(UserName=user, PolicyName="p"), "AccessDenied"),
    ]
    for number, (step, expected) in enumerate(steps):
        step()
        assert outcome(own.list_queues) in (expected, "AccessDeniedException" if expected != "ok" else "ok"), number


def test_identities_survive_a_kill(durable_node, name):
    iam = durable_node.client("iam")
    user = name("user")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    gone = iam.create_access_key(UserName=user)["AccessKey"]
    iam.delete_access_key(UserName=user, AccessKeyId=gone["AccessKeyId"])
    durable_node.kill()
    durable_node.start()
    sts = durable_node.client("sts", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    assert sts.get_caller_identity()["Arn"].endswith(f":user/{user}")
    sts = durable_node.client("sts", key=gone["AccessKeyId"], secret=gone["SecretAccessKey"])
    assert outcome(sts.get_caller_identity) == "InvalidClientTokenId"
