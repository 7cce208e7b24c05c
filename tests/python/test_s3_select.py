"""Queries over one object."""

import bz2
import gzip
import json

import pytest
from harness import error_code

CSV = b"id,name,price\n1,ann,10.5\n2,bob,7\n3,\"x,y\",30\n"
LINES = b'{"id": 1, "at": {"city": "Bern"}}\n{"id": 2, "tags": ["a"]}\n'


@pytest.fixture
def s3(client):
    return client("s3")


@pytest.fixture
def bucket(s3, name):
    made = name("select")
    s3.create_bucket(Bucket=made)
    for key, body in {"a.csv": CSV, "a.csv.gz": gzip.compress(CSV), "a.csv.bz2": bz2.compress(CSV), "a.json": LINES}.items():
        s3.put_object(Bucket=made, Key=key, Body=body)
    return made


def query(s3, bucket, key, text, given=None, shown=None, **more):
    answer = s3.select_object_content(
        Bucket=bucket,
        Key=key,
        Expression=text,
        ExpressionType="SQL",
        InputSerialization=given or {"CSV": {"FileHeaderInfo": "USE"}},
        OutputSerialization=shown or {"CSV": {}},
        **more,
    )
    events = list(answer["Payload"])
    rows = b"".join(event["Records"]["Payload"] for event in events if "Records" in event).decode()
    assert "End" in events[-1]
    return rows, events


JSON = {"JSON": {"Type": "LINES"}}
CASES = [
    ("a.csv", "SELECT * FROM S3Object", {}, "1,ann,10.5\n2,bob,7\n3,\"x,y\",30\n"),
    ("a.csv", "SELECT s.name FROM S3Object s WHERE CAST(s.price AS FLOAT) > 8 LIMIT 1", {}, "ann\n"),
    ("a.csv", "SELECT COUNT(*), MAX(CAST(id AS INT)) FROM S3Object", {}, "3,3\n"),
    ("a.csv", "SELECT _2 FROM S3Object WHERE _1 = '2'", {"given": {"CSV": {"FileHeaderInfo": "IGNORE"}}}, "bob\n"),
    ("a.csv", "SELECT id, name AS n FROM S3Object LIMIT 1", {"shown": {"JSON": {}}}, '{"id":"1","n":"ann"}\n'),
    ("a.csv.gz", "SELECT id FROM S3Object WHERE name LIKE 'b%'", {"given": {"CSV": {"FileHeaderInfo": "USE"}, "CompressionType": "GZIP"}}, "2\n"),
    ("a.csv.bz2", "SELECT id FROM S3Object WHERE id BETWEEN 2 AND 3", {"given": {"CSV": {"FileHeaderInfo": "USE"}, "CompressionType": "BZIP2"}}, "2\n3\n"),
    ("a.json", "SELECT s.id, s.at.city FROM S3Object s", {"given": JSON, "shown": {"JSON": {}}}, '{"id":1,"city":"Bern"}\n{"id":2}\n'),
    ("a.json", "SELECT s.tags[0] FROM S3Object s WHERE s.tags IS NOT MISSING", {"given": JSON}, "a\n"),
]


@pytest.mark.parametrize("key,text,how,expected", CASES, ids=[case[1] for case in CASES])
def test_queries_are_answered(s3, bucket, key, text, how, expected):
    rows, events = query(s3, bucket, key, text, **how)
    assert rows == expected
    (stats,) = [event["Stats"]["Details"] for event in events if "Stats" in event]
    assert stats["BytesReturned"] == len(rows) and stats["BytesScanned"] > 0


BAD = [
    ("SELECT * FROM other", {}, "ParseInvalidPathComponent"),
    ("SELECT *", {}, "ParseSelectMissingFrom"),
    ("SELECT FOO(a) FROM S3Object", {}, "UnsupportedFunction"),
    ("SELECT * FROM S3Object", {"InputSerialization": {"Parquet": {}}}, "NotImplemented"),
    ("SELECT * FROM S3Object", {"ScanRange": {"Start": 0, "End": 5}}, "NotImplemented"),
    ("SELECT * FROM S3Object", {"Key": "none"}, "NoSuchKey"),
]


@pytest.mark.parametrize("text,more,code", BAD, ids=[case[2] + case[0] for case in BAD])
def test_what_cannot_be_answered_is_refused(s3, bucket, text, more, code):
    given = {
        "Key": "a.csv",
        "ExpressionType": "SQL",
        "InputSerialization": {"CSV": {}},
        "OutputSerialization": {"CSV": {}},
        **more,
    }
    assert error_code(s3.select_object_content, Bucket=bucket, Expression=text, **given) == code


def test_what_fails_on_its_way_ends_the_stream_with_an_error(s3, bucket):
    from botocore.exceptions import EventStreamError

    with pytest.raises(EventStreamError) as error:
        query(s3, bucket, "a.csv", "SELECT CAST(name AS INT) FROM S3Object")
    assert "CastFailed" in str(error.value)


def test_many_rows_come_in_pieces_with_progress(s3, bucket):
    body = "\n".join(json.dumps({"n": at, "pad": "x" * 50}) for at in range(200_000)).encode()
    s3.put_object(Bucket=bucket, Key="big", Body=body)
    rows, events = query(
        s3, bucket, "big", "SELECT s.n FROM S3Object s WHERE s.n >= 100000", given=JSON, RequestProgress={"Enabled": True}
    )
    assert rows == "".join(f"{at}\n" for at in range(100_000, 200_000))
    assert any("Progress" in event for event in events)


def test_who_may_not_read_may_not_ask(s3, bucket, denied):
    call = denied("s3").select_object_content
    given = {"ExpressionType": "SQL", "InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}}
    assert error_code(call, Bucket=bucket, Key="a.csv", Expression="SELECT * FROM S3Object", **given) == "AccessDenied"
