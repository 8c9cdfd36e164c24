import assert from "node:assert/strict";
import { readdir, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { newRunId } from "../../../src/outputs/run-file.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { Workspace } from "../../helpers/cli.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

const MODEL = { id: "m", digest: "0".repeat(64) };

let work: Workspace;
let redis: TcpRedis;
let env: { REDIS_URL: string };

before(async () => {
  redis = await TcpRedis.start();
  env = { REDIS_URL: redis.url };
  work = await Workspace.open();
  await work.write("texts.csv", "id,text\n1,good\n2,\n");
  await work.expect(3, ["label", "text", "texts.csv", "--model", "tiny-sentiment", "--out", "out"]);
  // A killed writer leaves such a file, and a command that opens the output for writing removes it.
  const leftover = await work.write("out/.part.0123456789abcdef.aside", "");
  await utimes(leftover, 1, 1);
});
after(async () => {
  await work[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

/** Every file and folder of the workspace, with its size and modification time. */
async function everything(): Promise<string[]> {
  const entries = await readdir(work.path, { recursive: true });
  const kept = entries.filter((name) => !name.startsWith("tmp") && !name.startsWith("config"));
  const lines = kept.map(async (name) => {
    const { size, mtimeMs } = await stat(join(work.path, name));
    return `${name} ${size} ${mtimeMs}`;
  });
  return (await Promise.all(lines)).sort();
}

/** Makes a ledger entry of a finished run with the output `out`. */
async function addRun(out: string): Promise<string> {
  const connection = await openRedis(redis.address, "producer");
  const ledger = new RunLedger(connection);
  const run = newRunId();
  await ledger.begin(run, { output: pathToFileURL(`${work.file(out)}/`).href, model: MODEL, lane: "bulk" });
  await ledger.planDone(run, { slices: 0, items: 0 });
  for (const state of ["finalizing", "finished_with_errors"] as const) await ledger.transition(run, state);
  connection.disconnect();
  return run;
}

test("verify changes no file", async () => {
  const found = await everything();
  await work.expect(0, ["verify", "out"]);
  await work.expect(0, ["verify", "out", "--inputs"]);
  assert.deepEqual(await everything(), found);
});

test("an output address from Redis is not created, cleaned or written to", async () => {
  const [ghost, foreign] = [await addRun("ghost"), await addRun("out")];
  const found = await everything();
  assert.match(
    (await work.expect(1, ["run", "watch", ghost], { env })).stdout,
    /its output is not on this machine: ghost/,
  );
  await work.expect(1, ["run", "watch", foreign], { env });
  assert.match((await work.expect(2, ["run", "retry-errors", ghost], { env })).stderr, /INPUT_NOT_FOUND: .*ghost/);
  assert.match(
    (await work.expect(1, ["run", "retry-errors", foreign], { env })).stderr,
    /RUN_UNKNOWN: .*expected the run/,
  );
  assert.deepEqual(await everything(), found);
});
