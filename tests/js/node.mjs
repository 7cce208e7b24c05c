// A running node for a test file, and clients for it.
//
// The binary is PILEUS_BIN (`cargo xtask test` sets it), else the debug build. Each test file runs in a process of its own with a node
// of its own, in memory; tests make their own resources in it, so they run alone and in any order.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

const BINARY = process.env.PILEUS_BIN ?? fileURLToPath(new URL("../../target/debug/pileus", import.meta.url));
const REGION = "us-east-1";

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

export class Node {
  static async start() {
    const port = await freePort();
    const child = spawn(BINARY, ["up", "--memory", "--port", String(port), "--log", "warn"], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    const node = new Node(child, `http://127.0.0.1:${port}`);
    await node.#untilHealthy();
    return node;
  }

  constructor(child, endpoint) {
    this.child = child;
    this.endpoint = endpoint;
    this.ended = new Promise((resolve, reject) => {
      child.once("exit", resolve);
      child.once("error", reject);
    });
  }

  async #untilHealthy() {
    const deadline = Date.now() + 30_000;
    for (;;) {
      try {
        const answer = await fetch(`${this.endpoint}/_pileus/health`);
        if (answer.ok) return;
      } catch {
        // Not listening yet.
      }
      if (this.child.exitCode !== null) throw new Error(`the node ended at once with ${this.child.exitCode}`);
      if (Date.now() > deadline) throw new Error("the node did not come up");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async stop() {
    this.child.kill("SIGTERM");
    await this.ended;
  }

  // A client without retries, so that a test sees the first answer. `key` is what `CreateAccessKey` or `AssumeRole` gave.
  client(Client, key = { AccessKeyId: "test", SecretAccessKey: "test" }) {
    return new Client({
      endpoint: this.endpoint,
      region: REGION,
      maxAttempts: 1,
      credentials: {
        accessKeyId: key.AccessKeyId,
        secretAccessKey: key.SecretAccessKey,
        sessionToken: key.SessionToken,
      },
    });
  }

  async advance(seconds) {
    const answer = await fetch(`${this.endpoint}/_pileus/clock`, {
      method: "POST",
      body: JSON.stringify({ advance_seconds: seconds }),
    });
    if (!answer.ok) throw new Error(`the clock did not move: ${answer.status}`);
  }
}

// A name that no other test uses.
export function name(prefix = "t") {
  return `${prefix}-${randomUUID().slice(0, 8)}`;
}

export function policy(...statements) {
  return JSON.stringify({ Version: "2012-10-17", Statement: statements });
}
