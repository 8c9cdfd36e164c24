import assert from "node:assert/strict";
import { test } from "node:test";
import { BinaryView, Dictionary, Int32, makeData, Table, tableToIPC, Utf8View, Vector } from "apache-arrow";
import { namedFile } from "../../../../src/sources/bytes/read-file.ts";
import { openImageSource } from "../../../../src/sources/open-images.ts";
import { openTextSource } from "../../../../src/sources/open-texts.ts";
import { readSplit } from "../../../../src/sources/read-split.ts";
import type { Cut, Source } from "../../../../src/sources/source.ts";
import { ownFiles } from "../../../helpers/files.ts";
import { AUTO, NEVER } from "../../../helpers/inputs/read-source.ts";

const file = await ownFiles();

/** Views that refer to `length` bytes at each of the offsets. */
function viewsOf<T extends BinaryView | Utf8View>(type: T, bytes: Buffer, length: number, places: readonly number[]) {
  const views = Buffer.alloc(16 * places.length);
  for (const [index, place] of places.entries()) {
    views.writeInt32LE(length, 16 * index);
    bytes.copy(views, 16 * index + 4, place, place + 4);
    views.writeInt32LE(place, 16 * index + 12);
  }
  const data = { type, length: places.length, nullCount: 0, views: Uint8Array.from(views), variadicBuffers: [bytes] };
  return new Vector([makeData(data as never)]);
}

function firstCuts(source: Source, many: number): Promise<Cut[]> {
  const cuts = source.splitter!.cuts({ record: 0 }, () => ({ items: 1000, bytes: 8e6 }), undefined);
  return Array.fromAsync(
    (async function* () {
      for await (const cut of cuts) {
        yield cut;
        if (--many === 0) break;
      }
    })(),
  );
}

test("shared bytes of views count once for each view, in slices and windows", async () => {
  const bytes = Buffer.alloc(1_000_000, "view ");
  const places = Array.from({ length: 100 }, (_, row) => 10 * row);
  for (const [type, name] of [
    [new BinaryView(), "image"],
    [new Utf8View(), "text"],
  ] as const) {
    const table = new Table({ [name]: viewsOf(type, bytes, 900_000, places) });
    const path = await file(`${name}.arrow`, tableToIPC(table, "stream"));
    const source = await (name === "image" ? openImageSource(path, AUTO) : openTextSource(path, AUTO));
    const cuts = await firstCuts(source, 5);
    for (const { split } of cuts) assert.ok(split.count <= 9, `${split.count} values of 900,000 bytes`);
    const { split } = cuts.at(-1)!;
    const kind = name === "image" ? "image-classification" : "text-classification";
    const items = await Array.fromAsync(readSplit(split, kind, namedFile(path), NEVER));
    assert.deepEqual(
      items.map(({ record, data, text }) => [record, data?.length ?? text!.length]),
      Array.from({ length: split.count }, (_, row) => [split.first + row, 900_000]),
    );
  }
});

test("views without shared bytes count their own bytes", async () => {
  const bytes = Buffer.alloc(100_000, "view ");
  const places = Array.from({ length: 1000 }, (_, row) => 100 * row);
  const path = await file(
    "own.arrow",
    tableToIPC(new Table({ text: viewsOf(new Utf8View(), bytes, 100, places) }), "stream"),
  );
  const [cut] = await firstCuts(await openTextSource(path, AUTO), 1);
  assert.equal(cut!.split.count, 1000);
  assert.ok(cut!.bytes >= 116_000 && cut!.bytes < 117_000, String(cut!.bytes));
});

test("a dictionary whose views share one long text is refused if its values have too many bytes", async () => {
  const bytes = Buffer.alloc(3_000_000, "view ");
  const dictionary = viewsOf(new Utf8View(), bytes, 2_900_000, Array(1000).fill(0));
  const type = new Dictionary(new Utf8View(), new Int32(), 1);
  const data = makeData({ type, length: 10, nullCount: 0, data: new Int32Array(10), dictionary } as never);
  const path = await file("dictionary.arrow", tableToIPC(new Table({ text: new Vector([data]) }), "stream"));
  const message = /dictionary 1: expected at most 134217728 bytes/;
  await assert.rejects(firstCuts(await openTextSource(path, AUTO), 1), { code: "INPUT_UNREADABLE", message });
});
