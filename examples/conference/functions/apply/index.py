"""POST /conference: stores an entry, hands its badge to the topic, and answers at once."""

import datetime
import json
import os
import uuid

import boto3

VERSION = "1"
TABLE, TOPIC, CONFERENCE = os.environ["TABLE"], os.environ["TOPIC"], os.environ["CONFERENCE"]
table = boto3.resource("dynamodb").Table(TABLE)
sns = boto3.client("sns")

HEADERS = {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*", "X-Version": VERSION}
FIELDS = {"name": 60, "company": 60, "email": 120}


def answer(status, body):
    return {"statusCode": status, "headers": HEADERS, "body": json.dumps(body)}


def read(event):
    """The fields of the form, or what is wrong with them."""
    try:
        form = json.loads(event.get("body") or "")
    except ValueError:
        return None, "the body is not JSON"
    if not isinstance(form, dict):
        return None, "the body is not an object"
    entry = {name: str(form.get(name, "")).strip() for name in FIELDS}
    for name, length in FIELDS.items():
        if not entry[name]:
            return None, f"{name} is missing"
        if len(entry[name]) > length:
            return None, f"{name} has more than {length} characters"
    if "@" not in entry["email"]:
        return None, "email is not an address"
    return entry, None


def handler(event, context):
    entry, wrong = read(event)
    if wrong:
        return answer(400, {"error": wrong})
    entry |= {
        "conference": CONFERENCE,
        "id": str(uuid.uuid4()),
        "applied": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "status": "applied",
    }
    table.put_item(Item=entry)
    sns.publish(TopicArn=TOPIC, Subject="applied", Message=json.dumps({"conference": CONFERENCE, "id": entry["id"]}))
    return answer(201, {"id": entry["id"], "version": VERSION})
