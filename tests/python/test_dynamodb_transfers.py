"""DynamoDB: tables exported to Amazon S3 and imported from it."""

import base64
import gzip
import hashlib
import json

import pytest
from conftest import error_code
from dynamo import make_table, n, restored_to, s, wait_until


@pytest.fixture
def dynamodb(client):
    return client("dynamodb")


@pytest.fixture
def bucket(client, name):
    """The name of a new bucket."""
    made = name("bucket")
    client("s3").create_bucket(Bucket=made)
    return made


@pytest.fixture
def s3(client):
    return client("s3")


def with_recovery(dynamodb, **extra):
    table = make_table(dynamodb, sort=("sk", "N"), **extra)
    on = {"PointInTimeRecoveryEnabled": True}
    dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=on)
    return table


def arn_of(dynamodb, table):
    return dynamodb.describe_table(TableName=table)["Table"]["TableArn"]


def export(dynamodb, table, bucket, **extra):
    """The description of a finished export."""
    request = dict(TableArn=arn_of(dynamodb, table), S3Bucket=bucket, **extra)
    arn = dynamodb.export_table_to_point_in_time(**request)["ExportDescription"]["ExportArn"]
    described = lambda: dynamodb.describe_export(ExportArn=arn)["ExportDescription"]  # noqa: E731
    wait_until(lambda: described()["ExportStatus"] != "IN_PROGRESS")
    return described()


def read(s3, bucket, key):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def data(s3, bucket, described):
    """The lines of all data files that the manifests lead to, once their checksums have been compared."""
    summary = json.loads(read(s3, bucket, described["ExportManifest"]))
    files = read(s3, bucket, summary["manifestFilesS3Key"])
    checksum = base64.b64encode(hashlib.md5(files).digest())
    assert read(s3, bucket, summary["manifestFilesS3Key"].replace(".json", ".md5")) == checksum
    lines = []
    for line in files.decode().splitlines():
        file = json.loads(line)
        body = read(s3, bucket, file["dataFileS3Key"])
        assert base64.b64encode(hashlib.md5(body).digest()).decode() == file["md5Checksum"]
        found = gzip.decompress(body).decode().splitlines()
        assert len(found) == file["itemCount"]
        lines += found
    assert len(lines) == summary["itemCount"] == described["ItemCount"]
    return summary, lines


ITEMS = [
    {
        "pk": s("a ü"), "sk": n(1), "text": s('quote " and \\ and \n'), "bytes": {"B": b"\x00\xff"}, "no": {"NULL": True},
        "yes": {"BOOL": True}, "digits": n("12345678901234567890123456789012345678"), "small": n("-0.5"),
        "words": {"SS": ["x", "y"]}, "numbers": {"NS": ["1", "2.5"]}, "blobs": {"BS": [b"1"]},
        "list": {"L": [n(1), {"M": {"deep key": {"L": []}}}]},
    },
    {"pk": s("a ü"), "sk": n(2)},
    {"pk": s("b"), "sk": n(-3), "kind": s("k")},
]  # fmt: skip
PARAMETERS = {
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "N"},
        {"AttributeName": "kind", "AttributeType": "S"},
    ],
    "BillingMode": "PAY_PER_REQUEST",
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-kind",
            "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}


def import_table(dynamodb, table, bucket, prefix, **extra):
    """The description of a finished import."""
    source = {"S3Bucket": bucket, "S3KeyPrefix": prefix}
    request = dict(S3BucketSource=source, TableCreationParameters={"TableName": table, **PARAMETERS}, **extra)
    made = dynamodb.import_table(**request)["ImportTableDescription"]
    assert made["ImportStatus"] == "IN_PROGRESS"
    described = lambda: dynamodb.describe_import(ImportArn=made["ImportArn"])["ImportTableDescription"]  # noqa: E731
    wait_until(lambda: described()["ImportStatus"] != "IN_PROGRESS")
    return described()


def ordered(items):
    return sorted(items, key=lambda item: (item["pk"]["S"], float(item["sk"]["N"])))


@pytest.mark.parametrize("form", ["DYNAMODB_JSON", "ION"])
def test_an_export_of_a_moment_becomes_an_equal_table(node, dynamodb, s3, bucket, name, form):
    table = with_recovery(dynamodb)
    for item in ITEMS:
        dynamodb.put_item(TableName=table, Item=item)
    node.advance(5)
    moment = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    moment = moment["PointInTimeRecoveryDescription"]["LatestRestorableDateTime"]
    node.advance(5)
    dynamodb.put_item(TableName=table, Item={"pk": s("later"), "sk": n(1)})
    dynamodb.delete_item(TableName=table, Key={"pk": s("b"), "sk": n(-3)})
    done = export(dynamodb, table, bucket, S3Prefix="some/where", ExportFormat=form, ExportTime=moment)
    assert done["ExportStatus"] == "COMPLETED", done
    summary, lines = data(s3, bucket, done)
    assert (summary["outputFormat"], summary["s3Prefix"], len(lines)) == (form, "some/where", 3)
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix="some/where/AWSDynamoDB/")["Contents"]]
    assert any(key.endswith("/_started") for key in keys)
    assert any(key.endswith("/manifest-summary.md5") for key in keys)

    target = name("imported")
    folder = done["ExportManifest"].rsplit("/", 1)[0] + "/data/"
    done = import_table(dynamodb, target, bucket, folder, InputFormat=form, InputCompressionType="GZIP")
    assert (done["ImportStatus"], done["ImportedItemCount"], done["ErrorCount"]) == ("COMPLETED", 3, 0), done
    made = restored_to(dynamodb, target)
    assert made["ItemCount"] == 3
    assert ordered(dynamodb.scan(TableName=target)["Items"]) == ordered(ITEMS)
    assert dynamodb.scan(TableName=target, IndexName="by-kind", Select="COUNT")["Count"] == 1


@pytest.mark.parametrize("form", ["DYNAMODB_JSON", "ION"])
def test_an_incremental_export_tells_the_net_change(node, dynamodb, s3, bucket, form):
    table = with_recovery(dynamodb)
    put = lambda key, value: dynamodb.put_item(TableName=table, Item={"pk": s(key), "sk": n(0), "v": n(value)})  # noqa: E731
    for key in ("kept", "changed", "gone"):
        put(key, 0)
    node.advance(20 * 60)
    begin = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    begin = begin["PointInTimeRecoveryDescription"]["LatestRestorableDateTime"]
    node.advance(60)
    put("changed", 1)
    put("changed", 2)
    put("new", 1)
    put("brief", 1)
    for key in ("gone", "brief"):
        dynamodb.delete_item(TableName=table, Key={"pk": s(key), "sk": n(0)})
    node.advance(20 * 60)
    span = {"ExportFromTime": begin}
    done = export(
        dynamodb, table, bucket, ExportFormat=form, ExportType="INCREMENTAL_EXPORT", IncrementalExportSpecification=span
    )
    assert done["ExportStatus"] == "COMPLETED", done
    summary, lines = data(s3, bucket, done)
    assert (summary["outputView"], summary["exportType"]) == ("NEW_AND_OLD_IMAGES", "INCREMENTAL_EXPORT")
    if form == "ION":
        assert all(line.startswith("$ion_1_0 {Record:{Metadata:{WriteTimestampMicros:") for line in lines)
        assert len(lines) == 3
        return
    changes = {}
    for line in map(json.loads, lines):
        image = lambda side: line.get(side, {}).get("v", {}).get("N")  # noqa: B023, E731
        changes[line["Keys"]["pk"]["S"]] = (image("OldImage"), image("NewImage"))
        assert int(line["Metadata"]["WriteTimestampMicros"]["N"]) > begin.timestamp() * 1e6
    assert changes == {"changed": ("0", "2"), "new": (None, "1"), "gone": ("0", None)}
    only_new = {**span, "ExportViewType": "NEW_IMAGE"}
    done = export(dynamodb, table, bucket, ExportType="INCREMENTAL_EXPORT", IncrementalExportSpecification=only_new)
    assert all("OldImage" not in json.loads(line) for line in data(s3, bucket, done)[1])


CSV = "pk,sk,kind,note\na,1,k,first\nb,2,k,\"with, comma\"\nc,three,k,bad\nd,4\n"
JSON = "".join(json.dumps({"Item": {"pk": s(key), "sk": n(1), "kind": s("k")}}) + "\n" for key in "ab") + "{]\n" + '{"Item":{"pk":{"S":"x"}}}\n'  # fmt: skip
ION = '{Item:{pk:"a",sk:1,kind:"k"}}\n{Item:{pk:"b",sk:2.5,\n kind:"k"}}\n{Item:{pk:5,sk:1}}\n'


@pytest.mark.parametrize(
    "form, text, errors",
    [("CSV", CSV, 2), ("DYNAMODB_JSON", JSON, 2), ("ION", ION, 1)],
)
def test_an_import_counts_what_is_wrong_and_takes_the_rest(dynamodb, s3, bucket, name, form, text, errors):
    s3.put_object(Bucket=bucket, Key="in/one", Body=text.encode())
    s3.put_object(Bucket=bucket, Key="other/two", Body=b"not read")
    target = name("imported")
    done = import_table(dynamodb, target, bucket, "in/", InputFormat=form)
    assert done["ImportStatus"] == "COMPLETED", done
    counts = (done["ImportedItemCount"], done["ErrorCount"], done["ProcessedItemCount"], done["ProcessedSizeBytes"])
    assert counts == (2, errors, 2 + errors, len(text.encode()))
    restored_to(dynamodb, target)
    query = dict(KeyConditionExpression="kind = :k", ExpressionAttributeValues={":k": s("k")})
    found = dynamodb.query(TableName=target, IndexName="by-kind", **query)
    assert found["Count"] == 2
    if form == "CSV":
        assert found["Items"][1]["note"] == s("with, comma")
    dynamodb.put_item(TableName=target, Item={"pk": s("z"), "sk": n(1)})


def test_csv_without_a_header_and_with_another_delimiter(dynamodb, s3, bucket, name):
    s3.put_object(Bucket=bucket, Key="in", Body=b"a|1|k\nb|2|k\n")
    options = {"Csv": {"Delimiter": "|", "HeaderList": ["pk", "sk", "kind"]}}
    target = name("imported")
    done = import_table(dynamodb, target, bucket, "in", InputFormat="CSV", InputFormatOptions=options)
    assert (done["ImportedItemCount"], done["ErrorCount"]) == (2, 0)
    assert done["InputFormatOptions"] == options


def test_transfers_fail_with_a_reason(node, dynamodb, s3, bucket, name, denied):
    plain = make_table(dynamodb)
    request = lambda table, **extra: dict(TableArn=arn_of(dynamodb, table), S3Bucket=bucket, **extra)  # noqa: E731
    call = dynamodb.export_table_to_point_in_time
    assert error_code(call, **request(plain)) == "PointInTimeRecoveryUnavailableException"
    table = with_recovery(dynamodb)
    assert error_code(call, **request(table, ExportTime=1_000)) == "InvalidExportTimeException"
    done = export(dynamodb, table, name("nowhere"))
    assert (done["ExportStatus"], done["FailureCode"]) == ("FAILED", "S3NoSuchBucket")
    done = import_table(dynamodb, name("imported"), name("nowhere"), "x", InputFormat="CSV")
    assert (done["ImportStatus"], done["FailureCode"]) == ("FAILED", "S3NoSuchBucket")
    target = done["TableCreationParameters"]["TableName"]
    assert error_code(dynamodb.describe_table, TableName=target) == "ResourceNotFoundException"
    s3.put_object(Bucket=bucket, Key="text", Body=b"no gzip")
    done = import_table(dynamodb, target, bucket, "text", InputFormat="ION", InputCompressionType="GZIP")
    assert done["ImportStatus"] == "FAILED"
    missing = arn_of(dynamodb, table) + "/export/01234567890123-abcdef01"
    assert error_code(dynamodb.describe_export, ExportArn=missing) == "ExportNotFoundException"
    missing = missing.replace("/export/", "/import/")
    assert error_code(dynamodb.describe_import, ImportArn=missing) == "ImportNotFoundException"

    first = call(**request(table, ClientToken="once"))["ExportDescription"]["ExportArn"]
    assert call(**request(table, ClientToken="once"))["ExportDescription"]["ExportArn"] == first
    assert error_code(call, **request(table, ClientToken="once", S3Prefix="x")) == "ExportConflictException"
    listed = dynamodb.list_exports(TableArn=arn_of(dynamodb, table), MaxResults=1)
    rest = dynamodb.list_exports(TableArn=arn_of(dynamodb, table), NextToken=listed["NextToken"])
    arns = [one["ExportArn"] for one in listed["ExportSummaries"] + rest["ExportSummaries"]]
    assert len(arns) == 2 and first in arns
    assert len(dynamodb.list_imports()["ImportSummaryList"]) >= 2

    user = denied("dynamodb")
    source = {"S3Bucket": bucket, "S3KeyPrefix": "x"}
    calls = [
        (user.export_table_to_point_in_time, request(table)),
        (user.describe_export, dict(ExportArn=first)),
        (user.list_exports, {}),
        (user.import_table, dict(S3BucketSource=source, InputFormat="CSV", TableCreationParameters={"TableName": "abc", **PARAMETERS})),
        (user.describe_import, dict(ImportArn=missing)),
        (user.list_imports, {}),
    ]  # fmt: skip
    for refused_call, arguments in calls:
        assert error_code(refused_call, **arguments) == "AccessDeniedException"


def test_an_export_is_written_in_the_name_of_the_one_who_asked(node, dynamodb, bucket, client):
    table = with_recovery(dynamodb)
    iam = client("iam")
    iam.create_user(UserName="exporter")
    allow = {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}
    policy = lambda *statements: json.dumps({"Version": "2012-10-17", "Statement": list(statements)})  # noqa: E731
    iam.put_user_policy(UserName="exporter", PolicyName="p", PolicyDocument=policy(allow))
    key = iam.create_access_key(UserName="exporter")["AccessKey"]
    user = node.client("dynamodb", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    done = export(user, table, bucket)
    assert (done["ExportStatus"], done["FailureCode"]) == ("FAILED", "S3AccessDenied")
    put = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    iam.put_user_policy(UserName="exporter", PolicyName="p", PolicyDocument=policy(allow, put))
    assert export(user, table, bucket)["ExportStatus"] == "COMPLETED"
