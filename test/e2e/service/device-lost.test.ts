import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadTokenizer } from "../../../src/inference/preprocess/text/tokenizer.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { readPart } from "../../../src/rows/part.ts";
import type { Row } from "../../../src/schemas/row.ts";
import type { ObjectStore } from "../../../src/storage/store.ts";
import { type RunningCommand, Workspace } from "../../helpers/cli.ts";
import type { LabelMainOptions } from "../../helpers/processes/label-main.ts";
import type { ServeMainOptions } from "../../helpers/processes/serve-main.ts";
import { FAST, MODELS, TestPipeline } from "../../helpers/runs/pipeline.ts";
import { SCRIPTED_LABELS, writeScripted } from "../../helpers/threads/scripted-session.ts";

const SERVE_MAIN = fileURLToPath(new URL("../../helpers/processes/serve-main.ts", import.meta.url));
const LABEL_MAIN = fileURLToPath(new URL("../../helpers/processes/label-main.ts", import.meta.url));

const ITEMS = 300;
const POISON = 137;
const POISONED = "terrible";

/** Writes texts. @param poisoned whether one of them has a word that no other has */
async function writeTexts(path: string, poisoned = false): Promise<string[]> {
  const texts = Array.from({ length: ITEMS }, (_, at) => `it was ${"really ".repeat(at % 9)}good, ${at} times`);
  if (poisoned) texts[POISON] = `a ${POISONED}`;
  await writeFile(path, `id,text\n${texts.map((text, at) => `${at},"${text}"`).join("\n")}\n`);
  return texts;
}

/** The label that the scripted model gives each text, computed from its tokens. */
async function expectedOf(texts: readonly string[]): Promise<string[]> {
  const { ids, offsets } = (await loadTokenizer(join(MODELS, "tiny-sentiment"))).encode(texts);
  return texts.map((_, at) => {
    const sum = ids.subarray(offsets[at], offsets[at + 1]).reduce((total, id) => total + id, 0);
    return `L${sum % SCRIPTED_LABELS}`;
  });
}

async function tokenOf(word: string): Promise<number> {
  const { ids } = (await loadTokenizer(join(MODELS, "tiny-sentiment"))).encode([word]);
  assert.equal(ids.length, 3, `${word} is one token between two special ones`);
  return ids[1]!;
}

/** The label or error code of each record, in order. */
async function verdicts(store: ObjectStore): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.list("part-"))
    for (const row of readPart(await store.get(key)).rows) put(found, row);
  return found;
}

function put(found: string[], row: Row): void {
  found[row.source.record] = "error" in row ? row.error.code : row.label;
}

function serve(work: Workspace, pipeline: TestPipeline, model: string): RunningCommand {
  const settings = {
    ...FAST,
    redisUrl: pipeline.redis.url,
    fileRoots: [pipeline.folder],
    logLevel: "error",
    threads: 1,
  };
  const options: ServeMainOptions = { model, settings: { ...settings, textBudget: 200, cacheDir: work.file("cache") } };
  return work.start([JSON.stringify(options)], { script: SERVE_MAIN });
}

test("a worker that loses its device ends with an error, and another worker finishes the run", async () => {
  await using work = await Workspace.open();
  await using pipeline = await TestPipeline.open();
  const lostMark = join(pipeline.folder, "lost");
  const { dir: model } = await writeScripted(join(pipeline.folder, "model"), "text", { lostAt: 12, lostMark });
  const path = join(pipeline.folder, "texts.csv");
  const texts = await writeTexts(path);

  const first = serve(work, pipeline, model);
  await first.says("Serving");
  const running = pipeline.run({ kind: "text", path, model, out: "out" }, { sliceItems: 20 });
  const ended = await first.ended;
  assert.deepEqual([ended.code, ended.signal], [1, null], ended.stderr);
  assert.ok(existsSync(lostMark));
  assert.match(ended.stderr, /a device or decode threads failed: this worker takes no more slices/);
  assert.match(ended.stderr, /INFERENCE_FAILED.*failed on a single item.*CUDA failure 700/);

  const second = serve(work, pipeline, model);
  const { state, store, ledger, runFile } = await running;
  assert.equal(state, "succeeded");
  assert.equal((await ledger.progress(runFile.run))?.failed, 0);
  const proof = await verifyOutput(store);
  assert.deepEqual([proof.ok, proof.totals.labeled, proof.problems], [true, ITEMS, []]);
  assert.deepEqual(await verdicts(store), await expectedOf(texts));
  second.child.kill("SIGTERM");
  assert.equal((await second.ended).code, 0);
});

test("an item that loses the device each time is one row in error, after several restarts of the worker", async () => {
  await using work = await Workspace.open();
  await using pipeline = await TestPipeline.open();
  const lostOn = await tokenOf(POISONED);
  const { dir: model } = await writeScripted(join(pipeline.folder, "model"), "text", { lostOn });
  const path = join(pipeline.folder, "texts.csv");
  const texts = await writeTexts(path, true);
  const run = pipeline.run({ kind: "text", path, model, out: "out" }, { sliceItems: 20 });
  const done = run.then(() => "done" as const);
  let deaths = 0;
  // Restarts the worker, as a supervisor does.
  for (let worker = serve(work, pipeline, model); ; worker = serve(work, pipeline, model)) {
    if ((await Promise.race([worker.ended, done])) === "done") {
      worker.child.kill("SIGTERM");
      await worker.ended;
      break;
    }
    assert.equal((await worker.ended).code, 1);
    deaths++;
  }
  assert.ok(deaths >= 1 && deaths <= 5, `${deaths} deaths`);
  const { state, store } = await run;
  assert.equal(state, "finished_with_errors");
  assert.equal((await verifyOutput(store)).ok, true);
  const expected = await expectedOf(texts);
  expected[POISON] = "ITEM_CRASHED_WORKER";
  assert.deepEqual(await verdicts(store), expected);
});

test("label with its own worker ends with the error of the device, and the same command then finishes", async () => {
  await using work = await Workspace.open();
  const script = { lostAt: 12, lostMark: work.file("lost") };
  const { dir: scripted } = await writeScripted(work.file("model"), "text", script);
  const texts = await writeTexts(work.file("texts.csv"));
  const settings = { sliceItems: 20, threads: 1, textBudget: 200 };
  const options: LabelMainOptions = {
    ...{ input: work.file("texts.csv"), out: work.file("out"), settings, scripted },
    ...{ kills: [], evidence: work.path },
  };
  const label = () => work.run([JSON.stringify(options)], { script: LABEL_MAIN });
  const first = await label();
  assert.equal(first.code, 1, first.stderr);
  assert.match(first.stderr, /failed on a single item.*CUDA failure 700.*run the same command again/);
  const second = await label();
  assert.equal(second.code, 0, second.stderr);
  assert.match(second.stderr, /Resuming run/);
  await work.expect(0, ["verify", "out"]);
  const labels = (await work.rows("out")).map((row) => ("error" in row ? row.error.code : row.label));
  assert.deepEqual(labels, await expectedOf(texts));
});
