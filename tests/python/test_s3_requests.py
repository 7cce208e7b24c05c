"""S3: requests as they come over the wire: framed bodies, digests, presigned links, forms, odd keys, broken uploads."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import socket
import urllib.parse
import zlib

import pytest
import requests
from made import allow, made  # noqa: F401
from raw import code, until_closed, utc_now
from test_s3_objects import data, refused

EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"


@pytest.fixture
def s3(client):
    return client("s3")


@pytest.fixture
def bucket(s3, name):
    bucket = name("requests")
    s3.create_bucket(Bucket=bucket)
    return bucket


@pytest.fixture
def keys(made):  # noqa: F811
    """The key of a user who may do everything: this cloud issued it, so that its signatures are checked."""
    return made.user(allow("s3:*"))[1]


def derive(secret, scope):
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def sign(node, keys, method, path, headers, digest, query="", raw_path=None):
    """The headers of a request to S3, and what the signatures of its chunks go on from."""
    at = utc_now()
    when, scope = at.strftime("%Y%m%dT%H%M%SZ"), f"{at:%Y%m%d}/us-east-1/s3/aws4_request"
    headers = {**headers, "host": f"127.0.0.1:{node.port}", "x-amz-date": when, "x-amz-content-sha256": digest}
    names = sorted(headers)
    lines = [method, raw_path or urllib.parse.quote(path, safe="/-_.~"), query]
    lines += [f"{name}:{headers[name]}" for name in names]
    canonical = "\n".join([*lines, "", ";".join(names), digest])
    text = "\n".join(["AWS4-HMAC-SHA256", when, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = derive(keys[1], scope)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys[0]}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return headers, (key, when, scope, signature)


def send(node, method, raw_path, headers, body=b""):
    """Sends a request whose path no library changes."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)) as line:
        line.putrequest(method, raw_path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            line.putheader(name, value)
        if "content-length" not in headers and method in ("PUT", "POST"):
            line.putheader("content-length", str(len(body)))
        line.endheaders(body)
        answer = line.getresponse()
        text = answer.read()
        found = text.split(b"<Code>")[1].split(b"</Code>")[0].decode() if b"<Code>" in text else ""
        return answer.status, found, text, dict(answer.getheaders())


def chunks(body, size, seed=None, trailer=None, spoil=None):
    """An aws-chunked body. `seed` signs each chunk; `trailer` is `(name, value)`."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)] + [b""]
    out, previous = b"", seed and seed[3]
    for number, piece in enumerate(pieces):
        head = f"{len(piece):x}"
        if seed:
            key, when, scope, _ = seed
            digest = hashlib.sha256(piece).hexdigest()
            text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", when, scope, previous, EMPTY, digest])
            previous = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
            head += f";chunk-signature={'0' * 64 if spoil == number else previous}"
        out += head.encode() + b"\r\n" + piece + (b"\r\n" if piece else b"")
    if trailer:
        line = f"{trailer[0]}:{trailer[1]}"
        out += line.encode() + b"\r\n"
        if seed:
            key, when, scope, _ = seed
            digest = hashlib.sha256(f"{line}\n".encode()).hexdigest()
            text = "\n".join(["AWS4-HMAC-SHA256-TRAILER", when, scope, previous, digest])
            wrong = spoil == "trailer"
            final = "0" * 64 if wrong else hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
            out += f"x-amz-trailer-signature:{final}\r\n".encode()
    return out + b"\r\n"


def crc32(body):
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


@pytest.mark.parametrize("kind", ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
                                  "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])  # fmt: skip
@pytest.mark.parametrize("size", [0, 1, 65_536, 200_001])
def test_framed_bodies_are_stored_without_their_frames(node, s3, bucket, keys, kind, size):
    body, path = data(size), f"/{bucket}/k"
    headers = {"content-encoding": "aws-chunked,gzip", "x-amz-decoded-content-length": str(size)}
    trailer = ("x-amz-checksum-crc32", crc32(body)) if kind.endswith("TRAILER") else None
    if trailer:
        headers["x-amz-trailer"] = trailer[0]

    def put(body, **spoiled):
        signed, seed = sign(node, keys, "PUT", path, headers, kind)
        framed = chunks(body, 65_536, None if "UNSIGNED" in kind else seed, spoiled.pop("trailer", trailer), **spoiled)
        return send(node, "PUT", path, signed, framed)

    status, _, text, answered = put(body)
    assert status == 200, text
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == body and got["ContentEncoding"] == "gzip"
    if trailer:
        assert answered["x-amz-checksum-crc32"] == got["ChecksumCRC32"] == trailer[1]
        assert put(body, trailer=(trailer[0], crc32(body + b"x")))[:2] == (400, "BadDigest")
        assert put(body, trailer=("x-amz-checksum-sha1", "x"))[:2] == (400, "MalformedTrailerError")
    if "UNSIGNED" not in kind:
        assert put(body, spoil=0)[:2] == (403, "SignatureDoesNotMatch")
        if trailer:
            assert put(body, spoil="trailer")[:2] == (403, "SignatureDoesNotMatch")
    assert put(body + b"more")[:2] == (400, "IncompleteBody")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body


def test_digests_of_whole_bodies_are_proved_before_anything_shows(node, s3, bucket, keys):
    for size in (10, 100_000):
        body = data(size)
        path, key = f"/{bucket}/k{size}", f"k{size}"
        signed, _ = sign(node, keys, "PUT", path, {}, hashlib.sha256(body).hexdigest())
        assert send(node, "PUT", path, signed, body[:-1] + b"!")[:2] == (400, "XAmzContentSHA256Mismatch")
        assert refused(s3.head_object, Bucket=bucket, Key=key) == ("404", 404)
        assert send(node, "PUT", path, signed, body)[0] == 200
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body


def test_uploads_that_break_off_leave_nothing(node, s3, bucket, keys):
    path = f"/{bucket}/half"
    signed, _ = sign(node, keys, "PUT", path, {}, UNSIGNED)
    for sent in (10, 300_000):
        with contextlib.closing(socket.create_connection(("127.0.0.1", node.port))) as line:
            head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
            line.sendall(f"PUT {path} HTTP/1.1\r\n{head}content-length: 1000000\r\n\r\n".encode() + data(sent))
    assert refused(s3.head_object, Bucket=bucket, Key="half") == ("404", 404)
    no_length = {**signed, "transfer-encoding": "chunked"}
    with contextlib.closing(socket.create_connection(("127.0.0.1", node.port))) as line:
        head = "".join(f"{name}: {value}\r\n" for name, value in no_length.items())
        line.sendall(f"PUT {path} HTTP/1.1\r\n{head}\r\n1\r\nx\r\n0\r\n\r\n".encode())
        assert b"501" in line.recv(4096).split(b"\r\n")[0]
    with contextlib.closing(socket.create_connection(("127.0.0.1", node.port))) as line:
        head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        line.sendall(f"PUT {path} HTTP/1.1\r\n{head}\r\n".encode())
        answer = line.recv(4096)
        assert b"411" in answer.split(b"\r\n")[0] and b"MissingContentLength" in answer


def test_a_client_that_waits_is_told_to_go_on_only_once_it_may(node, bucket, keys):
    path = f"/{bucket}/waits"
    for who, expected in [(keys, b"100"), ((keys[0], "wrong"), b"403")]:
        signed, _ = sign(node, who, "PUT", path, {}, UNSIGNED)
        with contextlib.closing(socket.create_connection(("127.0.0.1", node.port))) as line:
            head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
            line.sendall(f"PUT {path} HTTP/1.1\r\n{head}content-length: 2\r\nexpect: 100-continue\r\n\r\n".encode())
            answer = line.recv(4096)
            assert answer.split(b" ")[1] == expected
            if expected == b"100":
                line.sendall(b"ok")
                assert line.recv(4096).split(b" ")[1] == b"200"


def test_a_client_that_waits_with_nothing_to_send_is_told_that_the_connection_ends(node, bucket, keys):
    path = f"/{bucket}/waits-for-nothing"
    for who, expected in [(keys, b"200"), ((keys[0], "wrong"), b"403")]:
        signed, _ = sign(node, who, "PUT", path, {}, UNSIGNED)
        with contextlib.closing(socket.create_connection(("127.0.0.1", node.port), timeout=10)) as line:
            head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
            line.sendall(f"PUT {path} HTTP/1.1\r\n{head}content-length: 0\r\nexpect: 100-continue\r\n\r\n".encode())
            answer = until_closed(line)
            assert answer.split(b" ")[1] == expected
            assert b"\r\nconnection: close\r\n" in answer.lower()


ODD_KEYS = ["a//b", "/lead", "trail/", "a/../b", "..", ".", "a/./b", "a%2Fb", "a+b", "a b", "?#&=", "é€𝄞", "\x01", "a\\b", "%", "k" * 1024]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys_are_keys_like_any_other(node, s3, bucket, keys, key):
    raw_path = f"/{bucket}/{urllib.parse.quote(key, safe='/-_.~')}"
    body = key.encode()
    signed, _ = sign(node, keys, "PUT", "", {}, hashlib.sha256(body).hexdigest(), raw_path=raw_path)
    status, _, text, _ = send(node, "PUT", raw_path, signed, body)
    assert status == 200, text
    signed, _ = sign(node, keys, "GET", "", {}, EMPTY, raw_path=raw_path)
    assert send(node, "GET", raw_path, signed)[2] == body
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [found["Key"] for found in listed] == [key]


def test_bad_requests_have_their_codes(node, bucket, keys):
    def get(raw_path, query="", headers={}):  # noqa: B006
        signed, _ = sign(node, keys, "GET", "", headers, EMPTY, query=query, raw_path=raw_path)
        return send(node, "GET", raw_path + (f"?{query}" if query else ""), signed)[:2]

    long = "k" * 1025
    assert get(f"/{bucket}/{long}") == (400, "KeyTooLongError")
    assert get(f"/{bucket}/%FF")[0] == 400
    assert get(f"/{bucket}", "max-keys=x") == (400, "InvalidArgument")
    assert get(f"/{bucket}/k", "partNumber=x") == (400, "InvalidArgument")
    assert get(f"/{bucket}/k", "versionId=") == (400, "InvalidArgument")
    assert get("/no-such-bucket-anywhere") == (404, "NoSuchBucket")
    signed, _ = sign(node, keys, "POST", f"/{bucket}", {}, EMPTY, query="delete=")
    assert send(node, "POST", f"/{bucket}?delete=", signed)[0] == 400
    body = b"<Delete><Object><Key>"
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    digest = hashlib.sha256(body).hexdigest()
    signed, _ = sign(node, keys, "POST", f"/{bucket}", {"content-md5": md5}, digest, query="delete=")
    assert send(node, "POST", f"/{bucket}?delete=", signed, body)[:2] == (400, "MalformedXML")
    signed, _ = sign(node, keys, "POST", f"/{bucket}", {}, digest, query="delete=")
    assert send(node, "POST", f"/{bucket}?delete=", signed, body)[:2] == (400, "InvalidRequest")
    signed, _ = sign(node, keys, "PUT", f"/{bucket}/k", {}, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD")
    assert send(node, "PUT", f"/{bucket}/k", signed)[0] == 400


def test_answers_carry_request_ids_and_heads_no_body(node, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello")
    answer = s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]
    assert answer["RequestId"] and answer["HostId"] and answer["HTTPHeaders"]["content-length"] == "5"
    missing = requests.head(f"{node.endpoint}/{bucket}/none", timeout=10)
    assert missing.status_code == 403 and missing.content == b"" and missing.headers["x-amz-request-id"]


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_links_of_both_versions(node, s3, bucket, keys, version):
    own = node.client("s3", key=keys[0], secret=keys[1], signature_version=version)

    # The end of a link of Version 2 is a moment by the client's clock, and the node's may have been moved.
    def link(operation, expires=50_000, **parameters):
        return own.generate_presigned_url(operation, Params={"Bucket": bucket, **parameters}, ExpiresIn=expires)

    assert requests.put(link("put_object", Key="a b"), data=b"by link", timeout=10).status_code == 200
    answer = requests.get(link("get_object", Key="a b", ResponseContentType="x/y"), timeout=10)
    assert answer.content == b"by link" and answer.headers["content-type"] == "x/y"
    assert requests.head(link("head_object", Key="a b"), timeout=10).headers["content-length"] == "7"
    if version == "s3v4":
        assert b"<Key>a+b</Key>" in requests.get(link("list_objects_v2", Prefix="a"), timeout=10).content
    changed = link("get_object", Key="a b").replace("a%20b", "other")
    assert code(requests.get(changed, timeout=10)) == "SignatureDoesNotMatch"
    assert requests.delete(link("delete_object", Key="a b"), timeout=10).status_code == 204
    short = link("list_objects_v2", expires=30)
    node.advance(60)
    assert code(requests.get(short, timeout=10)) == "AccessDenied"


def test_presigned_links_of_sessions_end_with_them(node, s3, bucket, made):  # noqa: F811
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    _, keys = made.user(allow("s3:GetObject"))
    session = node.client("sts", key=keys[0], secret=keys[1]).get_session_token(DurationSeconds=900)["Credentials"]
    for version in ("s3v4",):
        own = node.client("s3", key=session["AccessKeyId"], secret=session["SecretAccessKey"],
                          token=session["SessionToken"], signature_version=version)  # fmt: skip
        url = own.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=5_000)
        assert requests.get(url, timeout=10).content == b"x", version
    node.advance(1_000)
    assert code(requests.get(url, timeout=10)) == "ExpiredToken"


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_forms_upload_what_their_policy_lets_them(node, s3, bucket, keys, version):
    own = node.client("s3", key=keys[0], secret=keys[1], signature_version=version)

    def form(fields=None, conditions=(), key="up/${filename}", **more):
        return own.generate_presigned_post(bucket, key, Fields=fields, Conditions=list(conditions), **more)

    def post(form, body=b"the file", name="x.txt", **changed):
        fields = {**form["fields"], **changed}
        return requests.post(form["url"], data=fields, files={"file": (name, body)}, timeout=30)

    starts = [["starts-with", "$key", "up/"]]
    answer = post(form(conditions=starts))
    assert answer.status_code == 204 and answer.headers["etag"], answer.text
    assert s3.get_object(Bucket=bucket, Key="up/x.txt")["Body"].read() == b"the file"
    big = data(300_000)
    fields = {"acl": "bucket-owner-full-control", "Content-Type": "a/b", "x-amz-meta-m": "1", "success_action_status": "201"}
    conditions = [{name: value} for name, value in fields.items()]
    answer = post(form(fields, conditions, key="fixed"), big)
    assert answer.status_code == 201 and "<Key>fixed</Key>" in answer.text, answer.text
    got = s3.get_object(Bucket=bucket, Key="fixed")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (big, "a/b", {"m": "1"})
    target = {"success_action_redirect": "http://127.0.0.1:1/done?x=1"}
    redirect = form(target, [target], key="r")
    answer = requests.post(redirect["url"], data=redirect["fields"], files={"file": b"x"}, allow_redirects=False, timeout=10)
    assert answer.status_code == 303 and answer.headers["location"].startswith(f"http://127.0.0.1:1/done?x=1&bucket={bucket}&key=r")
    sized = form(conditions=[["content-length-range", 5, 10]], key="sized")
    assert (code(post(sized, b"1234")), code(post(sized, b"12345678901"))) == ("EntityTooSmall", "EntityTooLarge")
    assert post(sized, b"123456").status_code == 204
    assert code(post(form(key="k"), acl="public-read")) == "AccessDenied"
    assert code(post(form(conditions=starts), key="down/x")) == "AccessDenied"
    assert code(post({**form(key="k"), "fields": {**form(key="k")["fields"], "policy": "e30="}})) in ("SignatureDoesNotMatch",)
    old = form(key="k", ExpiresIn=30)
    node.advance(60)
    assert code(post(old)) == "AccessDenied"


def test_forms_without_a_signature_are_anonymous(node, s3, bucket):
    url = f"{node.endpoint}/{bucket}"
    answer = requests.post(url, data={"key": "k"}, files={"file": b"x"}, timeout=10)
    assert code(answer) == "AccessDenied"
    s3.delete_public_access_block(Bucket=bucket)
    everyone = {"Effect": "Allow", "Principal": "*", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [everyone]}))
    assert requests.post(url, data={"key": "k"}, files={"file": b"x"}, timeout=10).status_code == 204
    assert requests.get(f"{url}/k", timeout=10).content == b"x"
    assert requests.put(f"{url}/p", data=b"y", timeout=10).status_code == 200
    assert code(requests.delete(f"{url}/k", timeout=10)) == "AccessDenied"
    overridden = requests.get(f"{url}/k?response-content-type=a/b", timeout=10)
    assert code(overridden) == "InvalidRequest"
    assert code(requests.post(url, data={"a": "b"}, files={"file": b"x"}, timeout=10)) == "InvalidArgument"
    assert requests.post(url, data=b"x", headers={"content-type": "text/plain"}, timeout=10).status_code == 412


def test_policies_see_how_a_request_is_signed(node, s3, bucket, made):  # noqa: F811
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    arn = f"arn:aws:s3:::{bucket}/*"
    _, keys = made.user(allow("s3:GetObject", arn, Condition={"StringEquals": {"s3:authType": "REST-HEADER"}}))
    own = node.client("s3", key=keys[0], secret=keys[1], signature_version="s3v4")
    assert own.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    url = own.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert code(requests.get(url, timeout=10)) == "AccessDenied"
