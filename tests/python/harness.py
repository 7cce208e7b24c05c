"""A node for each test that wants one, and clients for it: what `tests/python` and `tests/acceptance` share.

The binary is `PILEUS_BIN` (`cargo xtask acceptance` sets it), else the debug build. One node in memory with a movable clock
serves a whole test module; tests make their own resources in it, so they run alone and in any order.
"""

import itertools
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import uuid

import boto3
import pytest
import requests
from botocore.config import Config

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("PILEUS_BIN", str(ROOT / "target" / "debug" / "pileus"))
REGION = "us-east-1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    """A running `pileus up`. `args` are further command-line arguments."""

    def __init__(self, *args: str, data_dir=None, cwd=None):
        self.args = list(args)
        self.data_dir = data_dir
        self.port = free_port()
        self.process = None
        self.cwd = cwd
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [BINARY, "up", "--port", str(self.port), "--log", "warn", *self.args]
        command += ["--data-dir", str(self.data_dir)] if self.data_dir else ["--memory"]
        self.process = subprocess.Popen(command, cwd=self.cwd)
        deadline = time.monotonic() + 30
        while True:
            try:
                requests.get(f"{self.endpoint}/_pileus/health", timeout=1).raise_for_status()
                return
            except requests.RequestException:
                if self.process.poll() is not None:
                    raise RuntimeError(f"the node ended at once with {self.process.returncode}")
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)

    def kill(self):
        """As `kill -9`: nothing is flushed, nobody is asked."""
        self.process.kill()
        self.process.wait(timeout=30)

    def client(self, service, key="test", secret="test", token=None, region=REGION, **config):
        """A boto3 client. Retries are off, so that a test sees the first answer."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"max_attempts": 0}, **config),
        )

    def aws(self, *args, key="test", secret="test", token=None, region=REGION, check=True):
        """Runs the AWS CLI; gives the finished process with its output as text."""
        env = {
            **os.environ,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_PAGER": "",
        }
        env.pop("AWS_SESSION_TOKEN", None)
        if token:
            env["AWS_SESSION_TOKEN"] = token
        cli = pathlib.Path(sys.executable).parent / "aws"
        # Version 1 of the CLI ignores AWS_ENDPOINT_URL for SQS.
        done = subprocess.run([str(cli), "--endpoint-url", self.endpoint, *args], env=env, capture_output=True, text=True, timeout=120)
        if check and done.returncode != 0:
            raise AssertionError(f"aws {' '.join(args)}: {done.stderr}")
        return done

    # The clock.

    def advance(self, seconds: float):
        """Moves the node's clock forward: timers, expiries and waits follow."""
        answer = requests.post(f"{self.endpoint}/_pileus/clock", json={"advance_seconds": seconds}, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def freeze(self):
        """The node's clock stands still, and moves only when it is advanced."""
        requests.post(f"{self.endpoint}/_pileus/clock", json={"freeze": True}, timeout=10).raise_for_status()

    def resume(self):
        requests.post(f"{self.endpoint}/_pileus/clock", json={"resume": True}, timeout=10).raise_for_status()

    def reset(self):
        requests.post(f"{self.endpoint}/_pileus/state/reset", timeout=30).raise_for_status()


@pytest.fixture(scope="module")
def sdk():
    """Functions of this module's nodes find boto3, as after `pileus runtimes install`: the tests' own, copied once."""
    folder = ROOT / "target" / "runtimes"
    place = folder / f"python{sys.version_info.major}.{sys.version_info.minor}"
    mark = folder / f"{place.name}.txt"
    if not mark.exists() or mark.read_text() != boto3.__version__:
        shutil.rmtree(place, ignore_errors=True)
        here = pathlib.Path(boto3.__file__).parents[1]
        for package in ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil"):
            shutil.copytree(here / package, place / package)
        shutil.copy(here / "six.py", place)
        mark.write_text(boto3.__version__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PILEUS_RUNTIMES_DIR", str(folder))
        yield


@pytest.fixture(scope="module")
def node():
    running = Node()
    yield running
    running.stop()


@pytest.fixture
def durable_node(tmp_path):
    """A node that keeps its state under `tmp_path`; a test may kill and start it again."""
    running = Node(data_dir=tmp_path / "data")
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture
def client(node):
    """`client("sqs")`: a client of the module's node, as the root of the default account."""
    return node.client


_numbers = itertools.count()


@pytest.fixture
def name():
    """A name that no other test uses: `name()` or `name("queue")`."""
    return lambda prefix="t": f"{prefix}-{next(_numbers)}-{uuid.uuid4().hex[:8]}"


def denied_client(node, service, region=REGION):
    """A client for a new user without any permission, for the denied call of every operation."""
    iam = node.client("iam")
    user = f"denied-{uuid.uuid4().hex[:12]}"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return node.client(service, key=key["AccessKeyId"], secret=key["SecretAccessKey"], region=region)


@pytest.fixture
def denied(node):
    """`denied("sqs")`: a client whose user has no permission at all."""
    return lambda service, region=REGION: denied_client(node, service, region)


def error_code(call, *args, **kwargs) -> str:
    """The AWS error code that a call fails with; fails the test if it succeeds."""
    from botocore.exceptions import ClientError

    try:
        call(*args, **kwargs)
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError("the call succeeded")
