import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { CreateRoleCommand, CreateUserCommand, CreateAccessKeyCommand, IAMClient } from "@aws-sdk/client-iam";
import { AssumeRoleCommand, GetCallerIdentityCommand, GetSessionTokenCommand, STSClient } from "@aws-sdk/client-sts";

import { Node, name, policy } from "../node.mjs";

const ACCOUNT = "000000000000";
let node;
before(async () => (node = await Node.start()));
after(() => node.stop());

const identity = (key) => node.client(STSClient, key).send(new GetCallerIdentityCommand({}));

async function user() {
  const iam = node.client(IAMClient);
  const UserName = name("user");
  await iam.send(new CreateUserCommand({ UserName }));
  const { AccessKey } = await iam.send(new CreateAccessKeyCommand({ UserName }));
  return AccessKey;
}

async function role(...principals) {
  const AssumeRolePolicyDocument = policy({ Effect: "Allow", Principal: { AWS: principals }, Action: "sts:AssumeRole" });
  const { Role } = await node.client(IAMClient).send(
    new CreateRoleCommand({ RoleName: name("role"), AssumeRolePolicyDocument }),
  );
  return Role;
}

test("a key that was not issued here is the root user of the default account", async () => {
  const found = await identity();
  assert.equal(found.Account, ACCOUNT);
  assert.equal(found.Arn, `arn:aws:iam::${ACCOUNT}:root`);
});

test("a key that is an account's number is the root user of that account", async () => {
  const found = await identity({ AccessKeyId: "123456789012", SecretAccessKey: "any" });
  assert.equal(found.Arn, "arn:aws:iam::123456789012:root");
});

test("a session of a role is who it says until it ends", async () => {
  const { Arn, RoleName, RoleId } = await role(ACCOUNT);
  const { Credentials, AssumedRoleUser } = await node.client(STSClient).send(
    new AssumeRoleCommand({ RoleArn: Arn, RoleSessionName: "js", DurationSeconds: 900 }),
  );
  assert.equal(AssumedRoleUser.Arn, `arn:aws:sts::${ACCOUNT}:assumed-role/${RoleName}/js`);
  const found = await identity(Credentials);
  assert.equal(found.Arn, AssumedRoleUser.Arn);
  assert.equal(found.UserId, `${RoleId}:js`);
  await node.advance(901);
  await assert.rejects(identity(Credentials), { name: "ExpiredToken" });
});

test("a role that trusts nobody is not to be had, and neither is one that does not exist", async () => {
  const key = await user();
  const { Arn } = await role(`arn:aws:iam::${ACCOUNT}:root`);
  for (const RoleArn of [Arn, `${Arn}-missing`]) {
    const call = node.client(STSClient, key).send(new AssumeRoleCommand({ RoleArn, RoleSessionName: "js" }));
    await assert.rejects(call, { name: "AccessDenied" }, RoleArn);
  }
});

test("a session token belongs to its key, and a secret to its", async () => {
  const key = await user();
  const { Credentials } = await node.client(STSClient, key).send(new GetSessionTokenCommand({}));
  await assert.rejects(identity({ ...Credentials, SecretAccessKey: "wrong" }), { name: "SignatureDoesNotMatch" });
  await assert.rejects(identity({ ...Credentials, AccessKeyId: key.AccessKeyId }), { name: "InvalidClientTokenId" });
  assert.equal((await identity(Credentials)).Arn, (await identity(key)).Arn);
});
