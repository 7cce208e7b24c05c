"""Three nodes under load, while things break. Real processes, a real database, real time; about a minute and a half.

A table of what happened is printed in the end (`pytest -s` shows it).
"""

import subprocess
import time

import pytest
import requests
from harness import BINARY, Node
from load import Load
from postgres import Postgres, Proxy

# What a writer may wait for its next acknowledgement around each event.
GAP = 5.0


class Cloud:
    """Three nodes, each with its own way to the database."""

    def __init__(self, tmp_path):
        self.server = Postgres()
        self.ways = {name: Proxy(self.server.port) for name in "abc"}
        self.nodes = {}
        for name, way in self.ways.items():
            self.nodes[name] = Node("--store", self.server.url(way.port), "--node-name", name, data_dir=tmp_path / name)
            self.nodes[name].name = name

    def health(self, name):
        return requests.get(f"{self.nodes[name].endpoint}/_pileus/health", timeout=2).status_code

    def states(self, asked="c"):
        answer = requests.get(f"{self.nodes[asked].endpoint}/_pileus/nodes", timeout=5).json()
        return {entry["name"]: entry["state"] for entry in answer["nodes"]}

    def stop(self):
        for node in self.nodes.values():
            if node.process.poll() is None:
                node.kill()
        for way in self.ways.values():
            way.stop()
        self.server.stop()


@pytest.fixture
def cloud(tmp_path):
    running = Cloud(tmp_path)
    yield running
    running.stop()


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not become true"
        time.sleep(0.1)


# Each ends when everything is as before.


def nothing(_cloud):
    time.sleep(4)


def a_node_is_killed(cloud):
    cloud.nodes["a"].kill()
    time.sleep(3)
    cloud.nodes["a"].start()


def a_node_is_cut_off_without_a_word(cloud):
    cloud.ways["b"].stall()
    begin = time.monotonic()
    wait_for(lambda: cloud.health("b") == 503, 8)
    assert time.monotonic() - begin < 7
    wait_for(lambda: cloud.states()["b"] == "gone", 15)
    cloud.ways["b"].mend()
    wait_for(lambda: cloud.health("b") == 200 and cloud.states()["b"] == "working")


def a_nodes_connections_are_cut(cloud):
    cloud.ways["c"].cut()
    time.sleep(4)
    cloud.ways["c"].mend()
    wait_for(lambda: cloud.health("c") == 200)


def postgresql_is_restarted(cloud):
    cloud.server.down("fast")
    cloud.server.up()
    wait_for(lambda: all(cloud.health(name) == 200 for name in "abc"))


def postgresql_is_killed(cloud):
    cloud.server.down("immediate")
    cloud.server.up()
    wait_for(lambda: all(cloud.health(name) == 200 for name in "abc"))


def nodes_restart_in_turn(cloud):
    for node in cloud.nodes.values():
        node.process.terminate()
        node.process.wait(timeout=30)
        assert node.process.returncode == 0
        node.start()


EVENTS = [
    nothing,
    a_node_is_killed,
    a_node_is_cut_off_without_a_word,
    a_nodes_connections_are_cut,
    postgresql_is_restarted,
    postgresql_is_killed,
    nodes_restart_in_turn,
]


def test_nothing_acknowledged_is_lost_whatever_breaks(cloud):
    load = Load(list(cloud.nodes.values()))
    load.start()
    time.sleep(2)
    load.take_worst_gap()
    lines, slow = [], []
    for event in EVENTS:
        before = sum(load.acknowledged.values())
        begin = time.monotonic()
        event(cloud)
        time.sleep(2)  # What the event has started may end.
        took, gap = time.monotonic() - begin, load.take_worst_gap()
        rate = (sum(load.acknowledged.values()) - before) / took
        lines.append(f"{begin - load.begun:7.2f} s: {event.__name__:<36} {took:6.1f} s {rate:7.0f} calls/s, longest wait of a writer {gap:5.2f} s")
        if gap >= GAP:
            slow.append(f"{event.__name__}: a writer waited {gap:.2f} s")
    findings = load.finish()
    print("\n" + "\n".join(lines))
    print("\n".join(load.errors))
    print(f"acknowledged {dict(load.acknowledged)}")
    print(f"errors that clients retried {dict(load.retries)}")
    assert not findings
    assert not slow
    assert all(group.sent > 100 for group in load.groups.values()) and len(load.sent) > 200 and len(load.users) > 50
    status = subprocess.run([BINARY, "status", "--port", str(cloud.nodes["a"].port)], capture_output=True, text=True, timeout=30)
    assert status.returncode == 0 and all(f"{name} " in status.stdout for name in "abc"), status.stdout
