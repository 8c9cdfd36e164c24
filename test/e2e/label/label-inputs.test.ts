import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { jsonOf, verdict, Workspace } from "../../helpers/cli.ts";

const GOOD = "I love it, wonderful and great";
const BAD = "a terrible, awful waste of money";

let work: Workspace;

before(async () => {
  work = await Workspace.open();
});
after(() => work[Symbol.asyncDispose]());

test("JSON arrays, `sep=` lines, NaN and texts without a visible character can be labeled in slices of one item", async () => {
  const array = [{ id: 1, text: GOOD, n: 1 }, { id: 2 }, { id: 3, text: BAD, lang: "en" }];
  const pretty = JSON.stringify(array, undefined, 2);
  await work.write("array.json", pretty);
  await work.write("packed.json.gz", gzipSync(pretty));
  await work.write("cut.json", pretty.slice(0, -2));
  await work.write("excel.csv", `sep=;\r\nid;text;n;lang\r\n1;${GOOD};2;de\r\n2;${BAD};;\r\n`);
  const lines = [
    '{"id":1,"n":NaN}',
    `{"id":2,"text":"${GOOD}","n":-Infinity,"score":Infinity,"lang":null}`,
    '{"id":3,"text":"\\u0000\\u0000"}',
    '{"id":4,"text":"\\u200b\\ufeff \\u2060\\u00ad\\u200d\\ufe0f\\u3164"}',
    '{"id":5,"text":"\\u200bgreat\\u0000"}',
  ];
  await work.write("python.jsonl", lines.join("\n"));
  const inputs = ["array.json", "packed.json.gz", "cut.json", "excel.csv", "python.jsonl"];
  const flags = ["--id-column", "id", "--keep", "n", "lang", "--slice-items", "1", "--out", "out", "--json"];
  const ended = await work.expect(3, ["label", "text", "--model", "tiny-sentiment", ...inputs, ...flags]);
  const rows = await work.rows("out");
  const of = (name: string) =>
    rows
      .filter(({ source }) => source.uri === pathToFileURL(work.file(name)).href)
      .map((row) => [row.id, verdict(row), row.source.line, row.input]);
  const expected = [
    ["1", "POSITIVE", 2, { n: 1 }],
    ["2", "RECORD_INVALID", 7, undefined],
    ["3", "NEGATIVE", 10, { lang: "en" }],
  ];
  assert.deepEqual(of("array.json"), expected);
  assert.deepEqual(of("packed.json.gz"), expected);
  assert.deepEqual(of("cut.json"), [...expected, ["cut.json#3", "RECORD_INVALID", 14, undefined]]);
  assert.deepEqual(of("excel.csv"), [
    ["1", "POSITIVE", 3, { n: "2", lang: "de" }],
    ["2", "NEGATIVE", 4, { n: "", lang: "" }],
  ]);
  assert.deepEqual(of("python.jsonl"), [
    ["1", "RECORD_INVALID", 1, undefined],
    ["2", "POSITIVE", 2, { n: null, lang: null }],
    ["3", "EMPTY_TEXT", 3, {}],
    ["4", "EMPTY_TEXT", 4, {}],
    ["5", "POSITIVE", 5, {}],
  ]);
  assert.deepEqual(jsonOf(ended).errorCodes, { RECORD_INVALID: 5, EMPTY_TEXT: 2 });
  await work.expect(0, ["verify", "out", "--inputs"]);
});

test("files without records are passed over and counted, and are INPUT_EMPTY if no input has records", async () => {
  await work.write("spark/part-0.csv", "id,text\n");
  await work.write("spark/part-1.csv", `id,text\n1,"${GOOD}"\n`);
  await work.write("spark/part-2.csv.gz", gzipSync("id,text\n"));
  await work.write("spark/part-3.csv", "");
  await work.write("array.json", "[]");
  await work.write("blank.jsonl", "\n\n");
  await cp(fileURLToPath(new URL("../../fixtures/parquet/empty.parquet", import.meta.url)), work.file("z.parquet"));
  await work.write("named.csv", "text\n");
  await work.write("none/_SUCCESS", "");
  const label = ["label", "text", "--model", "tiny-sentiment"];
  const inputs = ["spark", "array.json", "blank.jsonl", "z.parquet", "named.csv", "none", "none/_SUCCESS", "named.csv"];
  const result = jsonOf(await work.expect(0, [...label, ...inputs, "--out", "full", "--json"]));
  const names = ["spark/part-0.csv", "spark/part-2.csv.gz", "array.json", "blank.jsonl", "z.parquet", "named.csv"];
  const passedOver = {
    count: 9,
    reasons: [
      { reason: "hidden", count: 1, names: ["none/_SUCCESS"] },
      { reason: "empty", count: 2, names: ["spark/part-3.csv", "none/_SUCCESS"] },
      { reason: "no-records", count: 6, names },
    ],
  };
  assert.deepEqual(result.passedOver, passedOver);
  assert.equal((await work.rows("full")).length, 1);
  assert.deepEqual((await work.manifest("full")).passedOver, passedOver);
  await work.expect(0, ["verify", "full", "--inputs"]);
  for (const [nothing, message] of [
    [["named.csv"], /named\.csv.*has no records/],
    [["none"], /no data in "none"/],
    [["spark/part-0.csv", "named.csv"], /none of the 2 inputs has records; the first: .*part-0\.csv/],
    [["none", "none/_SUCCESS"], /_SUCCESS" is empty/],
    [["spark", "missing/*.csv"], /no data in "missing/],
  ] as const) {
    const { error } = jsonOf(await work.expect(2, [...label, ...nothing, "--out", "nothing", "--json"])) as {
      error: { code: string; message: string };
    };
    assert.equal(error.code, "INPUT_EMPTY", error.message);
    assert.match(error.message, message);
  }
});
