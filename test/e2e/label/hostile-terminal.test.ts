import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, test } from "node:test";
import { WorkerRegistry } from "../../../src/fleet/registry.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { DROPPED_EVENTS_KEY } from "../../../src/runs/queues/results-queue.ts";
import type { WorkerInfo } from "../../../src/schemas/worker.ts";
import { ResultEvents } from "../../../src/workers/result-events.ts";
import { type Ended, Workspace } from "../../helpers/cli.ts";
import { HOSTILE, hidden } from "../../helpers/inputs/hostile-text.ts";
import { partOf } from "../../helpers/runs/ledger.ts";
import { servedModel, workerInfo } from "../../helpers/runs/worker-info.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

const RUN = "0123456789abcdef";
const FAILED_RUN = "fedcba9876543210";

const model = { id: `model ${HOSTILE}`, digest: "1".repeat(64) };
const now = new Date().toISOString();
const WORKER: WorkerInfo = {
  ...workerInfo({ host: `host ${HOSTILE}` }),
  models: [servedModel({ ...model, device: HOSTILE, dtype: HOSTILE, revision: HOSTILE })],
  deviceReason: HOSTILE,
  outages: [{ place: HOSTILE, kind: "outage", since: now, nextTryAt: now, reason: HOSTILE, kept: 1 }],
};

const work = await Workspace.open();
const server = await TcpRedis.start();
const redis = await openRedis(server.address, "producer");
after(async () => {
  redis.disconnect();
  await server[Symbol.asyncDispose]();
  await work[Symbol.asyncDispose]();
});
before(fill);
// On a slow machine, the registration expires before the last test.
beforeEach(() => new WorkerRegistry(redis).beat(WORKER));

/** Writes hostile text to every key of Redis that an attacker may write. */
async function fill(): Promise<void> {
  const ledger = new RunLedger(redis);
  for (const run of [RUN, FAILED_RUN]) {
    await ledger.begin(run, { output: `file:///tmp/${HOSTILE}/`, model, lane: "bulk" });
    await ledger.announce(run);
  }
  await redis.hset(`{labelmill}:run:${RUN}:labels`, HOSTILE, 1);
  const part = partOf(1);
  await ledger.failRun(FAILED_RUN, `reason ${HOSTILE}`);
  const events = new ResultEvents(redis, 100);
  const about = { v: 1, run: RUN, output: HOSTILE, part: HOSTILE, model, rows: 1, errors: 0 } as const;
  await events.publish({ ...about, id: `${RUN}-0000000`, slice: 0, labels: { [HOSTILE]: part.receipt.rows } });
  const failed = { code: HOSTILE, message: HOSTILE };
  await events.publish({ ...about, id: `${RUN}-${HOSTILE}`, slice: 1, labels: {}, failed });
  await events.close();
  await redis.set(DROPPED_EVENTS_KEY, 1);
}

/** Checks that no line of the output has hidden characters. */
function assertClean({ stdout, stderr }: Ended, about: string): void {
  for (const line of `${stdout}${stderr}`.split("\n"))
    assert.deepEqual(hidden(line), [], `${about}: ${JSON.stringify(line)}`);
}

const FROM_REDIS = [
  ["status"],
  ["status", RUN],
  ["run", "status", FAILED_RUN],
  ["run", "list"],
  ["results"],
  ["models"],
];
for (const args of FROM_REDIS)
  for (const json of [[], ["--json"]])
    test(`labelmill ${[...args, ...json].join(" ")} prints no control characters from Redis`, async () => {
      const ended = await work.expect(0, [...args, ...json], { env: { REDIS_URL: server.url } });
      assertClean(ended, args.join(" "));
      assert.match(
        ended.stdout,
        json.length > 0 ? /\\u001b\[2J/ : /\uFFFD\[2J/,
        "the text is shown, with the control characters replaced",
      );
    });

test("labelmill run watch shows the reason of a failed run without control characters", async () => {
  const ended = await work.run(["run", "watch", FAILED_RUN], { env: { REDIS_URL: server.url } });
  assert.equal(ended.code, 1, ended.stderr);
  assertClean(ended, "run watch");
  assert.match(`${ended.stdout}${ended.stderr}`, /reason \uFFFD\[2J/);
});

test("names of files, ids, kept columns and errors of rows are shown without control characters", async () => {
  const name = `in ${HOSTILE}.csv`;
  await work.write(name, `id,text,aside\n"1${HOSTILE}",good,"${HOSTILE}"\n"2${HOSTILE}",,x\n`);
  const args = ["label", "text", "--model", "tiny-sentiment", "--id-column", "id", "--keep", "aside"];
  const ended = await work.expect(3, [...args, "--out", `out ${HOSTILE}`, name]);
  assertClean(ended, "label");
  assert.match(ended.stdout, /1\uFFFD\[2J.*POSITIVE/);
  assertClean(await work.expect(0, ["verify", `out ${HOSTILE}`]), "verify");
  assertClean(await work.expect(2, ["label", "text", `none ${HOSTILE}`]), "a missing file");
  assertClean(await work.expect(2, ["label", "text", `none ${HOSTILE}`, "--json"]), "a missing file, as JSON");
  assertClean(await work.expect(2, ["verify", "a", `b ${HOSTILE}`]), "an excess argument");
  assertClean(await work.expect(2, [`stat ${HOSTILE}`]), "an unknown command");
  assertClean(await work.expect(2, ["doctor", "--lock-ms", HOSTILE]), "a setting");
});

test("the error of an S3 server is shown without control characters", async () => {
  const s3 = createServer((_request, response) => {
    response.writeHead(400, { "content-type": "application/xml" });
    // XML allows no control characters below 0x7f.
    const message = HOSTILE.replaceAll(/\p{Cc}/gu, (control) => (control < "\u007f" ? "" : control));
    response.end(`<?xml version="1.0"?><Error><Code>Strange</Code><Message>said ${message}</Message></Error>`);
  }).listen(0, "127.0.0.1");
  await once(s3, "listening");
  after(() => s3.close());
  const { port } = s3.address() as AddressInfo;
  const env = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b" };
  const flags = ["--s3-endpoint", `http://127.0.0.1:${port}`, "--s3-path-style", "--s3-region", "x"];
  const ended = await work.run(["verify", "s3://bucket/out/", ...flags], { env });
  assert.notEqual(ended.code, 0);
  assertClean(ended, "verify s3");
  assert.match(ended.stderr, /said/);
});

test("console output of libraries goes to standard error, without control characters", async () => {
  const code = `const { redirectConsole } = await import(process.argv[1]);
    redirectConsole();
    console.log("one %s", process.argv[2]);
    console.warn(new Error(process.argv[2]).message);`;
  const library = new URL("../../../src/cli/terminal/library-console.ts", import.meta.url).href;
  const ended = await work.expect(0, ["--input-type=module", "-e", code, library, HOSTILE], { script: "" });
  assert.equal(ended.stdout, "");
  assertClean(ended, "console");
  assert.match(ended.stderr, /^one \uFFFD\[2J[^\n]*\n\uFFFD\[2J[^\n]*\n$/);
});

test("a warning of ioredis is not printed on standard output", async () => {
  await redis.acl("SETUSER", "blind", "on", ">x", "~*", "&*", "+@all", "-info");
  const env = { REDIS_URL: server.url.replace("//", "//blind:x@") };
  const ended = await work.run(["status", "--json"], { env });
  assertClean(ended, "a user without INFO");
  assert.match(ended.stderr, /ready check.*NOPERM/);
  assert.ok(JSON.parse(ended.stdout));
});
