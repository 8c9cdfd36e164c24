import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import type { Row } from "../../../src/schemas/row.ts";
import { type Ended, jsonOf, verdict, Workspace } from "../../helpers/cli.ts";
import { writeTextModel } from "../../helpers/models/onnx.ts";

const GOOD = "I love it, wonderful and great";
const BAD = "a terrible, awful waste of money";
const LABEL = ["label", "text", "--model", "tiny-sentiment"];

let work: Workspace;

before(async () => {
  work = await Workspace.open();
});
after(() => work[Symbol.asyncDispose]());

/** A row as `[id, verdict, line]`. */
function short(row: Row): [string, string, number | undefined] {
  return [row.id, verdict(row), row.source.line];
}

/** Writes a file of each format, some of them with invalid records. @returns their names */
async function writeFormats(): Promise<string[]> {
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
  return ["hostile.csv", "semicolons.csv", "tabs.tsv", "packed.csv", "lines.jsonl"];
}

/** Checks the rows of hostile.csv: repeated ids, quotes, line breaks, empty, long, repaired and malformed records. */
function assertHostile(rows: Row[]): void {
  assert.deepEqual(rows.slice(0, 7).map(short), [
    ["7", "POSITIVE", 2],
    ["7", "NEGATIVE", 3],
    ["8", "EMPTY_TEXT", 5],
    ["9", "EMPTY_TEXT", 6],
    ["hostile.csv#4", "RECORD_INVALID", 7],
    ["11", "POSITIVE", 8],
    ["12", "NEGATIVE", 9],
  ]);
  const flags = rows.map((row) => ({
    truncated: "truncated" in row,
    repaired: "repaired" in row,
  }));
  assert.deepEqual(
    flags.flatMap(({ truncated, repaired }, i) => (truncated ? [i, "truncated"] : repaired ? [i, "repaired"] : [])),
    [5, "truncated", 6, "repaired"],
  );
  const malformed = rows[4]!;
  assert.ok("error" in malformed && malformed.error.message === "line 7: expected 3 columns as in the header, got 4");
  assert.equal(short(rows[7]!)[1], "RECORD_INVALID");
  assert.equal(rows[7]!.source.line, 10);
  assert.deepEqual(short(rows.at(-1)!), ["14", "POSITIVE", 11]);
}

describe("label text", { concurrency: 2 }, () => {
  test("one run labels texts of every format, and each invalid record is a row in error with its line", async () => {
    const inputs = await writeFormats();
    const ended = await work.expect(3, [...LABEL, ...inputs, "--id-column", "id", "--out", "out", "--json"]);

    const rows = await work.rows("out");
    const of = (name: string) => rows.filter(({ source }) => source.uri === pathToFileURL(work.file(name)).href);
    assertHostile(of("hostile.csv"));
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

    const again = await work.expect(3, [...LABEL, ...inputs, "--id-column", "id", "--out", "out"]);
    assert.match(again.stderr, /finished already/);
  });

  test("an input that is named twice is labeled once, and images in a folder of texts are passed over", async () => {
    await work.write("mixed/a.csv", "text\ngood\nbad\n");
    await work.write("mixed/b.csv", "text\nfine\n");
    await work.write("mixed/cat.jpg", Buffer.of(0xff, 0xd8, 0xff, 0x0a, 0x41));
    const args = [...LABEL, "mixed", "mixed/a.csv", "./mixed/*.csv", "--out", "once"];
    const { stderr } = await work.expect(0, args);
    assert.match(stderr, /3 inputs are named more than once; each is labeled once/);
    const rows = await work.rows("once");
    assert.deepEqual(
      rows.map(({ id }) => id),
      ["a.csv#0", "a.csv#1", "b.csv#0"],
    );
    await work.expect(0, ["verify", "once", "--inputs"]);
    // As in an output that has an input twice.
    const file = await work.runFile("once");
    await work.write("once/_run.json", JSON.stringify({ ...file, inputs: [...file.inputs, file.inputs[0]] }));
    assert.match((await work.expect(1, ["verify", "once"])).stdout, /a\.csv is listed twice/);
  });

  test("a choice without records is INPUT_EMPTY and leaves the output free for another choice", async () => {
    await work.write("few.csv", "text,lang\ngood,en\nbad,en\n");
    const args = (lang: string) => [...LABEL, "few.csv", "--where", `lang=${lang}`, "--out", "few"];
    const { stderr } = await work.expect(2, args("fr"));
    assert.match(stderr, /INPUT_EMPTY: no record of the inputs matches --where/);
    assert.deepEqual(await readdir(work.file("few")), []);
    await work.expect(0, args("en"));
  });

  test("standard input can be plain lines or packed CSV", async () => {
    const lines = await work.expect(0, [...LABEL, "-", "--json"], {
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
    await work.expect(0, [...LABEL, "-", "--column", "said", "--delimiter", "|", "--out", "packed"], {
      input: packed,
    });
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
