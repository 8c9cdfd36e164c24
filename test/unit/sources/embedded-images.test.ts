import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Binary, Table, tableToIPC, vectorFromArray } from "apache-arrow";
import { namedFile } from "../../../src/sources/bytes/read-file.ts";
import { openImageSource } from "../../../src/sources/open-images.ts";
import { openTextSource } from "../../../src/sources/open-texts.ts";
import type { Source, SourceRecord } from "../../../src/sources/source.ts";
import { ownFiles } from "../../helpers/files.ts";
import { arrowOfPictures, parquetOfBytes } from "../../helpers/inputs/image-tables.ts";
import { AUTO, readSplits, splitsOf } from "../../helpers/inputs/read-source.ts";

/** Made by `make.py` there. */
const FIXTURES = fileURLToPath(new URL("../../fixtures/arrow/", import.meta.url));
const PNG = "89504e47";

const file = await ownFiles();

async function itemsOf(source: Source, path: string, items = 3): Promise<SourceRecord[]> {
  return await readSplits(await splitsOf(source, { items }), { task: "image-classification", place: namedFile(path) });
}

/** What an item carries: the beginning of its image, its reference, or its error's code. */
function carried({ data, image, error }: SourceRecord): string {
  return data ? Buffer.from(data.subarray(0, 4)).toString("hex") : (image ?? error!.code);
}

for (const name of ["images.parquet", "images.arrows"])
  test(`${name}: structs of bytes and path, some without either; ids are made, never from bytes`, async () => {
    const path = join(FIXTURES, name);
    const source = await openImageSource(path, { ...AUTO, keep: ["label"] });
    assert.deepEqual([source.read.column, source.onlySplits, source.columns], ["image", true, { label: "integer" }]);
    const items = await itemsOf(source, path);
    const beside = pathToFileURL(join(FIXTURES, "beside.png")).href;
    const bad = Buffer.from("no p").toString("hex");
    assert.deepEqual(items.map(carried), [PNG, PNG, beside, bad, "RECORD_INVALID", PNG]);
    assert.deepEqual(
      items.map(({ id }) => id),
      Array.from({ length: 6 }, (_, row) => `${name}#${row}`),
    );
    assert.deepEqual(
      items.flatMap(({ input }) => (input ? [input] : [])),
      [
        { label: 0, image: "0.png" },
        { label: 1, image: "1.png" },
        { label: 2, image: "beside.png" },
        { label: 3 },
        { label: 5, image: "5.png" },
      ],
    );
    assert.match(items[4]!.error!.message, /row 4: expected an image's bytes in column "image", got null/);
    const counted = await Array.fromAsync(source.records());
    assert.deepEqual(
      counted,
      items.map(({ record, id }) => ({ record, id })),
      "what is counted holds no image",
    );
  });

for (const name of ["binary.parquet", "binary.arrow"])
  test(`${name}: a column of bytes, with an id column; bytes that are a line of text are a reference`, async () => {
    const path = join(FIXTURES, name);
    const source = await openImageSource(path, { ...AUTO, column: "img", idColumn: "key" });
    const items = await itemsOf(source, path);
    const reference = pathToFileURL(join(FIXTURES, "no picture")).href;
    assert.deepEqual(items.map(carried), [PNG, PNG, "RECORD_INVALID", reference, "RECORD_INVALID", PNG]);
    assert.deepEqual(
      items.map(({ id }) => id),
      ["k0", "k1", "k2", "k3", "k4", "k5"],
    );
    // The images as ids: never.
    const made = await itemsOf(await openImageSource(path, { ...AUTO, column: "img", idColumn: "img" }), path);
    assert.deepEqual([made[0]!.id, made[5]!.id], [`${name}#0`, `${name}#5`]);
  });

test("the only struct of bytes is the image column, whatever its name; a filter leaves rows out", async () => {
  const path = await file(
    "odd.arrow",
    arrowOfPictures("photo", [
      { bytes: Buffer.from("89504e4701", "hex") },
      { bytes: null },
      { bytes: Buffer.from("ff", "hex") },
    ]),
  );
  const source = await openImageSource(path, { ...AUTO, where: [{ column: "name", value: "n2" }] });
  assert.equal(source.read.column, "photo");
  const items = await itemsOf(source, path);
  assert.deepEqual(
    items.map((item) => [item.record, carried(item)]),
    [[2, "ff"]],
  );
  const counted = await Array.fromAsync(source.records());
  assert.deepEqual(
    counted.map(({ skipped }) => skipped),
    [true, true, undefined],
  );
});

test("an image over the limit costs its own row", async () => {
  const large = Buffer.alloc(20_000_001, 7);
  const most = large.subarray(1);
  for (const [name, bytes] of [
    [
      "large.arrow",
      arrowOfPictures("image", [{ bytes: most }, { bytes: large }, { bytes: Buffer.from("00ff", "hex") }]),
    ],
    ["large.parquet", parquetOfBytes("image", [most, large, Buffer.from("00ff", "hex")])],
    // Too long to be loaded with its neighbours, and alone.
    [
      "longer.arrow",
      arrowOfPictures("image", [
        { bytes: Buffer.from("first") },
        { bytes: Buffer.alloc(40_000_000, 7) },
        { bytes: Buffer.from("00ff", "hex") },
      ]),
    ],
  ] as const) {
    const path = await file(name, bytes);
    const items = await itemsOf(await openImageSource(path, AUTO), path, 100);
    assert.deepEqual(
      items.map(({ data, error }) => data?.length ?? error!.code),
      [name === "longer.arrow" ? 5 : 20_000_000, "FETCH_TOO_LARGE", 2],
      name,
    );
    assert.match(items[1]!.error!.message, /expected an image of at most 20000000 bytes in column "image", got \d{8}/);
  }
});

test("bytes as texts: those in UTF-8 are read, others are a row in error each, and none becomes an id", async () => {
  const values = [Buffer.from("a fine text"), Buffer.from("89504e470d0a1a0a00", "hex"), Buffer.from("last")];
  const path = await file("texts.parquet", parquetOfBytes("image", values));
  const records = await Array.fromAsync(
    (await openTextSource(path, { ...AUTO, column: "image", idColumn: "image" })).records(),
  );
  assert.deepEqual(
    records.map(({ id, text, error }) => [id, text ?? error!.message]),
    [
      ["a fine text", "a fine text"],
      ["texts.parquet#1", 'row 1: expected a text in column "image", got bytes that are not UTF-8'],
      ["last", "last"],
    ],
  );
  const arrow = await file("texts.arrow", tableToIPC(new Table({ text: vectorFromArray(values, new Binary()) })));
  const found = await Array.fromAsync((await openTextSource(arrow, AUTO)).records());
  assert.deepEqual(
    found.map(({ text, error }) => text ?? error!.code),
    ["a fine text", "RECORD_INVALID", "last"],
  );
});

test("a reference whose bytes are not UTF-8 is a row in error, and gives no id", async () => {
  const path = await file(
    "list.csv",
    Buffer.concat([Buffer.from("image,n\n"), Buffer.from("fffe2e706e672c310a", "hex")]),
  );
  const [record] = await Array.fromAsync((await openImageSource(path, AUTO)).records());
  assert.deepEqual([record!.id, record!.error!.code], ["list.csv#0", "RECORD_INVALID"]);
});

test("rows of Parquet that share one image share its copy: a small file does not fill the memory", async () => {
  const image = Buffer.alloc(5_000_000, 7);
  const path = await file("same.parquet", parquetOfBytes("image", Array(400).fill(image)));
  const items = await itemsOf(await openImageSource(path, AUTO), path, 400);
  assert.equal(items.length, 400);
  assert.equal(new Set(items.map(({ data }) => data)).size, 1);
});

test("a path that is not UTF-8 is no reference, and an id that is not UTF-8 is made", async () => {
  const odd = Buffer.from("61ff", "hex");
  const bytes = Buffer.from(
    arrowOfPictures("image", [
      { bytes: null, path: "??" },
      { bytes: odd, path: "ok" },
    ]),
  );
  const at = bytes.indexOf("??ok");
  odd.copy(bytes, at);
  odd.copy(bytes, bytes.indexOf("n0n1"));
  const path = await file("paths.arrow", bytes);
  const items = await itemsOf(await openImageSource(path, { ...AUTO, idColumn: "name" }), path);
  assert.deepEqual(
    items.map(({ id, error, data }) => [id, error?.message ?? data?.length]),
    [
      ["paths.arrow#0", 'row 0: expected an image\'s path in UTF-8 in column "image"'],
      ["n1", 2],
    ],
  );
});
