import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { LabelmillError } from "../../../../src/errors.ts";
import { encodeOnce, PreparePool } from "../../../../src/inference/preprocess/prepare-pool.ts";
import { loadTokenizer } from "../../../../src/inference/preprocess/text/tokenizer.ts";
import {
  SPINS,
  SPINS_ALWAYS,
  THROWS,
  writeSpinningTokenizer,
  writeThrowingTokenizer,
} from "../../../helpers/models/text-models.ts";
import { temporaryFolder } from "../../../helpers/runs/pipeline.ts";

const MODEL = fileURLToPath(new URL("../../../../models/tiny-sentiment", import.meta.url));

function isError(code: string, message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof LabelmillError);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };
}

describe("the prepare pool", () => {
  test("several slices at once: each gets its own tokens, the same as from the tokenizer itself", async (t) => {
    const pool = await PreparePool.start({ modelDir: MODEL, threads: 2 });
    t.after(() => pool.close());
    const tokenizer = await loadTokenizer(MODEL);
    const slices = Array.from({ length: 12 }, (_, slice) =>
      Array.from({ length: slice * 7 }, (_, i) => `slice ${slice}, text ${i} `.repeat(1 + ((i * slice) % 200))),
    );
    // Slices of more than one chunk, by number and by length of texts, and a text that is longer than a chunk.
    slices.push(Array.from({ length: 1_234 }, (_, i) => `text ${i}`));
    slices.push(["a ".repeat(60_000), "b".repeat(99), "c ".repeat(51_000), "d ".repeat(120_000), "e"]);
    const encoded = await Promise.all(slices.map((texts) => pool.tokenize(texts)));
    for (const [slice, texts] of slices.entries())
      assert.deepEqual(encoded[slice], { ...tokenizer.encode(texts), errors: new Map() });
    assert.ok(encoded.some(({ truncated }) => truncated.includes(1)));
  });

  test("a single text does not wait for a slice of thousands", async (t) => {
    const pool = await PreparePool.start({ modelDir: MODEL, threads: 1 });
    t.after(() => pool.close());
    const order: string[] = [];
    const note = (name: string) => () => {
      order.push(name);
    };
    const slice = Array.from({ length: 20_000 }, (_, i) => `a text of some words, number ${i}`);
    await Promise.all([pool.tokenize(slice).then(note("slice")), pool.tokenize(["one"]).then(note("single"))]);
    assert.deepEqual(order, ["single", "slice"]);
  });

  test("while interactive texts keep coming, one does not wait for bulk texts that occupy a thread", async (t) => {
    const folder = await temporaryFolder();
    t.after(() => folder[Symbol.asyncDispose]());
    await writeSpinningTokenizer(folder.path, "pre-tokenizer");
    const pool = await PreparePool.start({ modelDir: folder.path, threads: 2, textMs: 1_000 });
    t.after(() => pool.close());
    await pool.tokenize(["the first one"], { lane: "interactive" });
    const order: string[] = [];
    const bulk = [1, 2].map((at) => pool.tokenize([SPINS]).then(() => order.push(`bulk ${at}`)));
    await pool.tokenize(["the second one"], { lane: "interactive" });
    order.push("interactive");
    await Promise.all(bulk);
    assert.deepEqual(order, ["interactive", "bulk 1", "bulk 2"]);
  });

  test("close() waits for calls in progress, and rejects new ones", async (t) => {
    const pool = await PreparePool.start({ modelDir: MODEL, threads: 2 });
    t.after(() => pool.close());
    const slice = Array.from({ length: 2000 }, (_, i) => `a text of some words, number ${i}`);
    const asked = [slice, slice.slice(1), ["short"], slice.slice(2)].map((texts) => pool.tokenize(texts));
    const closed = pool.close();
    assert.deepEqual(
      (await Promise.all(asked)).map(({ truncated }) => truncated.length),
      [2000, 1999, 1, 1998],
    );
    await closed;
    await assert.rejects(pool.tokenize(["late"]), isError("ABORTED", /closed/));
  });

  test("a bad model folder: the thread's error, with its code, and no thread left", async () => {
    const start = PreparePool.start({ modelDir: "/nowhere/at-all", threads: 2 });
    await assert.rejects(start, isError("MODEL_INVALID", /\/nowhere\/at-all\/tokenizer\.json: .*missing/));
  });

  test("a process that closes its pool ends by itself", { timeout: 60_000 }, async () => {
    const module = new URL("../../../../src/inference/preprocess/prepare-pool.ts", import.meta.url).href;
    const program = `
      const { PreparePool } = await import(${JSON.stringify(module)});
      const pool = await PreparePool.start({ modelDir: ${JSON.stringify(MODEL)}, threads: 2 });
      const slices = await Promise.all([["one"], ["two", "three"]].map((texts) => pool.tokenize(texts)));
      await pool.close();
      console.log(slices.map(({ truncated }) => truncated.length).join());`;
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program]);
    assert.equal(stdout, "1,2\n");
  });

  for (const where of ["pre-tokenizer", "normalizer"] as const) {
    test(`a text on which the ${where}'s expression does not end fails its own row; its neighbours keep their tokens`, async (t) => {
      const folder = await temporaryFolder();
      t.after(() => folder[Symbol.asyncDispose]());
      await writeSpinningTokenizer(folder.path, where);
      const pool = await PreparePool.start({ modelDir: folder.path, threads: 2, textMs: 500 });
      t.after(() => pool.close());
      const tokenizer = await loadTokenizer(folder.path);
      const texts = Array.from({ length: 40 }, (_, i) => `a text of some words, number ${i}`);
      const culprits = new Set([0, 7, 8, 39]);
      const { ids, offsets, truncated, errors } = await pool.tokenize(
        texts.map((text, i) => (culprits.has(i) ? SPINS : text)),
      );
      assert.deepEqual([...errors.keys()], [...culprits]);
      for (const { code, message } of errors.values()) {
        assert.equal(code, "TEXT_TIMEOUT");
        assert.match(message, /within 0\.5 s of CPU time/);
      }
      assert.equal(truncated.length, texts.length);
      for (const [i, text] of texts.entries()) {
        const found = ids.subarray(offsets[i], offsets[i + 1]);
        assert.deepEqual(found, culprits.has(i) ? new Int32Array(0) : tokenizer.encode([text]).ids, text);
      }
      assert.deepEqual(await pool.tokenize(texts), { ...tokenizer.encode(texts), errors: new Map() });
    });
  }

  test("more than 20 such texts in a run: the tokenizer is invalid for that run, and for no other", async (t) => {
    const folder = await temporaryFolder();
    t.after(() => folder[Symbol.asyncDispose]());
    await writeSpinningTokenizer(folder.path, "pre-tokenizer");
    const pool = await PreparePool.start({ modelDir: folder.path, threads: 2, textMs: 100 });
    t.after(() => pool.close());
    const [run, other] = ["a".repeat(16), "b".repeat(16)];
    const few = await pool.tokenize([...Array.from({ length: 20 }, () => SPINS), "a text"], { run });
    assert.equal(few.errors.size, 20);
    const invalid = isError("MODEL_INVALID", /tokenizer\.json: expected each text of a run .* 0\.1 s .* got 21/);
    await assert.rejects(pool.tokenize(["a text", SPINS], { run }), invalid);
    await assert.rejects(pool.tokenize(["a text"], { run }), invalid);
    const { errors } = await pool.tokenize(["a text", SPINS], { run: other });
    assert.deepEqual([...errors.keys()], [1]);
  });

  test("a tokenizer whose loading does not end is invalid", async (t) => {
    const folder = await temporaryFolder();
    t.after(() => folder[Symbol.asyncDispose]());
    await writeSpinningTokenizer(folder.path, "pre-tokenizer", SPINS_ALWAYS);
    const start = PreparePool.start({ modelDir: folder.path, threads: 2, loadMs: 500 });
    await assert.rejects(
      start,
      isError("MODEL_INVALID", /tokenizer\.json: expected a tokenizer that loads within 0\.5 s/),
    );
  });

  test("neither an aborted caller nor close() waits for an endless text", async (t) => {
    const folder = await temporaryFolder();
    t.after(() => folder[Symbol.asyncDispose]());
    await writeSpinningTokenizer(folder.path, "pre-tokenizer");
    const pool = await PreparePool.start({ modelDir: folder.path, threads: 1, textMs: 3_600_000 });
    t.after(() => pool.close());
    const abort = new AbortController();
    const spinning = pool.tokenize([SPINS], abort);
    const waiting = pool.tokenize(["a text"], abort);
    abort.abort(new Error("enough"));
    await assert.rejects(spinning, /enough/);
    await assert.rejects(waiting, /enough/);
    await pool.close();
  });

  test("a text on which the tokenizer throws fails its own row", async (t) => {
    const folder = await temporaryFolder();
    t.after(() => folder[Symbol.asyncDispose]());
    await writeThrowingTokenizer(folder.path);
    const pool = await PreparePool.start({ modelDir: folder.path, threads: 1 });
    t.after(() => pool.close());
    const { errors, offsets } = await pool.tokenize(["one", THROWS, "two", "three", THROWS]);
    assert.deepEqual(
      [...errors].map(([at, { code }]) => [at, code]),
      [
        [1, "ITEM_FAILED"],
        [4, "ITEM_FAILED"],
      ],
    );
    assert.deepEqual(
      [1, 4].map((at) => offsets[at + 1]! - offsets[at]!),
      [0, 0],
    );
    assert.ok([0, 2, 3].every((at) => offsets[at + 1]! > offsets[at]!));
  });

  test("encodeOnce() uses a temporary thread", async () => {
    assert.deepEqual(await encodeOnce(MODEL, "a trial"), (await loadTokenizer(MODEL)).encode(["a trial"]));
    await assert.rejects(encodeOnce("/nowhere/at-all", "a trial"), isError("MODEL_INVALID", /missing/));
  });
});
