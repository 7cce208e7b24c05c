"""Connections that are not as they should be: half, slow, huge, many, foreign; and those that are: HTTP/2, TLS, pipelines."""

import contextlib
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

import boto3
import pytest
import requests
from botocore.config import Config

from conftest import BINARY, Node
from raw import FORM, code, connection, exchange, form, signed_headers, until_closed

WHO = b"Action=GetCallerIdentity&Version=2011-06-15"
MIB = 1 << 20
# Half a minute of waiting and twelve gibibytes of uploads are for those who ask.
SLOW = bool(os.environ.get("PILEUS_SLOW"))


def lines(first, headers):
    return (first + "\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode()


def who_bytes(node, **more):
    """A whole signed request."""
    headers = signed_headers("sts", f"127.0.0.1:{node.port}", WHO, FORM)
    return lines("POST / HTTP/1.1", {**headers, "content-length": len(WHO), **more}) + WHO


def is_well(node):
    return form(node, "sts", "GetCallerIdentity", "2011-06-15").status_code == 200


def descriptors(node):
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def resident(node, what="VmRSS"):
    status = open(f"/proc/{node.process.pid}/status").read()
    return int(re.search(rf"{what}:\s+(\d+)", status)[1]) * 1024


def eventually(true, seconds=10):
    """Waits for what another process does: nothing here can await it."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# HTTP/1.1.


def test_pipelined_requests_are_answered_in_order(node):
    with connection(node) as stream:
        stream.sendall(who_bytes(node) + b"GET /_pileus/version HTTP/1.1\r\nhost: x\r\n\r\n" + who_bytes(node, connection="close"))
        said = until_closed(stream)
    assert said.count(b"HTTP/1.1 200 OK") == 3
    first, version, last = (said.find(word) for word in (b"GetCallerIdentityResult", b'"version"', b"</GetCallerIdentityResp"))
    assert first < version < said.rfind(b"GetCallerIdentityResult") and last > 0


def test_a_connection_is_kept_over_refusals(node):
    client = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    client.connect()
    stream = client.sock
    for _ in range(3):
        client.request("POST", "/", WHO, FORM)
        answer = client.getresponse()
        assert answer.status == 403 and b"MissingAuthenticationToken" in answer.read()
        assert client.sock is stream
    client.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * (2 * MIB) + b"\r\n\r\n",
        b"GET /" + b"y" * (2 * MIB) + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n" + b"".join(b"h%d: v\r\n" % n for n in range(5000)) + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
        b"PRI * HTTP/2.0\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"\x16" + b"\xff" * 1000,
        b"\x00" * 1000,
        b"SSH-2.0-client\r\n",
    ],
    ids=range(18),
)
def test_what_is_not_http_is_refused_and_closed(node, request_bytes):
    said = exchange(node, request_bytes)
    if said.startswith(b"HTTP/1.1"):
        assert said[9:12] in (b"400", b"413", b"414", b"431", b"403"), said[:200]
    assert is_well(node)


def test_headers_of_the_usual_sizes_are_read(node):
    """Session tokens with policies and tags are some KiB long."""
    answer = requests.get(f"{node.endpoint}/_pileus/version", headers={"x-long": "y" * 16_000}, timeout=10)
    assert answer.status_code == 200


def test_a_path_that_asks_for_everything_is_still_a_path(node):
    for path in ["/../../etc/passwd", "/%2e%2e/%2e%2e", "//", "/" + "%00" * 100, "/" + "a/" * 10_000, "/%", "/%zz", "/\u00c3\u00bc"]:
        # The client stays to listen: who hangs up half-way may be taken for gone.
        with connection(node) as stream:
            stream.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode("latin1"))
            said = until_closed(stream)
        assert said.startswith(b"HTTP/1.1 4"), f"{path[:30]}: {said[:100]}"
    assert is_well(node)


# Half, slow and gone.


def test_a_body_that_ends_early_is_incomplete(node):
    whole = who_bytes(node)
    said = exchange(node, whole[:-5])
    assert said == b"" or b"HTTP/1.1 400" in said and b"IncompleteBody" in said
    assert is_well(node)


def test_clients_that_go_away_leave_nothing_behind(node):
    """At every point of a request: before it, in its line, its headers, its body, before its answer."""
    assert is_well(node)
    whole = who_bytes(node)
    before = descriptors(node)
    cuts = [0, 1, 20, len(whole) - len(WHO) - 10, len(whole) - len(WHO), len(whole) - 5, len(whole)]
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    for number in range(2_000):
        with connection(node) as stream:
            if number % 2:
                # A reset rather than a farewell.
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            with contextlib.suppress(OSError):
                stream.sendall(whole[: cuts[number % len(cuts)]])
    assert eventually(lambda: descriptors(node) <= before + 2), f"{before} descriptors became {descriptors(node)}"
    assert is_well(node)


def test_slow_clients_keep_nobody_waiting(node):
    """Two hundred clients dribble; another is answered at once, and theirs is answered when it is whole."""
    whole = who_bytes(node)
    before = descriptors(node)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(connection(node, timeout=30)) for _ in range(200)]
        for at in range(0, len(whole), 100):
            for stream in streams:
                stream.sendall(whole[at : at + 100])
            started = time.monotonic()
            assert is_well(node)
            assert time.monotonic() - started < 2
        for stream in streams:
            assert stream.recv(15) == b"HTTP/1.1 200 OK"
    assert eventually(lambda: descriptors(node) <= before + 2)


@pytest.mark.skipif(not SLOW, reason="takes half a minute: PILEUS_SLOW=1")
def test_headers_that_never_end_are_not_waited_for(node):
    with connection(node, timeout=60) as stream:
        stream.sendall(b"POST / HTTP/1.1\r\nhost: x\r\n")
        started = time.monotonic()
        said = until_closed(stream)
        assert time.monotonic() - started < 45
        assert said == b"" or b" 408 " in said


@pytest.mark.skipif(not SLOW, reason="takes half a minute: PILEUS_SLOW=1")
def test_large_bodies_that_dribble_do_not_keep_others_out(node):
    """Ten clients promise as much as the node will hold, and send next to nothing of it."""
    head = lines("POST / HTTP/1.1", {"host": "x", **JSON, "content-length": 60 * MIB})
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(connection(node, timeout=60)) for _ in range(10)]
        for stream in streams:
            stream.sendall(head)
        done = threading.Event()

        def dribble():
            while not done.wait(2):
                for stream in streams:
                    with contextlib.suppress(OSError):
                        stream.sendall(b"x")

        dribbling = threading.Thread(target=dribble)
        dribbling.start()
        try:
            answer = requests.post(node.endpoint, data=b"x" * MIB, headers=JSON, timeout=60)
            assert answer.status_code == 400 and b"RequestTimeout" in streams[0].recv(65536)
        finally:
            done.set()
            dribbling.join()


def test_a_client_that_does_not_read_its_answers_is_held_back(node):
    """Requests without end, answers never read: the node stops reading rather than storing."""
    request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 1000
    before = resident(node)
    with connection(node, timeout=0.5) as stream:
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 200 * MIB:
                sent += stream.send(request)
        assert sent < 200 * MIB, "the node read on"
        assert resident(node) < before + 64 * MIB
    assert is_well(node)


# Large.


class Chunks:
    """So many bytes without a declared length."""

    def __init__(self, length):
        self.left = length

    def __iter__(self):
        while self.left > 0:
            self.left -= 65536
            yield b"x" * 65536


JSON = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessage"}


@pytest.mark.parametrize("body", [b"x" * (80 * MIB), Chunks(80 * MIB)], ids=["declared", "chunked"])
@pytest.mark.parametrize("headers", [JSON, FORM], ids=["json", "form"])
def test_a_body_over_the_limit_is_refused_and_the_client_hears_why(node, body, headers):
    body = Chunks(80 * MIB) if isinstance(body, Chunks) else body
    answer = requests.post(node.endpoint, data=body, headers=headers, timeout=60)
    assert (answer.status_code, code(answer)) == (413, "RequestEntityTooLarge")
    assert is_well(node)


def test_a_body_over_the_limit_is_refused_before_it_is_sent(node):
    """A client that asks first is spared the upload."""
    with connection(node) as stream:
        stream.sendall(lines("POST / HTTP/1.1", {"host": "x", **JSON, "content-length": 80 * MIB, "expect": "100-continue"}))
        said = stream.recv(65536)
    assert said.startswith(b"HTTP/1.1 413"), said[:100]


def test_a_client_that_asks_first_is_told_to_go_on(node):
    whole = who_bytes(node, expect="100-continue")
    with connection(node) as stream:
        stream.sendall(whole[: -len(WHO)])
        assert stream.recv(65536).startswith(b"HTTP/1.1 100 Continue")
        stream.sendall(WHO)
        assert stream.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_memory_is_bounded_under_many_large_uploads():
    """60 MiB each: more in all than the node may hold."""
    clients = 200 if SLOW else 30
    node = Node()
    try:
        host = f"127.0.0.1:{node.port}"
        length = 60 * MIB
        head = lines("POST / HTTP/1.1", {"host": host, **JSON, "content-length": length, "connection": "close"})
        chunk = b"x" * MIB
        codes, peak = [], [0]
        done = threading.Event()

        def upload():
            with connection(node, timeout=120) as stream, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                stream.sendall(head)
                for _ in range(60):
                    stream.sendall(chunk)
                codes.append(stream.recv(12))

        def watch():
            while not done.wait(0.05):
                peak[0] = max(peak[0], resident(node))

        watcher = threading.Thread(target=watch)
        watcher.start()
        uploads = [threading.Thread(target=upload) for _ in range(clients)]
        for thread in uploads:
            thread.start()
        for thread in uploads:
            thread.join()
        done.set()
        watcher.join()
        assert len(codes) == clients and set(codes) <= {b"HTTP/1.1 400", b"HTTP/1.1 403"}, codes
        assert peak[0] < 1 << 30, f"{peak[0] >> 20} MiB resident"
        assert is_well(node)
    finally:
        node.stop()


# HTTP/2 and TLS.


NOTHING = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}'


def curl(*args):
    if not shutil.which("curl"):
        pytest.skip("curl is not here")
    done = subprocess.run(["curl", "-sS", "-m", "20", *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_http_2_is_spoken_with_prior_knowledge_and_by_upgrade_of_nothing(node):
    url = f"{node.endpoint}/_pileus/version"
    assert curl("--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", url) == "2 200"
    assert curl("--http1.1", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", url) == "1.1 200"
    # An offer to upgrade may be passed over: the answer is the same.
    assert curl("--http2", "-o", "/dev/null", "-w", "%{http_code}", url) == "200"


def test_a_signed_request_over_http_2_is_answered(node):
    host = f"127.0.0.1:{node.port}"
    headers = signed_headers("sts", host, WHO, FORM)
    args = [word for name, value in headers.items() if name != "host" for word in ("-H", f"{name}: {value}")]
    said = curl("--http2-prior-knowledge", *args, "--data-binary", WHO.decode(), "-w", "\n%{http_version}", node.endpoint)
    assert "<Arn>arn:aws:iam::000000000000:root</Arn>" in said and said.endswith("\n2")
    issued = node.client("iam")
    issued.create_user(UserName="h2")
    issued.put_user_policy(UserName="h2", PolicyName="p", PolicyDocument=NOTHING)
    made = issued.create_access_key(UserName="h2")["AccessKey"]
    headers = signed_headers("sts", host, WHO, FORM, key=made["AccessKeyId"], secret=made["SecretAccessKey"])
    args = [word for name, value in headers.items() if name != "host" for word in ("-H", f"{name}: {value}")]
    said = curl("--http2-prior-knowledge", *args, "--data-binary", WHO.decode(), node.endpoint)
    assert ":user/h2</Arn>" in said, ":authority is the host that was signed"


@pytest.fixture(scope="module")
def authority(node, tmp_path_factory):
    """The node's authority, as `pileus ca` prints it."""
    printed = subprocess.run([BINARY, "ca", "--port", str(node.port)], capture_output=True, text=True, check=True).stdout
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    path.write_text(printed)
    return path


def test_tls_is_answered_on_the_same_port(node, authority):
    for host in ["localhost", "127.0.0.1"]:
        sts = boto3.client(
            "sts", endpoint_url=f"https://{host}:{node.port}", region_name="us-east-1", verify=str(authority),
            aws_access_key_id="test", aws_secret_access_key="test", config=Config(retries={"max_attempts": 0}),
        )  # fmt: skip
        assert sts.get_caller_identity()["Account"] == "000000000000"
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://localhost:{node.port}/_pileus/version", timeout=10)


@pytest.mark.parametrize("offered,chosen", [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (None, None)])
def test_the_protocol_is_agreed_in_the_handshake(node, authority, offered, chosen):
    context = ssl.create_default_context(cafile=str(authority))
    if offered:
        context.set_alpn_protocols(offered)
    for name in ["localhost", "sqs.us-east-1.localhost", "bucket.s3.localhost", "abc.execute-api.localhost", "sqs.localhost.localstack.cloud"]:
        with connection(node) as stream, context.wrap_socket(stream, server_hostname=name) as secure:
            assert secure.selected_alpn_protocol() == chosen
            assert secure.version() in ("TLSv1.2", "TLSv1.3")


def test_http_2_over_tls_is_answered(node, authority):
    said = curl("--http2", "--cacert", str(authority), "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
                f"https://localhost:{node.port}/_pileus/version")  # fmt: skip
    assert said == "2 200"


def test_a_durable_nodes_authority_outlives_it(durable_node):
    def ca():
        return requests.get(f"{durable_node.endpoint}/_pileus/ca", timeout=10).text

    first = ca()
    durable_node.kill()
    durable_node.start()
    assert ca() == first and "BEGIN CERTIFICATE" in first and "PRIVATE" not in first
    key = durable_node.data_dir / "tls" / "ca.key"
    assert key.stat().st_mode & 0o077 == 0, "only its owner reads the authority's key"
