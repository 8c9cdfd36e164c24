import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { jsonOf, Workspace } from "../../helpers/cli.ts";
import { writeTextModel } from "../../helpers/models/onnx.ts";
import { writeTexts } from "../../helpers/runs/pipeline.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

let work: Workspace;
let redis: TcpRedis;

before(async () => {
  redis = await TcpRedis.start();
  work = await Workspace.open();
  await writeTexts(work.file("texts.csv"), 20);
});
after(async () => {
  await work[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

/** Writes a model whose only fault is the name of an operator, so that only its session fails to load. */
async function writeBrokenModel(name: string): Promise<void> {
  const path = work.file(name);
  await writeTextModel(path, { weights: [1, -1], bias: [0, 0] });
  const onnx = work.file(name, "onnx", "model.onnx");
  const bytes = await readFile(onnx, "latin1");
  assert.ok(bytes.includes("Gather"));
  await writeFile(onnx, bytes.replaceAll("Gather", "Gathex"), "latin1");
}

async function filesOf(out: string): Promise<string[]> {
  return (await readdir(work.file(out)).catch(() => [])).sort();
}

test("a model that fails to load leaves no claim, so the corrected model can use the same output", async () => {
  await writeBrokenModel("model");
  const label = ["label", "text", "texts.csv", "--model", "./model", "--out", "out"];
  for (let tries = 0; tries < 2; tries += 1) {
    await work.expect(2, label);
    assert.deepEqual(await filesOf("out"), []);
  }
  await writeTextModel(work.file("model"), { weights: [1, -1], bias: [0, 0] });
  await work.expect(0, label);
  await work.expect(0, ["verify", "out"]);

  // --overwrite keeps the old output until the model has loaded.
  const finished = await filesOf("out");
  await writeBrokenModel("other");
  const replace = ["label", "text", "texts.csv", "--model", "./other", "--out", "out", "--overwrite"];
  await work.expect(2, replace);
  assert.deepEqual(await filesOf("out"), finished);
  await work.expect(0, ["verify", "out"]);
  await writeTextModel(work.file("other"), { weights: [2, -1], bias: [0, 0] });
  await work.expect(0, replace);
});

test("a command that was killed before its first part does not block another command", async () => {
  await work.expect(0, ["label", "text", "texts.csv", "--model", "tiny-sentiment", "--out", "first"]);
  const claim = await work.runFile("first");
  const other = ["label", "text", "texts.csv", "--model", "tiny-sentiment", "--top-k", "1", "--out"];
  await work.write("killed/_run.json", JSON.stringify(claim));
  await work.expect(0, [...other, "killed"]);
  await work.expect(0, ["verify", "killed"]);
  // A submitted run may be running on other workers.
  const { embedded: _embedded, ...submitted } = claim;
  await work.write("submitted/_run.json", JSON.stringify(submitted));
  assert.match((await work.expect(2, [...other, "submitted"])).stderr, /SPEC_DIFFERS/);
});

test("the claim of a running run is OUTPUT_LOCKED with its id, and one of a cancelled or unknown run is taken over", async () => {
  const options = { env: { REDIS_URL: redis.url } };
  const submit = (limit: number) => [
    ...["run", "submit", "--kind", "text", "texts.csv", "--model", "tiny-sentiment", "--out", "claimed"],
    ...["--limit", String(limit), "--shared-files", "--queue-anyway", "--json"],
  ];
  const run = jsonOf(await work.expect(0, submit(1), options)).run as string;
  const refused = new RegExp(`OUTPUT_LOCKED.*${run}.*labelmill run cancel ${run}`);
  assert.match(JSON.stringify(jsonOf(await work.expect(2, submit(2), options))), refused);
  await work.expect(0, ["run", "pause", run], options);
  assert.match(JSON.stringify(jsonOf(await work.expect(2, submit(2), options))), refused);

  await work.expect(0, ["run", "cancel", run], options);
  const second = jsonOf(await work.expect(0, submit(2), options)).run as string;
  assert.notEqual(second, run);
  assert.equal((await work.runFile("claimed")).run, second);

  await redis.restart();
  const third = jsonOf(await work.expect(0, submit(3), options)).run as string;
  assert.notEqual(third, second);
  await work.expect(0, ["run", "cancel", third], options);
});
