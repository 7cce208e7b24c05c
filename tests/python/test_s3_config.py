"""Configurations of buckets: kept, checked, missing, denied."""

import datetime
import json

import pytest
from harness import error_code

DAY = 86_400
ACCOUNT = "000000000000"


@pytest.fixture
def s3(client):
    return client("s3")


@pytest.fixture
def bucket(s3, name):
    made = name("config")
    s3.create_bucket(Bucket=made)
    return made


LIFECYCLE = {
    "Rules": [
        {
            "ID": "logs",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "logs/", "Tags": [{"Key": "a", "Value": "1"}], "ObjectSizeGreaterThan": 10}},
            "Expiration": {"Days": 100},
            "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 60, "StorageClass": "GLACIER"}],
            "NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 2},
        },
        {
            "ID": "by date",
            "Status": "Disabled",
            "Filter": {"Prefix": ""},
            "Expiration": {"Date": datetime.datetime(2031, 1, 1, tzinfo=datetime.timezone.utc)},
        },
    ]
}
WEBSITE = {
    "IndexDocument": {"Suffix": "index.html"},
    "ErrorDocument": {"Key": "404.html"},
    "RoutingRules": [{"Condition": {"KeyPrefixEquals": "docs/"}, "Redirect": {"ReplaceKeyPrefixWith": "documents/"}}],
}
CORS = {
    "CORSRules": [
        {
            "ID": "one",
            "AllowedHeaders": ["*"],
            "AllowedMethods": ["GET", "PUT"],
            "AllowedOrigins": ["https://*.example.com"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 300,
        }
    ]
}

# What is put, what is read, the member that holds it, the code when there is none, what removes it.
SINGLE = [
    ("bucket_cors", {"CORSConfiguration": CORS}, CORS, "NoSuchCORSConfiguration"),
    ("bucket_website", {"WebsiteConfiguration": WEBSITE}, WEBSITE, "NoSuchWebsiteConfiguration"),
    (
        "bucket_tagging",
        {"Tagging": {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]}},
        {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]},
        "NoSuchTagSet",
    ),
    (
        "bucket_lifecycle_configuration",
        {"LifecycleConfiguration": LIFECYCLE},
        {**LIFECYCLE, "TransitionDefaultMinimumObjectSize": "all_storage_classes_128K"},
        "NoSuchLifecycleConfiguration",
    ),
    (
        "public_access_block",
        {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True, "IgnorePublicAcls": False}},
        {
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": True,
                "IgnorePublicAcls": False,
                "BlockPublicPolicy": False,
                "RestrictPublicBuckets": False,
            }
        },
        "NoSuchPublicAccessBlockConfiguration",
    ),
    (
        "bucket_ownership_controls",
        {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}},
        {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}},
        "OwnershipControlsNotFoundError",
    ),
]


def without_metadata(answer):
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


@pytest.mark.parametrize("noun,given,expected,code", SINGLE, ids=[case[0] for case in SINGLE])
def test_a_configuration_is_kept_read_and_removed(s3, bucket, noun, given, expected, code):
    remove = "bucket_lifecycle" if noun == "bucket_lifecycle_configuration" else noun
    put, get, delete = (getattr(s3, f"{verb}_{what}") for verb, what in [("put", noun), ("get", noun), ("delete", remove)])
    if noun not in ("public_access_block", "bucket_ownership_controls"):
        assert error_code(get, Bucket=bucket) == code
    answer = put(Bucket=bucket, **given)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] in (200, 204)
    assert without_metadata(get(Bucket=bucket)) == expected
    assert delete(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert error_code(get, Bucket=bucket) == code
    assert error_code(get, Bucket="no-such-bucket-here") == "NoSuchBucket"


BAD = [
    ("put_bucket_cors", {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["PATCH"], "AllowedOrigins": ["*"]}]}}, "InvalidRequest"),
    ("put_bucket_cors", {"CORSConfiguration": {"CORSRules": []}}, "MalformedXML"),
    ("put_bucket_website", {"WebsiteConfiguration": {"ErrorDocument": {"Key": "e"}}}, "InvalidArgument"),
    ("put_bucket_website", {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "a/b"}}}, "InvalidArgument"),
    ("put_bucket_tagging", {"Tagging": {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}}, "InvalidTag"),
    ("put_bucket_tagging", {"Tagging": {"TagSet": [{"Key": "aws:x", "Value": "1"}]}}, "InvalidTag"),
    ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "On"}}, "MalformedXML"),
    ("put_bucket_versioning", {"VersioningConfiguration": {}}, "IllegalVersioningConfigurationException"),
    ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled", "MFADelete": "Enabled"}}, "AccessDenied"),
    ("put_bucket_accelerate_configuration", {"AccelerateConfiguration": {"Status": "Fast"}}, "MalformedXML"),
    ("put_bucket_request_payment", {"RequestPaymentConfiguration": {"Payer": "Nobody"}}, "MalformedXML"),
    (
        "put_bucket_encryption",
        {"ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}},
        "NotImplemented",
    ),
    ("put_bucket_logging", {"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "no-such-bucket-here", "TargetPrefix": ""}}}, "InvalidTargetBucketForLogging"),
    (
        "put_bucket_lifecycle_configuration",
        {"LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "Filter": {"Prefix": ""}}]}},
        "InvalidRequest",
    ),
    (
        "put_bucket_lifecycle_configuration",
        {"LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 0}}]}},
        "InvalidArgument",
    ),
    ("put_object_lock_configuration", {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}, "InvalidBucketState"),
    ("put_bucket_ownership_controls", {"OwnershipControls": {"Rules": [{"ObjectOwnership": "Mine"}]}}, "MalformedXML"),
    ("put_bucket_acl", {"ACL": "public-read"}, "AccessControlListNotSupported"),
    ("put_bucket_acl", {"ACL": "private"}, "AccessControlListNotSupported"),
    ("put_bucket_policy", {"Policy": "{}"}, "MalformedPolicy"),
    (
        "put_bucket_replication",
        {"ReplicationConfiguration": {"Role": "arn:aws:iam::000000000000:role/r", "Rules": [{"Status": "Enabled", "Prefix": "", "Destination": {"Bucket": "arn:aws:s3:::other"}}]}},
        "InvalidRequest",
    ),
    (
        "put_bucket_notification_configuration",
        {"NotificationConfiguration": {"QueueConfigurations": [{"QueueArn": "arn:aws:sqs:us-east-1:000000000000:none-such", "Events": ["s3:ObjectCreated:*"]}]}},
        "InvalidArgument",
    ),
    ("put_bucket_notification_configuration", {"NotificationConfiguration": {"EventBridgeConfiguration": {}}}, "NotImplemented"),
]


@pytest.mark.parametrize("operation,given,code", BAD, ids=[f"{case[0]}-{at}" for at, case in enumerate(BAD)])
def test_what_means_nothing_is_refused(s3, bucket, operation, given, code):
    assert error_code(getattr(s3, operation), Bucket=bucket, **given) == code


DENIED = [
    *[(verb + noun, {}) for noun in ("bucket_cors", "bucket_website", "bucket_tagging", "bucket_encryption", "bucket_replication", "bucket_policy", "public_access_block", "bucket_ownership_controls") for verb in ("get_", "delete_")],
    *[(f"get_{noun}", {}) for noun in ("bucket_versioning", "bucket_acl", "bucket_logging", "bucket_accelerate_configuration", "bucket_request_payment", "object_lock_configuration", "bucket_lifecycle_configuration", "bucket_notification_configuration", "bucket_policy_status")],
    ("delete_bucket_lifecycle", {}),
    *[(operation, given) for operation, given, code in BAD if operation != "put_bucket_replication" and code != "MalformedXML"],
    *[(f"put_{noun}", given) for noun, given, _, _ in SINGLE],
    ("put_bucket_accelerate_configuration", {"AccelerateConfiguration": {"Status": "Enabled"}}),
    ("put_bucket_request_payment", {"RequestPaymentConfiguration": {"Payer": "Requester"}}),
    *[(f"list_bucket_{kind}_configurations", {}) for kind in ("inventory", "analytics", "metrics", "intelligent_tiering")],
    *[(f"{verb}_bucket_{kind}_configuration", {"Id": "x"}) for verb in ("get", "delete") for kind in ("inventory", "analytics", "metrics", "intelligent_tiering")],
]


def test_who_has_no_permission_is_denied(s3, bucket, denied):
    stranger = denied("s3")
    for operation, given in DENIED:
        assert error_code(getattr(stranger, operation), Bucket=bucket, **given) == "AccessDenied", operation


def test_settings_have_the_defaults_of_aws(s3, bucket):
    assert without_metadata(s3.get_bucket_versioning(Bucket=bucket)) == {}
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert without_metadata(s3.get_bucket_accelerate_configuration(Bucket=bucket)) == {}
    assert without_metadata(s3.get_bucket_logging(Bucket=bucket)) == {}
    assert without_metadata(s3.get_bucket_notification_configuration(Bucket=bucket)) == {}
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True} and len(block) == 4
    owner = s3.get_bucket_acl(Bucket=bucket)
    assert len(owner["Owner"]["ID"]) == 64
    assert [grant["Permission"] for grant in owner["Grants"]] == ["FULL_CONTROL"]
    for get, code in [
        (s3.get_bucket_policy, "NoSuchBucketPolicy"),
        (s3.get_bucket_policy_status, "NoSuchBucketPolicy"),
        (s3.get_bucket_replication, "ReplicationConfigurationNotFoundError"),
        (s3.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError"),
    ]:
        assert error_code(get, Bucket=bucket) == code


def test_versioning_is_switched_on_and_suspended(s3, bucket):
    for status in ("Enabled", "Suspended", "Enabled"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status


def test_object_lock_has_a_default_and_keeps_versioning(s3, name):
    bucket = name("lock")
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}
    given = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=given)
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == given
    suspended = {"VersioningConfiguration": {"Status": "Suspended"}}
    assert error_code(s3.put_bucket_versioning, Bucket=bucket, **suspended) == "InvalidBucketState"


INVENTORY = {
    "Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::somewhere", "Format": "CSV", "Prefix": "p"}},
    "IsEnabled": True,
    "Id": "x",
    "IncludedObjectVersions": "All",
    "OptionalFields": ["Size", "ETag"],
    "Schedule": {"Frequency": "Daily"},
}
BY_ID = [
    ("inventory", "InventoryConfiguration", INVENTORY),
    ("analytics", "AnalyticsConfiguration", {"Id": "x", "StorageClassAnalysis": {}}),
    ("metrics", "MetricsConfiguration", {"Id": "x", "Filter": {"Prefix": "p"}}),
    (
        "intelligent_tiering",
        "IntelligentTieringConfiguration",
        {"Id": "x", "Status": "Enabled", "Tierings": [{"Days": 90, "AccessTier": "ARCHIVE_ACCESS"}]},
    ),
]


@pytest.mark.parametrize("kind,member,given", BY_ID, ids=[case[0] for case in BY_ID])
def test_configurations_with_ids_are_kept_listed_and_removed(s3, bucket, kind, member, given):
    put, get, delete = (getattr(s3, f"{verb}_bucket_{kind}_configuration") for verb in ("put", "get", "delete"))
    listing = getattr(s3, f"list_bucket_{kind}_configurations")
    assert listing(Bucket=bucket)["IsTruncated"] is False
    for at in range(103):
        put(Bucket=bucket, Id=f"c{at:03}", **{member: {**given, "Id": f"c{at:03}"}})
    assert get(Bucket=bucket, Id="c007")[member] == {**given, "Id": "c007"}
    first = listing(Bucket=bucket)
    assert first["IsTruncated"] is True and len(first[f"{member}List"]) == 100
    rest = listing(Bucket=bucket, ContinuationToken=first["NextContinuationToken"])
    assert [one["Id"] for one in rest[f"{member}List"]] == ["c100", "c101", "c102"]
    delete(Bucket=bucket, Id="c007")
    assert error_code(get, Bucket=bucket, Id="c007") == "NoSuchConfiguration"
    assert error_code(delete, Bucket=bucket, Id="c007") == "NoSuchConfiguration"
    assert error_code(put, Bucket=bucket, Id="other", **{member: {**given, "Id": "x"}}) == "InvalidArgument"


def test_configurations_go_with_their_bucket(s3, bucket):
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=CORS)
    s3.put_bucket_metrics_configuration(Bucket=bucket, Id="x", MetricsConfiguration={"Id": "x"})
    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    assert error_code(s3.get_bucket_cors, Bucket=bucket) == "NoSuchCORSConfiguration"
    assert error_code(s3.get_bucket_metrics_configuration, Bucket=bucket, Id="x") == "NoSuchConfiguration"


def test_policies_are_kept_as_they_were_sent_and_told_public_or_not(s3, bucket):
    def policy(principal):
        statement = {"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    private = policy({"AWS": "arn:aws:iam::000000000000:root"})
    s3.put_bucket_policy(Bucket=bucket, Policy=private)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == private
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": False}
    assert error_code(s3.put_bucket_policy, Bucket=bucket, Policy=policy("*")) == "AccessDenied"
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=policy("*"))
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": True}
    s3.delete_bucket_policy(Bucket=bucket)
    assert error_code(s3.get_bucket_policy, Bucket=bucket) == "NoSuchBucketPolicy"
