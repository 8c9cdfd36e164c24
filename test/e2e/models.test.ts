import assert from "node:assert/strict";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { listModels } from "../../src/cli/models.ts";
import { Terminal } from "../../src/cli/terminal.ts";
import { loadConfig } from "../../src/config.ts";
import { WorkerRegistry } from "../../src/fleet/registry.ts";
import { loadModel } from "../../src/inference/model.ts";
import { createLogger } from "../../src/logger.ts";
import { openRedis } from "../../src/redis/connect.ts";
import { assertPlain, jsonOf, Workspace } from "../helpers/cli.ts";
import { MODELS } from "../helpers/pipeline.ts";
import { TcpRedis } from "../helpers/tcp-redis.ts";
import { servedModel, workerInfo } from "../helpers/worker-info.ts";

type Listed = Record<string, unknown> & { id: string; digest: string };

let work: Workspace;

before(async () => {
  work = await Workspace.open();
});
after(() => work[Symbol.asyncDispose]());

async function listed(env: Record<string, string> = {}): Promise<Listed[]> {
  const { models, damaged } = jsonOf(await work.expect(0, ["models", "--json"], { env }));
  assert.deepEqual(damaged, []);
  return models as Listed[];
}

test("the built-in models, with their digests", async () => {
  const models = await listed();
  for (const id of ["tiny-image", "tiny-sentiment"]) {
    const { task, dtype, revision, digest, labels } = await loadModel(id, MODELS);
    const expected = { id, revision, digest, dtype, task, labels: labels.length, builtIn: true, servedBy: null };
    assert.deepEqual(
      models.find((model) => model.id === id),
      expected,
    );
  }
  const { stdout } = await work.expect(0, ["models"]);
  assertPlain(stdout);
  assert.equal(stdout.trimEnd().split("\n").length, models.length);
  for (const { id, digest } of models)
    assert.match(stdout, new RegExp(`^${id} *@${digest.slice(0, 8)} .* labels .*built in$`, "m"));
});

test("with workers: how many serve each version, and those that are not here", async () => {
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
  const here = await loadModel("tiny-sentiment", MODELS);
  const ours = servedModel({ id: here.id, digest: here.digest });
  const other = servedModel({ id: here.id });
  await registry.beat(workerInfo({ models: [ours, other] }));
  await registry.beat(workerInfo({ models: [ours] }));
  const models = await listed(env);
  assert.deepEqual(
    models.map(({ id, digest, builtIn, servedBy }) => ({ id, digest, builtIn, servedBy })),
    [
      { id: "tiny-image", digest: (await loadModel("tiny-image", MODELS)).digest, builtIn: true, servedBy: 0 },
      { id: here.id, digest: here.digest, builtIn: true, servedBy: 2 },
      { id: here.id, digest: other.digest, builtIn: false, servedBy: 1 },
    ],
  );
  const { stdout } = await work.expect(0, ["models"], { env });
  assert.match(stdout, new RegExp(`@${here.digest.slice(0, 8)} .*built in, served by 2 workers$`, "m"));
  assert.match(stdout, new RegExp(`@${other.digest.slice(0, 8)} .* 3 labels .* {2}served by 1 worker$`, "m"));
});

test("a Redis that is not there: one line, exit 1", async () => {
  const { stderr } = await work.expect(1, ["models"], { env: { REDIS_URL: "redis://:hunter2@127.0.0.1:1" } });
  assert.match(stderr, /^labelmill: REDIS_UNREACHABLE: [^\n]*\n$/);
  assert.doesNotMatch(stderr, /hunter2/);
});

test("a folder that is damaged costs its own line, and exit 1", async () => {
  for (const name of ["broken", "whole"])
    await cp(join(MODELS, "tiny-image"), work.file("models", name), { recursive: true });
  await rm(work.file("models", "broken", "config.json"));
  const list = async (json: boolean) => {
    const out = new PassThrough();
    const terminal = new Terminal(json, out as unknown as NodeJS.WriteStream);
    const world = {
      config: loadConfig({}),
      environment: { path: "" },
      stdin: process.stdin,
      terminal,
      log: createLogger("silent", false),
    };
    const code = await listModels(world, work.file("models"));
    return { code, stdout: await text(out.end()) };
  };
  const plain = await list(false);
  assert.equal(plain.code, 1);
  assert.match(plain.stdout, /^whole *@.*\nbroken {2}MODEL_INVALID: [^\n]*config\.json[^\n]*missing\n$/);
  const { code, stdout } = await list(true);
  const { models, damaged } = JSON.parse(stdout);
  assert.deepEqual(
    [code, models.map(({ id }: Listed) => id), damaged.map(({ id }: Listed) => id)],
    [1, ["whole"], ["broken"]],
  );
  assert.equal(damaged[0].error.code, "MODEL_INVALID");
});
