"""STS: sessions of roles are enforced, narrowed, tagged, chained, and end."""

from conftest import error_code
from made import ACCOUNT, allow, assume, document, failure, is_denied, keys, made, Made, now, unchecked


# AssumeRole


def test_a_role_may_do_what_its_policy_allows_and_no_more(client, made):
    (own, own_arn), (other, _) = made.queue(), made.queue()
    role = made.role(ACCOUNT, allow("sqs:SendMessage", own_arn))
    answer = assume(client("sts"), role)
    user = answer["AssumedRoleUser"]
    assert user["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role['RoleName']}/session"
    assert user["AssumedRoleId"] == f"{role['RoleId']}:session"
    assert "PackedPolicySize" not in answer and "SourceIdentity" not in answer
    assert answer["Credentials"]["AccessKeyId"].startswith("ASIA")
    assert answer["SessionTokenSize"] == len(answer["Credentials"]["SessionToken"])
    assert 0 < answer["SessionTokenUtilization"] <= 100
    sqs = client("sqs", *keys(answer))
    sqs.send_message(QueueUrl=own, MessageBody="x")
    assert is_denied(sqs.send_message, QueueUrl=other, MessageBody="x")
    assert is_denied(sqs.receive_message, QueueUrl=own)
    assert client("sts", *keys(answer)).get_caller_identity()["Arn"] == user["Arn"]


def test_a_change_of_the_role_reaches_its_sessions_at_once(client, made):
    url, arn = made.queue()
    role = made.role(ACCOUNT, allow("sqs:SendMessage", arn))
    sqs = client("sqs", *keys(assume(client("sts"), role)))
    sqs.send_message(QueueUrl=url, MessageBody="x")
    made.iam.delete_role_policy(RoleName=role["RoleName"], PolicyName="p")
    assert is_denied(sqs.send_message, QueueUrl=url, MessageBody="x")
    made.iam.delete_role(RoleName=role["RoleName"])
    assert is_denied(sqs.send_message, QueueUrl=url, MessageBody="x")


def test_a_session_ends_when_its_time_is_over(node, client, made):
    role = made.role(ACCOUNT, allow("sqs:*"), MaxSessionDuration=7200)
    sts = client("sts")
    for seconds in (900, None, 7200):
        answer = assume(sts, role, **({"DurationSeconds": seconds} if seconds else {}))
        seconds = seconds or 3600
        left = (answer["Credentials"]["Expiration"] - now(node)).total_seconds()
        assert seconds - 5 <= left <= seconds + 1
        session = client("sts", *keys(answer))
        node.advance(seconds - 10)
        session.get_caller_identity()
        node.advance(10)
        code, text = failure(session.get_caller_identity)
        assert (code, text) == ("ExpiredToken", "The security token included in the request is expired")
        assert error_code(client("sqs", *keys(answer)).list_queues) in ("ExpiredToken", "ExpiredTokenException")


def test_a_duration_must_fit_the_role(client, made):
    role = made.role(ACCOUNT)
    sts = unchecked(client)
    cases = [
        (899, "1 validation error detected: Value '899' at 'durationSeconds'"),
        (43201, "1 validation error detected: Value '43201' at 'durationSeconds'"),
        (3601, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."),
    ]
    for seconds, expected in cases:
        code, text = failure(assume, sts, role, DurationSeconds=seconds)
        assert code == "ValidationError" and text.startswith(expected), seconds


def test_bad_parameters_are_refused_in_awss_words(client, made):
    role = made.role(ACCOUNT)
    sts = unchecked(client)
    for arn in ("nothing-valid-in-here", "arn::b:::something/test-role", "arn:a:::something/test-role"):
        assert failure(sts.assume_role, RoleArn=arn, RoleSessionName="session") == ("ValidationError", f"{arn} is invalid")
    code, text = failure(sts.assume_role, RoleArn=role["Arn"], RoleSessionName="Session1:2")
    assert code == "ValidationError"
    assert text == (
        "1 validation error detected: Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [\\w+=,.@-]*"
    )
    code, text = failure(sts.assume_role, RoleArn=role["Arn"], RoleSessionName="s" * 65)
    assert code == "ValidationError" and text.endswith("Member must have length less than or equal to 64")


def test_only_those_whom_the_role_trusts_may_assume_it(client, made, denied):
    trusted, trusted_key = made.user()
    stranger, stranger_key = made.user(allow("sts:AssumeRole"))
    role = made.role(trusted["Arn"])
    assume(client("sts", *trusted_key), role)
    code, text = failure(assume, client("sts", *stranger_key), role)
    assert code == "AccessDenied"
    assert text.startswith(f"User: {stranger['Arn']} is not authorized to perform: sts:AssumeRole on resource: {role['Arn']}")
    assert error_code(assume, denied("sts"), role) == "AccessDenied"
    # Trust in the account leaves it to the account's own policies.
    by_account = made.role(ACCOUNT)
    assume(client("sts", *stranger_key), by_account)
    assert error_code(assume, client("sts", *trusted_key), by_account) == "AccessDenied"
    assert error_code(assume, client("sts", *stranger_key), {"Arn": role["Arn"] + "-missing"}) == "AccessDenied"


def test_a_role_of_another_account_needs_both_sides(node, client, name, made):
    other = Made(node, name)
    other.iam = client("iam", key="111111111111")
    user, key = made.user(allow("sts:AssumeRole", "arn:aws:iam::111111111111:role/*"))
    _, without = made.user()
    role = other.role(f"arn:aws:iam::{ACCOUNT}:root")
    answer = assume(client("sts", *key), role)
    assert client("sts", *keys(answer)).get_caller_identity()["Account"] == "111111111111"
    assert error_code(assume, client("sts", *without), role) == "AccessDenied"
    untrusting = other.role("arn:aws:iam::111111111111:root")
    assert error_code(assume, client("sts", *key), untrusting) == "AccessDenied"


def test_the_trust_policy_sees_external_id_and_session_name(client, made):
    user, key = made.user()
    condition = {"StringEquals": {"sts:ExternalId": "secret-1", "sts:RoleSessionName": "${aws:username}"}}
    role = made.role(user["Arn"], condition=condition)
    sts = client("sts", *key)
    good = {"RoleArn": role["Arn"], "RoleSessionName": user["UserName"], "ExternalId": "secret-1"}
    sts.assume_role(**good)
    assert error_code(sts.assume_role, **{**good, "ExternalId": "secret-2"}) == "AccessDenied"
    assert error_code(sts.assume_role, **{**good, "RoleSessionName": "other"}) == "AccessDenied"
    assert error_code(sts.assume_role, RoleArn=role["Arn"], RoleSessionName=user["UserName"]) == "AccessDenied"


def test_the_roles_tags_count_in_trust_policies_and_in_the_callers_own(client, made):
    tagged = {"StringEquals": {"aws:ResourceTag/team": "a"}}
    _, key = made.user(allow("sts:AssumeRole", Condition=tagged))
    ours, theirs = (made.role(ACCOUNT, Tags=[{"Key": "team", "Value": team}]) for team in ("a", "b"))
    assume(client("sts", *key), ours)
    assert error_code(assume, client("sts", *key), theirs) == "AccessDenied"
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole", "Condition": tagged}
    for role in (ours, theirs):
        made.iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=document(trust))
    assume(client("sts"), ours)
    assert error_code(assume, client("sts"), theirs) == "AccessDenied"


def test_a_trust_policy_trusts_who_was_named_and_nobody_of_the_same_name(client, made):
    user, key = made.user()
    chained = made.role(ACCOUNT)
    role = made.role([user["Arn"], chained["Arn"]])
    name, shown = user["UserName"], lambda: made.iam.get_role(RoleName=role["RoleName"])["Role"]
    principals = lambda: shown()["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["AWS"]
    assume(client("sts", *key), role)
    assume(client("sts", *keys(assume(client("sts"), chained))), role)
    assert principals() == [user["Arn"], chained["Arn"]]
    # A new name is the same user.
    made.iam.update_user(UserName=name, NewUserName=name + "-new")
    assume(client("sts", *key), role)
    assert principals() == [user["Arn"] + "-new", chained["Arn"]]
    made.iam.delete_access_key(UserName=name + "-new", AccessKeyId=key[0])
    made.iam.delete_user(UserName=name + "-new")
    made.iam.delete_role(RoleName=chained["RoleName"])
    assert principals() == [user["UserId"], chained["RoleId"]]
    # The same name is another user.
    made.iam.create_user(UserName=name)
    other = made.iam.create_access_key(UserName=name)["AccessKey"]
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    made.iam.create_role(RoleName=chained["RoleName"], AssumeRolePolicyDocument=document(trust))
    assert error_code(assume, client("sts", other["AccessKeyId"], other["SecretAccessKey"]), role) == "AccessDenied"
    assert error_code(assume, client("sts", *keys(assume(client("sts"), chained))), role) == "AccessDenied"
    assert principals() == [user["UserId"], chained["RoleId"]]
    # Named again, they are trusted again.
    named = {"Effect": "Allow", "Principal": {"AWS": [user["Arn"], chained["Arn"]]}, "Action": "sts:AssumeRole"}
    made.iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=document(named))
    assume(client("sts", other["AccessKeyId"], other["SecretAccessKey"]), role)
    assume(client("sts", *keys(assume(client("sts"), chained))), role)


def test_session_policies_narrow_and_never_widen(client, made):
    (one, one_arn), (two, two_arn), (three, three_arn) = made.queue(), made.queue(), made.queue()
    role = made.role(ACCOUNT, allow("sqs:SendMessage", [one_arn, two_arn]))
    managed = made.iam.create_policy(
        PolicyName=made.name("policy"), PolicyDocument=document(allow("sqs:*", [two_arn, three_arn]))
    )["Policy"]["Arn"]
    sts = client("sts")
    cases = [
        ("inline", {"Policy": document(allow("sqs:*", [one_arn, three_arn]))}, one),
        ("managed", {"PolicyArns": [{"arn": managed}]}, two),
        ("AWS-managed", {"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess"}]}, None),
    ]
    for what, more, reached in cases:
        answer = assume(sts, role, **more)
        assert 0 < answer["PackedPolicySize"] <= 100, what
        sqs = client("sqs", *keys(answer))
        for url in (one, two, three):
            if url == reached:
                sqs.send_message(QueueUrl=url, MessageBody="x")
            else:
                assert is_denied(sqs.send_message, QueueUrl=url, MessageBody="x"), (what, url)


def test_managed_session_policies_may_be_large_and_are_as_they_are_now(client, name, node, made):
    url, arn = made.queue()
    role = made.role(ACCOUNT, allow("*"))
    sts = client("sts")
    answer = assume(sts, role, PolicyArns=[{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}])
    sqs = client("sqs", *keys(answer))
    sqs.list_queues()
    assert is_denied(sqs.send_message, QueueUrl=url, MessageBody="x")
    own = made.iam.create_policy(PolicyName=name("policy"), PolicyDocument=document(allow("sqs:SendMessage")))["Policy"]["Arn"]
    sqs = client("sqs", *keys(assume(sts, role, PolicyArns=[{"arn": own}])))
    sqs.send_message(QueueUrl=url, MessageBody="x")
    made.iam.create_policy_version(PolicyArn=own, PolicyDocument=document(allow("sqs:ListQueues")), SetAsDefault=True)
    assert is_denied(sqs.send_message, QueueUrl=url, MessageBody="x")
    for version in made.iam.list_policy_versions(PolicyArn=own)["Versions"]:
        if not version["IsDefaultVersion"]:
            made.iam.delete_policy_version(PolicyArn=own, VersionId=version["VersionId"])
    made.iam.delete_policy(PolicyArn=own)
    assert is_denied(sqs.list_queues)
    other = client("iam", key="111111111111").create_policy(
        PolicyName=name("policy"), PolicyDocument=document(allow("*"))
    )["Policy"]["Arn"]
    assert error_code(assume, sts, role, PolicyArns=[{"arn": other}]) == "ValidationError", "another account's"


def test_session_policies_must_be_policies_of_some_size(client, made):
    role = made.role(ACCOUNT)
    sts = client("sts")
    long = document(allow("sqs:SendMessage", "arn:aws:sqs:us-east-1:000000000000:" + "q" * 2048))
    cases = [
        ({"Policy": "{"}, "MalformedPolicyDocument"),
        ({"Policy": document({**allow("sqs:*"), "Principal": "*"})}, "MalformedPolicyDocument"),
        ({"Policy": long}, "PackedPolicyTooLarge"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/NoSuchPolicyAtAll"}]}, "ValidationError"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}] * 11}, "ValidationError"),
    ]
    for more, expected in cases:
        assert error_code(assume, sts, role, **more) == expected, more


def test_a_session_token_is_as_long_as_was_asked_for(client, made):
    role = made.role(ACCOUNT)
    sts = client("sts")
    answer = assume(sts, role, MinimumSessionTokenSize=4096)
    assert answer["SessionTokenSize"] == len(answer["Credentials"]["SessionToken"]) >= 4096
    client("sts", *keys(answer)).get_caller_identity()
    assert error_code(assume, unchecked(client), role, MinimumSessionTokenSize=4097) == "ValidationError"


# Tags, source identity, chains

TAGGING = ["sts:AssumeRole", "sts:TagSession"]


def test_session_tags_count_in_policies_and_need_their_permission(client, made):
    url, arn = made.queue()
    condition = {"StringEquals": {"aws:PrincipalTag/Project": "x"}}
    role = made.role(ACCOUNT, allow("sqs:SendMessage", arn, Condition=condition), actions=TAGGING, Tags=[{"Key": "project", "Value": "role"}])
    sts = client("sts")

    def send(**more):
        client("sqs", *keys(assume(sts, role, **more))).send_message(QueueUrl=url, MessageBody="x")

    send(Tags=[{"Key": "PROJECT", "Value": "x"}])
    assert is_denied(send, Tags=[{"Key": "Project", "Value": "y"}])
    assert is_denied(send), "the role's own tag"
    user, key = made.user(allow("sts:AssumeRole"))
    assume(client("sts", *key), role)
    code, text = failure(assume, client("sts", *key), role, Tags=[{"Key": "Project", "Value": "x"}])
    assert code == "AccessDenied" and "sts:TagSession" in text
    untagged = made.role(user["Arn"])
    assert error_code(assume, client("sts", *key), untagged, Tags=[{"Key": "a", "Value": "b"}]) == "AccessDenied"


def test_a_trust_policy_may_demand_tags(client, made):
    user, key = made.user()
    condition = {
        "StringEquals": {"aws:RequestTag/Project": ["x", "y"]},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["Project", "Cost"], "sts:TransitiveTagKeys": ["Project"]},
    }
    role = made.role(user["Arn"], actions=TAGGING, condition=condition)
    sts = client("sts", *key)
    tag = lambda **tags: [{"Key": key, "Value": value} for key, value in tags.items()]
    assume(sts, role, Tags=tag(Project="x", Cost="1"), TransitiveTagKeys=["Project"])
    for more in (
        {},
        {"Tags": tag(Project="z")},
        {"Tags": tag(Project="x", Other="1")},
        {"Tags": tag(Project="x", Cost="1"), "TransitiveTagKeys": ["Cost"]},
    ):
        assert error_code(assume, sts, role, **more) == "AccessDenied", more


def test_tags_are_checked_in_awss_words(client, made):
    role = made.role(ACCOUNT, actions=TAGGING)
    sts = unchecked(client)
    a, upper = {"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}
    assert failure(assume, sts, role, Tags=[a, upper]) == (
        "InvalidParameterValue",
        "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
    )
    assert failure(assume, sts, role, Tags=[a], TransitiveTagKeys=["b"]) == (
        "InvalidParameterValue",
        "The specified transitive tag key must be included in the requested tags.",
    )
    many = [{"Key": f"k{at}", "Value": "v"} for at in range(51)]
    assume(sts, role, Tags=many[:50])
    for tags in (many, [{"Key": "k" * 129, "Value": "v"}], [{"Key": "k", "Value": "v" * 257}], [{"Key": "k!", "Value": "v"}]):
        assert error_code(assume, sts, role, Tags=tags) == "ValidationError"


def test_transitive_tags_pass_down_a_chain_of_roles(client, made):
    url, arn = made.queue()
    condition = {"StringEquals": {"aws:PrincipalTag/Star": "1"}, "Null": {"aws:PrincipalTag/Moon": "true"}}
    third = made.role(ACCOUNT, allow("sqs:SendMessage", arn, Condition=condition), actions=TAGGING)
    second = made.role(ACCOUNT, allow(TAGGING), actions=TAGGING)
    first = made.role(ACCOUNT, allow(TAGGING), actions=TAGGING)
    plain = made.role(ACCOUNT, allow("sts:*"))
    tags = [{"Key": "Star", "Value": "1"}, {"Key": "Moon", "Value": "2"}]
    one = client("sts", *keys(assume(client("sts"), first, Tags=tags, TransitiveTagKeys=["Star"])))
    assert error_code(assume, one, plain) == "AccessDenied", "it does not permit tags, and the chain hands one on"
    for key in ("Star", "star"):
        assert failure(assume, one, second, Tags=[{"Key": key, "Value": "3"}]) == (
            "InvalidParameterValue",
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
        )
    two = client("sts", *keys(assume(one, second)))
    sqs = client("sqs", *keys(assume(two, third)))
    sqs.send_message(QueueUrl=url, MessageBody="x")


def test_a_chained_session_lasts_an_hour_at_most(client, made):
    first = made.role(ACCOUNT, allow("sts:AssumeRole"))
    second = made.role(ACCOUNT, MaxSessionDuration=43200)
    chained = client("sts", *keys(assume(client("sts"), first)))
    assume(chained, second, DurationSeconds=3600)
    assert failure(assume, chained, second, DurationSeconds=3601) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
    )
    assume(client("sts"), second, DurationSeconds=43200)


def test_a_source_identity_stays_for_the_whole_chain(client, made):
    setting = ["sts:AssumeRole", "sts:SetSourceIdentity"]
    url, arn = made.queue()
    condition = {"StringEquals": {"aws:SourceIdentity": "ann"}}
    first = made.role(ACCOUNT, allow(setting), actions=setting)
    second = made.role(ACCOUNT, allow("sqs:SendMessage", arn, Condition=condition), actions=setting)
    plain = made.role(ACCOUNT)
    answer = assume(client("sts"), first, SourceIdentity="ann")
    assert answer["SourceIdentity"] == "ann"
    one = client("sts", *keys(answer))
    answer = assume(one, second)
    assert answer["SourceIdentity"] == "ann"
    client("sqs", *keys(answer)).send_message(QueueUrl=url, MessageBody="x")
    assume(one, second, SourceIdentity="ann")
    assert error_code(assume, one, second, SourceIdentity="bob") == "AccessDenied"
    assert error_code(assume, one, plain) == "AccessDenied", "it does not permit the source identity"
    user, key = made.user(allow("sts:AssumeRole"))
    assert "sts:SetSourceIdentity" in failure(assume, client("sts", *key), second, SourceIdentity="ann")[1]
    assert error_code(assume, unchecked(client), second, SourceIdentity="a:b") == "ValidationError"
