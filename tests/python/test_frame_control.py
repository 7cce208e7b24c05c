"""The binary itself: how it is started and told to stop, its control endpoints, and what the server profile turns off."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest
import requests
from botocore.exceptions import ClientError

from conftest import BINARY, Node, free_port
from raw import code, form, send, target

CONTROL_OFF = [
    ("GET", "/_pileus/clock"),
    ("POST", "/_pileus/clock"),
    ("POST", "/_pileus/state/reset"),
    ("POST", "/_localstack/state/reset"),
    ("GET", "/_pileus/iam/denials"),
]


def control(node, method, path, **request):
    return requests.request(method, node.endpoint + path, timeout=10, **request)


def run(*args, env=None, cwd=None, timeout=20):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PILEUS_")}
    return subprocess.run(
        [BINARY, *map(str, args)], env={**environment, **(env or {})}, cwd=cwd, capture_output=True, text=True, timeout=timeout
    )


def refused_in_one_line(done):
    """What the operator reads, if it is one line and no trace."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("pileus: "), done.stderr
    return lines[0]


@pytest.fixture
def own():
    """A node of the test's own, as its clock and state are."""
    node = Node()
    yield node
    node.stop()


# Control endpoints.


def test_health_and_version_are_told_under_both_names(node):
    health = control(node, "GET", "/_pileus/health").json()
    assert health["services"]["sts"] == "running" and health["version"]
    assert control(node, "GET", "/_localstack/health").json() == health
    assert control(node, "GET", "/_pileus/version").json() == {"version": health["version"]}
    assert run("status", "--port", node.port).stdout.startswith(f"pileus {health['version']} answers on port {node.port}")
    assert control(node, "HEAD", "/_pileus/health").status_code == 200


def test_metrics_count_requests_for_prometheus(node):
    form(node, "sts", "GetCallerIdentity", "2011-06-15")
    metrics = control(node, "GET", "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert re.search(r'operation="GetCallerIdentity".* \d+', metrics.text)


def test_what_is_not_a_control_endpoint_is_not_found(node):
    for method, path in [("GET", "/_pileus/nothing"), ("DELETE", "/_pileus/health"), ("GET", "/_pileus/state/reset")]:
        answer = control(node, method, path)
        assert answer.status_code == 404 and answer.json()["error"]


def test_the_clock_freezes_advances_and_resumes(own):
    def clock(change=None):
        answer = control(own, "POST" if change else "GET", "/_pileus/clock", **({"json": change} if change else {}))
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert clock()["frozen"] is False and clock()["ahead_seconds"] == 0
    frozen = clock({"freeze": True})
    assert frozen["frozen"] and clock()["now"] == frozen["now"]
    moved = clock({"advance_seconds": 86_400})
    assert moved["frozen"] and moved["now"] != frozen["now"] and moved["now"][11:19] == frozen["now"][11:19]
    assert not clock({"resume": True})["frozen"]
    said = run("clock", "--port", own.port, "advance", "35d")
    assert said.returncode == 0, said.stderr
    # Less the moment for which it stood still.
    assert 36 * 86_400 - 60 < clock()["ahead_seconds"] <= 36 * 86_400


@pytest.mark.parametrize("change", ["{", "[]", '{"advance_seconds": -1}', '{"advance_seconds": 1e300}', '{"rewind": 1}',
                                    '{"advance_seconds": "1"}', '{"freeze": true, "resume": true}', "x" * 10_000])  # fmt: skip
def test_a_clock_is_not_moved_by_nonsense(node, change):
    before = control(node, "GET", "/_pileus/clock").json()["ahead_seconds"]
    answer = control(node, "POST", "/_pileus/clock", data=change)
    assert answer.status_code == 400 and answer.json()["error"]
    assert abs(control(node, "GET", "/_pileus/clock").json()["ahead_seconds"] - before) < 1


def test_a_moved_clock_outlives_the_node(durable_node):
    durable_node.advance(1000)
    durable_node.kill()
    durable_node.start()
    assert control(durable_node, "GET", "/_pileus/clock").json()["ahead_seconds"] >= 999


def test_a_reset_forgets_everything(own):
    for path in ["/_pileus/state/reset", "/_localstack/state/reset"]:
        iam = own.client("iam")
        iam.create_user(UserName="gone")
        made = iam.create_access_key(UserName="gone")["AccessKey"]
        identity = {"key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}
        assert form(own, "sts", "GetCallerIdentity", "2011-06-15", **identity).status_code == 200
        own.client("sqs").create_queue(QueueName="gone")
        assert control(own, "POST", path).status_code == 200
        assert iam.list_users()["Users"] == []
        assert "QueueUrls" not in own.client("sqs").list_queues()
        assert "user/gone" not in form(own, "sts", "GetCallerIdentity", "2011-06-15", **identity).text


def test_a_signed_request_is_never_a_control_request(node):
    """A bucket may be called `_pileus` or `metrics`."""
    for path in ["/metrics", "/_pileus/health", "/_localstack/health"]:
        answer = send(node, "s3", method="GET", path=path)
        assert "services" not in answer.text and answer.headers.get("x-amz-id-2")


# The server profile.


@pytest.fixture
def server(tmp_path):
    """A node in the server profile, and its first key."""
    data = tmp_path / "data"
    said = run("init", "--data-dir", data)
    assert said.returncode == 0, said.stderr
    values = dict(re.findall(r"^(aws_\w+) = (\S+)$", said.stdout, re.M))
    node = Node("--profile", "server", data_dir=data)
    yield node, {"key": values["aws_access_key_id"], "secret": values["aws_secret_access_key"]}
    if node.process.poll() is None:
        node.stop()


def test_the_server_profile_trusts_only_keys_that_it_issued(server):
    node, key = server
    answer = form(node, "sts", "GetCallerIdentity", "2011-06-15", **key)
    assert answer.status_code == 200 and ":user/admin</Arn>" in answer.text
    for unknown in ("test", "111122223333", "AKIAIOSFODNN7EXAMPLE"):
        answer = form(node, "sts", "GetCallerIdentity", "2011-06-15", key=unknown)
        assert (answer.status_code, code(answer)) == (403, "InvalidClientTokenId")
        answer = target(node, "sqs", "AmazonSQS.ListQueues", key=unknown)
        assert (answer.status_code, code(answer)) == (403, "UnrecognizedClientException")
    assert code(form(node, "sts", "GetCallerIdentity", "2011-06-15", **{**key, "secret": "wrong"})) == "SignatureDoesNotMatch"
    assert node.client("iam", **key).list_users()["Users"][0]["UserName"] == "admin"


def test_the_server_profile_turns_control_off(server):
    node, _ = server
    for method, path in CONTROL_OFF:
        assert control(node, method, path, data="{}").status_code == 404, path
    assert control(node, "GET", "/_pileus/health").status_code == 200
    assert "BEGIN CERTIFICATE" in control(node, "GET", "/_pileus/ca").text


def test_a_cloud_is_initialised_once(server, tmp_path):
    node, _ = server
    refused_in_one_line(run("init", "--data-dir", tmp_path / "data"))
    node.stop()
    again = run("init", "--data-dir", tmp_path / "data")
    assert "admin" in refused_in_one_line(again)


# Starting and stopping.


def test_a_port_in_use_is_said_in_one_line(node):
    line = refused_in_one_line(run("up", "--memory", "--port", node.port))
    assert str(node.port) in line and "in use" in line


def test_a_locked_data_directory_is_said_in_one_line(durable_node):
    line = refused_in_one_line(run("up", "--data-dir", durable_node.data_dir, "--port", free_port()))
    assert str(durable_node.data_dir) in line


def test_a_directory_that_cannot_be_used_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    line = refused_in_one_line(run("up", "--data-dir", tmp_path / "file", "--port", free_port()))
    assert "file" in line


@pytest.mark.parametrize(
    "args,word",
    [
        (["--address", "192.0.2.1"], "192.0.2.1"),
        (["--region", "nowhere at all"], "region"),
        (["--log", "[["], "--log"),
        (["--config", "/nonexistent/pileus.toml"], "/nonexistent/pileus.toml"),
    ],
)
def test_a_setting_without_sense_is_said_in_one_line(args, word):
    assert word in refused_in_one_line(run("up", "--memory", "--port", free_port(), *args))


def started(tmp_path, *args, env=None):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PILEUS_")}
    log = open(tmp_path / "log", "w")
    process = subprocess.Popen([BINARY, "up", *args], env={**environment, **(env or {})}, cwd=tmp_path, stderr=log)
    return process, tmp_path / "log"


def wait_for(port, process):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            return requests.get(f"http://127.0.0.1:{port}/_pileus/health", timeout=1)
        except requests.RequestException:
            assert process.poll() is None, "the node ended"
            time.sleep(0.01)
    raise AssertionError("the node does not answer")


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    file, env, flag = free_port(), free_port(), free_port()
    (tmp_path / "pileus.toml").write_text(f'port = {file}\nmemory = true\nregion = "eu-west-1"\n')
    for args, environment, port in [
        ([], {}, file),
        ([], {"PILEUS_PORT": str(env)}, env),
        (["--port", str(flag)], {"PILEUS_PORT": str(env)}, flag),
    ]:
        process, _ = started(tmp_path, *args, env=environment)
        try:
            assert wait_for(port, process).status_code == 200
        finally:
            process.terminate()
            assert process.wait(20) == 0
    assert not (tmp_path / ".pileus").exists(), "memory keeps nothing"


def test_the_data_directory_is_taken_from_the_environment(tmp_path):
    port = free_port()
    data = tmp_path / "elsewhere"
    process, _ = started(tmp_path, env={"PILEUS_PORT": str(port), "PILEUS_DATA_DIR": str(data), "PILEUS_ENGINE": "redb"})
    try:
        wait_for(port, process)
        assert data.is_dir() and any(data.iterdir())
    finally:
        process.terminate()
        process.wait(20)


def test_an_unknown_key_in_the_file_is_named(tmp_path):
    (tmp_path / "pileus.toml").write_text("prot = 1\n")
    done = run("up", "--memory", cwd=tmp_path)
    assert done.returncode == 1 and "prot" in done.stderr and "panicked" not in done.stderr


def test_logs_are_json_where_that_is_asked(tmp_path):
    port = free_port()
    process, log = started(tmp_path, "--memory", "--port", str(port), "--log-format", "json", "--log", "debug")
    try:
        wait_for(port, process)
        requests.post(f"http://127.0.0.1:{port}", data="Action=Nothing", timeout=10)
    finally:
        process.terminate()
        process.wait(20)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert any("is up" in entry["fields"]["message"] for entry in entries)
    assert all(entry["timestamp"] and entry["level"] for entry in entries)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_node_told_to_stop_finishes_what_it_began(how):
    """A long poll is open: it is answered, and then the process ends well."""
    node = Node()
    sqs = node.client("sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    said = []
    poll = threading.Thread(target=lambda: said.append(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=3)))
    poll.start()
    # Nothing outside tells that the poll has begun: its request is a moment on its way.
    time.sleep(0.3)
    began = time.monotonic()
    node.process.send_signal(how)
    assert node.process.wait(15) == 0
    assert time.monotonic() - began < 12
    poll.join()
    assert len(said) == 1 and said[0]["ResponseMetadata"]["HTTPStatusCode"] == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{node.endpoint}/_pileus/health", timeout=2)


def test_idle_connections_do_not_delay_the_end():
    own = Node()
    with requests.Session() as session:
        assert session.get(f"{own.endpoint}/_pileus/health", timeout=5).status_code == 200
        began = time.monotonic()
        own.process.terminate()
        assert own.process.wait(15) == 0
        assert time.monotonic() - began < 3


def test_secrets_are_not_logged(tmp_path):
    port = free_port()
    process, log = started(tmp_path, "--memory", "--port", str(port), "--log", "trace,hyper=info,h2=info,rustls=info")
    try:
        wait_for(port, process)
        node = type("There", (), {"port": port, "endpoint": f"http://127.0.0.1:{port}"})
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = send(node, "iam", "Action=CreateUser&Version=2010-05-08&UserName=u", headers)
        answer = send(node, "iam", "Action=CreateAccessKey&Version=2010-05-08&UserName=u", headers)
        secret = re.search("<SecretAccessKey>(.*)</SecretAccessKey>", answer.text)[1]
        key = re.search("<AccessKeyId>(.*)</AccessKeyId>", answer.text)[1]
        form(node, "sts", "GetSessionToken", "2011-06-15", key=key, secret=secret)
        form(node, "sts", "GetCallerIdentity", "2011-06-15", key=key, secret="wrong")
    finally:
        process.terminate()
        process.wait(20)
    assert secret not in log.read_text()


def test_denials_are_explained_to_the_operator(node, denied):
    sqs = denied("sqs")
    with pytest.raises(ClientError) as refused:
        sqs.list_queues()
    request_id = refused.value.response["ResponseMetadata"]["RequestId"]
    said = run("iam", "explain", request_id, "--port", node.port)
    assert said.returncode == 0, said.stderr
    assert "sqs:ListQueues" in said.stdout, said.stdout
    assert run("iam", "explain", "00000000-0000-0000-0000-000000000000", "--port", node.port).returncode == 1


def test_env_prints_lines_that_a_shell_takes(node):
    said = run("env", "--port", node.port).stdout
    script = f'{said}\necho "$AWS_ENDPOINT_URL $AWS_REGION"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"http://localhost:{node.port} us-east-1"
