import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const CLI = fileURLToPath(new URL("../../../src/cli.ts", import.meta.url));
const UNSHARE = ["--pid", "--fork", "--mount-proc", "--kill-child"];
const cannot = spawnSync("unshare", [...UNSHARE, "true"]).status !== 0;
const skip = cannot && "unshare cannot make a PID namespace here (it takes Linux and root): PID 1 is not tested";

/** Starts `labelmill` as the first process of a PID namespace, as in a container. */
function start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const command = [...UNSHARE, process.execPath, CLI, ...args];
  return spawn("unshare", command, { env: { PATH: process.env.PATH, ...env }, timeout: 60_000, killSignal: "SIGKILL" });
}

/** The only child of a process. */
async function childOf(pid: number): Promise<number> {
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")).trim();
  assert.match(children, /^\d+$/);
  return Number(children);
}

describe("labelmill as PID 1", { skip }, () => {
  for (const [signal, to, expected] of [
    ["SIGTERM", "PID 1", 143],
    ["SIGINT", "PID 1", 130],
    ["SIGKILL", "the command", 137],
  ] as const) {
    test(`${signal} to ${to} ends a command that handles no signals with exit code ${expected}`, async (t) => {
      // A Redis that accepts a connection and never answers.
      const silent = createServer().listen(0, "127.0.0.1");
      t.after(() => silent.close());
      await once(silent, "listening");
      const { port } = silent.address() as { port: number };
      const unshare = start(["status"], { REDIS_URL: `redis://127.0.0.1:${port}` });
      const ended = once(unshare, "close");
      const [socket] = await Promise.race([
        once(silent, "connection"),
        ended.then(() => assert.fail("the command ended before it connected to Redis")),
      ]);
      socket.on("error", () => {});
      const first = await childOf(unshare.pid!);
      process.kill(to === "PID 1" ? first : await childOf(first), signal);
      assert.deepEqual(await ended, [expected, null]);
    });
  }

  test("a command that ends by itself keeps its output and exit code", async () => {
    const unshare = start(["no-such-command"]);
    let stderr = "";
    unshare.stderr!.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    assert.deepEqual(await once(unshare, "close"), [2, null]);
    assert.match(stderr, /no-such-command/);
  });
});
