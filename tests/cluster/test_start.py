"""What a node says that cannot start, in one line; and what nodes know of each other."""

import subprocess
import time

import requests
from harness import BINARY, Node, free_port
from postgres import Postgres


def run(*args, timeout=60):
    return subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=timeout)


def up(tmp_path, url, name="x"):
    """A start that fails: its one line."""
    args = ["up", "--log", "error", "--port", str(free_port()), "--data-dir", str(tmp_path), "--store", url, "--node-name", name]
    done = run(*args)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("pileus: ")]
    assert len(lines) == 1, done.stderr
    assert "secret" not in done.stderr
    return lines[0]


def nodes(node):
    answer = requests.get(f"{node.endpoint}/_pileus/nodes", timeout=10).json()
    return {entry["name"]: entry for entry in answer["nodes"]}


def test_what_cannot_be_opened_is_explained_in_one_line(postgres, tmp_path, cluster_node):
    port = postgres.port
    postgres.sql("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    cases = [
        ("mysql://me:secret@db/cloud", "--store is a database's URL"),
        ("postgres://me:secret@127.0.0.1:port/cloud", "the database's URL is unusable"),
        ("postgres://me:secret@db/cloud?sslmode=maybe", 'no sslmode "maybe"'),
        (f"postgres://me:secret@127.0.0.1:{free_port()}/cloud", "error connecting to server"),
        ("postgres://me:secret@no-such-host.invalid/cloud", "no-such-host.invalid:5432/cloud"),
        (f"postgres://pileus:secret@127.0.0.1:{port}/nothing", 'database "nothing" does not exist'),
        (f"postgres://nobody:secret@127.0.0.1:{port}/postgres", 'role "nobody" does not exist'),
    ]
    for url, expected in cases:
        line = up(tmp_path, url)
        assert expected in line, (url, line)
    line = up(tmp_path, postgres.url(), name="a b")
    assert '"a b" cannot name a node' in line
    done = run("up", "--store", postgres.url(), "--blobs", "http://bucket")
    assert done.returncode != 0 and "--blobs is a bucket's URL" in done.stderr


def test_a_wrong_password_is_named(tmp_path):
    server = Postgres()
    try:
        server.sql("ALTER ROLE pileus PASSWORD 'right'")
        hba = server.data / "pg_hba.conf"
        hba.write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        server.down()
        server.up()
        line = up(tmp_path, server.url(password="secret"))
        assert "password authentication failed" in line
        running = Node("--store", server.url(password="right"), "--node-name", "a", data_dir=tmp_path / "a")
        running.stop()
    finally:
        server.stop()


def test_a_read_only_replica_and_a_newer_schema_are_refused(tmp_path):
    server = Postgres("default_transaction_read_only = on")
    try:
        assert "does not allow writes" in up(tmp_path, server.url())
        settings = server.data / "postgresql.auto.conf"
        settings.write_text(settings.read_text().replace("default_transaction_read_only = on", ""))
        server.down()
        server.up()
        first = Node("--store", server.url(), "--node-name", "a", data_dir=tmp_path / "a")
        first.stop()
        server.sql("UPDATE pileus_schema SET version = 99")
        assert "schema 99, of a newer release" in up(tmp_path, server.url())
    finally:
        server.stop()


def test_two_nodes_of_one_name_do_not_start_and_harm_nobody(postgres, tmp_path, cluster_node):
    first = cluster_node(postgres.url(), "twin")
    line = up(tmp_path / "x", postgres.url(), name="twin")
    assert 'a node named "twin" is already in this cloud' in line and str(first.port) in line
    assert requests.get(f"{first.endpoint}/_pileus/health", timeout=5).status_code == 200
    first.stop()


def test_nodes_know_each_other_and_one_that_stops_says_so(postgres, cluster_node):
    a, b = cluster_node(postgres.url(), "a"), cluster_node(postgres.url(), "b")
    wait_for(lambda: {"a", "b"} <= nodes(a).keys())
    assert all(nodes(a)[name]["state"] == "working" for name in "ab")
    done = run("status", "--port", str(a.port))
    assert done.returncode == 0, done.stderr
    assert "* a " in done.stdout and "  b " in done.stdout and str(b.port) in done.stdout
    # One authority and one set of sessions for both.
    ca = [requests.get(f"{node.endpoint}/_pileus/ca", timeout=5).text for node in (a, b)]
    assert ca[0] == ca[1]
    session = a.client("sts").get_session_token()["Credentials"]
    keys = (session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
    assert b.client("sts", *keys).get_caller_identity()["Account"] == "000000000000"
    # What would go only for one of them is refused.
    for path, body in [("clock", {"advance_seconds": 5}), ("state/reset", None)]:
        answer = requests.post(f"{a.endpoint}/_pileus/{path}", json=body, timeout=5)
        assert answer.status_code == 409 and "several nodes" in answer.json()["error"]
    b.stop()
    assert b.process.returncode == 0
    assert "b" not in nodes(a)
    a.stop()


def test_a_killed_node_is_gone_after_ten_seconds_and_its_work_passes_on(postgres, cluster_node):
    a, b = cluster_node(postgres.url(), "left"), cluster_node(postgres.url(), "right")
    wait_for(lambda: {"left", "right"} <= nodes(a).keys())
    b.kill()
    begin = time.monotonic()
    wait_for(lambda: nodes(a)["right"]["state"] == "gone", 15)
    assert time.monotonic() - begin > 7
    # Started again in its place it is back at once.
    begin = time.monotonic()
    b.start()
    assert nodes(a)["right"]["state"] == "working"
    a.stop()
    b.stop()


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not become true"
        time.sleep(0.1)
