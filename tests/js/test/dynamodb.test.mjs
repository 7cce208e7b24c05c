import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import {
  ConditionalCheckFailedException,
  CreateTableCommand,
  DescribeTableCommand,
  DynamoDBClient,
  TransactionCanceledException,
  waitUntilTableExists,
} from "@aws-sdk/client-dynamodb";
import {
  BatchGetCommand,
  BatchWriteCommand,
  DynamoDBDocumentClient,
  ExecuteStatementCommand,
  ExecuteTransactionCommand,
  GetCommand,
  NumberValue,
  PutCommand,
  QueryCommand,
  ScanCommand,
  TransactGetCommand,
  TransactWriteCommand,
  UpdateCommand,
  paginateQuery,
} from "@aws-sdk/lib-dynamodb";

import { Node, name } from "../node.mjs";

let node;
let client;
let document;
before(async () => {
  node = await Node.start();
  client = node.client(DynamoDBClient);
  document = DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } });
});
after(() => node.stop());

async function table(TableName = name("table")) {
  await client.send(
    new CreateTableCommand({
      TableName,
      BillingMode: "PAY_PER_REQUEST",
      KeySchema: [
        { AttributeName: "pk", KeyType: "HASH" },
        { AttributeName: "sk", KeyType: "RANGE" },
      ],
      AttributeDefinitions: [
        { AttributeName: "pk", AttributeType: "S" },
        { AttributeName: "sk", AttributeType: "N" },
      ],
    }),
  );
  await waitUntilTableExists({ client, maxWaitTime: 10, minDelay: 0.02, maxDelay: 0.1 }, { TableName });
  return TableName;
}

// The SDK checks `x-amz-crc32` of every answer.
test("a document keeps the types of its values", async () => {
  const TableName = await table();
  const Item = {
    pk: "a",
    sk: 1,
    text: "ünïcode",
    yes: true,
    nothing: null,
    list: [1, "two", { three: [3] }],
    map: { deep: { deeper: { deepest: -1.5 } } },
    words: new Set(["x", "y"]),
    numbers: new Set([1, 2, 3]),
    bytes: new Uint8Array([0, 1, 255]),
    gone: undefined,
  };
  await document.send(new PutCommand({ TableName, Item }));
  const { Item: found } = await document.send(new GetCommand({ TableName, Key: { pk: "a", sk: 1 } }));
  delete Item.gone;
  assert.deepEqual(found, Item);
  const { Table } = await client.send(new DescribeTableCommand({ TableName }));
  assert.equal(Table.ItemCount, 1);
});

test("numbers beyond a double are kept exactly", async () => {
  const TableName = await table();
  // Of a client of its own: options of a document client change the client under it.
  const own = node.client(DynamoDBClient);
  const exact = DynamoDBDocumentClient.from(own, { unmarshallOptions: { wrapNumbers: true } });
  const digits = "12345678901234567890123456789012345678";
  await exact.send(new PutCommand({ TableName, Item: { pk: "n", sk: 1, v: NumberValue.from(digits) } }));
  const { Item } = await exact.send(new GetCommand({ TableName, Key: { pk: "n", sk: 1 } }));
  assert.equal(Item.v.toString(), digits);
});

test("updates, conditions and their failures", async () => {
  const TableName = await table();
  const Key = { pk: "u", sk: 1 };
  const count = () =>
    document.send(
      new UpdateCommand({
        TableName,
        Key,
        UpdateExpression: "SET #c = if_not_exists(#c, :zero) + :one, history = list_append(if_not_exists(history, :none), :new)",
        ExpressionAttributeNames: { "#c": "count" },
        ExpressionAttributeValues: { ":zero": 0, ":one": 1, ":none": [], ":new": ["x"] },
        ReturnValues: "ALL_NEW",
      }),
    );
  await count();
  const { Attributes } = await count();
  assert.deepEqual(Attributes, { ...Key, count: 2, history: ["x", "x"] });
  const put = new PutCommand({
    TableName,
    Item: Key,
    ConditionExpression: "attribute_not_exists(pk)",
    ReturnValuesOnConditionCheckFailure: "ALL_OLD",
  });
  await assert.rejects(document.send(put), (error) => {
    assert.ok(error instanceof ConditionalCheckFailedException);
    assert.deepEqual(error.Item.count, { N: "2" });
    return true;
  });
});

test("queries come in pages and in order, scans in segments", async () => {
  const TableName = await table();
  const requests = Array.from({ length: 25 }, (_, sk) => ({ PutRequest: { Item: { pk: "q", sk, odd: sk % 2 === 1 } } }));
  const { UnprocessedItems } = await document.send(new BatchWriteCommand({ RequestItems: { [TableName]: requests } }));
  assert.deepEqual(UnprocessedItems, {});
  const query = {
    TableName,
    KeyConditionExpression: "pk = :p AND sk BETWEEN :low AND :high",
    FilterExpression: "odd = :odd",
    ExpressionAttributeValues: { ":p": "q", ":low": 5, ":high": 20, ":odd": true },
    ScanIndexForward: false,
  };
  const numbers = [];
  for await (const page of paginateQuery({ client: document, pageSize: 4 }, { ...query })) {
    numbers.push(...page.Items.map((item) => item.sk));
  }
  assert.deepEqual(numbers, [19, 17, 15, 13, 11, 9, 7, 5]);
  const { Count, ScannedCount } = await document.send(new QueryCommand({ ...query, Select: "COUNT" }));
  assert.deepEqual([Count, ScannedCount], [8, 16]);
  const segments = await Promise.all(
    [0, 1, 2].map((Segment) => document.send(new ScanCommand({ TableName, Segment, TotalSegments: 3 }))),
  );
  assert.equal(segments.reduce((sum, { Count }) => sum + Count, 0), 25);
  const Keys = [{ pk: "q", sk: 3 }, { pk: "q", sk: 24 }, { pk: "q", sk: 99 }];
  const { Responses } = await document.send(new BatchGetCommand({ RequestItems: { [TableName]: { Keys } } }));
  assert.deepEqual(Responses[TableName].map((item) => item.sk).sort(), [24, 3].sort());
});

test("a transaction is done whole or not at all, and says why", async () => {
  const TableName = await table();
  const account = (sk, balance) => ({ Put: { TableName, Item: { pk: "bank", sk, balance } } });
  await document.send(new TransactWriteCommand({ TransactItems: [account(1, 100), account(2, 0)] }));
  const move = (amount) =>
    new TransactWriteCommand({
      TransactItems: [
        {
          Update: {
            TableName,
            Key: { pk: "bank", sk: 1 },
            UpdateExpression: "SET balance = balance - :amount",
            ConditionExpression: "balance >= :amount",
            ExpressionAttributeValues: { ":amount": amount },
          },
        },
        {
          Update: {
            TableName,
            Key: { pk: "bank", sk: 2 },
            UpdateExpression: "SET balance = balance + :amount",
            ExpressionAttributeValues: { ":amount": amount },
          },
        },
      ],
    });
  await document.send(move(70));
  await assert.rejects(document.send(move(70)), (error) => {
    assert.ok(error instanceof TransactionCanceledException);
    assert.deepEqual(error.CancellationReasons.map((reason) => reason.Code), ["ConditionalCheckFailed", "None"]);
    return true;
  });
  const TransactItems = [1, 2].map((sk) => ({ Get: { TableName, Key: { pk: "bank", sk } } }));
  const { Responses } = await document.send(new TransactGetCommand({ TransactItems }));
  assert.deepEqual(Responses.map(({ Item }) => Item.balance), [30, 70]);
});

test("PartiQL inserts, reads, changes and removes documents", async () => {
  const TableName = await table();
  const run = (Statement, Parameters) => document.send(new ExecuteStatementCommand({ Statement, Parameters }));
  await run(`INSERT INTO "${TableName}" VALUE {'pk': ?, 'sk': ?, 'tags': ?}`, ["p", 1, ["a", "b"]]);
  await run(`INSERT INTO "${TableName}" VALUE {'pk': ?, 'sk': ?}`, ["p", 2]);
  await run(`UPDATE "${TableName}" SET score = ? WHERE pk = ? AND sk = ?`, [7.5, "p", 1]);
  const { Items } = await run(`SELECT sk, score, tags FROM "${TableName}" WHERE pk = ? ORDER BY sk DESC`, ["p"]);
  assert.deepEqual(Items, [{ sk: 2 }, { sk: 1, score: 7.5, tags: ["a", "b"] }]);
  await document.send(
    new ExecuteTransactionCommand({
      TransactStatements: [
        { Statement: `DELETE FROM "${TableName}" WHERE pk = ? AND sk = ?`, Parameters: ["p", 2] },
        { Statement: `INSERT INTO "${TableName}" VALUE {'pk': ?, 'sk': ?}`, Parameters: ["p", 3] },
      ],
    }),
  );
  const left = await run(`SELECT sk FROM "${TableName}" WHERE pk = 'p'`);
  assert.deepEqual(left.Items, [{ sk: 1 }, { sk: 3 }]);
});
