import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openRedis } from "../../../src/redis/connect.ts";
import { jsonOf, RunningCommand, Workspace } from "../../helpers/cli.ts";
import { writeTextModel } from "../../helpers/models/onnx.ts";
import { writeTexts } from "../../helpers/runs/pipeline.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

const CHECKOUT = fileURLToPath(new URL("../../..", import.meta.url));

let work: Workspace;
let redis: TcpRedis;
let env: Record<string, string>;

before(async () => {
  redis = await TcpRedis.start();
  work = await Workspace.open();
  env = { REDIS_URL: redis.url, LABELMILL_FILE_ROOTS: work.path };
  await writeTexts(work.file("texts.csv"), 400);
});
after(async () => {
  await work[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

/** Submits a run that no worker processes. */
async function submitted(out: string, model = "tiny-sentiment"): Promise<string> {
  const flags = ["--kind", "text", "texts.csv", "--model", model, "--out", out, "--slice-items", "10"];
  const { stdout } = await work.expect(0, ["run", "submit", ...flags, "--shared-files", "--queue-anyway"], { env });
  return stdout.trim();
}

test("Ctrl-C on run watch reports that the run continues", async () => {
  const run = await submitted("watched");
  const watch = work.start(["run", "watch", run, "--log-level", "debug"], { env });
  await watch.says("watching");
  watch.child.kill("SIGINT");
  const { code, stderr } = await watch.ended;
  assert.equal(code, 130);
  assert.match(stderr, new RegExp(`^SIGINT: no longer watching run ${run}, which continues in the workers `, "m"));
  assert.doesNotMatch(stderr, /finishing|run the same command again/);
  const { state } = jsonOf(await work.expect(0, ["run", "status", run, "--json"], { env }));
  assert.equal(state, "planning");
});

test("Ctrl-C on label with remote workers reports that the run continues", async () => {
  const flags = ["texts.csv", "--model", "tiny-sentiment", "--out", "left", "--shared-files", "--queue-anyway"];
  const label = work.start(["label", "text", ...flags], { env });
  await label.says("Run ");
  label.child.kill("SIGINT");
  const { code, stderr } = await label.ended;
  assert.equal(code, 130, stderr);
  assert.match(stderr, /^SIGINT: leaving run [0-9a-f]{16}.* workers .*labelmill run watch [0-9a-f]{16}\)$/m);
  assert.doesNotMatch(stderr, /finishing the running slices/);
});

test("a signal to results --follow reports that runs continue", async () => {
  const follower = work.start(["results", "--follow", "--log-level", "debug"], { env });
  await follower.says("listening");
  follower.child.kill("SIGTERM");
  const { code, stderr } = await follower.ended;
  assert.equal(code, 130);
  assert.match(stderr, /^SIGTERM: no longer listening: runs continue in the workers/m);
});

test("a worker under npm run gets Ctrl-C twice and still gives its slices back", async () => {
  await writeTextModel(work.file("slow"), { weights: [1, -1], bias: [0, 0], slow: 10_000 });
  const run = await submitted("slices", work.file("slow"));
  const settings = ["--grace-ms", "100", "--threads", "1", "--text-budget", "16", "--lock-ms", "600000"];
  const args = ["run", "--silent", "labelmill", "--", "worker", "--models", work.file("slow"), ...settings];
  const npm = spawn("npm", args, { cwd: CHECKOUT, env: { ...process.env, ...env }, detached: true });
  const command = new RunningCommand(npm);
  const admin = await openRedis({ url: redis.url }, "worker");
  try {
    await command.says("Serving");
    const active = async () => {
      const counts = await Promise.all((await admin.keys("*:active")).map((key) => admin.llen(key)));
      return counts.reduce((sum, count) => sum + count, 0);
    };
    // One of the active jobs is the plan of the run.
    while ((await active()) < 2);
    process.kill(-npm.pid!, "SIGINT");
    const { code, signal, stderr } = await command.ended;
    assert.deepEqual([code, signal], [0, null], stderr);
    assert.equal(stderr.match(/SIGINT: finishing the running slices for at most 0\.1 s/g)?.length, 1, stderr);
    assert.equal(await active(), 0, "no job waits until a lock expires");
    await work.expect(0, ["run", "cancel", run], { env });
  } finally {
    npm.kill("SIGKILL");
    admin.disconnect();
  }
});
