import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ListQueuesCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";

import { Node, name } from "../node.mjs";

let node;
let sqs;
before(async () => {
  node = await Node.start();
  sqs = node.client(SQSClient);
});
after(() => node.stop());

async function queue(QueueName = name("queue"), Attributes = {}) {
  const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName, Attributes }));
  return QueueUrl;
}

const send = (QueueUrl, MessageBody, more = {}) => sqs.send(new SendMessageCommand({ QueueUrl, MessageBody, ...more }));

async function receive(QueueUrl, more = {}) {
  const { Messages = [] } = await sqs.send(
    new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, ...more }),
  );
  return Messages;
}

// The SDK itself checks the MD5 of every body that it sends and receives.
test("a message is sent, received and deleted", async () => {
  const url = await queue();
  const attributes = { colour: { DataType: "String", StringValue: "blue" } };
  const { MessageId } = await send(url, "hello ünïcode", { MessageAttributes: attributes });
  const [message, ...others] = await receive(url, { MessageAttributeNames: ["All"], WaitTimeSeconds: 5 });
  assert.deepEqual(others, []);
  assert.equal(message.MessageId, MessageId);
  assert.equal(message.Body, "hello ünïcode");
  assert.deepEqual(message.MessageAttributes, attributes);
  assert.deepEqual(await receive(url), [], "in flight");
  await sqs.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: message.ReceiptHandle }));
  await node.advance(31);
  assert.deepEqual(await receive(url), [], "deleted");
});

test("a message that is not deleted comes back when its timeout runs out", async () => {
  const url = await queue();
  await send(url, "again");
  await receive(url, { WaitTimeSeconds: 5 });
  await node.advance(31);
  const [message] = await receive(url, { WaitTimeSeconds: 5, MessageSystemAttributeNames: ["ApproximateReceiveCount"] });
  assert.equal(message.Body, "again");
  assert.equal(message.Attributes.ApproximateReceiveCount, "2");
});

test("a batch is sent and deleted, each entry on its own", async () => {
  const url = await queue();
  const bodies = ["a", "b", "c"];
  const Entries = bodies.map((MessageBody, at) => ({ Id: `m${at}`, MessageBody }));
  const sent = await sqs.send(new SendMessageBatchCommand({ QueueUrl: url, Entries }));
  assert.deepEqual(sent.Successful.map(({ Id }) => Id), ["m0", "m1", "m2"]);
  const messages = [];
  while (messages.length < 3) messages.push(...(await receive(url, { WaitTimeSeconds: 5 })));
  assert.deepEqual(messages.map(({ Body }) => Body).sort(), bodies);
  const deleted = await sqs.send(
    new DeleteMessageBatchCommand({
      QueueUrl: url,
      Entries: [
        ...messages.map(({ ReceiptHandle }, at) => ({ Id: `d${at}`, ReceiptHandle })),
        { Id: "bad", ReceiptHandle: "no receipt" },
      ],
    }),
  );
  assert.equal(deleted.Successful.length, 3);
  assert.deepEqual(deleted.Failed.map(({ Id, Code }) => [Id, Code]), [["bad", "ReceiptHandleIsInvalid"]]);
});

test("a FIFO queue keeps order within a group and drops duplicates", async () => {
  const url = await queue(`${name("queue")}.fifo`, { FifoQueue: "true" });
  const put = (body, id) => send(url, body, { MessageGroupId: "g", MessageDeduplicationId: id });
  const first = await put("1", "one");
  assert.ok(first.SequenceNumber);
  await put("2", "two");
  assert.equal((await put("1", "one")).MessageId, first.MessageId, "a duplicate is accepted and not delivered");
  const messages = await receive(url, { WaitTimeSeconds: 5 });
  assert.deepEqual(messages.map(({ Body }) => Body), ["1", "2"]);
  await put("3", "three");
  assert.deepEqual(await receive(url), [], "the group waits for those in flight");
  for (const { ReceiptHandle } of messages) {
    await sqs.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle }));
  }
  assert.deepEqual((await receive(url, { WaitTimeSeconds: 5 })).map(({ Body }) => Body), ["3"]);
});

test("a queue is found by name, by prefix, and by its attributes", async () => {
  const QueueName = name("found");
  const url = await queue(QueueName, { DelaySeconds: "7" });
  assert.equal((await sqs.send(new GetQueueUrlCommand({ QueueName }))).QueueUrl, url);
  assert.deepEqual((await sqs.send(new ListQueuesCommand({ QueueNamePrefix: QueueName }))).QueueUrls, [url]);
  const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ["All"] }));
  assert.equal(Attributes.DelaySeconds, "7");
  assert.equal(Attributes.QueueArn, `arn:aws:sqs:us-east-1:000000000000:${QueueName}`);
});

test("errors have the names that programs catch", async () => {
  const url = await queue();
  const fifo = await queue(`${name("queue")}.fifo`, { FifoQueue: "true" });
  const missing = url.replace(/[^/]+$/, name("missing"));
  const batch = (...ids) => new SendMessageBatchCommand({ QueueUrl: url, Entries: ids.map((Id) => ({ Id, MessageBody: "x" })) });
  const cases = [
    ["QueueDoesNotExist", new GetQueueUrlCommand({ QueueName: name("missing") })],
    ["QueueDoesNotExist", new SendMessageCommand({ QueueUrl: missing, MessageBody: "x" })],
    ["QueueNameExists", new CreateQueueCommand({ QueueName: url.split("/").pop(), Attributes: { DelaySeconds: "3" } })],
    ["ReceiptHandleIsInvalid", new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: "no receipt" })],
    [
      "ReceiptHandleIsInvalid",
      new ChangeMessageVisibilityCommand({ QueueUrl: url, ReceiptHandle: "no receipt", VisibilityTimeout: 1 }),
    ],
    ["EmptyBatchRequest", batch()],
    ["BatchEntryIdsNotDistinct", batch("same", "same")],
    ["TooManyEntriesInBatchRequest", batch(...Array.from({ length: 11 }, (_, at) => `m${at}`))],
    ["InvalidAttributeName", new CreateQueueCommand({ QueueName: name("queue"), Attributes: { Nonsense: "1" } })],
    ["InvalidAttributeValue", new CreateQueueCommand({ QueueName: name("queue"), Attributes: { DelaySeconds: "901" } })],
    ["MissingParameter", new SendMessageCommand({ QueueUrl: fifo, MessageBody: "x" })],
  ];
  for (const [expected, command] of cases) {
    await assert.rejects(sqs.send(command), { name: expected }, `${command.constructor.name} ${expected}`);
  }
});
