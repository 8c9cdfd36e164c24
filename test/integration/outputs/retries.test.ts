import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openOutput } from "../../../src/outputs/claim.ts";
import { clearOutput } from "../../../src/outputs/clear.ts";
import { orderedRows } from "../../../src/outputs/ordered-rows.ts";
import { readManifest } from "../../../src/outputs/output.ts";
import { nextRetry, noteRetry } from "../../../src/outputs/retries.ts";
import { newRunFile } from "../../../src/outputs/run-file.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { planFromRunFile } from "../../../src/producers/planning/plan-from-run-file.ts";
import { PlanQueue } from "../../../src/runs/queues/plan-queue.ts";
import type { Manifest } from "../../../src/schemas/manifest.ts";
import { dataFileName, partKey } from "../../../src/schemas/names.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";
import { openStore } from "../../../src/storage/open.ts";
import type { ObjectStore } from "../../../src/storage/store.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";

const CAT = fileURLToPath(new URL("../../../examples/images/cat-ginger-tabby.jpg", import.meta.url));
const RETRIES = { attempts: 5, backoffMs: 100 };

/** Labels the rows in error again, as `labelmill run retry-errors` does. @returns the records of the retried rows: those with a label now, and the others */
async function retry(pipeline: TestPipeline, store: ObjectStore): Promise<Record<"labeled" | "errors", number[]>> {
  const { runFile, uri } = await nextRetry(store, (at) => openStore(at));
  const own = await openStore(uri);
  await openOutput(own, runFile);
  const plans = new PlanQueue(await pipeline.connection(), RETRIES);
  await plans.add(runFile.run, uri);
  await plans.close();
  await pipeline.ended(runFile.run);
  const found = { labeled: [] as number[], errors: [] as number[] };
  for await (const { rows } of orderedRows(own, false))
    for (const { errorCode, record } of rows) found[errorCode ? "errors" : "labeled"].push(record);
  return found;
}

const FILES = { format: "parquet", partitionBy: "label" } as const;

for (const [travels, output] of [["inline"], ["split"], ["split", FILES]] as const)
  test(`${travels}${output ? ", with output files" : ""}: only rows in error are labeled again, until none is left, and the output is proved`, async () => {
    await using pipeline = await TestPipeline.open();
    const folder = join(pipeline.folder, "pictures");
    await mkdir(folder);
    const names = Array.from({ length: 12 }, (_, i) => `${i}.jpg`);
    const late = ["1.jpg", "7.jpg", "11.jpg"];
    for (const name of names) if (!late.includes(name)) await copyFile(CAT, join(folder, name));
    const path = join(pipeline.folder, "list.jsonl");
    const rows = names.map((name, n) => ({ image: `pictures/${name}`, n, late: late.includes(name) ? n : "no" }));
    await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const keep = ["n", "late"];
    const request = {
      kind: "images" as const,
      path,
      model: "tiny-image",
      out: "out",
      travels,
      keep,
      ...(output && { output }),
    };
    const { store, runFile } = await pipeline.submit(request, { sliceItems: 5 });
    await pipeline.worker({ threads: 1 }, { models: ["tiny-image"], plan: planFromRunFile });
    await pipeline.ended(runFile.run);
    assert.equal((await readManifest(store))!.totals.errors, 3);

    await copyFile(CAT, join(folder, "1.jpg"));
    await copyFile(CAT, join(folder, "7.jpg"));
    assert.deepEqual(await retry(pipeline, store), { labeled: [1, 7], errors: [11] });
    await copyFile(CAT, join(folder, "11.jpg"));
    assert.deepEqual(await retry(pipeline, store), { labeled: [11], errors: [] });
    await assert.rejects(
      nextRetry(store, (at) => openStore(at)),
      { code: "USAGE", message: /no row is in error/ },
    );

    const { retries } = (await readManifest(store))!;
    assert.deepEqual(
      retries!.map(({ retry: number, superseded, labeled, errors }) => [number, superseded, labeled, errors]),
      [
        [1, 3, 2, 1],
        [2, 1, 1, 0],
      ],
    );
    // Also if the rows of a retry would fit other types: one query reads the files of all.
    const columns = output && { image: "string", n: "integer", late: "json" };
    for (const uri of ["", "_retries/1/", "_retries/2/"])
      assert.deepEqual((await readManifest(await openStore(store.uri + uri)))!.columns, columns);
    const options = { openStore: (uri: string) => openStore(uri) };
    assert.deepEqual((await verifyOutput(store, options)).problems, []);
    // A retry of rows that were not in error.
    const first = retries![0]!;
    const manifest = (await readManifest(store))!;
    await store.put(
      "_manifest.json",
      Buffer.from(JSON.stringify({ ...manifest, retries: [{ ...first, superseded: 2 }] })),
    );
    assert.match((await verifyOutput(store, options)).problems.join("\n"), /retry 1: rows: 3, expected 2/);
    await store.put("_manifest.json", Buffer.from(JSON.stringify({ ...manifest, retries: [retries![1]!, first] })));
    assert.match(
      (await verifyOutput(store, options)).problems.join("\n"),
      /retry 2: expected the rows that were in error before: record 1 of .*, got record 11 of/,
    );
    // Another retry than the recorded one, and a retry that is not complete.
    const other = { ...first, partsSha256: retries![1]!.partsSha256 };
    await store.put("_manifest.json", Buffer.from(JSON.stringify({ ...manifest, retries: [other] })));
    await (await openStore(`${store.uri}_retries/1/`)).remove("_SUCCESS");
    const { problems } = await verifyOutput(store, options);
    assert.deepEqual(problems, [
      "retry 1: _SUCCESS exists: false, expected true",
      `retry 1: hash of _parts.jsonl: ${first.partsSha256}, expected ${other.partsSha256}`,
    ]);
  });

test("a run that is not finished has nothing to retry", async () => {
  await using pipeline = await TestPipeline.open();
  const path = join(pipeline.folder, "texts.csv");
  await writeFile(path, "text\ngood\n");
  const { store } = await pipeline.submit({ kind: "text", path, model: "tiny-sentiment", out: "out" });
  await assert.rejects(
    nextRetry(store, (at) => openStore(at)),
    { code: "RUN_FAILED", message: /finish the run first/ },
  );
});

const RUN_INPUT = { input: { uri: "file:///x", size: null, modifiedAt: null, hash: null } };

/** A finished run without its parts: a retry reads only the run file and the manifest. */
async function finishedRun(errors: number, change: Partial<Manifest> = {}) {
  const store = new MemoryStore(randomUUID());
  const read = { format: "lines" as const, delimiter: null, column: null, idColumn: null, keep: [] };
  const model = { id: "m", revision: "", digest: "0".repeat(64), dtype: "fp32", task: "text-classification" as const };
  const runFile = newRunFile({
    spec: { model, read, topK: 1, events: "none", sliceItems: 2, sliceBytes: 8_000_000 },
    settings: { maxErrors: "5", sliceTimeoutMs: 5000 },
    inputs: [{ ...RUN_INPUT, read }],
  });
  const manifest: Manifest = {
    ...{ schemaVersion: 1, run: runFile.run, state: "finished_with_errors", software: "x", model },
    ...{ createdAt: runFile.createdAt, finishedAt: runFile.createdAt, inputs: [{ ...RUN_INPUT.input, records: 9 }] },
    totals: { slices: 1, planned: 9, labeled: 9 - errors, errors, bytes: 1 },
    ...{
      labels: {},
      errorCodes: {},
      failed: [],
      failedSlices: 0,
      partsSha256: "0".repeat(64),
      conditionalWrites: true,
    },
    ...change,
  };
  await store.put("_run.json", Buffer.from(JSON.stringify(runFile)));
  await store.put("_manifest.json", Buffer.from(JSON.stringify(manifest)));
  return { store, manifest, runFile };
}

test("a retry keeps the settings of its run without maxErrors; a failed run cannot be retried", async () => {
  const { store, runFile } = await finishedRun(3);
  const { runFile: retried, rows } = await nextRetry(store, async () => store);
  assert.deepEqual(retried.settings, { lane: "bulk", sliceTimeoutMs: 5000 });
  assert.deepEqual([retried.retryOf, rows], [{ run: runFile.run, retry: 1 }, 3]);
  const { store: failed } = await finishedRun(3, { state: "failed", failedSlices: 1 });
  await assert.rejects(
    nextRetry(failed, async () => failed),
    { code: "RUN_FAILED" },
  );
});

test("a retry that is recorded twice is in the manifest once", async () => {
  const { store } = await finishedRun(3);
  const { manifest: of } = await finishedRun(1);
  await noteRetry(store, 1, of);
  const recorded = await readManifest(store);
  assert.equal(recorded!.retries!.length, 1);
  await noteRetry(store, 1, of);
  assert.deepEqual(await readManifest(store), recorded);
});

test("--overwrite removes _SUCCESS first and _run.json last, retries and files between them", async () => {
  const { store, runFile } = await finishedRun(0);
  const rest = [
    "_files.jsonl",
    "_parts.jsonl",
    "_retries/1/_run.json",
    partKey(runFile.run, 0),
    partKey(runFile.run, 0, true),
  ];
  const data = [
    `label=A/${dataFileName(runFile.run, 0, 0, "parquet")}`,
    `_errors/${dataFileName(runFile.run, 0, 0, "jsonl")}`,
  ];
  for (const key of ["_SUCCESS", ...rest, ...data, "mine.txt"]) await store.put(key, new Uint8Array());
  const removed: string[] = [];
  const { remove, list } = store;
  // Some stores do not list in the order of the keys.
  store.list = async function* (prefix) {
    yield* (await Array.fromAsync(list.call(store, prefix))).reverse();
  };
  store.remove = async (key) => {
    removed.push(key);
    await remove.call(store, key);
  };
  await clearOutput(store);
  assert.deepEqual([removed[0], removed.at(-1)], ["_SUCCESS", "_run.json"]);
  assert.deepEqual(
    (await Array.fromAsync(store.list(""))).map(({ key }) => key),
    ["mine.txt"],
  );
});
