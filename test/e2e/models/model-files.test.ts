import assert from "node:assert/strict";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type Ended, jsonOf, type RunOptions, verdict, Workspace } from "../../helpers/cli.ts";
import { writeTextModel } from "../../helpers/models/onnx.ts";
import { MODELS, writeTexts } from "../../helpers/runs/pipeline.ts";
import { FaultProxy } from "../../helpers/servers/fault-proxy.ts";
import { type Hub, startHub } from "../../helpers/servers/hub-server.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

const TEXT_REPO = "Xenova/distilbert-base-uncased-finetuned-sst-2-english";
const IMAGE_REPO = "Xenova/resnet-50";
const TOKEN = "hf_a-token-that-must-stay-hidden";

/** An empty cache folder, a Redis server, and a hub that has the built-in models under the names of the real ones. */
async function openSystem({ token }: { token?: string } = {}) {
  const opened = new AsyncDisposableStack();
  const [text, images] = [join(MODELS, "tiny-sentiment"), join(MODELS, "tiny-image")];
  const repos = { [TEXT_REPO]: { files: text, ...(token ? { token } : {}) }, [IMAGE_REPO]: { files: images } };
  const hub: Hub = opened.use(await startHub({ repos }));
  const redis = opened.use(await TcpRedis.start());
  const work = opened.use(await Workspace.open());
  await writeTexts(work.file("texts.csv"), 20);
  const env = {
    REDIS_URL: redis.url,
    HF_ENDPOINT: hub.endpoint,
    LABELMILL_CACHE_DIR: work.file("cache"),
    LABELMILL_OFFLINE: "0",
    LABELMILL_THREADS: "1",
  };
  const here = ["--with-worker", "--shared-files"];
  return {
    ...{ hub, work, env },
    /** Labels the texts in a command with its own worker. */
    label: (code: number, args: string[], options: RunOptions = {}): Promise<Ended> =>
      work.expect(code, ["label", "text", "texts.csv", ...here, ...args], {
        ...options,
        env: { ...env, ...options.env },
      }),
    models: (code: number, args: string[], more: Record<string, string> = {}): Promise<Ended> =>
      work.expect(code, ["models", ...args], { env: { ...env, ...more } }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

test("without --model, the default model is pulled at its first use, and then works offline", async () => {
  await using system = await openSystem({ token: TOKEN });
  const { hub, work, label } = system;
  const forbidden = await label(2, ["--out", "out"]);
  assert.match(forbidden.stderr, /^labelmill: MODEL_FORBIDDEN: [^\n]*HF_TOKEN[^\n]*\n$/m);

  const env = { HF_TOKEN: TOKEN };
  const first = await label(0, ["--out", "out", "--json"], { env });
  const says = first.stderr.split("\n");
  assert.equal(says[0], `Pulling distilbert-sst2 (fp32) from ${TEXT_REPO}@main`);
  assert.match(says[1]!, /^Pulled distilbert-sst2 \(fp32\): 1\d\.\d MB in .*, commit [0-9a-f]{8}$/);
  assert.equal(says[2], "No --model given: using distilbert-sst2");
  assert.ok(!first.stderr.includes("\r"), "no bar if standard error is not a terminal");
  const { model } = jsonOf(first) as { model: { id: string; revision: string } };
  assert.deepEqual([model.id, model.revision], ["distilbert-sst2", hub.commitOf(TEXT_REPO)]);
  assert.deepEqual(new Set((await work.rows("out")).map(verdict)), new Set(["POSITIVE", "NEGATIVE"]));

  const asked = hub.requests.length;
  const again = await label(0, ["--out", "again", "--log-level", "debug"], { env: { ...env, LABELMILL_OFFLINE: "1" } });
  assert.doesNotMatch(again.stderr, /Pull/);
  assert.equal(hub.requests.length, asked);

  for (const { stdout, stderr } of [forbidden, first, again]) assert.ok(!(stdout + stderr).includes(TOKEN));
  for (const entry of await readdir(work.path, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) assert.ok(!(await readFile(join(entry.parentPath, entry.name))).includes(TOKEN), entry.name);
  for (const { origin, headers } of hub.requests)
    if (origin === "cdn") assert.equal(headers.authorization, undefined, "only the hub gets the token");
});

test("a missing model is an error with the fix when offline, but an error of the input comes first", async () => {
  await using system = await openSystem();
  const { hub, work, env, label } = system;
  const { stderr } = await label(2, ["--out", "out", "--offline"]);
  assert.match(
    stderr,
    /^labelmill: MODEL_NOT_FOUND: distilbert-sst2 is not on this machine.*`labelmill models pull distilbert-sst2`.*tiny-sentiment, tiny-image[^\n]*\n$/,
  );
  const missing = await work.expect(2, ["label", "text", "none.csv"], { env });
  assert.match(missing.stderr, /INPUT_NOT_FOUND/);
  assert.equal(hub.requests.length, 0);
});

test("after a pull and a lock, labeling works offline, and another commit or other bytes are refused", async () => {
  await using system = await openSystem();
  const { hub, work, label, models } = system;
  const { pulled } = jsonOf(await models(0, ["pull", "distilbert-sst2", "--json"])) as { pulled: { digest: string }[] };
  const commit = hub.commitOf(TEXT_REPO);
  const locked = await models(0, ["lock"]);
  assert.match(locked.stdout, new RegExp(`^distilbert-sst2 {2}fp32 {2}pinned to commit ${commit}, 4 files\n`));
  assert.match(locked.stdout, /Written to config\/labelmill\/catalog\.json\n$/);
  const listed = jsonOf(await models(0, ["--json"])) as { models: Record<string, unknown>[] };
  const ours = listed.models.find(({ id }) => id === "distilbert-sst2")!;
  assert.deepEqual([ours.digest, ours.revision, ours.where, ours.pinned], [pulled[0]!.digest, commit, "pulled", true]);
  await label(0, ["--out", "offline", "--offline"]);

  await rm(work.file("cache"), { recursive: true });
  hub.fault = ({ path }) => (path.includes("/resolve/") ? { headers: { "x-repo-commit": "f".repeat(40) } } : undefined);
  const moved = await label(2, ["--out", "moved"]);
  assert.match(moved.stderr, /^labelmill: MODEL_HASH: /m);
  hub.fault = ({ origin, file }) => (origin === "cdn" && file ? { body: Buffer.alloc(13_000_000) } : undefined);
  const tampered = await label(2, ["--out", "moved"]);
  assert.match(tampered.stderr, /^labelmill: MODEL_HASH: .*model\.onnx/m);
  assert.deepEqual(
    (await readdir(work.path)).filter((name) => name === "moved"),
    [],
    "no output was made",
  );
  const left = await readdir(work.file("cache", "models"), { recursive: true });
  assert.ok(!left.some((name) => name.endsWith("labelmill.lock.json")), "no model was kept");
});

test("two workers that start together on one machine pull once, and serve the default model of each task", async () => {
  await using system = await openSystem();
  const { hub, work, env } = system;
  const workers = [1, 2].map(() => work.start(["worker"], { env }));
  for (const worker of workers) {
    await worker.says("Serving distilbert-sst2@");
    assert.match(worker.stderr, /Serving distilbert-sst2@[0-9a-f]{8}, resnet50@[0-9a-f]{8} from/);
  }
  const weights = hub.requests.filter(({ method, origin }) => method === "GET" && origin === "cdn");
  assert.ok(new Set(weights.map(({ headers, path }) => `${path} ${headers.range}`)).size === weights.length);

  // A producer without models uses a served model, and pulls nothing to get its digest.
  const asked = hub.requests.length;
  const away = { ...env, LABELMILL_CACHE_DIR: work.file("elsewhere"), HF_ENDPOINT: "http://127.0.0.1:1" };
  const args = ["label", "text", "texts.csv", "--shared-files"];
  const refused = await work.expect(2, [...args, "--out", "out"], { env: away });
  assert.match(refused.stderr, /No --model given: using distilbert-sst2\n.*NOT_GRANTED/s);
  const q8 = await work.expect(2, [...args, "--out", "out", "--dtype", "q8"], { env: away });
  assert.match(
    q8.stderr,
    /NO_WORKER: no worker serves distilbert-sst2: workers serve distilbert-sst2@[0-9a-f]{8}, resnet50@/,
  );
  const queued = await work.expect(2, [...args, "--dtype", "q8", "--queue-anyway", "--offline"], { env: away });
  assert.match(queued.stderr, /MODEL_NOT_FOUND: distilbert-sst2 is not on this machine/);
  assert.equal(hub.requests.length, asked);
});

test("models add registers a folder after a trial run, and a worker refuses a changed or broken one", async () => {
  await using system = await openSystem();
  const { work, env, label, models } = system;
  await writeTextModel(work.file("own"), { weights: [1, -1], bias: [0, 0] });
  const added = await models(0, ["add", "own", "--id", "mine"]);
  assert.match(added.stdout, /^mine@[0-9a-f]{8} {2}text-classification {2}fp32 {2}2 labels: ran\nWritten to /);
  await label(0, ["--model", "mine", "--out", "out"]);
  await writeFile(work.file("own", "tokenizer_config.json"), "{}");
  const changed = await work.expect(2, ["worker", "--models", "mine"], { env });
  assert.match(changed.stderr, /^labelmill: MODEL_HASH: .*tokenizer_config\.json: .*models add/);

  await writeTextModel(work.file("wide"), { weights: [1, -1, 1], bias: [0, 0, 0] });
  const config = JSON.parse(await readFile(work.file("wide", "config.json"), "utf8"));
  await writeFile(work.file("wide", "config.json"), JSON.stringify({ ...config, id2label: { 0: "A", 1: "B" } }));
  const wide = await models(2, ["add", "wide", "--id", "wide"]);
  assert.match(wide.stderr, /^labelmill: MODEL_INVALID: [^\n]*wide\/onnx\/model\.onnx[^\n]*\n$/);
  const started = await work.expect(2, ["worker", "--models", "./wide"], { env });
  assert.match(started.stderr, /^labelmill: MODEL_INVALID: [^\n]*wide\/onnx\/model\.onnx[^\n]*\n$/);
  const id = await models(2, ["add", "own", "--id", "no/name"]);
  assert.match(id.stderr, /--id/);
});

test("no flag takes a token, and an invalid token is not shown", async () => {
  await using system = await openSystem();
  const { models } = system;
  const { stdout } = await models(0, ["pull", "--help"]);
  assert.doesNotMatch(stdout, /--hf-token/);
  const wrong = await models(2, [], { HF_TOKEN: `${TOKEN}\nx` });
  assert.match(wrong.stderr, /^labelmill: CONFIG_INVALID: HF_TOKEN: a token of the hub, in one line\n$/);
});

test("a worker waits for an unavailable hub, reports the reason once, and serves when the hub is back", async () => {
  await using system = await openSystem();
  const { hub, work, env } = system;
  await using proxy = await FaultProxy.start(hub.endpoint);
  proxy.failRandomly(["error"], 1, 0);
  const worker = work.start(["worker", "--models", "distilbert-sst2"], {
    env: { ...env, HF_ENDPOINT: proxy.endpoint },
  });
  await worker.says("Trying again until it works.");
  proxy.clear();
  await worker.says("Serving distilbert-sst2@");
  worker.child.kill("SIGTERM");
  const { code, stderr } = await worker.ended;
  assert.equal(code, 0, stderr);
  assert.equal(stderr.match(/^MODEL_UNAVAILABLE: .*Trying again until it works\.$/gm)?.length, 1);
});
