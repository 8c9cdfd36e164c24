import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { LabelmillError } from "../../src/errors.ts";
import { PreparePool } from "../../src/inference/prepare-pool.ts";
import { loadTokenizer } from "../../src/inference/tokenizer.ts";

const MODEL = fileURLToPath(new URL("../../models/tiny-sentiment", import.meta.url));

function isError(code: string, message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof LabelmillError);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };
}

describe("the prepare pool", () => {
  test("several slices at once: each comes back as its own, as the tokenizer itself encodes it", async (t) => {
    const pool = await PreparePool.start({ modelDir: MODEL, threads: 2 });
    t.after(() => pool.close());
    const tokenizer = await loadTokenizer(MODEL);
    const slices = Array.from({ length: 12 }, (_, slice) =>
      Array.from({ length: slice * 7 }, (_, i) => `slice ${slice}, text ${i} `.repeat(1 + ((i * slice) % 200))),
    );
    // Of more than one piece, by their number and by their length, and one that is longer than a piece.
    slices.push(Array.from({ length: 1_234 }, (_, i) => `text ${i}`));
    slices.push(["a ".repeat(60_000), "b".repeat(99), "c ".repeat(51_000), "d ".repeat(120_000), "e"]);
    const encoded = await Promise.all(slices.map((texts) => pool.tokenize(texts)));
    for (const [slice, texts] of slices.entries()) assert.deepEqual(encoded[slice], tokenizer.encode(texts));
    assert.ok(encoded.some(({ truncated }) => truncated.includes(1)));
  });

  test("a single text does not wait for the thousands of a slice", async (t) => {
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

  test("close() lets what was asked be answered, and nothing more", async (t) => {
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
    await assert.rejects(start, isError("MODEL_INVALID", /\/nowhere\/at-all\/tokenizer\.json: .*no such file/));
  });

  test("a process that closes its pool ends by itself", { timeout: 60_000 }, async () => {
    const module = new URL("../../src/inference/prepare-pool.ts", import.meta.url).href;
    const program = `
      const { PreparePool } = await import(${JSON.stringify(module)});
      const pool = await PreparePool.start({ modelDir: ${JSON.stringify(MODEL)}, threads: 2 });
      const slices = await Promise.all([["one"], ["two", "three"]].map((texts) => pool.tokenize(texts)));
      await pool.close();
      console.log(slices.map(({ truncated }) => truncated.length).join());`;
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program]);
    assert.equal(stdout, "1,2\n");
  });
});
