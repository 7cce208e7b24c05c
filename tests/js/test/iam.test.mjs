import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import {
  CreateAccessKeyCommand,
  CreateRoleCommand,
  CreateUserCommand,
  DeleteAccessKeyCommand,
  GetUserCommand,
  IAMClient,
  PutRolePolicyCommand,
  PutUserPolicyCommand,
  UpdateAccessKeyCommand,
} from "@aws-sdk/client-iam";
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  ListQueuesCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { AssumeRoleCommand, GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";

import { Node, name, policy } from "../node.mjs";

let node;
let iam;
before(async () => {
  node = await Node.start();
  iam = node.client(IAMClient);
});
after(() => node.stop());

async function user() {
  const UserName = name("user");
  const { User } = await iam.send(new CreateUserCommand({ UserName }));
  const { AccessKey } = await iam.send(new CreateAccessKeyCommand({ UserName }));
  return { UserName, User, AccessKey };
}

async function queue() {
  const root = node.client(SQSClient);
  const { QueueUrl } = await root.send(new CreateQueueCommand({ QueueName: name("queue") }));
  const { Attributes } = await root.send(
    new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] }),
  );
  return { QueueUrl, QueueArn: Attributes.QueueArn };
}

const send = (key, { QueueUrl }) =>
  node.client(SQSClient, key).send(new SendMessageCommand({ QueueUrl, MessageBody: "x" }));

test("a new user may do nothing, and then what a policy allows", async () => {
  const { UserName, User, AccessKey } = await user();
  const [own, other] = [await queue(), await queue()];
  await assert.rejects(send(AccessKey, own), (error) => {
    assert.match(error.name, /^AccessDenied/);
    assert.match(error.message, new RegExp(`${User.Arn} is not authorized to perform: sqs:sendmessage`, "i"));
    return true;
  });
  const PolicyDocument = policy({ Effect: "Allow", Action: "sqs:SendMessage", Resource: own.QueueArn });
  await iam.send(new PutUserPolicyCommand({ UserName, PolicyName: "send", PolicyDocument }));
  assert.ok((await send(AccessKey, own)).MessageId);
  await assert.rejects(send(AccessKey, other), /is not authorized to perform/);
  await assert.rejects(node.client(SQSClient, AccessKey).send(new ListQueuesCommand({})), /is not authorized to perform/);
});

test("a key that is inactive or deleted opens nothing", async () => {
  const { UserName, AccessKey } = await user();
  const { AccessKeyId } = AccessKey;
  const identity = () => node.client(STSClient, AccessKey).send(new GetCallerIdentityCommand({}));
  const set = (Status) => iam.send(new UpdateAccessKeyCommand({ UserName, AccessKeyId, Status }));
  await identity();
  await set("Inactive");
  await assert.rejects(identity(), { name: "InvalidClientTokenId" });
  await set("Active");
  await identity();
  await iam.send(new DeleteAccessKeyCommand({ UserName, AccessKeyId }));
  await assert.rejects(identity(), { name: "InvalidClientTokenId" });
});

test("a session of a role may do what the role may, less what its session policy leaves out", async () => {
  const { UserName, User, AccessKey } = await user();
  const [one, two] = [await queue(), await queue()];
  const RoleName = name("role");
  const trust = policy({ Effect: "Allow", Principal: { AWS: User.Arn }, Action: "sts:AssumeRole" });
  const { Role } = await iam.send(new CreateRoleCommand({ RoleName, AssumeRolePolicyDocument: trust }));
  const allow = (Resource) => policy({ Effect: "Allow", Action: "sqs:SendMessage", Resource });
  await iam.send(
    new PutRolePolicyCommand({ RoleName, PolicyName: "send", PolicyDocument: allow([one.QueueArn, two.QueueArn]) }),
  );
  const assume = async (more) => {
    const command = new AssumeRoleCommand({ RoleArn: Role.Arn, RoleSessionName: UserName, ...more });
    return (await node.client(STSClient, AccessKey).send(command)).Credentials;
  };
  const whole = await assume({});
  await send(whole, one);
  await send(whole, two);
  const narrow = await assume({ Policy: allow(one.QueueArn) });
  await send(narrow, one);
  await assert.rejects(send(narrow, two), /no session policy allows/);
});

test("errors have the names that programs catch", async () => {
  const { UserName } = await user();
  await assert.rejects(iam.send(new CreateUserCommand({ UserName })), { name: "EntityAlreadyExistsException" });
  await assert.rejects(iam.send(new GetUserCommand({ UserName: name("missing") })), { name: "NoSuchEntityException" });
  const PolicyDocument = "{";
  await assert.rejects(iam.send(new PutUserPolicyCommand({ UserName, PolicyName: "p", PolicyDocument })), {
    name: "MalformedPolicyDocumentException",
  });
});
