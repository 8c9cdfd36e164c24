import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { appendFile, cp, readFile, rm, writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { type PartLine, PartLineSchema } from "../../../src/schemas/manifest.ts";
import { partKey } from "../../../src/schemas/names.ts";
import { jsonOf, readLines, Workspace } from "../../helpers/cli.ts";
import { writeTextModel } from "../../helpers/models/onnx.ts";

const ITEMS = 25;
const SLICE_ITEMS = 10;

let work: Workspace;
let run: string;

before(async () => {
  work = await Workspace.open();
  // Every fifth text is empty: an output with rows in error is proved too.
  const lines = Array.from({ length: ITEMS }, (_, i) => `${i},${i % 5 === 4 ? "" : `a good thing, number ${i}`}`);
  await work.write("texts.csv", `id;text\n${lines.map((line) => line.replace(",", ";")).join("\n")}\n`);
  await work.expect(3, [
    "label",
    "text",
    "--model",
    "tiny-sentiment",
    "texts.csv",
    "--out",
    "out",
    "--slice-items",
    String(SLICE_ITEMS),
  ]);
  ({ run } = await work.runFile("out"));
});
after(() => work[Symbol.asyncDispose]());

test("an unchanged output is proved", async () => {
  const { stdout } = await work.expect(0, ["verify", "out"]);
  assert.match(stdout, /^proved: out, run [0-9a-f]{16}, finished_with_errors\n/);
  assert.match(stdout, /25 records planned = 20 labeled \+ 5 in error, each once and in order, in 3 parts/);
  const proof = jsonOf(await work.expect(0, ["verify", "out", "--json"]));
  const totals = { parts: 3, planned: 25, labeled: 20, errors: 5 };
  assert.deepEqual(proof, { ok: true, out: proof.out, run, state: "finished_with_errors", totals, problems: [] });
});

test("labels and columns may have any name, also one of a property that every object has", async () => {
  const names = ["__proto__", "constructor"];
  await writeTextModel(work.file("odd"), { weights: [1, -1], bias: [0, 0] });
  const config = JSON.parse(await readFile(work.file("odd", "config.json"), "utf8"));
  await work.write(
    "odd/config.json",
    JSON.stringify({ ...config, id2label: { 0: names[0], 1: names[1] }, label2id: undefined }),
  );
  await work.write("odd.csv", `text,__proto__\ngood,1\nbad,2\n`);
  const args = ["label", "text", "odd.csv", "--model", "./odd", "--keep", "__proto__", "--json"];
  for (const format of ["jsonl", "parquet"]) {
    const out = `odd-${format}`;
    const { stdout } = await work.expect(0, [...args, "--out", out, "--output-format", format]);
    const { labels } = JSON.parse(stdout) as { labels: Record<string, number> };
    const counts = Object.entries(labels);
    assert.equal(
      counts.reduce((sum, [, count]) => sum + count, 0),
      2,
      stdout,
    );
    for (const [name] of counts) assert.ok(names.includes(name), name);
    assert.ok(stdout.includes('"__proto__"'), stdout);
    await work.expect(0, ["verify", out]);
  }
  assert.match(JSON.stringify(await work.rows("odd-jsonl")), /"input":\{"__proto__":"1"\}/);
});

/** A change to a copy of the output, and the problems that `verify` must report. */
type Change = { name: string; change: (out: string) => Promise<void>; problems: RegExp[] };

const CHANGES: Change[] = [
  {
    name: "a byte in a part changed",
    change: (out) => edit(out, part(1), (text) => text.replace(/"score":0\.9/, '"score":0.8')),
    problems: [/part-0000001-\w+\.jsonl: sha256: \w+, expected \w+/],
  },
  {
    name: "a part deleted",
    change: (out) => rm(work.file(out, part(1))),
    problems: [/part-0000001-\w+\.jsonl is missing/],
  },
  {
    name: "a part of this run that is not listed",
    change: (out) => cp(work.file(out, part(2)), work.file(out, part(3))),
    problems: [/part-0000003-\w+\.jsonl exists, but _parts\.jsonl does not list it/],
  },
  {
    name: "a part of another run between the others",
    change: (out) => cp(work.file(out, part(1)), work.file(out, "part-0000001-00000000.jsonl")),
    problems: [/part-0000001-00000000\.jsonl exists, but _parts\.jsonl does not list it/],
  },
  {
    name: "a line of _parts.jsonl removed",
    change: (out) => edit(out, "_parts.jsonl", (text) => text.replace(/.*"slice":1,.*\n/, "")),
    problems: [
      /hash of _parts\.jsonl/,
      /part-0000001-\w+\.jsonl exists, but/,
      /slice 2: first record .*: 20, expected 10/,
    ],
  },
  {
    name: "a row removed, with all hashes and row counts adjusted",
    change: (out) => dropRow(out, 1, 3),
    problems: [/part-0000001-\w+\.jsonl: row 4 is record 14 of .*, expected record 13/, /planned records/],
  },
  {
    name: "a row replaced by a copy of another, with all hashes adjusted",
    change: (out) => rewritePart(out, 0, (rows) => [rows[0]!, rows[0]!, ...rows.slice(2)]),
    problems: [/part-0000000-\w+\.jsonl: row 2 is record 0 of .*, expected record 1/],
  },
  {
    name: "counts in the manifest changed",
    change: (out) =>
      edit(out, "_manifest.json", (text) =>
        text.replace('"labeled": 20', '"labeled": 21').replace(/"POSITIVE": \d+/, '"POSITIVE": 1000'),
      ),
    problems: [
      /planned records: 25, expected 26/,
      /labeled rows: 20, expected 21/,
      /rows labeled POSITIVE: \d+, expected 1000/,
    ],
  },
  {
    name: "_SUCCESS removed",
    change: (out) => rm(work.file(out, "_SUCCESS")),
    problems: [/_SUCCESS exists: false, expected true/],
  },
  {
    name: "a run that is not finished",
    change: async (out) => {
      for (const name of ["_SUCCESS", "_manifest.json"]) await rm(work.file(out, name));
    },
    problems: [/_manifest\.json is missing: the run \w+ is not finished/],
  },
  {
    name: "the last part cut off within a line",
    change: (out) => edit(out, part(2), (text) => text.slice(0, -1)),
    problems: [/part-0000002-\w+\.jsonl: .*the part is cut/],
  },
  {
    name: "the manifest replaced by another JSON file",
    change: (out) => writeFile(work.file(out, "_manifest.json"), "[]\n"),
    problems: [/_manifest\.json is not a file that labelmill writes/],
  },
];

describe("a changed output is not proved", { concurrency: 2 }, () => {
  for (const [i, { name, change, problems: expected }] of CHANGES.entries())
    test(name, async () => {
      const out = `changed-${i}`;
      await cp(work.file("out"), work.file(out), { recursive: true });
      await change(out);
      const proof = jsonOf(await work.expect(1, ["verify", out, "--json"]));
      assert.equal(proof.ok, false);
      const problems = (proof.problems as string[]).join("\n");
      for (const each of expected) assert.match(problems, each);
    });
});

test("problems are printed for people; a folder that is not an output is not proved, or wrong usage if it does not exist", async () => {
  await cp(work.file("out"), work.file("appended"), { recursive: true });
  await appendFile(work.file("appended", "_parts.jsonl"), "{}\n");
  const { stdout } = await work.expect(1, ["verify", "appended"]);
  assert.match(stdout, /^not proved: appended\n {2}_parts\.jsonl line 4 is not a part line\n/);

  await work.write("else/letter.txt", "dear all\n");
  const foreign = jsonOf(await work.expect(1, ["verify", "else", "--json"]));
  assert.deepEqual(foreign.problems, ["_run.json is missing: not an output of labelmill"]);
  const nothing = jsonOf(await work.expect(2, ["verify", "nowhere", "--json"]));
  assert.equal((nothing.error as { code: string }).code, "INPUT_NOT_FOUND");
});

function part(slice: number): string {
  return partKey(run, slice);
}

async function edit(out: string, name: string, change: (text: string) => string): Promise<void> {
  const text = await readFile(work.file(out, name), "utf8");
  const changed = change(text);
  assert.notEqual(changed, text, `${name} was changed`);
  await writeFile(work.file(out, name), changed);
}

/** Changes the rows of a part, and every hash and size that depends on them. */
async function rewritePart(
  out: string,
  slice: number,
  change: (rows: string[]) => string[],
  alsoLine: Partial<PartLine> = {},
): Promise<void> {
  const rows = change(await readLines(work.file(out, part(slice))));
  const bytes = Buffer.from(rows.map((row) => `${row}\n`).join(""));
  await writeFile(work.file(out, part(slice)), bytes);
  const receipt = { bytes: bytes.length, sha256: sha256(bytes), ...alsoLine };
  const lines = (await readLines(work.file(out, "_parts.jsonl"))).map((text) => PartLineSchema.parse(JSON.parse(text)));
  const parts = lines
    .map((line) => `${JSON.stringify(line.slice === slice ? { ...line, ...receipt } : line)}\n`)
    .join("");
  await writeFile(work.file(out, "_parts.jsonl"), parts);
  await edit(out, "_manifest.json", (text) =>
    text.replace(/"partsSha256": "\w+"/, `"partsSha256": "${sha256(Buffer.from(parts))}"`),
  );
}

async function dropRow(out: string, slice: number, at: number): Promise<void> {
  await rewritePart(out, slice, (rows) => rows.filter((_, i) => i !== at), { rows: SLICE_ITEMS - 1 });
  await edit(out, "_manifest.json", (text) =>
    text
      .replace('"labeled": 20', '"labeled": 19')
      .replace(/"POSITIVE": (\d+)/, (_, n) => `"POSITIVE": ${Number(n) - 1}`),
  );
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
