"""What functions start with and what they find: images, SnapStart, extensions' telemetry, networks, isolation, SDKs."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile

import pytest
from harness import BINARY, Node
from test_lambda_made import ECHO, allow, eventually, functions, package, refused  # noqa: F401

REGISTRY = "000000000000.dkr.ecr.us-east-1.amazonaws.com"

# The Runtime API spoken by the image's own program: the machine's libraries are not in it, so it is a static one.
PROGRAM = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_api(void) {
    char host[64];
    struct sockaddr_in to = {.sin_family = AF_INET};
    strncpy(host, getenv("AWS_LAMBDA_RUNTIME_API"), 63);
    char *port = strchr(host, ':');
    *port++ = 0;
    to.sin_port = htons(atoi(port));
    inet_pton(AF_INET, host, &to.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    return connect(s, (struct sockaddr *)&to, sizeof to) ? -1 : s;
}

static void ask(const char *request, char *answer, size_t room) {
    int s = open_api();
    size_t have = 0;
    ssize_t n;
    write(s, request, strlen(request));
    while (have < room - 1 && (n = read(s, answer + have, room - 1 - have)) > 0) have += n;
    answer[have] = 0;
    close(s);
}

int main(int argc, char **argv) {
    static char answer[65536], request[70000], body[60000], folder[256];
    for (;;) {
        ask("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", answer, sizeof answer);
        char *id = strcasestr(answer, "lambda-runtime-aws-request-id: ");
        if (!id) return 1;
        id += 31;
        char *event = strstr(answer, "\r\n\r\n") + 4;
        *strchr(id, '\r') = 0;
        snprintf(body, sizeof body, "{\"event\": %s, \"argument\": \"%s\", \"greeting\": \"%s\", \"folder\": \"%s\", \"layer\": %d, \"gone\": %d}",
                 event, argc > 1 ? argv[1] : "", getenv("GREETING") ? getenv("GREETING") : "", getcwd(folder, 256),
                 access("/data/second", R_OK) == 0, access("/data/first", R_OK) != 0);
        snprintf(request, sizeof request, "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", id, strlen(body), body);
        ask(request, answer, sizeof answer);
    }
}
"""


def layer(files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def layout(folder, tags):
    """An OCI layout: by tag, its layers and its configuration."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data, media):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    manifests = []
    for tag, (layers, config) in tags.items():
        manifest = {
            "schemaVersion": 2,
            "config": put(json.dumps({"architecture": "amd64", "os": "linux", "config": config}).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": [put(gzip.compress(data), "application/vnd.oci.image.layer.v1.tar+gzip") for data in layers],
        }
        described = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
        manifests.append({**described, "annotations": {"org.opencontainers.image.ref.name": tag}})
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    os.chmod(folder, 0o755)
    source = folder / "program.c"
    source.write_text(PROGRAM)
    try:
        subprocess.run(["cc", "-D_GNU_SOURCE", "-static", "-w", "-O1", "-o", folder / "program", source], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no C compiler that links statically is here")
    program = (folder / "program").read_bytes()
    first = layer({"entry": program, "data/first": b"1", "work/x": b""})
    second = layer({"data/.wh.first": b"", "data/second": b"2"})
    config = {"Entrypoint": ["/entry"], "Cmd": ["said"], "Env": ["GREETING=hello"], "WorkingDir": "/work"}
    layout(folder / "hello", {"v1": ([first, second], config), "v2": ([first], {**config, "Cmd": ["later"]})})
    return folder


@pytest.fixture(scope="module")
def image_node(images):
    node = Node("--images-dir", str(images))
    yield node
    node.stop()


def test_a_container_image_is_a_function(image_node, name):
    functions_ = __import__("test_lambda_made").Functions(image_node, name)
    lambda_, fn, role = functions_.lambda_, name("fn"), functions_.role()
    base = {"FunctionName": fn, "PackageType": "Image", "Role": role}
    made = lambda_.create_function(**base, Code={"ImageUri": f"{REGISTRY}/hello:v1"}, MemorySize=512)
    assert (made["PackageType"], made["CodeSize"], "Runtime" in made) == ("Image", 0, False)
    if functions_.level() == "L0":
        pytest.skip("images need namespaces")
    expected = {"event": {"a": 1}, "argument": "said", "greeting": "hello", "folder": "/work", "layer": 1, "gone": 1}
    assert functions_.invoke(fn, {"a": 1}) == expected
    code = lambda_.get_function(FunctionName=fn)["Code"]
    assert (code["RepositoryType"], code["ImageUri"]) == ("ECR", f"{REGISTRY}/hello:v1")
    assert code["ResolvedImageUri"] == f"{REGISTRY}/hello@sha256:{made['CodeSha256']}"

    overrides = {"Command": ["other"], "WorkingDirectory": "/data"}
    shown = lambda_.update_function_configuration(FunctionName=fn, ImageConfig=overrides)
    assert shown["ImageConfigResponse"]["ImageConfig"] == overrides
    assert functions_.invoke(fn, 1) == {**expected, "event": 1, "argument": "other", "folder": "/data"}
    lambda_.update_function_configuration(FunctionName=fn, ImageConfig={})
    lambda_.update_function_code(FunctionName=fn, ImageUri=f"{REGISTRY}/hello:v2")
    assert functions_.invoke(fn, 1) == {**expected, "event": 1, "argument": "later", "layer": 0, "gone": 0}

    def said(**more):
        return refused(lambda_.create_function, **{"FunctionName": name("fn"), "PackageType": "Image", "Role": role, **more})

    cases = [
        ({"Code": {"ImageUri": "docker.io/library/python:3.12"}}, "is not valid. Provide a valid source image."),
        ({"Code": {"ImageUri": f"{REGISTRY}/hello:v9"}}, "does not exist. Provide a valid source image."),
        ({"Code": {"ImageUri": f"{REGISTRY}/nothing"}}, "does not exist. Provide a valid source image."),
        ({"Code": {"ImageUri": f"{REGISTRY}/hello:v1"}, "Handler": "a.b", "Runtime": "python3.12"}, "Please don't provide Handler or Runtime"),
        ({"Code": {"ZipFile": package()}}, "Please provide ImageUri"),
    ]
    for arguments, sentence in cases:
        code, message = said(**arguments)
        assert code == "InvalidParameterValueException" and sentence in message, arguments
    assert refused(lambda_.update_function_code, FunctionName=fn, ZipFile=package())[0] == "InvalidParameterValueException"
    zipped = functions_.create()
    said = refused(lambda_.update_function_code, FunctionName=zipped, ImageUri=f"{REGISTRY}/hello:v1")
    assert said[0] == "InvalidParameterValueException", "a zip function does not become an image"


SNAPPED = """
import os, time
from snapshot_restore_py import register_after_restore, register_before_snapshot

order = ["init"]
register_before_snapshot(order.append, "before")

@register_after_restore
def restored():
    order.append("after")

def handler(event, context):
    return {"order": order, "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]}
"""


def test_a_version_with_snap_start_is_initialised_ahead(functions):
    lambda_ = functions.lambda_
    fn = functions.create(SNAPPED, Runtime="python3.12", SnapStart={"ApplyOn": "PublishedVersions"})
    latest = lambda_.get_function_configuration(FunctionName=fn)
    assert latest["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    assert functions.invoke(fn)["kind"] == "on-demand", "$LATEST never has it"
    version = lambda_.publish_version(FunctionName=fn)
    assert version["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    assert functions.invoke(f"{fn}:1") == {"order": ["init", "before", "after"], "kind": "snap-start"}
    for runtime, more in [("python3.11", {}), ("nodejs22.x", {}), ("python3.12", {"EphemeralStorage": {"Size": 1024}})]:
        given = {"Runtime": runtime, "SnapStart": {"ApplyOn": "PublishedVersions"}, **more}
        code = refused(
            lambda_.create_function,
            FunctionName=functions.name("fn"),
            Role=functions.role(),
            Handler="index.handler",
            Code={"ZipFile": package()},
            **given,
        )[0]
        assert code == "InvalidParameterValueException", runtime


EXTENSION = """#!/usr/bin/env python3
import http.client, http.server, json, os, threading

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
TOLD = []

class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        TOLD.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        with open("/tmp/told", "w") as file:
            json.dump(TOLD, file)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("sandbox.localdomain", 8080), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()

def ask(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(API)
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    return answer, answer.read()

answer, _ = ask("POST", "/2020-01-01/extension/register", {"events": ["INVOKE", "SHUTDOWN"]}, **{"Lambda-Extension-Name": "watcher"})
me = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
wish = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function"],
    "buffering": {"timeoutMs": 25, "maxItems": 1000, "maxBytes": 262144},
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/events"},
}
answer, text = ask("PUT", "/2022-07-01/telemetry", wish, **me)
assert answer.status == 200, text
while True:
    ask("GET", "/2020-01-01/extension/event/next", **me)
"""

TELLS = """
import json, os, time

def handler(event, context):
    print("a line of the function")
    until = time.time() + 3
    while event and time.time() < until:
        if os.path.exists("/tmp/told"):
            told = json.load(open("/tmp/told"))
            if any(one["type"] == "platform.report" for one in told):
                return told
        time.sleep(0.02)
    return []
"""


def test_an_extension_is_told_what_happens_by_the_telemetry_api(functions):
    archive = package({"extensions/watcher": EXTENSION})
    # The archive's own modes: a program among them.
    archive = _executable(archive)
    content = {"ZipFile": archive}
    published = functions.lambda_.publish_layer_version(LayerName=functions.name("layer"), Content=content)
    fn = functions.create(TELLS, Layers=[published["LayerVersionArn"]], MemorySize=1769, Timeout=20)
    functions.invoke(fn, False)
    told = functions.invoke(fn, True)
    types = [one["type"] for one in told]
    for wanted in ("platform.initStart", "platform.initReport", "platform.start", "platform.runtimeDone", "platform.report"):
        assert wanted in types, (wanted, types)
    assert {"a line of the function"} <= {one["record"] for one in told if one["type"] == "function"}
    report = next(one for one in told if one["type"] == "platform.report")
    assert report["record"]["metrics"]["memorySizeMB"] == 1769


def _executable(archive: bytes) -> bytes:
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            info.external_attr = 0o755 << 16
            new.writestr(info, old.read(info.filename))
    return out.getvalue()


REACHES = """
import os, socket

def handler(event, context):
    reached = {"endpoint": bool(os.environ.get("AWS_ENDPOINT_URL"))}
    for address in event:
        try:
            socket.create_connection((address, 80), timeout=1).close()
            reached[address] = True
        except OSError:
            reached[address] = False
    return reached
"""


@pytest.mark.parametrize("network,has_endpoint", [("platform", True), ("none", False)])
def test_an_operator_says_what_functions_reach(name, network, has_endpoint):
    node = Node("--function-network", network)
    try:
        functions_ = __import__("test_lambda_made").Functions(node, name)
        fn = functions_.create(REACHES, Timeout=20)
        if functions_.level() == "L0":
            pytest.skip("no network namespace is here")
        reached = functions_.invoke(fn, ["192.0.2.1", "10.0.0.1"])
        assert reached == {"endpoint": has_endpoint, "192.0.2.1": False, "10.0.0.1": False}
    finally:
        node.stop()


def test_a_demand_for_isolation_fails_rather_than_weakens(tmp_path):
    # As nobody: what root could give is not to be had.
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    command = [BINARY, "up", "--memory", "--port", "0", "--isolation", "full"]
    binary = pathlib.Path(BINARY)
    copy = tmp_path / "pileus"
    copy.write_bytes(binary.read_bytes())
    copy.chmod(0o755)
    for folder in [tmp_path, *tmp_path.parents]:
        if folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o055)
    ended = subprocess.run([str(copy), *command[1:]], user=65534, group=65534, extra_groups=[], capture_output=True, text=True, timeout=60, cwd="/tmp")
    assert ended.returncode != 0
    assert "isolation L2 was demanded" in ended.stderr + ended.stdout


def test_without_pools_no_interpreter_waits(name):
    node = Node("--function-pools", "false", "--function-idle", "1")
    try:
        functions_ = __import__("test_lambda_made").Functions(node, name)
        fn = functions_.create()
        assert functions_.invoke(fn, 1) == 1

        def rest():
            node.advance(seconds=60)
            return not _below(node.process.pid, "python")

        assert eventually(rest), "no process of a function is left once it has been idle"
    finally:
        node.stop()


def _below(pid, word):
    """Processes that descend from one and are named so."""
    children = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True).stdout.splitlines()
    rows = [line.split(None, 2) for line in children]
    found, below = [], {str(pid)}
    changed = True
    while changed:
        changed = False
        for row in rows:
            if len(row) == 3 and row[1] in below and row[0] not in below:
                below.add(row[0])
                changed = True
                if word in row[2]:
                    found.append(row[2])
    return found


USES_SDK = """
import boto3

def handler(event, context):
    return [boto3.__version__, boto3.client("sts").get_caller_identity()["Arn"]]
"""


def test_installed_sdks_are_found_and_reach_this_cloud_with_no_word_of_an_endpoint(name, tmp_path):
    runtimes = tmp_path / "runtimes"
    sdk = runtimes / "python3.11"
    sdk.mkdir(parents=True)
    # As `pileus runtimes install` would: without asking a package registry.
    here = pathlib.Path(next(path for path in sys.path if path.endswith("site-packages")))
    for package_name in ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six.py"):
        subprocess.run(["cp", "-r", str(here / package_name), str(sdk)], check=True)
    subprocess.run(["chmod", "-R", "a+rX", str(tmp_path)], check=True)
    node = Node("--runtimes-dir", str(runtimes))
    try:
        functions_ = __import__("test_lambda_made").Functions(node, name)
        fn = functions_.create(USES_SDK, MemorySize=1769, Timeout=30)
        version, arn = functions_.invoke(fn)
        assert version and ":assumed-role/" in arn
    finally:
        node.stop()
