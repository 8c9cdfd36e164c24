import assert from "node:assert/strict";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { WorkerRegistry } from "../../../src/fleet/registry.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { assertPlain, type Ended, jsonOf, Workspace } from "../../helpers/cli.ts";
import { MODELS } from "../../helpers/runs/pipeline.ts";
import { servedModel, workerInfo } from "../../helpers/runs/worker-info.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

type Listed = Record<string, unknown> & { id: string; digest: string };

let work: Workspace;

before(async () => {
  work = await Workspace.open();
});
after(() => work[Symbol.asyncDispose]());

/** Uses a separate cache folder, so that models which the user of this machine has pulled are not listed. */
async function list(code: number, args: string[] = [], env: Record<string, string> = {}): Promise<Ended> {
  return work.expect(code, ["models", ...args], { env: { LABELMILL_CACHE_DIR: work.file("cache"), ...env } });
}

async function listed(env: Record<string, string> = {}): Promise<Listed[]> {
  const { models, damaged } = jsonOf(await list(0, ["--json"], env));
  assert.deepEqual(damaged, []);
  return models as Listed[];
}

test("models lists the built-in models with their digests, and for missing ones of the catalog how to get them", async () => {
  const models = await listed();
  for (const id of ["tiny-image", "tiny-sentiment"]) {
    const { task, dtype, revision, digest, labels } = await loadBuiltIn(id);
    const version = { id, revision, digest, dtype, task, labels: labels.length };
    const expected = { ...version, where: "built in", pinned: false, servedBy: null };
    assert.deepEqual(
      models.find((model) => model.id === id),
      expected,
    );
  }
  const { absent } = jsonOf(await list(0, ["--json"]));
  assert.deepEqual(
    (absent as { id: string; get: string }[]).map(({ id, get }) => [id, get]),
    [
      ["distilbert-sst2", "labelmill models pull distilbert-sst2"],
      [
        "siebert-sentiment",
        "optimum-cli export onnx --model siebert/sentiment-roberta-large-english --task text-classification DIR && labelmill models add DIR --id siebert-sentiment",
      ],
      ["resnet50", "labelmill models pull resnet50"],
    ],
  );
  const { stdout } = await list(0);
  assertPlain(stdout);
  assert.equal(stdout.trimEnd().split("\n").length, models.length + 3);
  for (const { id, digest } of models)
    assert.match(stdout, new RegExp(`^${id} *@${digest.slice(0, 8)} .* labels .*built in$`, "m"));
  assert.match(
    stdout,
    /^resnet50 +image-classification {2}not here: labelmill models pull resnet50 {2}\(1,000 classes/m,
  );
});

test("models shows how many workers serve each version, including versions that are only elsewhere", async () => {
  await using server = await TcpRedis.start();
  await using open = new AsyncDisposableStack();
  const redis = await openRedis(server.address, "producer");
  open.defer(() => redis.disconnect());
  const env = { REDIS_URL: server.url };
  assert.deepEqual(
    (await listed(env)).map(({ servedBy }) => servedBy),
    [0, 0],
  );

  const registry = new WorkerRegistry(redis);
  const here = await loadBuiltIn("tiny-sentiment");
  const ours = servedModel({ id: here.id, digest: here.digest });
  const other = servedModel({ id: here.id });
  await registry.beat(workerInfo({ models: [ours, other] }));
  await registry.beat(workerInfo({ models: [ours] }));
  const models = await listed(env);
  assert.deepEqual(
    models.map(({ id, digest, where, servedBy }) => [id, digest, where, servedBy]),
    [
      [here.id, here.digest, "built in", 2],
      ["tiny-image", (await loadBuiltIn("tiny-image")).digest, "built in", 0],
      [here.id, other.digest, "elsewhere", 1],
    ],
  );
  const { stdout } = await list(0, [], env);
  assert.match(stdout, new RegExp(`@${here.digest.slice(0, 8)} .*built in, served by 2 workers$`, "m"));
  assert.match(stdout, new RegExp(`@${other.digest.slice(0, 8)} .* 3 labels {2}served by 1 worker$`, "m"));
});

test("an unreachable Redis is one line and exit 1", async () => {
  const { stderr } = await work.expect(1, ["models"], { env: { REDIS_URL: "redis://:hunter2@127.0.0.1:1" } });
  assert.match(stderr, /^labelmill: REDIS_UNREACHABLE: [^\n]*\n$/);
  assert.doesNotMatch(stderr, /hunter2/);
});

test("a damaged folder of the catalog is one more line, and exit 1", async () => {
  for (const name of ["broken", "whole"])
    await cp(join(MODELS, "tiny-image"), work.file("models", name), { recursive: true });
  await rm(work.file("models", "broken", "config.json"));
  const models = ["broken", "whole"].map((id) => ({ id, task: "image-classification", folder: `models/${id}` }));
  await work.write("catalog.json", JSON.stringify({ schemaVersion: 1, models }));
  const args = ["--catalog", "catalog.json"];
  const plain = await list(1, args);
  assert.match(plain.stdout, /^whole *@.*folder$/m);
  assert.match(plain.stdout, /\nbroken {2}MODEL_INVALID: [^\n]*config\.json[^\n]*missing\n$/);
  const { damaged, models: whole } = jsonOf(await list(1, [...args, "--json"]));
  assert.deepEqual(
    (damaged as { id: string; error: { code: string } }[]).map(({ id, error }) => [id, error.code]),
    [["broken", "MODEL_INVALID"]],
  );
  assert.ok((whole as Listed[]).some(({ id, where }) => id === "whole" && where === "folder"));
});

test("an invalid or missing catalog is one line with the path in it, and exit 2", async () => {
  await work.write("broken.json", '{"schemaVersion": 1, "models": [{"id": "x", "task": "text"}]}');
  const { stderr } = await list(2, ["--catalog", "broken.json"]);
  assert.match(stderr, /^labelmill: CONFIG_INVALID: catalog \S+broken\.json: models\[0\]\.task: [^\n]*got "text"\n$/);
  const missing = await list(2, [], { LABELMILL_CATALOG: work.file("none.json") });
  assert.match(missing.stderr, /^labelmill: CONFIG_INVALID: catalog \S+none\.json: expected this file[^\n]*\n$/);
});
