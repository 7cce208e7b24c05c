"""What an account chose of STS, and who used a service."""

import pytest
from conftest import error_code
from made import allow, document, is_denied, made


def test_the_account_summary_shows_the_chosen_token_version(client):
    iam = client("iam", key="222222222222")

    def version():
        return iam.get_account_summary()["SummaryMap"]["GlobalEndpointTokenVersion"]

    assert version() == 1
    for chosen, shown in (("v2Token", 2), ("v1Token", 1)):
        iam.set_security_token_service_preferences(GlobalEndpointTokenVersion=chosen)
        assert version() == shown
    assert error_code(iam.set_security_token_service_preferences, GlobalEndpointTokenVersion="v3Token") == "ValidationError"
    assert version() == 1


def test_nobody_chooses_for_the_account_without_permission(denied):
    assert is_denied(denied("iam").set_security_token_service_preferences, GlobalEndpointTokenVersion="v2Token")
    job = {"JobId": "0" * 36, "ServiceNamespace": "sqs"}
    assert is_denied(denied("iam").get_service_last_accessed_details_with_entities, **job)


def test_a_groups_report_lists_its_users_the_latest_use_first(client, made):
    iam, group = made.iam, made.name("group")
    iam.create_group(GroupName=group, Path="/g/")
    iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=document(allow("sqs:*")))
    users = [made.user() for _ in range(3)]
    for user, _ in users:
        iam.add_user_to_group(GroupName=group, UserName=user["UserName"])
    arn = iam.get_group(GroupName=group)["Group"]["Arn"]
    client("sqs", *users[1][1]).list_queues()
    made.node.advance(120)
    client("sqs", *users[2][1]).list_queues()
    job = iam.generate_service_last_accessed_details(Arn=arn)["JobId"]

    def entities(namespace, **more):
        return iam.get_service_last_accessed_details_with_entities(JobId=job, ServiceNamespace=namespace, **more)

    answer = entities("sqs")
    assert answer["JobStatus"] == "COMPLETED"
    listed = answer["EntityDetailsList"]
    assert [entity["EntityInfo"]["Id"] for entity in listed] == [users[at][0]["UserId"] for at in (2, 1, 0)]
    assert [entity["EntityInfo"]["Type"] for entity in listed] == ["USER"] * 3
    assert listed[0]["LastAuthenticated"] > listed[1]["LastAuthenticated"]
    assert "LastAuthenticated" not in listed[2]
    first = entities("sqs", MaxItems=2)
    rest = entities("sqs", MaxItems=2, Marker=first["Marker"])
    assert (first["IsTruncated"], rest["IsTruncated"]) == (True, False)
    assert first["EntityDetailsList"] + rest["EntityDetailsList"] == listed
    assert entities("s3")["EntityDetailsList"] == [], "the group's policies grant nothing of it"


@pytest.mark.parametrize("kind", ["user", "role"])
def test_a_report_of_one_principal_lists_that_one(client, made, kind):
    one = made.user(allow("sqs:*"))[0] if kind == "user" else made.role("000000000000", allow("sqs:*"))
    job = made.iam.generate_service_last_accessed_details(Arn=one["Arn"])["JobId"]
    answer = made.iam.get_service_last_accessed_details_with_entities(JobId=job, ServiceNamespace="sqs")
    (entity,) = answer["EntityDetailsList"]
    assert (entity["EntityInfo"]["Arn"], entity["EntityInfo"]["Type"]) == (one["Arn"], kind.upper())


def test_a_job_that_is_not_known_has_no_entities(client):
    job = {"JobId": "0" * 36, "ServiceNamespace": "sqs"}
    assert error_code(client("iam").get_service_last_accessed_details_with_entities, **job) == "NoSuchEntity"

