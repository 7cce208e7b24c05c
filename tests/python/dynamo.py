"""Tables for the tests of DynamoDB, and how they look at refusals."""

import itertools
import time

import pytest
from botocore.exceptions import ClientError

_numbers = itertools.count()


def make_table(client, sort=None, indexes=(), local=(), **extra):
    """A table with partition key `pk` (a string), and `sort` such as `("sk", "N")`; indexes as (name, partition, sort)."""
    name = f"table-{next(_numbers)}"
    attributes = {"pk": "S"}
    if sort:
        attributes[sort[0]] = sort[1]

    def keys(partition, sort_key):
        schema = [{"AttributeName": partition, "KeyType": "HASH"}]
        return schema + ([{"AttributeName": sort_key, "KeyType": "RANGE"}] if sort_key else [])

    def index(name, partition, sort_key, projection="ALL"):
        for attribute in filter(None, (partition, sort_key)):
            attributes.setdefault(attribute, "S")
        kept = {"ProjectionType": projection} if isinstance(projection, str) else projection
        return {"IndexName": name, "KeySchema": keys(partition, sort_key), "Projection": kept}

    arguments = {"BillingMode": "PAY_PER_REQUEST", **extra}
    if indexes:
        arguments["GlobalSecondaryIndexes"] = [index(*one) for one in indexes]
    if local:
        arguments["LocalSecondaryIndexes"] = [index(one[0], "pk", *one[1:]) for one in local]
    definitions = [{"AttributeName": key, "AttributeType": kind} for key, kind in attributes.items()]
    client.create_table(
        TableName=name, KeySchema=keys("pk", sort and sort[0]), AttributeDefinitions=definitions, **arguments
    )
    return name


def refused(call, **arguments):
    """The code and the sentence of the refusal; fails the test if there is none."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def invalid(call, **arguments):
    """The sentence of a `ValidationException`."""
    code, message = refused(call, **arguments)
    assert code == "ValidationException", (code, message)
    return message


def s(text):
    return {"S": str(text)}


def n(number):
    return {"N": str(number)}


def wait_until(check):
    """For work in the background, which nothing announces."""
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.02)


def restored_to(client, table):
    """The description of a table once all its items are there."""
    described = {}

    def is_ready():
        described.update(client.describe_table(TableName=table)["Table"])
        return described["TableStatus"] == "ACTIVE"

    wait_until(is_ready)
    return described
