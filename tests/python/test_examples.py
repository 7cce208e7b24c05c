"""The applications in `examples/`, deployed by their own scripts and used as their users would."""

import importlib.util
import io
import json
import pathlib
import sys
import time

import boto3
import pytest
import requests
import zxingcpp

from harness import REGION, ROOT, Node
from test_sns import eventually

EXAMPLES = ROOT / "examples"
# Built once, then kept: the libraries come over the network.
BUILD = ROOT / "target" / "examples"


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
    dynamodb.create_table(
        TableName="elsewhere",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("conference", "id")],
        KeySchema=[{"AttributeName": "conference", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
    )
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
    assert api(node, made["api"] + "/conference").json() == {"entries": []}
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion=old)


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


@pytest.mark.parametrize("engine", ["disk"])
def test_a_killed_node_loses_no_accepted_registration(tmp_path, engine):
    node = Node(data_dir=tmp_path / "data")
    try:
        application = load("conference/deploy.py").Application(session(), node.endpoint, build=BUILD)
        made = application.deploy()
        place = made["api"] + "/conference"
        accepted = [api(node, place, "POST", json=ANN).json()["id"] for _ in range(20)]
        node.kill()
        node.start()
        entries = eventually(
            lambda: (found := api(node, place).json()["entries"]) and all("badge" in entry for entry in found) and found, 120
        )
        assert {entry["id"] for entry in entries} >= set(accepted)
    finally:
        node.stop()
