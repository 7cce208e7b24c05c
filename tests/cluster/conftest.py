"""Several nodes on one PostgreSQL: real servers, real processes. `cargo xtask test --only cluster` runs this folder."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))

from harness import Node  # noqa: E402
from postgres import Postgres  # noqa: E402


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture
def cluster_node(tmp_path):
    """`cluster_node(url, "a")`: a node of that name on the database, stopped after the test."""
    nodes = []

    def start(url, name, *args):
        running = Node("--store", url, "--node-name", name, *args, data_dir=tmp_path / name)
        nodes.append(running)
        return running

    yield start
    for running in nodes:
        if running.process.poll() is None:
            running.kill()
