"""GET /conference: all entries, or the one with `?id=`. Both are queries by key."""

import json
import os

import boto3
from boto3.dynamodb.conditions import Key

TABLE, CONFERENCE = os.environ["TABLE"], os.environ["CONFERENCE"]
table = boto3.resource("dynamodb").Table(TABLE)

HEADERS = {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"}
SHOWN = ("id", "name", "company", "applied", "status", "badge")


def answer(status, body):
    return {"statusCode": status, "headers": HEADERS, "body": json.dumps(body)}


def show(item):
    """What anyone may see: not the address."""
    return {name: item[name] for name in SHOWN if name in item}


def handler(event, context):
    wanted = (event.get("queryStringParameters") or {}).get("id")
    condition = Key("conference").eq(CONFERENCE)
    if wanted:
        condition &= Key("id").eq(wanted)
    found = table.query(KeyConditionExpression=condition, Limit=200)["Items"]
    if not wanted:
        return answer(200, {"entries": sorted(map(show, found), key=lambda entry: entry["applied"], reverse=True)})
    if not found:
        return answer(404, {"error": "there is no such entry"})
    return answer(200, show(found[0]))
