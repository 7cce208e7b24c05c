"""DynamoDB: a node that is killed keeps exactly what it has acknowledged, and tells each change once."""

import threading
import time

from botocore.exceptions import BotoCoreError, ClientError
from dynamo import make_table, n, s

CYCLES = 4
WRITERS = 6


class Writer(threading.Thread):
    """Appends to lists, in transactions of two keys every other time; remembers what was acknowledged and what may be."""

    def __init__(self, node, table, number, cycle):
        super().__init__()
        self.client = node.client("dynamodb", connect_timeout=2, read_timeout=5)
        self.table, self.number, self.cycle = table, number, cycle
        self.acknowledged, self.unknown = [], []

    def update(self, key, name):
        return {
            "TableName": self.table,
            "Key": {"pk": s(key)},
            "UpdateExpression": "SET ops = list_append(if_not_exists(ops, :none), :new)",
            "ExpressionAttributeValues": {":none": {"L": []}, ":new": {"L": [s(name)]}},
        }

    def run(self):
        step = 0
        while True:
            step += 1
            name = f"{self.cycle}-{self.number}-{step}"
            first, second = f"k{(self.number + step) % 5}", f"k{(self.number + step + 1) % 5}"
            keys = [first, second] if step % 2 else [first]
            try:
                if len(keys) == 2:
                    self.client.transact_write_items(TransactItems=[{"Update": self.update(key, name)} for key in keys])
                else:
                    self.client.update_item(**self.update(first, name))
                self.acknowledged.append((name, keys))
            except ClientError:
                pass  # A conflict: nothing was done.
            except BotoCoreError:
                self.unknown.append((name, keys))
                return


def stream_lists(node, client, table):
    """The list of each key as the records of the stream tell it, one name at a time."""
    streams = node.client("dynamodbstreams")
    arn = client.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    token, told = iterator["ShardIterator"], {}
    while True:
        page = streams.get_records(ShardIterator=token)
        token = page["NextShardIterator"]
        if not page["Records"]:
            return told
        for record in page["Records"]:
            image = record["dynamodb"]
            key = image["Keys"]["pk"]["S"]
            new = [one["S"] for one in image["NewImage"]["ops"]["L"]]
            old = [one["S"] for one in image.get("OldImage", {"ops": {"L": []}})["ops"]["L"]]
            assert old == told.get(key, []) and new[:-1] == old
            told[key] = new


def test_a_killed_node_keeps_exactly_the_acknowledged_writes(durable_node):
    node = durable_node
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    client = node.client("dynamodb")
    table = make_table(client, StreamSpecification=stream)
    acknowledged, unknown = [], []
    for cycle in range(CYCLES):
        writers = [Writer(node, table, number, cycle) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(0.5)  # Load, not a wait for anything.
        node.kill()
        for writer in writers:
            writer.join(timeout=30)
            acknowledged += writer.acknowledged
            unknown += writer.unknown
        node.start()
        client = node.client("dynamodb")
        lists = {item["pk"]["S"]: [one["S"] for one in item["ops"]["L"]] for item in client.scan(TableName=table)["Items"]}
        for name, keys in acknowledged:
            assert all(lists.get(key, []).count(name) == 1 for key in keys), (name, keys)
        known = {name: keys for name, keys in acknowledged + unknown}
        for key, names in lists.items():
            assert len(set(names)) == len(names)
            assert all(key in known[name] for name in names)
        for name, keys in unknown:
            assert len({name in lists.get(key, []) for key in keys}) == 1, f"half of {name} was done"
        assert stream_lists(node, client, table) == lists
    assert len(acknowledged) > 10 * CYCLES
    assert client.put_item(TableName=table, Item={"pk": s("after"), "v": n(1)})["ResponseMetadata"]["HTTPStatusCode"] == 200
