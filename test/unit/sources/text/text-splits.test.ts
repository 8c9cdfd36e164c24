import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { rm, symlink, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { Fetcher } from "../../../../src/fetch/fetcher.ts";
import { FileGrants } from "../../../../src/fetch/grants.ts";
import { S3Grants } from "../../../../src/fetch/s3-grants.ts";
import type { ReadOptions } from "../../../../src/schemas/input.ts";
import type { Job } from "../../../../src/schemas/job.ts";
import { type Split, SplitSchema } from "../../../../src/schemas/split.ts";
import type { Task } from "../../../../src/schemas/task.ts";
import { namedFile } from "../../../../src/sources/bytes/read-file.ts";
import { isSampled } from "../../../../src/sources/item/sample.ts";
import { openImageSource } from "../../../../src/sources/open-images.ts";
import { openTextSource } from "../../../../src/sources/open-texts.ts";
import { readSplit } from "../../../../src/sources/read-split.ts";
import { cutSlices } from "../../../../src/sources/slices.ts";
import { type Cut, MAX_RECORD_BYTES, type Source, type SourceRecord } from "../../../../src/sources/source.ts";
import { S3 } from "../../../../src/storage/s3/s3.ts";
import { itemLoader } from "../../../../src/workers/slice/load-items.ts";
import { ownFiles } from "../../../helpers/files.ts";
import { AUTO, NEVER } from "../../../helpers/inputs/read-source.ts";

const TEXT: Task = "text-classification";

const file = await ownFiles();
/** A new folder. */
const elsewhere = async () => dirname(await file("empty", ""));

type Rooms = { items: number; bytes: number }[];

/** All cuts. After each `stop`-th one, cutting starts again from its cursor, as in a restarted planner. */
async function cutsOf(source: Source, rooms: Rooms, sample?: number, stop = Number.POSITIVE_INFINITY): Promise<Cut[]> {
  const cuts: Cut[] = [];
  const room = () => rooms[cuts.length % rooms.length]!;
  for (let from: Cut["next"] | undefined = { record: 0 }; from; ) {
    let taken = 0;
    let next: Cut["next"] | undefined;
    for await (const cut of source.splitter!.cuts(from, room, sample)) {
      cuts.push(cut);
      next = cut.next;
      if (++taken === stop) break;
      next = undefined;
    }
    from = next && JSON.parse(JSON.stringify(next));
  }
  return cuts;
}

/** The records that workers read in the cuts. The cuts must cover the input without overlap. */
async function read(cuts: Cut[], path: string, task = TEXT): Promise<SourceRecord[]> {
  const found: SourceRecord[] = [];
  let record = 0;
  let end: number | undefined;
  for (const [index, { split, bytes, next }] of cuts.entries()) {
    SplitSchema.parse(split);
    assert.equal(split.first, record);
    assert.ok(split.at.kind === "text");
    assert.ok(
      split.at.bytes > 0 || index === cuts.length - 1,
      "only the error of a missing end of an array has no bytes",
    );
    if (end !== undefined) assert.equal(split.at.offset, end);
    assert.equal(bytes, split.at.bytes);
    end = split.at.offset + split.at.bytes;
    record += split.count;
    assert.deepEqual([next.record, next.offset], [record, end]);
    const items = await Array.fromAsync(readSplit(JSON.parse(JSON.stringify(split)), task, namedFile(path), NEVER));
    assert.equal(items.length, split.selected ?? split.count);
    if (index < cuts.length - 1) assert.ok(items.length > 0, "only the last cut may have no items");
    found.push(...items);
  }
  return found;
}

const pieces = fc.constantFrom(
  ...'" "" , , ,, \n \n \r\n \r \n\n x word é 日本 🦊 \u00a0 5"screen {} {"text":"a","n":1}'.split(" "),
  '5" screen',
  '"a\nb"',
  '"a\r\nb",1',
  "a,1\n",
  "b,2\n",
  '"c ""d""",1\n',
  ',"',
  '\n"open',
  '{"text":"x","n":2}\n',
  '{"n":"1","text":"\\ud800"}\n',
  "\n \n",
  "\xff",
  ']"',
  '\n {"text":"y',
  '],\n{"text":"z"',
  ',"n":[{"m":{',
  "]\n[",
  "[",
);
const rooms = fc.array(fc.record({ items: fc.integer({ min: 1, max: 6 }), bytes: fc.integer({ min: 1, max: 60 }) }), {
  minLength: 1,
  maxLength: 4,
});

test("the records of any cuts of any text equal those of the whole text", async () => {
  let withErrors = 0;
  let splits = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("csv", "sep", "jsonl", "json", "lines"),
      fc.boolean(),
      fc.array(pieces, { minLength: 5, maxLength: 80, size: "max" }),
      rooms,
      fc.integer({ min: 1, max: 4 }),
      fc.option(fc.constantFrom("1", "2", "zzz")),
      fc.option(fc.constantFrom(0.2, 0.7), { nil: undefined }),
      async (kind, bom, parts, sizes, stop, value, sample) => {
        const format = kind === "sep" ? "csv" : (kind as ReadOptions["format"]);
        const head = {
          csv: "text,n\n1,1\n",
          sep: "sep=,\r\ntext,n\n1,1\n",
          jsonl: '{"text":"first","n":1}\n',
          json: ' \n[ {"text":"first","n":1}',
          lines: "first\n",
        }[kind]!;
        const body = Buffer.from(head + parts.map((part) => (part === "\xff" ? "\uFFFE" : part)).join(""));
        const bytes = Buffer.concat([Buffer.from(bom ? "\uFEFF" : ""), Buffer.from(hexed(body))]);
        const path = await file(`x.${format}`, bytes);
        const where = value === null || format === "lines" ? {} : { where: [{ column: "n", value }] };
        const keep = format === "lines" ? [] : ["n"];
        const source = await openTextSource(path, { ...AUTO, format, keep, ...where });
        const cuts = await cutsOf(source, sizes, sample, stop);
        assert.deepEqual(cuts, await cutsOf(source, sizes, sample), "from any cursor");
        const whole = await Array.fromAsync(source.records());
        assert.equal(cuts.at(-1)!.next.record, whole.length);
        const { uri } = source.input;
        const expected = whole.filter(
          ({ record, skipped }) => !skipped && (sample === undefined || isSampled(uri, record, sample)),
        );
        assert.deepEqual(await read(cuts, path), expected);
        if (expected.some(({ error }) => error)) withErrors++;
        splits += cuts.length;
        await rm(path);
      },
    ),
    { numRuns: 600 },
  );
  assert.ok(withErrors > 50 && splits > 1000, `${withErrors} with errors, ${splits} splits`);
});

/** U+FFFE becomes a byte that is invalid in UTF-8. */
function hexed(body: Buffer): Uint8Array {
  return Buffer.from(body.toString("hex").replaceAll(/efbfbe/g, "ff"), "hex");
}

test("records over 1 MiB and unclosed quotes are read the same from any cut", async () => {
  const long = "x".repeat(MAX_RECORD_BYTES);
  const lines = `a,1\n${long}y,2\nb,3\n"open,4\n${"c,5\n".repeat(40_000)}"${long.slice(9)}\nd",6\n"${long}${long}\ne,7\n"f\n`;
  for (const [format, head] of [
    ["csv", "text,n\n"],
    ["lines", ""],
  ] as const) {
    const path = await file(`x.${format}`, head + lines);
    const source = await openTextSource(path, { ...AUTO, format });
    const whole = await Array.fromAsync(source.records());
    assert.ok(whole.filter(({ error }) => error?.code === "RECORD_TOO_LARGE").length >= 2);
    for (const room of [
      { items: 7000, bytes: 1e9 },
      { items: 1e9, bytes: 50_000 },
    ]) {
      const cuts = await cutsOf(source, [{ items: 1, bytes: 1 }, room, { items: 2, bytes: 1e9 }], undefined, 3);
      assert.ok(cuts.length > 5);
      assert.ok(format === "lines" || cuts.some(({ split }) => split.at.kind === "text" && split.at.reach));
      same(await read(cuts, path), whole);
    }
  }
});

/** Compares records one by one: printing the difference of two arrays of this length would take all memory. */
function same(found: readonly unknown[], whole: readonly unknown[]): void {
  for (const [index, record] of whole.entries()) assert.deepEqual(found[index], record);
  assert.equal(found.length, whole.length);
}

test("lines that are left out after bad records are left out in any cut", async () => {
  const path = await file("x.csv", `a,b,c\n${'5",5,"b\n'.repeat(700_000)}`);
  const source = await openTextSource(path, { ...AUTO, column: "a" });
  const whole = await Array.fromAsync(source.records());
  assert.ok(whole.some(({ error }) => / are left out$/.test(error?.message ?? "")));
  const rooms = [{ items: 3, bytes: 1e9 }];
  const cuts = await cutsOf(source, rooms);
  // Otherwise a scanner that begins at a cut would read far too much again, which would take too long here.
  assert.ok(cuts.some(({ split }) => split.at.kind === "text" && split.at.credit !== undefined));
  same(
    (await cutsOf(source, rooms, undefined, 2)).map(({ split }) => split),
    cuts.map(({ split }) => split),
  );
  same(await read(cuts, path), whole);
});

test("cuts fill their room, and begin after the byte order mark and the header", async () => {
  const path = await file("x.csv", "\uFEFFn,text\r\n1,aaaa\r\n\r\n2,bbbb\r\n3,cccc\r\n");
  const source = await openTextSource(path, AUTO);
  const cuts = await cutsOf(source, [{ items: 2, bytes: 1000 }]);
  assert.deepEqual(
    cuts.map(({ split: { first, count, at } }) => [first, count, at]),
    [
      [0, 2, { kind: "text", offset: 9, bytes: 18, line: 1, width: 2, places: [1] }],
      [2, 1, { kind: "text", offset: 27, bytes: 8, line: 4, width: 2, places: [1] }],
    ],
  );
  assert.equal((await cutsOf(source, [{ items: 9, bytes: 1 }])).length, 3);
});

test("a row that the filter excludes is counted, and a row that cannot be read is not filtered", async () => {
  const path = await file("x.csv", 'text,n\na,1\nb,2\n"c"x,2\nd,1,1\ne,1\nf,2\n');
  const source = await openTextSource(path, { ...AUTO, where: [{ column: "n", value: "1" }] });
  const whole = await Array.fromAsync(source.records());
  assert.deepEqual(
    whole.map(({ text, error, skipped }) => text ?? error?.code ?? skipped),
    ["a", true, "RECORD_INVALID", "RECORD_INVALID", "e", true],
  );
  const slices = await Array.fromAsync(
    cutSlices([source], { size: { items: 2, bytes: 1e6 }, travels: () => "split", limit: 3 }),
  );
  assert.deepEqual(
    slices.map(({ ranges, count }) => [ranges, count]),
    [
      [[{ input: 0, first: 0, count: 3, selected: 2 }], 2],
      [[{ input: 0, first: 3, count: 1 }], 1],
    ],
  );
});

test("JSONL: filtered values are compared as text; plain lines have no columns to filter by", async () => {
  const path = await file(
    "x.jsonl",
    '{"text":"a","n":1}\n{"text":"b","n":true}\n{"text":"c"}\n{"text":"d","n":"1"}\nnone\n',
  );
  const source = await openTextSource(path, { ...AUTO, where: [{ column: "n", value: "1" }] });
  const whole = await Array.fromAsync(source.records());
  assert.deepEqual(
    whole.map(({ text, error, skipped }) => text ?? error?.code ?? skipped),
    ["a", true, true, "d", "RECORD_INVALID"],
  );
  const where = [{ column: "m", value: "1" }];
  await assert.rejects(openTextSource(path, { ...AUTO, where }), { code: "COLUMN_NOT_FOUND", message: /"m".*"n"/ });
  const lines = await file("x.txt", "a\n");
  await assert.rejects(openTextSource(lines, { ...AUTO, where }), { code: "COLUMN_NOT_FOUND", message: /"m"/ });
});

test("only the requested record numbers are read again", async () => {
  const path = await file("x.txt", "a\nb\nc\nd\n");
  const [cut] = await cutsOf(await openTextSource(path, AUTO), [{ items: 9, bytes: 1e6 }]);
  const split = { ...cut!.split, only: [1, 3] };
  const found = await Array.fromAsync(readSplit(split, TEXT, namedFile(path), NEVER));
  assert.deepEqual(
    found.map(({ record, id, text }) => [record, id, text]),
    [
      [1, "x.txt#1", "b"],
      [3, "x.txt#3", "d"],
    ],
  );
});

test("a list of images: paths are relative to the list in any cut", async () => {
  const list = "a.png\n\n  \nsub/b.png\nhttps://host.test/c.png\ndata:x\n./d.png\n";
  for (const [name, content] of [
    ["list.txt", list],
    ["list.csv", `n,image\n${list.replaceAll(/^(?=.*\S)/gm, "1,")}`],
  ] as const) {
    const path = await file(name, content);
    const source = await openImageSource(path, AUTO);
    const whole = await Array.fromAsync(source.records());
    const found = await read(await cutsOf(source, [{ items: 2, bytes: 1e6 }]), path, "image-classification");
    assert.equal(whole.length, 5 + (name === "list.csv" ? 1 : 0));
    assert.deepEqual(found, whole);
    const link = join(await elsewhere(), "link.txt");
    await symlink(path, link);
    assert.equal((await openImageSource(link, { ...AUTO, format: source.read.format })).splitter, undefined);
  }
});

test("made ids derive from the name of the file itself, so that a worker makes the same ids", async () => {
  const path = await file("x.txt", "a\nb\n");
  const link = join(await elsewhere(), "link.txt");
  await symlink(path, link);
  const source = await openTextSource(link, AUTO);
  const cuts = await cutsOf(source, [{ items: 1, bytes: 1e6 }]);
  assert.deepEqual(await read(cuts, fileURLToPath(source.input.uri)), await Array.fromAsync(source.records()));
});

test("compressed input and input that is not UTF-8 have no splitter", async () => {
  const text = "text\na\nb\n";
  for (const content of [gzipSync(text), zstdCompressSync(text), Buffer.from(`\uFEFF${text}`, "utf16le")]) {
    const source = await openTextSource(await file("x.csv", content), AUTO);
    assert.equal(source.splitter, undefined);
    assert.equal((await Array.fromAsync(source.records())).length, 2);
  }
});

test("a changed file fails the cut and the split", async () => {
  const content = "text\naa\nbb\ncc\n";
  for (const change of [
    (path: string) => writeFile(path, "text\naa\nb\nb\ncc\n"),
    (path: string) => writeFile(path, "text\naa\nbX\ncc\n"),
    (path: string) => writeFile(path, "te"),
    (path: string) => utimes(path, 1, 1),
    (path: string) => rm(path),
  ]) {
    const path = await file("x.csv", content);
    const source = await openTextSource(path, AUTO);
    const cuts = await cutsOf(source, [{ items: 2, bytes: 1e6 }]);
    await change(path);
    const changed = { code: "INPUT_CHANGED", message: /x\.csv/ };
    await assert.rejects(cutsOf(source, [{ items: 2, bytes: 1e6 }]), changed);
    await assert.rejects(Array.fromAsync(readSplit(cuts[1]!.split, TEXT, namedFile(path), NEVER)), changed);
  }
});

test("a split whose records do not end at the planned offset fails", async () => {
  const path = await file("x.csv", "text\naa\nbb\ncc\ndd\n");
  const [cut] = await cutsOf(await openTextSource(path, AUTO), [{ items: 2, bytes: 1e6 }]);
  const { split } = cut!;
  assert.ok(split.at.kind === "text");
  const { at } = split;
  for (const lie of [{ count: 3 }, { count: 1 }, { at: { ...at, bytes: 4 } }, { at: { ...at, bytes: 9 } }])
    await assert.rejects(Array.fromAsync(readSplit({ ...split, ...lie }, TEXT, namedFile(path), NEVER)), {
      code: "INPUT_CHANGED",
      message: /records 0 to \d of file:.*x\.csv: expected \d in the bytes/,
    });
});

/** Splits name no files to fetch. */
function noFetcher(): Fetcher {
  return new Fetcher({ grants: new FileGrants([]), allowPrivate: false });
}

test("a job whose splits have another number of items than planned fails, even if its records end at the planned offset", async () => {
  const path = await file("x.csv", "text,n\na,1\nb,2\nc,1\n");
  const source = await openTextSource(path, { ...AUTO, where: [{ column: "n", value: "1" }] });
  const [cut] = await cutsOf(source, [{ items: 9, bytes: 1e6 }]);
  const grants = { files: new FileGrants([path]), s3: new S3Grants([]) };
  const load = itemLoader(grants, new S3(), noFetcher());
  const jobOf = (split: Split) => ({ splits: [split], model: { task: TEXT } }) as Job;
  assert.equal((await load(jobOf(cut!.split), NEVER)).items.length, 2);
  for (const selected of [1, 3])
    await assert.rejects(load(jobOf({ ...cut!.split, selected }), NEVER), {
      code: "INPUT_CHANGED",
      message: new RegExp(`records 0 to 2 of .*: expected ${selected} items, as planned, got 2`),
    });
});

test("a reader of a split stops on its signal", async () => {
  const path = await file("x.txt", "a\nb\n");
  const [cut] = await cutsOf(await openTextSource(path, AUTO), [{ items: 9, bytes: 1e6 }]);
  const aborted = AbortSignal.abort(new Error("told to"));
  await assert.rejects(Array.fromAsync(readSplit(cut!.split, TEXT, namedFile(path), aborted)), /told to/);
});

test("a FIFO that replaces a planned file fails its slices immediately, and no thread waits for it", async () => {
  const path = await file("x.csv", "text\na\nb\n");
  const [cut] = await cutsOf(await openTextSource(path, AUTO), [{ items: 9, bytes: 1e6 }]);
  const load = itemLoader({ files: new FileGrants([dirname(path)]), s3: new S3Grants([]) }, new S3(), noFetcher());
  const jobOf = (split: Split, task: Task = TEXT) => ({ splits: [split], model: { task } }) as Job;
  assert.equal((await load(jobOf(cut!.split), NEVER)).items.length, 2);
  await rm(path);
  assert.equal(spawnSync("mkfifo", [path]).status, 0);
  const tar: Split = { ...cut!.split, at: { kind: "tar", offset: 0, bytes: 1024, images: [0, 512] } };
  const jobs = [
    jobOf(cut!.split),
    jobOf({ ...cut!.split, at: { kind: "parquet" } }),
    jobOf(tar, "image-classification"),
  ];
  // More than the threads of libuv's pool.
  for (let i = 0; i < 5; i++)
    for (const job of jobs)
      await assert.rejects(load(job, NEVER), {
        code: "INPUT_CHANGED",
        message: /it is no longer a readable regular file/,
      });
});
