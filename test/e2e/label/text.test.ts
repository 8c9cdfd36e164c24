import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { ManifestSchema, PartLineSchema } from "../../../src/schemas/manifest.ts";
import { partKey } from "../../../src/schemas/names.ts";
import { PLAIN_OUTPUT } from "../../../src/schemas/output.ts";
import type { Row } from "../../../src/schemas/row.ts";
import { RunFileSchema } from "../../../src/schemas/run.ts";
import { assertPlain, type Ended, jsonOf, readLines, verdict, Workspace } from "../../helpers/cli.ts";
import { writeTextModel } from "../../helpers/models/onnx.ts";

const GOOD = "I love it, wonderful and great";
const BAD = "a terrible, awful waste of money";

let work: Workspace;

before(async () => {
  work = await Workspace.open();
});
after(() => work[Symbol.asyncDispose]());

/** A row as `[id, verdict, line]`. */
function short(row: Row): [string, string, number | undefined] {
  return [row.id, verdict(row), row.source.line];
}

describe("label text", { concurrency: 2 }, () => {
  test("one run labels texts of every format, and each invalid record is a row in error with its line", async () => {
    const long = `great ${"and so on and so forth ".repeat(2000)}`;
    await work.write(
      "hostile.csv",
      Buffer.concat([
        Buffer.from(
          `\uFEFFid,text,mood\r\n7,"${GOOD}",a\r\n7,"${BAD},\n""really""",b\r\n8,,c\r\n9,"  \t ",d\r\n10,two,many,fields\r\n`,
        ),
        Buffer.from(`11,${long},e\r\n12,caf`),
        Buffer.of(0xe9, 0xff),
        Buffer.from(` is ${BAD.replace(",", "")},f\r\n13,"never "closed,g\r\n14,${GOOD.replace(",", "")},h\r\n`),
      ]),
    );
    await work.write("semicolons.csv", `id;text\n1;${GOOD}\n`);
    await work.write("tabs.tsv", `text\tid\n${BAD}\t1\n`);
    await work.write("packed.csv", gzipSync(`id,text\n1,"${GOOD}"\n`));
    const jsonl = [
      JSON.stringify({ id: "x", text: GOOD }),
      "{not json",
      JSON.stringify({ id: "y", text: 5 }),
      "",
      JSON.stringify({ id: "z" }),
      "[1]",
      JSON.stringify({ id: "x", text: BAD }),
    ];
    await work.write("lines.jsonl", jsonl.join("\n"));
    const inputs = ["hostile.csv", "semicolons.csv", "tabs.tsv", "packed.csv", "lines.jsonl"];
    const ended = await work.expect(3, [
      "label",
      "text",
      "--model",
      "tiny-sentiment",
      ...inputs,
      "--id-column",
      "id",
      "--out",
      "out",
      "--json",
    ]);

    const rows = await work.rows("out");
    const of = (name: string) => rows.filter(({ source }) => source.uri === pathToFileURL(work.file(name)).href);
    assert.deepEqual(of("hostile.csv").slice(0, 7).map(short), [
      ["7", "POSITIVE", 2],
      ["7", "NEGATIVE", 3],
      ["8", "EMPTY_TEXT", 5],
      ["9", "EMPTY_TEXT", 6],
      ["hostile.csv#4", "RECORD_INVALID", 7],
      ["11", "POSITIVE", 8],
      ["12", "NEGATIVE", 9],
    ]);
    const flags = of("hostile.csv").map((row) => ({
      truncated: "truncated" in row,
      repaired: "repaired" in row,
    }));
    assert.deepEqual(
      flags.flatMap(({ truncated, repaired }, i) => (truncated ? [i, "truncated"] : repaired ? [i, "repaired"] : [])),
      [5, "truncated", 6, "repaired"],
    );
    const malformed = of("hostile.csv")[4]!;
    assert.ok("error" in malformed && malformed.error.message === "line 7: expected 3 columns as in the header, got 4");
    assert.equal(short(of("hostile.csv")[7]!)[1], "RECORD_INVALID");
    assert.equal(of("hostile.csv")[7]!.source.line, 10);
    assert.deepEqual(short(of("hostile.csv").at(-1)!), ["14", "POSITIVE", 11]);
    assert.deepEqual(of("semicolons.csv").map(short), [["1", "POSITIVE", 2]]);
    assert.deepEqual(of("tabs.tsv").map(short), [["1", "NEGATIVE", 2]]);
    assert.deepEqual(of("packed.csv").map(short), [["1", "POSITIVE", 2]]);
    assert.deepEqual(of("lines.jsonl").map(short), [
      ["x", "POSITIVE", 1],
      ["lines.jsonl#1", "RECORD_INVALID", 2],
      ["y", verdict(of("lines.jsonl")[2]!), 3],
      ["z", "RECORD_INVALID", 5],
      ["lines.jsonl#4", "RECORD_INVALID", 6],
      ["x", "NEGATIVE", 7],
    ]);

    const result = jsonOf(ended);
    const errors = rows.filter((row) => "error" in row).length;
    assert.deepEqual(
      { state: result.state, errorCodes: result.errorCodes, failedSlices: result.failedSlices },
      { state: "finished_with_errors", errorCodes: { EMPTY_TEXT: 2, RECORD_INVALID: errors - 2 }, failedSlices: 0 },
    );
    await work.expect(0, ["verify", "out"]);

    const again = await work.expect(3, [
      "label",
      "text",
      "--model",
      "tiny-sentiment",
      ...inputs,
      "--id-column",
      "id",
      "--out",
      "out",
    ]);
    assert.match(again.stderr, /finished already/);
  });

  test("the files of an output have exactly the documented content", async () => {
    await work.write(
      "reviews.csv",
      `id,review,product,price\na,"${GOOD}",kettle,3\nb,${BAD.replace(",", "")},"pan, big",4\nc,fine,pot,5\n`,
    );
    const args = [
      "label",
      "text",
      "--model",
      "tiny-sentiment",
      "reviews.csv",
      "--id-column",
      "id",
      "--keep",
      "product",
      "price",
      "--top-k",
      "1",
    ];
    const { stdout, stderr } = await work.expect(0, [...args, "--out", "shape", "--slice-items", "2"]);
    assert.match(stdout, /^id +label +score\n/);
    assertPlain(stdout + stderr);

    const runFile = RunFileSchema.parse(JSON.parse(await readFile(work.file("shape", "_run.json"), "utf8")));
    const { run } = runFile;
    const keys = [partKey(run, 0), partKey(run, 1)];
    assert.deepEqual(keys, [`part-0000000-${run.slice(0, 8)}.jsonl`, `part-0000001-${run.slice(0, 8)}.jsonl`]);
    assert.deepEqual((await readdir(work.file("shape"))).sort(), [
      "_SUCCESS",
      "_manifest.json",
      "_parts.jsonl",
      "_run.json",
      ...keys,
    ]);
    assert.equal(await readFile(work.file("shape", "_SUCCESS"), "utf8"), "");

    const uri = pathToFileURL(work.file("reviews.csv")).href;
    const { model, ...spec } = runFile.spec;
    assert.deepEqual(spec, {
      read: { format: "auto", delimiter: null, column: null, idColumn: "id", keep: ["product", "price"] },
      topK: 1,
      sliceItems: 2,
      sliceBytes: 8_000_000,
      events: "none",
      output: PLAIN_OUTPUT,
    });
    assert.deepEqual(runFile.settings, { lane: "bulk" });
    assert.deepEqual(
      { ...model, digest: "" },
      { id: "tiny-sentiment", revision: "local", digest: "", dtype: "fp32", task: "text-classification" },
    );
    const [input] = runFile.inputs;
    assert.deepEqual(
      { uri: input!.uri, read: input!.read },
      { uri, read: { format: "csv", delimiter: ",", column: "review" } },
    );

    const parts = await readLines(work.file("shape", "_parts.jsonl"));
    for (const [slice, text] of parts.entries()) {
      const bytes = await readFile(work.file("shape", keys[slice]!));
      const planned = [{ input: 0, first: 2 * slice, count: 2 - slice }];
      const receipt = { rows: 2 - slice, errors: 0, bytes: bytes.length, sha256: sha256(bytes) };
      const line = { slice, key: keys[slice], planned, ...receipt };
      assert.equal(text, JSON.stringify(line));
      PartLineSchema.parse(JSON.parse(text));
    }
    assert.equal(parts.length, 2);

    const written = (await Promise.all(keys.map((key) => readLines(work.file("shape", key))))).flat();
    const rows = await work.rows("shape");
    const expected = [
      { id: "a", label: "POSITIVE", input: { product: "kettle", price: "3" }, line: 2 },
      { id: "b", label: "NEGATIVE", input: { product: "pan, big", price: "4" }, line: 3 },
      { id: "c", label: "POSITIVE", input: { product: "pot", price: "5" }, line: 4 },
    ].map(({ id, label, input, line }, record) => {
      const row = rows[record]!;
      const score = "score" in row ? row.score : Number.NaN;
      return JSON.stringify({ id, label, score, labels: [{ label, score }], input, source: { uri, record, line } });
    });
    assert.deepEqual(written, expected);

    const manifest = ManifestSchema.parse(JSON.parse(await readFile(work.file("shape", "_manifest.json"), "utf8")));
    const bytes = PartLineSchema.parse(JSON.parse(parts[0]!)).bytes + PartLineSchema.parse(JSON.parse(parts[1]!)).bytes;
    const { read: _read, from, travels, ...identity } = input!;
    assert.deepEqual([from, travels], [work.file("reviews.csv"), "split"]);
    // The device and the reason for it, of this machine.
    assert.equal(Object.keys(manifest.devices ?? {}).length, 1);
    assert.deepEqual(manifest, {
      schemaVersion: 1,
      run,
      state: "succeeded",
      software: runFile.software,
      model,
      createdAt: runFile.createdAt,
      finishedAt: manifest.finishedAt,
      inputs: [{ ...identity, records: 3 }],
      totals: { slices: 2, planned: 3, labeled: 3, errors: 0, bytes },
      devices: manifest.devices,
      labels: { POSITIVE: 2, NEGATIVE: 1 },
      errorCodes: {},
      failed: [],
      failedSlices: 0,
      passedOver: { count: 0, reasons: [] },
      partsSha256: sha256(await readFile(work.file("shape", "_parts.jsonl"))),
      conditionalWrites: true,
      settings: { ...spec, lane: "bulk" },
      timings: manifest.timings,
    });
    const { seconds, inferSeconds } = manifest.timings!;
    assert.ok(seconds > 0 && inferSeconds > 0 && inferSeconds < seconds * 100, `${inferSeconds} of ${seconds} s`);
  });

  test("an input that is named twice is labeled once, and images in a folder of texts are passed over", async () => {
    await work.write("mixed/a.csv", "text\ngood\nbad\n");
    await work.write("mixed/b.csv", "text\nfine\n");
    await work.write("mixed/cat.jpg", Buffer.of(0xff, 0xd8, 0xff, 0x0a, 0x41));
    const args = [
      "label",
      "text",
      "--model",
      "tiny-sentiment",
      "mixed",
      "mixed/a.csv",
      "./mixed/*.csv",
      "--out",
      "once",
    ];
    const { stderr } = await work.expect(0, args);
    assert.match(stderr, /3 inputs are named more than once; each is labeled once/);
    const rows = await work.rows("once");
    assert.deepEqual(
      rows.map(({ id }) => id),
      ["a.csv#0", "a.csv#1", "b.csv#0"],
    );
    await work.expect(0, ["verify", "once", "--inputs"]);
    // As in an output that has an input twice.
    const file = JSON.parse(await readFile(work.file("once", "_run.json"), "utf8"));
    await work.write("once/_run.json", JSON.stringify({ ...file, inputs: [...file.inputs, file.inputs[0]] }));
    assert.match((await work.expect(1, ["verify", "once"])).stdout, /a\.csv is listed twice/);
  });

  test("a choice without records is INPUT_EMPTY and leaves the output free for another choice", async () => {
    await work.write("few.csv", "text,lang\ngood,en\nbad,en\n");
    const args = (lang: string) => [
      "label",
      "text",
      "--model",
      "tiny-sentiment",
      "few.csv",
      "--where",
      `lang=${lang}`,
      "--out",
      "few",
    ];
    const { stderr } = await work.expect(2, args("fr"));
    assert.match(stderr, /INPUT_EMPTY: no record of the inputs matches --where/);
    assert.deepEqual(await readdir(work.file("few")), []);
    await work.expect(0, args("en"));
  });

  test("standard input can be plain lines or packed CSV", async () => {
    const lines = await work.expect(0, ["label", "text", "--model", "tiny-sentiment", "-", "--json"], {
      input: `${GOOD}\n${BAD}\n${GOOD}`,
    });
    assert.equal(jsonOf(lines).out, pathToFileURL(`${work.file("stdin-labels")}/`).href);
    assert.deepEqual(
      (await work.rows("stdin-labels")).map((row) => [...short(row), row.source.uri]),
      [
        ["stdin#0", "POSITIVE", 1, "stdin:"],
        ["stdin#1", "NEGATIVE", 2, "stdin:"],
        ["stdin#2", "POSITIVE", 3, "stdin:"],
      ],
    );
    const packed = gzipSync(`id|said\nq|${GOOD}\n`);
    await work.expect(
      0,
      ["label", "text", "--model", "tiny-sentiment", "-", "--column", "said", "--delimiter", "|", "--out", "packed"],
      {
        input: packed,
      },
    );
    assert.deepEqual((await work.rows("packed")).map(verdict), ["POSITIVE"]);
  });

  test("logits that are not finite are an error of their row only", async () => {
    // The score of this model is the sum of the token ids, so only the long text exceeds the limit.
    await writeTextModel(work.file("nan"), { weights: [0, 0], bias: [1, 0], nanFrom: 100_000 });
    await work.write("nan.txt", `a\n${"zebra ".repeat(100)}\nb\n`);
    const ended: Ended = await work.expect(3, [
      "label",
      "text",
      "nan.txt",
      "--model",
      "nan",
      "--out",
      "nan-out",
      "--json",
    ]);
    assert.deepEqual((await work.rows("nan-out")).map(verdict), ["L0", "NOT_FINITE", "L0"]);
    assert.deepEqual(jsonOf(ended).errorCodes, { NOT_FINITE: 1 });
  });
});

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
