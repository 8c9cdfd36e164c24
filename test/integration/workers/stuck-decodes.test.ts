import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import sharp from "sharp";
import { loadConfig } from "../../../src/config.ts";
import { readPart } from "../../../src/rows/part.ts";
import type { Row } from "../../../src/schemas/row.ts";
import type { ObjectStore } from "../../../src/storage/store.ts";
import { gradient } from "../../helpers/inputs/images.ts";
import { FAST, TestPipeline } from "../../helpers/runs/pipeline.ts";

const IMAGE_MODEL = "tiny-image";

/** Takes some hundred ms in one call of the codec, which cannot be stopped. */
const slow = async () =>
  gradient(16, 16).resize(4000, 4000, { kernel: sharp.kernel.nearest }).avif({ effort: 0 }).toBuffer();

async function rowsOf(store: ObjectStore): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const { key } of store.list("part-")) rows.push(...readPart(await store.get(key)).rows);
  return rows.sort((a, b) => a.source.record - b.source.record);
}

/** A worker whose decodes may take at most 50 ms. */
function impatient(pipeline: TestPipeline, poolThreads: number) {
  const config = loadConfig({ flags: { ...FAST, threads: 1, cacheDir: join(pipeline.folder, "cache") } });
  return pipeline.worker({}, { models: [IMAGE_MODEL], config: { ...config, decodeMs: 50, poolThreads } });
}

test("an image that takes too long to decode fails its own row only", async () => {
  await using pipeline = await TestPipeline.open();
  for (const name of ["1.png", "3.png"])
    await writeFile(join(pipeline.folder, name), await gradient(9, 9).png().toBuffer());
  await writeFile(join(pipeline.folder, "2.avif"), await slow());
  await impatient(pipeline, 8);
  const { state, store } = await pipeline.run({
    kind: "images",
    model: IMAGE_MODEL,
    path: pipeline.folder,
    out: "out",
  });
  assert.equal(state, "finished_with_errors");
  const rows = await rowsOf(store);
  assert.deepEqual(
    rows.map((row) => ("error" in row ? row.error.code : "labeled")),
    ["labeled", "IMAGE_TIMEOUT", "labeled"],
  );
});

test("a worker with half of its decode threads stuck gives its slices back and ends; another one labels them", async () => {
  await using pipeline = await TestPipeline.open();
  await writeFile(join(pipeline.folder, "1.avif"), await slow());
  await writeFile(join(pipeline.folder, "2.png"), await gradient(9, 9).png().toBuffer());
  const first = await impatient(pipeline, 2);
  const running = pipeline.run({ kind: "images", model: IMAGE_MODEL, path: pipeline.folder, out: "out" });
  const failure = await first.failed;
  assert.equal(failure.code, "INFERENCE_FAILED");
  assert.match(failure.message, /1 of 2 threads that decode images are stuck/);
  await first.close();
  await pipeline.worker({ threads: 1 }, { models: [IMAGE_MODEL] });
  const { state, store } = await running;
  assert.equal(state, "succeeded");
  assert.equal((await rowsOf(store)).length, 2);
});
