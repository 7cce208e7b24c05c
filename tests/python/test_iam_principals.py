"""Users, groups, roles, instance profiles, boundaries, access keys, passwords: good calls and bad ones.

The error texts are those that AWS answers with.
"""

import json

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
ALLOW_SQS = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
)
NAME_RULE = "It must contain only alphanumeric characters and/or the following: +=,.@_-"
PATH_RULE = "It must begin and end with / and contain only alphanumeric characters and/or / characters."
PREFIX_RULE = "It must begin with the / character and contain only alphanumeric characters and/or / characters."


def fails(call, code, message, status=None, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == (code, message)
    if status:
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.fixture
def iam(client):
    return client("iam")


def test_a_user_lives_and_dies(iam, name):
    user = name("user")
    created = iam.create_user(UserName=user, Path="/team/", Tags=[{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "1"}])
    created = created["User"]
    assert created["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/team/{user}"
    assert created["UserId"].startswith("AIDA") and len(created["UserId"]) == 21
    got = iam.get_user(UserName=user)["User"]
    assert got["Tags"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    assert got["CreateDate"] == created["CreateDate"]
    listed = [u for u in iam.list_users(PathPrefix="/team/")["Users"] if u["UserName"] == user]
    assert len(listed) == 1 and "Tags" not in listed[0]
    iam.delete_user(UserName=user)
    fails(iam.get_user, "NoSuchEntity", f"The user with name {user} cannot be found.", 404, UserName=user)


def test_names_differ_by_more_than_letter_case(iam, name):
    user = name("user")
    iam.create_user(UserName=user)
    message = f"User with name {user.upper()} already exists."
    fails(iam.create_user, "EntityAlreadyExists", message, 409, UserName=user.upper())
    assert iam.get_user(UserName=user.upper())["User"]["UserName"] == user


@pytest.mark.parametrize(
    "call, given, at, rule",
    [
        ("get_role", {"RoleName": "arn:aws:iam::000000000000:role/app"}, "roleName", NAME_RULE),
        ("create_user", {"UserName": "ann smith"}, "userName", NAME_RULE),
        ("update_user", {"UserName": "ann", "NewUserName": "a/b"}, "newUserName", NAME_RULE),
        ("get_user_policy", {"UserName": "ann", "PolicyName": "a policy"}, "policyName", NAME_RULE),
        ("create_user", {"UserName": "ann", "Path": "/team"}, "path", PATH_RULE),
        ("list_roles", {"PathPrefix": "team"}, "pathPrefix", PREFIX_RULE),
        ("list_policies", {"PathPrefix": "/team"}, "pathPrefix", PREFIX_RULE),
    ],
)
def test_malformed_names_and_paths_have_sentences_of_their_own(iam, call, given, at, rule):
    with pytest.raises(ClientError) as caught:
        getattr(iam, call)(**given)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == ("ValidationError", f"The specified value for {at} is invalid. {rule}")


def test_a_name_that_is_too_long_is_refused_for_its_length_alone(iam):
    with pytest.raises(ClientError) as caught:
        iam.get_role(RoleName="a b" * 22)
    expected = "1 validation error detected: Value at 'roleName' failed to satisfy constraint: Member must have length less than or equal to 64"
    assert caught.value.response["Error"]["Message"] == expected


def test_what_belongs_to_a_user_follows_a_new_name(iam, node, name):
    old, new, group = name("old"), name("new"), name("group")
    iam.create_user(UserName=old)
    iam.create_group(GroupName=group)
    iam.add_user_to_group(GroupName=group, UserName=old)
    iam.put_user_policy(UserName=old, PolicyName="p", PolicyDocument=ALLOW_SQS)
    iam.create_login_profile(UserName=old, Password="Correct-horse-1")
    key = iam.create_access_key(UserName=old)["AccessKey"]
    sts = node.client("sts", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    before = sts.get_caller_identity()
    iam.update_user(UserName=old, NewUserName=new, NewPath="/moved/")
    after = sts.get_caller_identity()
    assert after["UserId"] == before["UserId"]
    assert after["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/moved/{new}"
    assert iam.list_user_policies(UserName=new)["PolicyNames"] == ["p"]
    assert iam.get_group(GroupName=group)["Users"][0]["UserName"] == new
    assert iam.list_access_keys(UserName=new)["AccessKeyMetadata"][0]["UserName"] == new
    assert iam.get_login_profile(UserName=new)["LoginProfile"]["UserName"] == new
    fails(iam.get_user, "NoSuchEntity", f"The user with name {old} cannot be found.", UserName=old)


def test_a_user_is_not_deleted_with_things(iam, name):
    user, group = name("user"), name("group")
    iam.create_user(UserName=user)
    iam.create_group(GroupName=group)
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    iam.attach_user_policy(UserName=user, PolicyArn=arn)
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=ALLOW_SQS)
    key = iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"]
    iam.create_login_profile(UserName=user, Password="Correct-horse-1")
    iam.add_user_to_group(GroupName=group, UserName=user)
    steps = [
        ("Cannot delete entity, must detach all policies first.", lambda: iam.detach_user_policy(UserName=user, PolicyArn=arn)),
        ("Cannot delete entity, must delete policies first.", lambda: iam.delete_user_policy(UserName=user, PolicyName="p")),
        ("Cannot delete entity, must delete access keys first.", lambda: iam.delete_access_key(UserName=user, AccessKeyId=key)),
        ("Cannot delete entity, must delete login profile first.", lambda: iam.delete_login_profile(UserName=user)),
        ("Cannot delete entity, must remove users from group first.", lambda: iam.remove_user_from_group(UserName=user, GroupName=group)),
    ]
    fails(iam.delete_group, "DeleteConflict", "Cannot delete entity, must remove users from group first.", 409, GroupName=group)
    for message, step in steps:
        fails(iam.delete_user, "DeleteConflict", message, 409, UserName=user)
        step()
    iam.delete_user(UserName=user)
    iam.delete_group(GroupName=group)


def test_lists_page_by_marker(iam, name):
    path = f"/{name('page')}/"
    users = sorted(name(f"u{n}") for n in range(5))
    for user in users:
        iam.create_user(UserName=user, Path=path)
    first = iam.list_users(PathPrefix=path, MaxItems=2)
    assert first["IsTruncated"] and len(first["Users"]) == 2
    pages = iam.get_paginator("list_users").paginate(PathPrefix=path, PaginationConfig={"PageSize": 2})
    assert [u["UserName"] for page in pages for u in page["Users"]] == users
    fails(iam.list_users, "ValidationError", "Invalid Marker.", 400, Marker="x")
    fails(iam.list_groups, "ValidationError", "Invalid Marker.", 400, Marker=first["Marker"])


def test_tags_of_users_ignore_letter_case(iam, name):
    user = name("user")
    iam.create_user(UserName=user)
    iam.tag_user(UserName=user, Tags=[{"Key": "Team", "Value": "1"}])
    iam.tag_user(UserName=user, Tags=[{"Key": "TEAM", "Value": "2"}])
    assert iam.list_user_tags(UserName=user)["Tags"] == [{"Key": "TEAM", "Value": "2"}]
    message = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    tags = [{"Key": "x", "Value": ""}, {"Key": "X", "Value": ""}]
    fails(iam.tag_user, "InvalidInput", message, 400, UserName=user, Tags=tags)
    many = [{"Key": f"k{n}", "Value": ""} for n in range(50)]
    message = "The number of tags has reached the maximum limit."
    fails(iam.tag_user, "LimitExceeded", message, 409, UserName=user, Tags=many)
    iam.untag_user(UserName=user, TagKeys=["team"])
    assert iam.list_user_tags(UserName=user)["Tags"] == []


def test_groups(iam, name):
    user, group, other = name("user"), name("group"), name("other")
    created = iam.create_group(GroupName=group, Path="/g/")["Group"]
    assert created["GroupId"].startswith("AGPA") and created["Arn"].endswith(f":group/g/{group}")
    fails(iam.create_group, "EntityAlreadyExists", f"Group with name {group} already exists.", 409, GroupName=group)
    fails(iam.add_user_to_group, "NoSuchEntity", f"The user with name {user} cannot be found.", GroupName=group, UserName=user)
    iam.create_user(UserName=user)
    fails(iam.add_user_to_group, "NoSuchEntity", f"The group with name {other} cannot be found.", GroupName=other, UserName=user)
    iam.add_user_to_group(GroupName=group, UserName=user)
    iam.add_user_to_group(GroupName=group, UserName=user)
    assert [g["GroupName"] for g in iam.list_groups_for_user(UserName=user)["Groups"]] == [group]
    iam.update_group(GroupName=group, NewGroupName=other)
    assert iam.get_group(GroupName=other)["Group"]["GroupId"] == created["GroupId"]
    iam.remove_user_from_group(GroupName=other, UserName=user)
    iam.remove_user_from_group(GroupName=other, UserName=user)
    for n in range(10):
        iam.create_group(GroupName=f"{group}{n}")
        iam.add_user_to_group(GroupName=f"{group}{n}", UserName=user)
    message = "Cannot exceed quota for GroupsPerUser: 10"
    fails(iam.add_user_to_group, "LimitExceeded", message, 409, GroupName=other, UserName=user)


def test_a_role_lives_and_dies(iam, name):
    role = name("role")
    created = iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST, Description="first", MaxSessionDuration=7200)["Role"]
    assert created["RoleId"].startswith("AROA") and "Description" not in created
    assert created["AssumeRolePolicyDocument"] == json.loads(TRUST)
    got = iam.get_role(RoleName=role)["Role"]
    assert (got["Description"], got["MaxSessionDuration"], got["RoleLastUsed"]) == ("first", 7200, {})
    assert "Tags" not in got
    iam.update_role(RoleName=role, Description="second")
    got = iam.get_role(RoleName=role)["Role"]
    assert (got["Description"], got["MaxSessionDuration"]) == ("second", 7200)
    assert iam.update_role_description(RoleName=role, Description="third")["Role"]["Description"] == "third"
    fails(iam.create_role, "EntityAlreadyExists", f"Role with name {role} already exists.", 409, RoleName=role, AssumeRolePolicyDocument=TRUST)
    fails(iam.update_assume_role_policy, "MalformedPolicyDocument", "This policy contains invalid Json", 400, RoleName=role, PolicyDocument="{")
    nobody = f"arn:aws:iam::{ACCOUNT}:user/{name('nobody')}"
    trust = TRUST.replace('{"Service": "ec2.amazonaws.com"}', json.dumps({"AWS": nobody}))
    message = f'Invalid principal in policy: "AWS":"{nobody}"'
    fails(iam.update_assume_role_policy, "MalformedPolicyDocument", message, 400, RoleName=role, PolicyDocument=trust)
    iam.delete_role(RoleName=role)
    fails(iam.get_role, "NoSuchEntity", f"The role with name {role} cannot be found.", 404, RoleName=role)


def test_instance_profiles_hold_one_role(iam, name):
    profile, role, other = name("profile"), name("role"), name("other")
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)
    iam.create_role(RoleName=other, AssumeRolePolicyDocument=TRUST)
    created = iam.create_instance_profile(InstanceProfileName=profile)["InstanceProfile"]
    assert created["Roles"] == [] and created["InstanceProfileId"].startswith("AIPA")
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role)
    message = "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"
    fails(iam.add_role_to_instance_profile, "LimitExceeded", message, 409, InstanceProfileName=profile, RoleName=other)
    got = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]
    assert [r["RoleName"] for r in got["Roles"]] == [role] and got["Tags"] == []
    assert len(iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"]) == 1
    message = "Cannot delete entity, must remove roles from instance profile first."
    fails(iam.delete_role, "DeleteConflict", message, 409, RoleName=role)
    fails(iam.delete_instance_profile, "DeleteConflict", message, 409, InstanceProfileName=profile)
    message = f"Role {other} in Instance Profile {profile} cannot be found."
    fails(iam.remove_role_from_instance_profile, "NoSuchEntity", message, InstanceProfileName=profile, RoleName=other)
    iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=role)
    iam.tag_instance_profile(InstanceProfileName=profile, Tags=[{"Key": "a", "Value": ""}, {"Key": "A", "Value": ""}])
    assert [t["Key"] for t in iam.list_instance_profile_tags(InstanceProfileName=profile)["Tags"]] == ["A", "a"]
    iam.untag_instance_profile(InstanceProfileName=profile, TagKeys=["a"])
    iam.delete_instance_profile(InstanceProfileName=profile)
    message = f"Instance Profile {profile} cannot be found."
    fails(iam.get_instance_profile, "NoSuchEntity", message, 404, InstanceProfileName=profile)


def test_boundaries(iam, name):
    user, role, policy = name("user"), name("role"), name("policy")
    arn = iam.create_policy(PolicyName=policy, PolicyDocument=ALLOW_SQS)["Policy"]["Arn"]
    user_made = iam.create_user(UserName=user, PermissionsBoundary=arn)["User"]
    assert user_made["PermissionsBoundary"] == {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=arn)
    assert iam.get_policy(PolicyArn=arn)["Policy"]["PermissionsBoundaryUsageCount"] == 2
    fails(iam.delete_policy, "DeleteConflict", "Cannot delete a policy attached to entities.", 409, PolicyArn=arn)
    entities = iam.list_entities_for_policy(PolicyArn=arn, PolicyUsageFilter="PermissionsBoundary")
    assert [u["UserName"] for u in entities["PolicyUsers"]] == [user]
    wrong = f"arn:aws:iam::{ACCOUNT}:not_a_policy/invalid"
    fails(iam.put_user_permissions_boundary, "InvalidInput", f"ARN {wrong} is not valid.", 400, UserName=user, PermissionsBoundary=wrong)
    absent = f"arn:aws:iam::{ACCOUNT}:policy/{name('absent')}"
    message = f"Scope ARN: {absent} does not exist or is not attachable."
    fails(iam.put_role_permissions_boundary, "NoSuchEntity", message, 404, RoleName=role, PermissionsBoundary=absent)
    iam.delete_user_permissions_boundary(UserName=user)
    iam.delete_role_permissions_boundary(RoleName=role)
    assert iam.get_policy(PolicyArn=arn)["Policy"]["PermissionsBoundaryUsageCount"] == 0
    iam.delete_policy(PolicyArn=arn)


def test_access_keys(iam, node, name):
    user = name("user")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    assert key["AccessKeyId"].startswith("AKIA") and len(key["SecretAccessKey"]) == 40 and key["Status"] == "Active"
    unused = iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])
    assert unused["AccessKeyLastUsed"] == {"Region": "N/A", "ServiceName": "N/A"} and unused["UserName"] == user
    iam.create_access_key(UserName=user)
    message = "Cannot exceed quota for AccessKeysPerUser: 2"
    fails(iam.create_access_key, "LimitExceeded", message, 409, UserName=user)

    sts = node.client("sts", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    assert sts.get_caller_identity()["Arn"].endswith(f":user/{user}")
    for _ in range(100):
        used = iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["AccessKeyLastUsed"]
        if "LastUsedDate" in used:
            break
    assert (used["ServiceName"], used["Region"]) == ("sts", "us-east-1")
    iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with pytest.raises(ClientError):
        sts.get_caller_identity()
    iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status="Active")
    sts.get_caller_identity()
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    with pytest.raises(ClientError) as caught:
        sts.get_caller_identity()
    assert caught.value.response["Error"]["Code"] == "InvalidClientTokenId"
    message = "The Access Key with id AKIAIOSFODNN7EXAMPLE cannot be found."
    fails(iam.update_access_key, "NoSuchEntity", message, 404, UserName=user, AccessKeyId="AKIAIOSFODNN7EXAMPLE", Status="Active")
    with pytest.raises(ClientError) as caught:
        iam.get_access_key_last_used(AccessKeyId="AKIAIOSFODNN7EXAMPLE")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"


def test_passwords(iam, node, name):
    user = name("user")
    iam.create_user(UserName=user)
    iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/IAMUserChangePassword")
    violation = "Password does not conform to the account password policy."
    fails(iam.create_login_profile, "PasswordPolicyViolation", violation, 400, UserName=user, Password="short1!")
    made = iam.create_login_profile(UserName=user, Password="Correct-horse-1", PasswordResetRequired=True)
    assert made["LoginProfile"]["PasswordResetRequired"] is True
    message = f"Login Profile for user {user} already exists."
    fails(iam.create_login_profile, "EntityAlreadyExists", message, 409, UserName=user, Password="Correct-horse-1")
    key = iam.create_access_key(UserName=user)["AccessKey"]
    own = node.client("iam", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    message = "The old password was incorrect."
    fails(own.change_password, "AccessDenied", message, 403, OldPassword="wrong", NewPassword="Correct-horse-2")
    own.change_password(OldPassword="Correct-horse-1", NewPassword="Correct-horse-2")
    message = "Only IAM Users can change their own password"
    fails(iam.change_password, "InvalidUserType", message, 400, OldPassword="a", NewPassword="b")
    iam.update_login_profile(UserName=user, Password="Correct-horse-3", PasswordResetRequired=False)
    iam.delete_login_profile(UserName=user)
    message = f"Login Profile for User {user} cannot be found."
    fails(iam.get_login_profile, "NoSuchEntity", message, 404, UserName=user)


def test_the_account(node, name):
    account = "111122223333"
    iam = node.client("iam", key=account)
    message = f"The Password Policy with domain name {account} cannot be found."
    fails(iam.get_account_password_policy, "NoSuchEntity", message, 404)
    iam.update_account_password_policy(MinimumPasswordLength=12, RequireSymbols=True, MaxPasswordAge=90, PasswordReusePrevention=2)
    policy = iam.get_account_password_policy()["PasswordPolicy"]
    assert (policy["MinimumPasswordLength"], policy["ExpirePasswords"], policy["MaxPasswordAge"]) == (12, True, 90)
    iam.create_user(UserName="u")
    with pytest.raises(ClientError):
        iam.create_login_profile(UserName="u", Password="Correcthorse1")
    iam.create_login_profile(UserName="u", Password="Correct-horse-1")
    iam.delete_account_password_policy()
    message = "The account policy with name PasswordPolicy cannot be found."
    fails(iam.delete_account_password_policy, "NoSuchEntity", message, 404)

    alias = name("alias").replace("_", "-")
    iam.create_account_alias(AccountAlias=alias)
    assert iam.list_account_aliases()["AccountAliases"] == [alias]
    message = f"The account alias {alias} already exists."
    fails(node.client("iam", key="444455556666").create_account_alias, "EntityAlreadyExists", message, 409, AccountAlias=alias)
    iam.delete_account_alias(AccountAlias=alias)
    fails(iam.delete_account_alias, "NoSuchEntity", f"The account alias with name {alias} cannot be found.", 404, AccountAlias=alias)

    summary = iam.get_account_summary()["SummaryMap"]
    assert (summary["Users"], summary["UsersQuota"], summary["Roles"], summary["VersionsPerPolicyQuota"]) == (1, 5000, 0, 5)
    root = iam.get_user()["User"]
    assert (root["Arn"], root["UserId"]) == (f"arn:aws:iam::{account}:root", account)


def test_accounts_do_not_see_each_other(node, name):
    user = name("user")
    node.client("iam", key="222233334444").create_user(UserName=user)
    with pytest.raises(ClientError):
        node.client("iam", key="555566667777").get_user(UserName=user)


def test_service_linked_roles(node):
    iam = node.client("iam", key="777788889999")
    role = iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com")["Role"]
    assert role["RoleName"] == "AWSServiceRoleForAutoScaling"
    assert role["Path"] == "/aws-service-role/autoscaling.amazonaws.com/"
    message = (
        "Service role name AWSServiceRoleForAutoScaling has been taken in this account, please try a different suffix."
    )
    fails(iam.create_service_linked_role, "InvalidInput", message, 400, AWSServiceName="autoscaling.amazonaws.com")
    suffixed = iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com", CustomSuffix="x")["Role"]
    assert suffixed["RoleName"] == "AWSServiceRoleForAutoScaling_x"
    message = (
        "Cannot perform the operation on the protected role 'AWSServiceRoleForAutoScaling' - this role is only"
        " modifiable by AWS"
    )
    for call, more in [
        (iam.delete_role, {}),
        (iam.attach_role_policy, {"PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}),
        (iam.put_role_policy, {"PolicyName": "p", "PolicyDocument": ALLOW_SQS}),
        (iam.update_assume_role_policy, {"PolicyDocument": TRUST}),
    ]:
        fails(call, "UnmodifiableEntity", message, 400, RoleName=role["RoleName"], **more)
    task = iam.delete_service_linked_role(RoleName=role["RoleName"])["DeletionTaskId"]
    assert task.startswith("task/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling/")
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"
    fails(iam.get_role, "NoSuchEntity", "The role with name AWSServiceRoleForAutoScaling cannot be found.", RoleName=role["RoleName"])
