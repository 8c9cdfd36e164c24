import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openRedis } from "../../../src/redis/connect.ts";
import { parseS3Uri, S3 } from "../../../src/storage/s3/s3.ts";
import { jsonOf, type RunningCommand, Workspace } from "../../helpers/cli.ts";
import { writeTexts } from "../../helpers/runs/pipeline.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

const LABEL = ["label", "text", "--model", "tiny-sentiment"];
const EXAMPLES = fileURLToPath(new URL("../../../examples/", import.meta.url));
const server = await startTestS3();
const s3 = new S3(server.settings);
after(async () => {
  s3.close();
  await server[Symbol.asyncDispose]();
});

/** Redis, a bucket, a workspace, and the environment of a user. */
async function openSystem() {
  const opened = new AsyncDisposableStack();
  const redis = opened.use(await TcpRedis.start());
  const work = opened.use(await Workspace.open());
  const bucket = await server.makeBucket();
  const env: Record<string, string> = { ...server.env, REDIS_URL: redis.url };
  return {
    ...{ redis, work, bucket, env },
    /** Starts a worker that may open the bucket. Resolves when it serves. */
    async worker(more: Record<string, string> = {}, args: string[] = []): Promise<RunningCommand> {
      const command = work.start(["worker", "--models", "tiny-sentiment", "tiny-image", ...args], {
        env: { ...env, LABELMILL_S3_ROOTS: `s3://${bucket}`, LABELMILL_THREADS: "1", ...more },
      });
      await command.says("Serving");
      return command;
    },
    async upload(key: string, file: string): Promise<string> {
      await s3.put({ bucket, key }, await readFile(file));
      return `s3://${bucket}/${key}`;
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function keysOf(uri: string): Promise<string[]> {
  const { bucket, key } = parseS3Uri(uri);
  const keys: string[] = [];
  for await (const found of s3.list(bucket, key)) keys.push(found.key.slice(key.length));
  return keys;
}

test("a separate worker labels texts and images from S3 to S3, and the outputs are proved", async () => {
  await using system = await openSystem();
  const { work, env, bucket } = system;
  await system.worker();
  const texts = await system.upload("in/reviews.csv", join(EXAMPLES, "reviews.csv"));
  for (const name of ["cat-ginger-tabby.jpg", "frog-on-forest-floor.jpg"])
    await system.upload(`pictures/${name}`, join(EXAMPLES, "images", name));
  const out = `s3://${bucket}/labels/reviews/`;
  const labeled = await work.expect(0, [...LABEL, texts, "--column", "review", "--out", out, "--json"], { env });
  assert.deepEqual((jsonOf(labeled).totals as { planned: number }).planned, 235);
  assert.match(
    (await keysOf(out)).join(),
    /^_SUCCESS,_manifest\.json,_parts\.jsonl,_run\.json,part-0000000-[0-9a-f]{8}\.jsonl$/,
  );
  const proof = await work.expect(0, ["verify", out, "--json"], { env });
  assert.equal(jsonOf(proof).ok, true);
  const again = await work.expect(0, [...LABEL, texts, "--column", "review", "--out", out], { env });
  assert.match(again.stderr, /is finished already/);

  const seen = `s3://${bucket}/labels/pictures/`;
  await work.expect(
    0,
    ["label", "images", "--model", "tiny-image", `s3://${bucket}/pictures/`, "--out", seen, "--json"],
    { env },
  );
  const list = await work.write("list.txt", `s3://${bucket}/pictures/cat-ginger-tabby.jpg\n`);
  const listed = await work.expect(
    0,
    ["label", "images", "--model", "tiny-image", list, "--out", `s3://${bucket}/labels/list/`, "--json"],
    {
      env,
    },
  );
  assert.deepEqual(jsonOf(listed).labels, { cat: 1 });
  await work.expect(0, ["verify", seen], { env });
});

test("without REDIS_URL, one command labels from S3 to S3", async () => {
  await using system = await openSystem();
  const { work, bucket } = system;
  const { REDIS_URL: _, ...env } = system.env;
  const detached = await work.expect(2, [...LABEL, "x.csv", "--detach"], { env });
  assert.match(detached.stderr, /USAGE: --detach .*REDIS_URL/);
  const texts = await system.upload("in/reviews.csv", join(EXAMPLES, "reviews.csv"));
  const out = `s3://${bucket}/labels`;
  await work.expect(0, [...LABEL, texts, "--column", "review", "--out", out], {
    env,
  });
  await work.expect(0, ["verify", out], { env });
  await work.expect(0, [...LABEL, texts, "--column", "review", "--out", "local"], {
    env,
  });
  await work.expect(0, ["verify", "local"], { env });
});

test("a run that remote workers cannot do is refused before anything is queued", async () => {
  await using system = await openSystem();
  const { work, env, bucket } = system;
  const out = `s3://${bucket}/out/`;
  const csv = await writeTexts(work.file("texts.csv"), 5);
  const refused = async (code: string, message: RegExp, args: string[]) => {
    const ended = await work.expect(2, [...args, "--json"], { env });
    const { error } = jsonOf(ended) as { error: { code: string; message: string } };
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
  };
  await refused("NO_WORKER", /labelmill worker --models tiny-sentiment.*--with-worker.*--queue-anyway/, [
    ...[...LABEL, csv, "--out", out],
  ]);
  await refused("MODEL_NOT_FOUND", /no worker is registered/, [
    "label",
    "text",
    csv,
    "--out",
    out,
    "--model",
    "unknown",
  ]);
  await system.worker({ LABELMILL_S3_ROOTS: `s3://${bucket}/other/` });
  await refused("NOT_GRANTED", /LABELMILL_S3_ROOTS/, [...LABEL, csv, "--out", out]);
  await refused("LOCAL_PATH_REMOTE_WORKER", /texts-labels.*s3:\/\/.*--shared-files/, [...LABEL, csv]);
  const images = join(EXAMPLES, "images");
  await refused("LOCAL_PATH_REMOTE_WORKER", /--shared-files/, [
    "label",
    "images",
    "--model",
    "tiny-image",
    images,
    "--out",
    `s3://${bucket}/other/x/`,
  ]);
  const list = await work.write("list.txt", "https://example.org/a.jpg\nlocal.jpg\n");
  await refused("LOCAL_PATH_REMOTE_WORKER", /local\.jpg \(record 1/, [
    ...["label", "images", "--model", "tiny-image", list, "--out", `s3://${bucket}/other/y/`],
  ]);
  assert.deepEqual(await keysOf(`s3://${bucket}/`), [], "nothing was written");
  const { queues, runs } = jsonOf(await work.expect(0, ["status", "--json"], { env })) as Status;
  assert.deepEqual([queues.every(({ waiting }) => waiting === 0), runs], [true, []]);
});

type Status = {
  workers: { models: { id: string }[] }[];
  queues: { queue: string; waiting: number }[];
  runs: { run: string; state: string; rows: number; items: number }[];
  events: { waiting: number; dropped: number };
};

test("--shared-files allows local outputs and images that the worker may open", async () => {
  await using system = await openSystem();
  const { work, env } = system;
  const images = join(EXAMPLES, "images");
  await system.worker({ LABELMILL_FILE_ROOTS: `${work.path}:${images}` });
  await work.expect(0, ["label", "images", "--model", "tiny-image", images, "--out", "seen", "--shared-files"], {
    env,
  });
  await work.expect(0, ["verify", "seen"], { env });
});

test("--detach ends when all is queued, status shows the run, --with-worker finishes it, and results shows its events", async () => {
  await using system = await openSystem();
  const { work, env, bucket } = system;
  const csv = await writeTexts(work.file("texts.csv"), 200);
  const out = `s3://${bucket}/out/`;
  const args = [...LABEL, csv, "--out", out, "--slice-items", "50", "--events", "parts"];
  const detached = await work.expect(0, [...args, "--detach", "--queue-anyway", "--json"], { env });
  const { run, state } = jsonOf(detached) as { run: string; state: string };
  assert.equal(state, "running");
  const waiting = jsonOf(await work.expect(0, ["status", "--json"], { env })) as Status;
  assert.deepEqual(waiting.workers, []);
  assert.equal(waiting.queues.find(({ queue }) => queue.endsWith(".bulk"))?.waiting, 4);
  assert.deepEqual(
    waiting.runs.map((each) => [each.run, each.state, each.rows, each.items]),
    [[run, "running", 0, 200]],
  );
  const taken = await work.expect(0, [...args, "--with-worker"], { env });
  assert.match(taken.stderr, new RegExp(`Resuming run ${run}`));
  await work.expect(0, ["verify", out], { env });
  const over = await work.expect(0, ["status", run], { env });
  assert.match(over.stdout, /succeeded.*200\/200 rows/);
  const events = (await work.expect(0, ["results", "--json"], { env })).stdout.trim().split("\n");
  assert.deepEqual(events.map((line) => JSON.parse(line).slice).sort(), [0, 1, 2, 3]);
  const unknown = await work.expect(1, ["status", "0123456789abcdef"], { env });
  assert.match(unknown.stderr, /RUN_UNKNOWN/);
});

test("cancel ends a running run and keeps its parts, and the same command resumes it", async () => {
  await using system = await openSystem();
  const { work, env, bucket } = system;
  const csv = await writeTexts(work.file("texts.csv"), 3_000);
  const out = `s3://${bucket}/out/`;
  const args = [...LABEL, csv, "--out", out, "--slice-items", "100"];
  await system.worker();
  const running = work.start(args, { env });
  await running.says("Run ");
  const run = /Run ([0-9a-f]{16})/.exec(running.stderr)![1]!;
  for (let rows = 0; rows === 0; )
    rows = (jsonOf(await work.run(["status", run, "--json"], { env })) as { rows?: number }).rows ?? 0;
  await work.expect(0, ["cancel", run], { env });
  const ended = await running.ended;
  assert.equal(ended.code, 1, ended.stderr);
  assert.match(ended.stdout, /was cancelled/);
  assert.match((await work.expect(0, ["status", run], { env })).stdout, /cancelled/);
  const keys = await keysOf(out);
  assert.ok(keys.some((key) => key.startsWith("part-")) && !keys.includes("_SUCCESS"));
  const again = await work.expect(0, args, { env });
  assert.match(again.stderr, new RegExp(`Resuming run ${run}`));
  await work.expect(0, ["verify", out], { env });
});

test("the second of two commands on one output is refused with the process of the first", async () => {
  await using system = await openSystem();
  const { work, env, bucket } = system;
  const csv = await writeTexts(work.file("texts.csv"), 5);
  const out = `s3://${bucket}/out/`;
  const args = [...LABEL, csv, "--out", out, "--queue-anyway"];
  const first = work.start(args, { env });
  await first.says("Run ");
  const second = await work.expect(2, args, { env });
  assert.match(second.stderr, new RegExp(`OUTPUT_LOCKED.*process ${first.child.pid} on `));
  await system.worker();
  const ended = await first.ended;
  assert.equal(ended.code, 0, ended.stderr);
  assert.ok(!(await keysOf(out)).includes("_lock"));
});

test("a worker waits for an unreachable or unfit Redis, and reports the reason", async () => {
  await using system = await openSystem();
  const { work, env, redis, bucket } = system;
  const args = ["worker", "--models", "tiny-sentiment"];
  const admin = await openRedis(redis.address, "producer");
  await admin.config("SET", "maxmemory-policy", "allkeys-lru");
  const unfit = work.start(args, { env });
  await unfit.says("REDIS_UNFIT: Expected maxmemory-policy noeviction");
  await admin.config("SET", "maxmemory-policy", "noeviction");
  admin.disconnect();
  await unfit.says("Serving tiny-sentiment@");
  unfit.child.kill("SIGTERM");
  assert.equal((await unfit.ended).code, 0);
  await redis.kill();
  const worker = work.start(args, { env: { ...env, LABELMILL_S3_ROOTS: `s3://${bucket}` } });
  await worker.says("REDIS_UNREACHABLE");
  await redis.restart();
  await worker.says("Serving tiny-sentiment@");
  const csv = await writeTexts(work.file("texts.csv"), 5);
  await work.expect(0, [...LABEL, csv, "--out", `s3://${bucket}/out/`], { env });
  worker.child.kill("SIGTERM");
  assert.equal((await worker.ended).code, 0);
  const { workers } = jsonOf(await work.expect(0, ["status", "--json"], { env })) as Status;
  assert.deepEqual(workers, [], "the worker has deregistered");
});

test("a missing bucket or missing credentials are a one-line error, and nothing is queued", async () => {
  await using system = await openSystem();
  const { work, env, bucket } = system;
  await system.worker({ LABELMILL_S3_ROOTS: `s3://${bucket},s3://no-such-bucket-here` });
  const csv = await writeTexts(work.file("texts.csv"), 5);
  const noBucket = await work.expect(1, [...LABEL, csv, "--out", "s3://no-such-bucket-here/x/"], { env });
  assert.match(noBucket.stderr, /^labelmill: STORE_FAILED: .*bucket does not exist[^\n]*\n$/m);
  const without = { ...env, AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" };
  const keyless = await work.expect(1, [...LABEL, csv, "--out", `s3://${bucket}/x/`], { env: without });
  assert.match(keyless.stderr, /^labelmill: STORE_FAILED: .*no credentials[^\n]*AWS_PROFILE\n$/m);
  const noInput = await work.expect(2, [...LABEL, `s3://${bucket}/nothing.csv`, "--out", `s3://${bucket}/x/`], {
    env,
  });
  assert.match(noInput.stderr, /INPUT_NOT_FOUND.*nothing\.csv/);
  const { runs } = jsonOf(await work.expect(0, ["status", "--json"], { env })) as Status;
  assert.deepEqual(runs, []);
});
