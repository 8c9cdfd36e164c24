import assert from "node:assert/strict";
import { once } from "node:events";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { verifyOutput } from "../../src/runs/verify.ts";
import type { OutputOptions } from "../../src/schemas/output.ts";
import type { KillPoint } from "../helpers/kill-points.ts";
import { FAST, TestPipeline } from "../helpers/pipeline.ts";

const RECORDS = 300;

/** Every tenth record has no text. */
async function writeInput(folder: string): Promise<string> {
  const path = join(folder, "in.jsonl");
  const rows = Array.from({ length: RECORDS }, (_, i) => ({
    ...{ text: i % 10 === 0 ? "" : `it was ${["good", "bad"][i % 2]} ${i}`, n: i, mixed: i === 7 ? "x" : i },
    label: `mine ${i}`,
  }));
  await writeFile(path, `${rows.map((row) => JSON.stringify(row)).join("\n")}\n`);
  return path;
}

function request(path: string, out: string, output: Partial<OutputOptions>) {
  return { kind: "text" as const, path, model: "tiny-sentiment", out, output, keep: ["n", "mixed", "label"] };
}

test("each form of output is made, proven, and nothing else is left", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker();
  const path = await writeInput(pipeline.folder);
  const forms: [string, Partial<OutputOptions>, RegExp[]][] = [
    ["gzip", { compression: "gzip" }, [/^data-0000000-0000005-.{8}\.jsonl\.gz$/]],
    ["zstd", { compression: "zstd", errors: "apart" }, [/^_errors\/data-.*\.jsonl\.zst$/, /^data-.*\.jsonl\.zst$/]],
    [
      "parquet",
      { format: "parquet", partitionBy: "label" },
      [/^label=NEGATIVE\/data-.*\.parquet$/, /^label=POSITIVE\//, /^label=__HIVE_DEFAULT_PARTITION__\//],
    ],
    ["plain", { format: "parquet", errors: "apart" }, [/^_errors\/data-.*\.parquet$/, /^data-.*\.parquet$/]],
  ];
  for (const [out, output, expected] of forms) {
    const { store, state } = await pipeline.run(request(path, out, output), { sliceItems: 50 });
    assert.equal(state, "finished_with_errors");
    const proof = await verifyOutput(store, { inputs: async () => RECORDS });
    assert.deepEqual(proof.problems, [], out);
    assert.deepEqual(proof.totals, { parts: 6, planned: 300, labeled: 270, errors: 30 });
    const keys = (await Array.fromAsync(store.list(""))).map(({ key }) => key);
    const files = keys.filter((key) => key.includes("data-")).sort();
    assert.equal(files.length, expected.length, files.join());
    for (const [i, form] of expected.entries()) assert.match(files[i]!, form);
    assert.ok(!(await readdir(join(pipeline.folder, out))).includes("_parts"));

    const recounted = await verifyOutput(store, { inputs: async () => RECORDS + 1 });
    assert.match(recounted.problems.join(), /records of .* now: 301, expected 300/);
    const bytes = await store.get(files[0]!);
    bytes[bytes.length >> 1]! ^= 1;
    await store.put(files[0]!, bytes);
    await store.put("data-0000009-0000009-00000000.jsonl", new Uint8Array());
    await store.put("_parts/left", new Uint8Array());
    const { ok, problems } = await verifyOutput(store);
    assert.equal(ok, false);
    for (const expected of [/: sha256: /, /_parts\/left is there/, /^files that are there: \d, expected \d$/])
      assert.ok(
        problems.some((problem) => expected.test(problem)),
        `${expected}: ${problems.join("\n")}`,
      );
    // Had Redis been lost before the parts were removed, the same again would do it.
    await pipeline.submit(request(path, out, output), { sliceItems: 50 });
    assert.ok(!(await readdir(join(pipeline.folder, out))).includes("_parts"));
  }
});

test("files of a size, in partitions: each range of parts has its own, and all rows are there once", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker();
  const path = join(pipeline.folder, "wide.jsonl");
  const rows = Array.from({ length: 300 }, (_, i) => ({
    text: `it was ${["good", "bad"][i % 2]}`,
    pad: "x".repeat(8000),
  }));
  await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const output = { format: "parquet", targetBytes: 1_000_000, partitionBy: "label" } as const;
  const { store } = await pipeline.run({ ...request(path, "out", output), keep: ["pad"] }, { sliceItems: 50 });
  const proof = await verifyOutput(store);
  assert.deepEqual(proof.problems, []);
  assert.deepEqual(proof.totals, { parts: 6, planned: 300, labeled: 300, errors: 0 });
  const keys = (await Array.fromAsync(store.list("label="))).map(({ key }) => key.replace(/-.{8}\.parquet$/, ""));
  assert.deepEqual(
    keys,
    ["NEGATIVE", "POSITIVE"].flatMap((label) =>
      ["0000000-0000002", "0000003-0000005"].map((range) => `label=${label}/data-${range}`),
    ),
  );
});

test("a kill -9 at each step of the files: the run is proven", async () => {
  await using pipeline = await TestPipeline.open();
  const path = await writeInput(pipeline.folder);
  const kills: KillPoint[] = (["file", "parts", "manifest", "removed"] as const).map((step) => ({
    step,
    slice: 0,
    times: 1,
  }));
  const run = pipeline.run(request(path, "out", { format: "parquet", partitionBy: "label", errors: "apart" }), {
    sliceItems: 50,
  });
  let over = false;
  const ended = run.finally(() => {
    over = true;
  });
  const supervised = (async () => {
    while (!over) {
      const worker = await pipeline.spawnWorker({
        model: "tiny-sentiment",
        kills,
        settings: { ...FAST, sliceItems: 50 },
      });
      if (worker.signalCode === null) await Promise.race([once(worker, "exit"), ended]);
    }
  })();
  const { store } = await ended;
  await supervised;
  const evidence = (await readdir(pipeline.folder)).filter((name) => /^[a-z]+-0-\d$/.test(name));
  assert.equal(evidence.length, 4, evidence.join());
  assert.deepEqual((await verifyOutput(store)).problems, []);
});
