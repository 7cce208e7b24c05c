"""The applications in `examples/`, deployed by their own scripts and used as their users would."""

import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
import requests
import zxingcpp

from browser import Browser, needs_chromium
from harness import BINARY, REGION, ROOT, Node, free_port
from sns_parts import eventually

EXAMPLES = ROOT / "examples"
# Built once, then kept: the libraries come over the network.
BUILD = ROOT / "target" / "examples"


pytestmark = pytest.mark.usefixtures("sdk")


def load(path):
    """A script of an example as a module of its own."""
    path = EXAMPLES / path
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(f"example_{path.parent.name}_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(path.parent))


def session(key="test"):
    return boto3.Session(aws_access_key_id=key, aws_secret_access_key="test", region_name=REGION)


def site(node, url):
    """Gets a page whose host name is this machine's; a browser finds it by itself."""
    host = url.split("/")[2]
    return requests.get(f"{node.endpoint}/{url.split('/', 3)[3]}", headers={"Host": host}, timeout=10)


def api(node, url, method="GET", **arguments):
    host = url.split("/")[2]
    return requests.request(method, f"{node.endpoint}/{url.split('/', 3)[3]}", headers={"Host": host}, timeout=30, **arguments)


@pytest.fixture(scope="module")
def conference(node):
    deploy = load("conference/deploy.py")
    deploy.BADGE_SECONDS = "1"
    application = deploy.Application(session(), node.endpoint, build=BUILD)
    made = application.deploy()
    return application, made


ANN = {"name": "Ann Example", "company": "Example", "email": "ann@example.com"}


def test_a_registration_is_answered_fast_and_gets_its_badge(node, conference):
    _, made = conference
    page = site(node, made["site"])
    assert page.status_code == 200 and "Apply for the conference" in page.text
    place = made["api"] + "/conference"
    assert made["api"] in site(node, made["site"].replace("apply.html", "config.js")).text
    assert api(node, place, "POST", json={"name": "Ann"}).status_code == 400
    api(node, place, "POST", json=ANN)  # the first call also starts the function
    before = time.monotonic()
    answer = api(node, place, "POST", json=ANN)
    assert answer.status_code == 201 and time.monotonic() - before < 1, "nobody waits for the badge"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    own = answer.json()["id"]
    assert own in [entry["id"] for entry in api(node, place).json()["entries"]]
    entry = eventually(lambda: (shown := api(node, f"{place}?id={own}").json()).get("badge") and shown, 60)
    assert entry["name"] == ANN["name"] and "email" not in entry
    badge = site(node, made["site"].replace("apply.html", entry["badge"]))
    assert badge.headers["Content-Type"] == "image/png" and badge.content.startswith(b"\x89PNG")
    assert decode(badge.content) == own
    assert api(node, f"{place}?id=none").status_code == 404
    preflight = api(node, place, "OPTIONS")
    assert preflight.status_code == 200 and "POST" in preflight.headers["Access-Control-Allow-Methods"]


def decode(png):
    """The text of the QR code in a picture."""
    (code,) = zxingcpp.read_barcodes(load_pillow().open(io.BytesIO(png)))
    return code.text


@needs_chromium
def test_somebody_registers_in_a_browser_and_opens_the_badge(conference, tmp_path):
    _, made = conference
    browser = Browser(tmp_path / "profile")
    try:
        browser.go(made["site"])
        browser.type("#name", "Grace Håkon 東京")
        browser.type("#company", "Example & Søn")
        browser.click("form button")
        assert browser.run("document.activeElement.id") == "email", "the browser asks for what is missing"
        browser.type("#email", "grace@example.com")
        browser.click("form button")
        browser.see("location.pathname === '/result.html' && document.readyState === 'complete'")
        own = browser.run("new URLSearchParams(location.search).get('id')")
        browser.click("nav a[href='list.html']")
        row = browser.see(f"document.querySelector('a[href$=\"{own}\"]')?.closest('tr').innerText")
        assert "Grace Håkon 東京" in row and "Example & Søn" in row
        assert "grace@example.com" not in browser.text("main")
        browser.click(f"a[href$='{own}']")
        browser.see("document.getElementById('badge').naturalWidth === 800", 60)
        assert browser.text("#status") == "badge drawn"
        assert decode(browser.picture()) == own
        assert browser.faults == []
    finally:
        browser.close()


def test_a_weighted_alias_splits_the_posts(node, conference):
    application, made = conference
    rollout = load("conference/rollout.py")
    place = made["api"] + "/conference"

    def versions(count):
        return {api(node, place, "POST", json=ANN).headers["X-Version"] for _ in range(count)}

    assert versions(3) == {"1"}
    rollout.start(application, 0.5)
    assert len(versions(40)) == 2
    rollout.end(application, True)
    assert "1" not in versions(5)


def test_the_tables_name_is_a_variable(node, conference):
    application, made = conference
    dynamodb, functions = node.client("dynamodb"), node.client("lambda")
    place = made["api"] + "/conference"
    own = api(node, place, "POST", json=ANN).json()["id"]
    assert own in [entry["id"] for entry in api(node, place).json()["entries"]]
    dynamodb.create_table(
        TableName="elsewhere",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("conference", "id")],
        KeySchema=[{"AttributeName": "conference", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(TableName="elsewhere", WaiterConfig={"Delay": 1})
    name = f"{application.prefix}-entries"
    statement = {"Effect": "Allow", "Action": "dynamodb:Query", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    node.client("iam").put_role_policy(RoleName=name, PolicyName="elsewhere", PolicyDocument=policy)
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables | {"TABLE": "elsewhere"}})
    functions.get_waiter("function_updated").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    version = functions.publish_version(FunctionName=name)["Version"]
    old = functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
    assert api(node, place).json() == {"entries": []}
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion=old)
    assert own in [entry["id"] for entry in api(node, place).json()["entries"]]


def test_a_deployment_again_changes_nothing_and_removal_leaves_nothing(node):
    application = load("conference/deploy.py").Application(session(), node.endpoint, prefix="again", build=BUILD)
    functions, gateway = node.client("lambda"), node.client("apigateway")

    def is_ours(name):
        return name.startswith("again-")

    def versions():
        names = [function["FunctionName"] for function in functions.list_functions()["Functions"]]
        return {name: functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"] for name in filter(is_ours, names)}

    made = application.deploy()
    assert versions() == {f"again-{name}": "1" for name in ("apply", "badge", "entries")}
    assert application.deploy() == made
    assert versions() == {f"again-{name}": "1" for name in ("apply", "badge", "entries")}
    layer = "again-badge-libraries"
    assert [version["Version"] for version in functions.list_layer_versions(LayerName=layer)["LayerVersions"]] == [1]
    # Somebody stopped it before the API had its stage: the next deployment makes the API anew.
    gateway.delete_stage(restApiId=made["rest_api"], stageName="prod")
    mended = application.deploy()
    assert [item["id"] for item in gateway.get_rest_apis()["items"] if is_ours(item["name"])] == [mended["rest_api"]]
    assert api(node, mended["api"] + "/conference").json() == {"entries": []}
    application.remove()
    assert versions() == {}
    assert functions.list_layer_versions(LayerName=layer)["LayerVersions"] == []
    assert not [item for item in gateway.get_rest_apis()["items"] if is_ours(item["name"])]
    assert not list(filter(is_ours, node.client("dynamodb").list_tables()["TableNames"]))
    assert not [bucket for bucket in node.client("s3").list_buckets()["Buckets"] if is_ours(bucket["Name"])]
    assert not [role for role in node.client("iam").list_roles()["Roles"] if is_ours(role["RoleName"])]
    topics = [topic["TopicArn"].split(":")[-1] for topic in node.client("sns").list_topics()["Topics"]]
    assert not list(filter(is_ours, topics))


def test_an_upload_becomes_a_thumbnail_and_a_grayscale_picture(node):
    thumbnail = load("thumbnail/deploy.py")
    made = thumbnail.deploy(node.client, out=BUILD)
    # A picture from the library of the layer itself: nothing else is needed here.
    Image = load_pillow()
    data = io.BytesIO()
    Image.new("RGB", (640, 400), (200, 40, 40)).save(data, "JPEG")
    s3 = node.client("s3")
    s3.put_object(Bucket=made["in"], Key="a red picture.jpg", Body=data.getvalue())

    def got(key):
        try:
            return s3.get_object(Bucket=made["out"], Key=key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            return None

    gray = Image.open(io.BytesIO(eventually(lambda: got("grayscale/a red picture.jpg"), 30)))
    assert (gray.mode, gray.size) == ("L", (640, 400))
    small = Image.open(io.BytesIO(eventually(lambda: got("thumbnail/a red picture.jpg"), 5)))
    assert small.size == (160, 100)
    table = node.client("dynamodb")
    key = {"picture": {"S": "a red picture.jpg"}}
    row = eventually(lambda: table.get_item(TableName=made["table"], Key=key).get("Item"), 5)
    assert row["width"] == {"N": "640"}


def load_pillow():
    sys.path.insert(0, str(BUILD / "layer" / "python"))
    from PIL import Image

    return Image


def test_express_orders_are_done_first(node):
    orders = load("orders/orders.py")
    made = orders.deploy(node.client)
    placed = [{"id": number, "kind": "express" if number % 5 == 0 else "normal"} for number in range(300)]
    orders.place(node.client, made["topic"], placed)
    sqs = node.client("sqs")

    def waiting(url):
        name = "ApproximateNumberOfMessages"
        return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])

    eventually(lambda: waiting(made["express"]) == 60 and waiting(made["normal"]) == 240, 20)
    done = []
    while taken := orders.take(node.client, made["express"], made["normal"]):
        done.extend(taken)
    kinds = [order["kind"] for order in done]
    assert kinds == ["express"] * 60 + ["normal"] * 240
    assert sorted(order["id"] for order in done) == list(range(300))


def test_a_function_is_denied_until_its_role_is_fixed(node):
    lab = load("denied/lab.py")
    made = lab.deploy(node.client)
    is_fine, answer = lab.test(node.client, made["function"])
    assert not is_fine and "AccessDenied" in answer["errorMessage"] and "s3:PutObject" in answer["errorMessage"]
    lab.fix(node.client, made["role"], made["bucket"])
    is_fine, answer = lab.test(node.client, made["function"])
    assert is_fine, answer
    assert node.client("s3").get_object(Bucket=made["bucket"], Key=answer["wrote"])["Body"].read() == b'{"from": "the lab"}'


def test_a_killed_node_loses_no_accepted_registration(tmp_path):
    """A hundred people apply, the node is killed with -9 among them, and whoever got no answer tries again."""
    node = Node(data_dir=tmp_path / "data")
    try:
        made = load("conference/deploy.py").Application(session(), node.endpoint, build=BUILD).deploy()
        place = made["api"] + "/conference"
        accepted, forty_are_in = [], threading.Event()

        def register(number):
            person = ANN | {"name": f"Person {number}"}

            def attempt():
                try:
                    answer = api(node, place, "POST", json=person)
                except requests.RequestException:
                    return None
                return answer.json()["id"] if answer.status_code == 201 else None

            accepted.append((eventually(attempt, 120), person["name"]))
            if len(accepted) >= 40:
                forty_are_in.set()

        with ThreadPoolExecutor(4) as people:
            done = [people.submit(register, number) for number in range(100)]
            assert forty_are_in.wait(120)
            node.kill()
            assert not all(one.done() for one in done), "it was killed in the middle"
            node.start()
            for one in done:
                one.result()

        def drawn():
            answer = api(node, place)
            if answer.status_code != 200:
                return None  # A function that did not start in time on a busy machine: asked again.
            entries = {entry["id"]: entry for entry in answer.json()["entries"]}
            assert {own for own, _ in accepted} <= set(entries), "an accepted registration is lost"
            return all("badge" in entries[own] for own, _ in accepted) and entries

        # Who was stored but got no answer has applied twice, and may have no badge the first time.
        entries = eventually(drawn, 180)
        for own, name in accepted:
            assert entries[own]["name"] == name
            badge = site(node, made["site"].replace("apply.html", entries[own]["badge"]))
            assert decode(badge.content) == own
    finally:
        node.stop()


class Demo:
    """`pileus up --demo conference`, as somebody sees it on a terminal."""

    def __init__(self, folder):
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        self.said = folder / "said.txt"
        self.command = [BINARY, "up", "--demo", "conference", "--port", self.endpoint.split(":")[-1], "--data-dir", "cloud"]
        self.folder = folder

    def start(self):
        with self.said.open("w") as said:
            # In a process group of its own, as a shell starts it.
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=said, stderr=said, process_group=0)

    def wait_for(self, words):
        def look():
            assert self.process.poll() is None, self.said.read_text()
            return words in (text := self.said.read_text()) and text

        return eventually(look, 120)

    def interrupt(self):
        """Ctrl-C: the terminal tells the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.wait(timeout=20) == 0
        said = self.said.read_text()
        assert "Traceback" not in said and "could not" not in said, said

    def addresses(self):
        text = self.wait_for("Three things to try")
        return re.search(r"runs: (http://\S+)", text)[1], re.search(r"curl (http://\S+/conference)\n", text)[1]


def test_the_demo_is_one_command_that_can_be_stopped_and_goes_on(tmp_path):
    build = tmp_path / "cloud/demo/conference/build"
    build.mkdir(parents=True)
    build_layer = load("conference/build_layer.py")
    shutil.copy(build_layer.build(BUILD, f"{sys.version_info.major}.{sys.version_info.minor}"), build)
    shutil.copy(BUILD / "layer.txt", build)
    demo = Demo(tmp_path)
    demo.start()
    try:
        demo.wait_for("functions and their roles")
        demo.interrupt()
        demo.start()
        page, place = demo.addresses()
        assert "Apply for the conference" in site(demo, page).text
        own = api(demo, place, "POST", json=ANN).json()["id"]
        wrapper = "cloud/demo/conference/python"
        assert f"{wrapper} cloud/demo/conference/rollout.py --weight 0.5" in demo.said.read_text()
        rollout = subprocess.run([wrapper, "cloud/demo/conference/rollout.py"], cwd=tmp_path, capture_output=True, text=True)
        assert rollout.stdout == "50% of the calls go to version 2\n", rollout.stderr
        demo.interrupt()
        demo.start()
        assert demo.addresses() == (page, place)
        # Sooner than a function that failed is tried again: that the node stopped is no failure of the function.
        entry = eventually(lambda: (shown := api(demo, f"{place}?id={own}").json()).get("badge") and shown, 40)
        assert decode(site(demo, page.replace("apply.html", entry["badge"])).content) == own
        demo.interrupt()
    finally:
        demo.process.kill()
