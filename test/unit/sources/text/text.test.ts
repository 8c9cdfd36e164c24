import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { ReadOptions } from "../../../../src/schemas/input.ts";
import { openTextSource } from "../../../../src/sources/open-texts.ts";
import type { SourceRecord } from "../../../../src/sources/source.ts";
import { ownFiles } from "../../../helpers/files.ts";
import { AUTO, rejectsWith, shortRecords, validRecordsOf } from "../../../helpers/inputs/read-source.ts";

const file = await ownFiles();

async function records(from: string | { stdin: Readable }, read: Partial<ReadOptions> = {}): Promise<SourceRecord[]> {
  return await validRecordsOf(await openTextSource(from, { ...AUTO, ...read }));
}

async function refuses(
  from: string | { stdin: Readable },
  read: Partial<ReadOptions>,
  code: string,
  message: RegExp,
): Promise<void> {
  await rejectsWith(openTextSource(from, { ...AUTO, ...read }), code, message);
}

test("CSV: column, ids, kept columns and detected options", async () => {
  const path = await file("reviews.csv", 'id,stars,Review\na7,5,"Good, ""really"""\n,1,bad\n');
  const source = await openTextSource(path, { ...AUTO, idColumn: "id", keep: ["stars"] });
  assert.deepEqual(source.read, { format: "csv", delimiter: ",", column: "Review", idColumn: "id", keep: ["stars"] });
  assert.equal(source.input.uri, pathToFileURL(path).href);
  const expected = [
    { record: 0, line: 2, id: "a7", text: 'Good, "really"', input: { stars: "5" } },
    { record: 1, line: 3, id: "reviews.csv#1", text: "bad", input: { stars: "1" } },
  ];
  assert.deepEqual(await Array.fromAsync(source.records()), expected);
  assert.deepEqual(await Array.fromAsync(source.records()), expected, "read again");
  const again = await openTextSource(path, source.read);
  assert.deepEqual(again.read, source.read);
  assert.deepEqual(again.input, source.input);
});

for (const [delimiter, name] of [
  [",", "x.csv"],
  [";", "x.csv"],
  ["\t", "x.csv"],
  ["|", "x.csv"],
  ["\t", "x.tsv"],
] as const) {
  test(`the delimiter ${JSON.stringify(delimiter)} of ${name} is detected`, async () => {
    const row = (...fields: string[]): string => `${fields.join(delimiter)}\n`;
    const path = await file(
      name,
      row("id", "text", "n") + row("1", '"a, b; c | d"', "2").repeat(3) + row("2", "e", "4"),
    );
    const source = await openTextSource(path, AUTO);
    assert.equal(source.read.delimiter, delimiter);
    assert.equal((await Array.fromAsync(source.records()))[0]!.text, "a, b; c | d");
  });
}

test("a single column is read if its name is known or given, and is not assumed otherwise", async () => {
  assert.deepEqual(shortRecords(await records(await file("x.csv", "Review\nhello; you\nthere\n"))), [
    [2, "hello; you"],
    [3, "there"],
  ]);
  const words = "words\nhello\n";
  assert.deepEqual(shortRecords(await records(await file("x.csv", words), { column: "words" })), [[2, "hello"]]);
  const headerless = await file("x.csv", "I like it\nI do not\n");
  await refuses(
    headerless,
    {},
    "COLUMN_NOT_FOUND",
    /got the columns "I like it"; name one with --column; .*--format lines$/,
  );
  assert.deepEqual(shortRecords(await records(headerless, { format: "lines" })), [
    [1, "I like it"],
    [2, "I do not"],
  ]);
  await refuses(await file("x.tsv", "I like it\nI do not\n"), {}, "COLUMN_NOT_FOUND", /--format lines$/);
  await refuses(await file("x.jsonl", '{"words":"a"}\n'), {}, "COLUMN_NOT_FOUND", /name one with --column$/);
});

test("the delimiter is detected from the first records, of any size", async () => {
  const names = Array.from({ length: 9000 }, (_, column) => `column number ${column}`);
  const header = `${names.join(";")};text\n`;
  assert.ok(header.length > 2 * 64 * 1024);
  const row = `${"1;".repeat(9000)}a, b\n`;
  const wide = await openTextSource(await file("x.csv", header + row.repeat(3)), AUTO);
  assert.deepEqual([wide.read.delimiter, wide.read.column], [";", "text"]);
  assert.deepEqual(
    (await Array.fromAsync(wide.records())).map(({ text }) => text),
    ["a, b", "a, b", "a, b"],
  );
  // The header is ambiguous: the records, which are over 64 KiB, decide on the delimiter.
  const long = `"${"x,y\n".repeat(30_000)}";good\n`;
  const source = await openTextSource(await file("x.csv", `"a,b";text\n${long.repeat(3)}`), AUTO);
  assert.equal(source.read.delimiter, ";");
  const over = await file("x.csv", `${"n;".repeat(600_000)}text\n1\n`);
  await refuses(over, {}, "INPUT_UNREADABLE", /has no header: .*expected less than 1048576 bytes/);
});

test("a .tsv may have commas or semicolons as delimiters instead of tabs", async () => {
  for (const [content, delimiter] of [
    ["id,text\n1,a\n2,b\n", ","],
    ["id;text\n1;a, b\n", ";"],
    ["id,n\ttext\n1,2\ta\n", "\t"],
    ["text\na, b\nc, d\n", "\t"],
  ] as const) {
    const source = await openTextSource(await file("x.tsv", content), AUTO);
    assert.deepEqual([source.read.delimiter, source.read.column], [delimiter, "text"]);
  }
  const prose = await file("x.tsv", "Well, text\nI like it\nThis, and that, is bad\n");
  await refuses(prose, {}, "COLUMN_NOT_FOUND", /got the columns "Well, text"/);
});

test("Excel's first line `sep=;` sets the delimiter and is not a record", async () => {
  for (const [first, name] of [
    ["sep=;\n", "x.csv"],
    ["sep=;\r\n", "x"],
    ["SEP=;\r", "x.csv"],
    ['"sep=;"\n', "x.tsv"],
  ] as const) {
    const path = await file(name, `\uFEFF${first}a,b;text\n1;good, really\n2;bad\n`);
    const source = await openTextSource(path, { ...AUTO, keep: ["a,b"] });
    assert.equal(source.read.delimiter, ";");
    const expected = [
      { record: 0, line: 3, id: `${name}#0`, text: "good, really", input: { "a,b": "1" } },
      { record: 1, line: 4, id: `${name}#1`, text: "bad", input: { "a,b": "2" } },
    ];
    assert.deepEqual(await Array.fromAsync(source.records()), expected);
    assert.deepEqual(await Array.fromAsync((await openTextSource(path, source.read)).records()), expected, "reopened");
  }
  const path = await file("x.csv", "sep=;\nid;text\n1;a\n");
  await refuses(path, { delimiter: "," }, "USAGE", /"sep=;" in its first line.*omit --delimiter/);
  assert.deepEqual(shortRecords(await records(await file("x.txt", "sep=;\na\n"))), [
    [1, "sep=;"],
    [2, "a"],
  ]);
});

test("two columns with the same name are refused if one of them is requested, with their positions", async () => {
  const path = await file("x.csv", "id,text,n, text ,n\n1,a,2,b,3\n");
  await refuses(path, {}, "COLUMN_AMBIGUOUS", /2 columns named "text" \(columns 2, 4\): rename/);
  await refuses(path, { column: "text" }, "COLUMN_AMBIGUOUS", /columns 2, 4/);
  await refuses(path, { column: "id", keep: ["n"] }, "COLUMN_AMBIGUOUS", /"n" \(columns 3, 5\)/);
  await refuses(path, { column: "id", idColumn: "n" }, "COLUMN_AMBIGUOUS", /"n"/);
  await refuses(path, { column: "id", where: [{ column: "n", value: "2" }] }, "COLUMN_AMBIGUOUS", /"n"/);
  assert.deepEqual(
    shortRecords(await records(path, { column: "id" })),
    [[2, "1"]],
    "the duplicate columns are not requested",
  );
  const cases = await file("x.csv", "Text,text\na,b\n");
  await refuses(cases, {}, "COLUMN_AMBIGUOUS", /2 columns named "text"/);
  assert.deepEqual(shortRecords(await records(cases, { column: "Text" })), [[2, "a"]]);
});

test("JSONL: a key that a record has twice is refused if it is requested", async () => {
  const record =
    '{"text":"a","in":{"n":1,"n":2},"n":[{"text":1},","],"t\\u0065xt":"b","id":"\\\\\\"","n":"x,\\"n\\":1"}\n';
  const path = await file("x.jsonl", record);
  const two = (name: string) => new RegExp(`x\\.jsonl" has a record with two values of "${name}"`);
  await refuses(path, {}, "COLUMN_AMBIGUOUS", two("text"));
  await refuses(path, { column: "id", keep: ["n"] }, "COLUMN_AMBIGUOUS", two("n"));
  assert.deepEqual(shortRecords(await records(path, { column: "id", keep: ["in"] })), [[1, '\\"']]);
});

test("JSONL: the columns are those of all of the first 1,000 records", async () => {
  const first = '{"id":0}\n[]\n';
  const lines = `${first}{"text":"a","lang":"en"}\n`;
  const found = await records(await file("x.jsonl", lines), { keep: ["lang"] });
  assert.deepEqual(
    found.map(({ text, error, input }) => [text ?? error?.code, input]),
    [
      ["RECORD_INVALID", undefined],
      ["RECORD_INVALID", undefined],
      ["a", { lang: "en" }],
    ],
  );
  assert.match(found[0]!.error!.message, /line 1: .*"text", got a record without the column/);
  const late = (before: number) => `${'{"text":"a"}\n'.repeat(before)}{"text":"b","lang":"en"}\n`;
  assert.equal((await records(await file("x.jsonl", late(999)), { keep: ["lang"] })).length, 1000);
  const path = await file("x.jsonl", late(1000));
  await refuses(path, { keep: ["lang"] }, "COLUMN_NOT_FOUND", /no column "lang": the columns are "text"/);
  // Up to 8 MiB, for records of any size.
  const large = (before: number) => `${`{"text":"${"x".repeat(900_000)}"}\n`.repeat(before)}{"text":"b","lang":"en"}\n`;
  assert.equal((await records(await file("x.jsonl", large(8)), { keep: ["lang"] })).length, 9);
  await refuses(await file("x.jsonl", large(10)), { keep: ["lang"] }, "COLUMN_NOT_FOUND", /no column "lang"/);
  // The name in most records is used; in a tie, the order of the names decides.
  const columnOf = async (lines: string) => (await openTextSource(await file("x.jsonl", lines), AUTO)).read.column;
  assert.equal(await columnOf('{"body":"a"}\n{"body":"b","text":"c"}\n'), "body");
  assert.equal(await columnOf('{"body":"b","text":"c"}\n'), "text");
});

test("JSONL: NaN and Infinity, which Python writes, are read as null", async () => {
  const lines = [
    '{"text":"a","n":NaN,"in":{"x":[-Infinity,Infinity,1]}}',
    '{"text":"NaN, \\"Infinity\\"","n":NaN}',
    '{"text":"b","n":1,"long":12345678901234567890,"m":NaN}',
    '{"text":NaN}',
    '{"text":"c","n":NaNs}',
    '{"text":"d","n":-NaN}',
  ];
  const found = await records(await file("x.jsonl", lines.join("\n")), { keep: ["n", "in", "long"] });
  assert.deepEqual(
    found.map(({ text, error, input }) => [text ?? error?.code, input]),
    [
      ["a", { n: null, in: { x: [null, null, 1] } }],
      ['NaN, "Infinity"', { n: null }],
      ["b", { n: 1, long: "12345678901234567890" }],
      ["RECORD_INVALID", undefined],
      ["RECORD_INVALID", undefined],
      ["RECORD_INVALID", undefined],
    ],
  );
  assert.match(found[3]!.error!.message, /"text", got null/);
});

test("records with too few or too many columns are errors, and reading continues", async () => {
  const found = await records(await file("x.csv", 'id,text\n1,a\n2\n3,b,c\n"4","d\ne"\n5,f\n'));
  assert.deepEqual(shortRecords(found), [
    [2, "a"],
    [3, "RECORD_INVALID"],
    [4, "RECORD_INVALID"],
    [5, "d\ne"],
    [7, "f"],
  ]);
  assert.match(found[1]!.error!.message, /line 3: expected 2 columns as in the header, got 1/);
  assert.match(found[2]!.error!.message, /line 4: expected 2 columns as in the header, got 3/);
});

test("JSONL: values, types of kept columns, and each kind of bad line", async () => {
  const lines = [
    "",
    "[1]",
    '{"id":12345678901234567890,"text":"a","n":{"x":[1]},"id2":{"id":7}}',
    '{"id":2,"text":4.5}',
    "   ",
    '{"id":true,"text":false,"n":null}',
    '{"id":"e","text":null}',
    '{"text":{"a":1}}',
    '{"words":"a"}',
    "{not json",
    '{"text":"\\ud83d"}',
    '{"text":"last","__proto__":{"n":1}}',
  ];
  const found = await records(await file("x.jsonl", `\uFEFF${lines.join("\r\n")}`), { idColumn: "id", keep: ["n"] });
  assert.deepEqual(
    found.map(({ line, id, text, error, input, repaired }) => [line, id, error?.code ?? text, input, repaired]),
    [
      [2, "x.jsonl#0", "RECORD_INVALID", undefined, undefined],
      [3, "12345678901234567890", "a", { n: { x: [1] } }, undefined],
      [4, "2", "4.5", {}, undefined],
      [6, "true", "false", { n: null }, undefined],
      [7, "e", "RECORD_INVALID", undefined, undefined],
      [8, "x.jsonl#5", "RECORD_INVALID", undefined, undefined],
      [9, "x.jsonl#6", "RECORD_INVALID", undefined, undefined],
      [10, "x.jsonl#7", "RECORD_INVALID", undefined, undefined],
      [11, "x.jsonl#8", "\uFFFD", {}, true],
      [12, "x.jsonl#9", "last", {}, undefined],
    ],
  );
  const why: [number, RegExp][] = [
    [0, /line 2: .*got an array/],
    [4, /line 7: .*"text", got null/],
    [5, /got an object/],
    [6, /line 9: .*"text", got a record without the column/],
    [7, /got text that is not JSON/],
  ];
  for (const [index, pattern] of why) assert.match(found[index]!.error!.message, pattern);
});

test("JSONL: numbers that a double would round are kept as they are written, at any depth", async () => {
  const long = "9007199254740993";
  const path = await file(
    "long.jsonl",
    `{"text":"a","id":${long},"big":-9223372036854775808,"safe":9007199254740991,"far":1e400,"float":1e20,"in":{"deep":[${long},0.1234567890123456789]}}\n`,
  );
  const [record] = await records(path, { idColumn: "id", keep: ["id", "big", "safe", "far", "float", "in"] });
  assert.equal(record!.id, long);
  assert.deepEqual(record!.input, {
    ...{ id: long, big: "-9223372036854775808", safe: 9007199254740991, far: "1e400", float: 1e20 },
    in: { deep: [long, 0.12345678901234568] },
  });
});

test("JSONL: a value that nests too deep is an error of its record", async () => {
  const deep = "[".repeat(20_000) + "]".repeat(20_000);
  const lines = `{"text":"a","n":1}\n{"text":"b","n":${deep}}\n{"id":12345678901234567890,"m":${deep},"text":"c"}\n`;
  const found = await records(await file("x.jsonl", lines), { idColumn: null, keep: ["n"] });
  assert.deepEqual(shortRecords(found), [
    [1, "a"],
    [2, "RECORD_INVALID"],
    [3, "c"],
  ]);
});

test("plain lines: empty lines are records, and there is no record after the last line break", async () => {
  assert.deepEqual(shortRecords(await records(await file("x.txt", "one, two\r\n\r\n\nthree\n"))), [
    [1, "one, two"],
    [2, ""],
    [3, ""],
    [4, "three"],
  ]);
  assert.deepEqual(shortRecords(await records(await file("y.txt", "\n"))), [[1, ""]]);
});

test("without a known extension, the content decides on the format", async () => {
  const formatOf = async (content: string, read: Partial<ReadOptions> = {}): Promise<string> =>
    (await openTextSource({ stdin: Readable.from([Buffer.from(content)]) }, { ...AUTO, ...read })).read.format;
  assert.equal(await formatOf('\n{"text":"a"}\n'), "jsonl");
  assert.equal(await formatOf("id;text\n1;a\n"), "csv");
  assert.equal(await formatOf("Hello, world\nBye, all\n"), "lines");
  assert.equal(await formatOf("a,b\n1,2\n", { column: "b" }), "csv");
  assert.equal(await formatOf("id;text\n1;a\n", { format: "lines" }), "lines");
});

test("standard input: chunks of any size, its own identity, read once", async () => {
  const bytes = Buffer.from("\uFEFFid,text\n1,é\n2,🦊\n");
  const source = await openTextSource({ stdin: Readable.from([...bytes].map((byte) => Buffer.of(byte))) }, AUTO);
  assert.deepEqual(source.input, { uri: "stdin:", size: null, modifiedAt: null, hash: null });
  const found = await Array.fromAsync(source.records());
  assert.deepEqual(
    found.map(({ id, text }) => [id, text]),
    [
      ["stdin#0", "é"],
      ["stdin#1", "🦊"],
    ],
  );
  await assert.rejects(Array.fromAsync(source.records()), /once/);
});

test("UTF-16 in both byte orders, with surrogate pairs and unpaired surrogates", async () => {
  const text = "text\nplain\n🦊 é\nhalf \ud83e here\nend\ud83e";
  const little = Buffer.from(`\uFEFF${text}`, "utf16le");
  for (const [name, bytes] of [
    ["LE", little],
    ["BE", Buffer.from(little).swap16()],
  ] as const) {
    for (const size of [1, 2, 3, 1000]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
        bytes.subarray(at * size, at * size + size),
      );
      const found = await records({ stdin: Readable.from(chunks) }, { format: "csv" });
      assert.deepEqual(
        found.map((record) => [record.text, record.repaired]),
        [
          ["plain", undefined],
          ["🦊 é", undefined],
          ["half \uFFFD here", true],
          ["end\uFFFD", true],
        ],
        `${name} in chunks of ${size}`,
      );
    }
  }
  const odd = await records(await file("x.txt", Buffer.concat([little, Buffer.of(1)])));
  assert.equal(odd.at(-1)!.repaired, true);
});

test("invalid UTF-8 is replaced, and its record is marked", async () => {
  const bytes = Buffer.concat([Buffer.from("good\n"), Buffer.of(0x62, 0xff, 0x0a), Buffer.from("é\n")]);
  assert.deepEqual(
    (await records(await file("x.txt", bytes))).map(({ text, repaired }) => [text, repaired]),
    [
      ["good", undefined],
      ["b\uFFFD", true],
      ["é", undefined],
    ],
  );
});

test("gzip is detected by its content under any name, and members are one stream", async () => {
  const packed = Buffer.concat([gzipSync("text,n\nab"), gzipSync("c,1\ndef,2\n")]);
  for (const name of ["x.csv.gz", "x.csv"]) {
    const found = await records(await file(name, packed));
    assert.deepEqual(
      found.map(({ id, text }) => [id, text]),
      [
        [`${name}#0`, "abc"],
        [`${name}#1`, "def"],
      ],
    );
  }
});

test("zstd is detected by its content, and frames are one stream, with skippable frames between them", async () => {
  const skipped = Buffer.from("502a4d1803000000616263", "hex");
  const frames = ["text,n\nab", "c,1\nde", "", "f,2\n"].map((part) => zstdCompressSync(part));
  const [first, ...more] = frames as [Buffer, ...Buffer[]];
  for (const packed of [Buffer.concat([first, skipped, ...more]), Buffer.concat([first, ...more, skipped])]) {
    for (const name of ["x.csv.zst", "x.csv"]) {
      const found = await records(await file(name, packed), { column: "text" });
      assert.deepEqual(
        found.map(({ id, text }) => [id, text]),
        [
          [`${name}#0`, "abc"],
          [`${name}#1`, "def"],
        ],
      );
    }
  }
  const source = await openTextSource(await file("x.tsv.zst", zstdCompressSync("text\tn\na,b\tc\n")), AUTO);
  assert.deepEqual([source.read.format, source.read.delimiter], ["csv", "\t"]);
});

test("frames of many sizes decompress to the original text", async () => {
  const rows = Array.from({ length: 20_000 }, (_, row) => `${row},text number ${(row * 7919) % 20_000}\n`);
  const frames: Buffer[] = [zstdCompressSync("id,text\n")];
  for (let at = 0, size = 1; at < rows.length; at += size, size = (size * 3) % 1009)
    frames.push(zstdCompressSync(rows.slice(at, at + size).join("")));
  const found = await records(await file("x.csv.zst", Buffer.concat(frames)), { idColumn: "id" });
  assert.equal(found.length, rows.length);
  assert.equal(
    found.findIndex(({ id, text }, index) => `${id},${text}\n` !== rows[index]),
    -1,
  );
});

test("a zstd file that is cut off or corrupt: the records before the error are read, then one error says where it is", async () => {
  const rows = Array.from({ length: 100_000 }, (_, row) => `${row},text number ${(row * 7919) % 100_000}\n`);
  const whole = zstdCompressSync(`id,text\n${rows.join("")}`);
  const corrupt = Buffer.from(whole);
  corrupt.fill(0xaa, Math.floor(whole.length * 0.7), Math.floor(whole.length * 0.7) + 64);
  for (const [name, bytes, good] of [
    ["cut", whole.subarray(0, whole.length * 0.7), 40_000],
    ["corrupt", corrupt, 40_000],
    ["unlike", Buffer.concat([whole, Buffer.from("no archive")]), 100_000],
    ["next", Buffer.concat([whole, zstdCompressSync("100000,x\n").subarray(0, -4)]), 100_000],
  ] as const) {
    const found = await records(await file(`${name}.csv.zst`, bytes), { idColumn: "id" });
    const last = found.at(-1)!;
    assert.match(
      last.error?.message ?? "",
      /^line \d+: the input ends here: the zstd data is cut off or corrupt after \d+ decompressed bytes/,
    );
    const wrong = found.findIndex(({ id, text }, index) => `${id},${text}\n` !== rows[index]);
    assert.ok(wrong >= good, `${name}: record ${wrong} differs`);
    assert.equal(found.filter(({ error }) => error?.message.includes("the input ends here")).length, 1);
  }
});

test("a zstd file that expands enormously takes little memory", async () => {
  // Blocks of 4 bytes that each expand to 128 KiB of the same byte, a million times their size.
  const block = Buffer.of(0x02, 0x00, 0x10, 0x78);
  const last = Buffer.of(0x03, 0x00, 0x10, 0x78);
  const head = Buffer.from("28b52ffd0038", "hex");
  const path = await file("bomb.txt", Buffer.concat([head, ...Array<Buffer>(7999).fill(block), last]));
  const before = process.memoryUsage.rss();
  assert.deepEqual(shortRecords(await records(path)), [[1, "RECORD_TOO_LARGE"]]);
  assert.ok(process.memoryUsage.rss() - before < 120_000_000);
});

test("a gzip file that is cut off or corrupt: the records before the error are read, then one error says where it is", async () => {
  const rows = Array.from({ length: 50_000 }, (_, row) => `${row},text number ${(row * 7919) % 50_000}\n`);
  const whole = gzipSync(`id,text\n${rows.join("")}`);
  const cut = whole.subarray(0, whole.length / 2);
  const corrupt = Buffer.from(whole);
  corrupt.fill(0xaa, Math.floor(whole.length / 2), Math.floor(whole.length / 2) + 64);
  const unlike = Buffer.concat([gzipSync(`id,text\n${rows.join("")}`), Buffer.from("no archive")]);
  const small = Buffer.concat([gzipSync(`id,text\n${rows.slice(0, 1000).join("")}`), Buffer.from("no archive")]);
  for (const [name, bytes, good] of [
    ["cut", cut, 25_000],
    ["corrupt", corrupt, 25_000],
    ["unlike", unlike, 49_700],
    ["small", small, 800],
  ] as const) {
    const found = await records(await file(`${name}.csv.gz`, bytes), { idColumn: "id" });
    const last = found.at(-1)!;
    assert.equal(last.error?.code, "RECORD_INVALID", name);
    assert.match(
      last.error!.message,
      /^line \d+: the input ends here: the gzip data is cut off or corrupt after \d+ decompressed bytes/,
    );
    // Compared one by one: printing the difference of two arrays of this length would take all memory.
    const wrong = found.findIndex(({ id, text }, index) => `${id},${text}\n` !== rows[index]);
    assert.ok(wrong >= good, `${name}: record ${wrong} differs`);
    assert.equal(found.filter(({ error }) => error?.message.includes("the input ends here")).length, 1);
  }
});

test("a gzip file that expands enormously takes little memory", async () => {
  const path = await file("bomb.txt", gzipSync(Buffer.alloc(100_000_000, "x")));
  const before = process.memoryUsage.rss();
  assert.deepEqual(shortRecords(await records(path)), [[1, "RECORD_TOO_LARGE"]]);
  assert.ok(process.memoryUsage.rss() - before < 90_000_000);
});

test("limits: a text, the kept columns, an id", async () => {
  const csv = `id,text,more\n1,${"x".repeat(1_000_000)},\n2,${"x".repeat(1_000_001)},\n3,c,${"y".repeat(66_000)}\n${"i".repeat(5000)},d,\n`;
  const found = await records(await file("x.csv", csv), { idColumn: "id", keep: ["more"] });
  assert.deepEqual(
    found.map(({ id, text, error }) => [id.length, error?.code ?? text?.length]),
    [
      [1, 1_000_000],
      [1, "RECORD_TOO_LARGE"],
      [1, "RECORD_TOO_LARGE"],
      [4096, 1],
    ],
  );
});

test("unreadable input is refused before anything is queued", async () => {
  const folder = dirname(await file("some.csv", "text\na\n"));
  await refuses(join(folder, "none.csv"), {}, "INPUT_NOT_FOUND", /none\.csv/);
  await refuses(folder, {}, "INPUT_UNREADABLE", /is a folder/);
  await refuses("/dev/null", {}, "INPUT_UNREADABLE", /device/);
  for (const [name, content] of [
    ["a.csv", ""],
    ["b.csv", "\uFEFF"],
    ["c.csv", "id,text\n"],
    ["d.jsonl", "\n\n"],
    ["e.txt", gzipSync("")],
  ] as const) {
    await refuses(await file(name, content), {}, "INPUT_EMPTY", new RegExp(name));
  }
  await refuses({ stdin: Readable.from([]) }, {}, "INPUT_EMPTY", /standard input/);
  await refuses(await file("x.csv", '"id,text\n1,a\n'), {}, "INPUT_UNREADABLE", /header.*never closed/);
  await refuses(await file("x.jsonl", "a\nb\n"), {}, "INPUT_UNREADABLE", /none of the first 2 records.*line 1/);
  await refuses(
    await file("x.csv.gz", gzipSync("id,text\n1,a\n").subarray(0, 12)),
    {},
    "INPUT_UNREADABLE",
    /gzip data is cut off or corrupt/,
  );
});

test("an unknown column: the message lists the columns and suggests the nearest", async () => {
  const path = await file("x.csv", "id,titel,words\n1,a,b\n");
  await refuses(
    path,
    {},
    "COLUMN_NOT_FOUND",
    /expected a column named text, review.*got the columns "id", "titel", "words"/,
  );
  await refuses(path, { column: "title" }, "COLUMN_NOT_FOUND", /no column "title".*did you mean "titel"\?/);
  await refuses(path, { column: "words", idColumn: "ID" }, "COLUMN_NOT_FOUND", /no column "ID".*did you mean "id"\?/);
  await refuses(
    path,
    { column: "words", keep: ["stars"] },
    "COLUMN_NOT_FOUND",
    /no column "stars": the columns are "id", "titel", "words"$/,
  );
  await refuses(await file("x.jsonl", '{"a":1,"b":2}\n'), {}, "COLUMN_NOT_FOUND", /got the columns "a", "b"/);
  await refuses(
    await file("x.txt", "a\n"),
    { column: "text" },
    "COLUMN_NOT_FOUND",
    /plain lines, which have no columns/,
  );
  for (const delimiter of ['"', "\n", "é"]) await refuses(path, { delimiter, column: "words" }, "USAGE", /delimiter/);
});

test("a reader that stops early leaves no file open", async () => {
  const path = await file("x.csv", `text\n${"some words\n".repeat(100_000)}`);
  for (const packed of [path, await file("y.csv", gzipSync(`text\n${"some words\n".repeat(100_000)}`))]) {
    for await (const record of (await openTextSource(packed, AUTO)).records()) if (record.record === 3) break;
  }
});
