import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Binary, Table, tableToIPC, Utf8, vectorFromArray } from "apache-arrow";
import { expandInputs } from "../../../src/sources/discover/expand-inputs.ts";
import { openImageSource } from "../../../src/sources/open-images.ts";
import { openTextSource } from "../../../src/sources/open-texts.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { s3Uri } from "../../../src/storage/s3/uri.ts";
import { arrowOfPictures } from "../../helpers/inputs/image-tables.ts";
import { AUTO, readSplits, recordsOf, splitsOf } from "../../helpers/inputs/read-source.ts";
import { openTestBucket } from "../../helpers/servers/s3-bucket.ts";

const { server, s3, bucket } = await openTestBucket();

function fixture(name: string): Promise<Buffer> {
  return readFile(fileURLToPath(new URL(`../../fixtures/arrow/${name}`, import.meta.url)));
}

/** A client that counts the bytes that it reads. */
class CountingS3 extends S3 {
  bytes = 0;
  override async *stream(...asked: Parameters<S3["stream"]>): ReturnType<S3["stream"]> {
    for await (const piece of super.stream(...asked)) {
      this.bytes += piece.length;
      yield piece;
    }
  }
}

test("Arrow on S3: only the needed columns of a batch are read, by ranges, and splits give the records of the whole object", async () => {
  const at = { bucket, key: `${randomBytes(4).toString("hex")}/data.arrow` };
  const text = vectorFromArray(
    Array.from({ length: 200 }, (_, row) => `text ${row}`),
    new Utf8(),
  );
  const large = vectorFromArray(
    Array.from({ length: 200 }, (_, row) => Buffer.alloc(20_000, row)),
    new Binary(),
  );
  for (const form of ["stream", "file"] as const) {
    const bytes = tableToIPC(new Table({ large, text }), form);
    await s3.put(at, bytes);
    const counting = new CountingS3(server.settings);
    try {
      const source = await openTextSource(s3Uri(at), AUTO, counting);
      const records = await recordsOf(source);
      assert.deepEqual(
        records.map((record) => record.text),
        Array.from({ length: 200 }, (_, row) => `text ${row}`),
      );
      assert.deepEqual(await readSplits(await splitsOf(source, { items: 40 }), { place: { s3: counting } }), records);
      assert.ok(counting.bytes < bytes.length / 4, `${counting.bytes} of ${bytes.length} bytes`);
    } finally {
      counting.close();
    }
  }
});

test("Arrow on S3: compressed batches are read, and a replaced object fails its cuts with INPUT_CHANGED", async () => {
  const at = { bucket, key: `${randomBytes(4).toString("hex")}/data.arrows` };
  await s3.put(at, await fixture("zstd.arrows"));
  const source = await openTextSource(s3Uri(at), { ...AUTO, keep: ["kind"] }, s3);
  const records = await recordsOf(source);
  assert.equal(records.length, 90);
  assert.deepEqual(await readSplits(await splitsOf(source, { items: 40 }), { place: { s3 } }), records);
  // Cached data of the object stays valid, so an object that was not read yet has to be planned.
  await s3.put(at, await fixture("file.arrow"));
  const other = await openTextSource(s3Uri(at), AUTO, s3);
  await s3.put(at, await fixture("stream.arrows"));
  const isChanged = { code: "INPUT_CHANGED", message: /data\.arrows changed while it was read/ };
  await assert.rejects(splitsOf(other, { items: 40 }), isChanged);
  await assert.rejects(Array.fromAsync(other.records()), isChanged);
});

test("a prefix of tables: images are read by ranges, and a path without bytes is relative to its table", async () => {
  const prefix = randomBytes(4).toString("hex");
  const put = async (name: string, bytes: Uint8Array) => await s3.put({ bucket, key: `${prefix}/${name}` }, bytes);
  const image = Buffer.from("89504e470000", "hex");
  await put("README.md", Buffer.from("about\n"));
  await put("data/a.arrow", arrowOfPictures("image", [{ bytes: image }, { bytes: null, path: "b/c.png" }]));
  await put("data/b.arrow", arrowOfPictures("image", [{ bytes: image, path: "x" }]));
  const place = { bucket, key: `${prefix}/` };
  const named = (await expandInputs([s3Uri(place)], { s3, kind: "images" })).map(({ name }) => name);
  assert.deepEqual(named, [
    s3Uri({ bucket, key: `${prefix}/data/a.arrow` }),
    s3Uri({ bucket, key: `${prefix}/data/b.arrow` }),
  ]);
  const source = await openImageSource(named[0]!, AUTO, s3);
  const items = await readSplits(await splitsOf(source, { items: 40 }), {
    task: "image-classification",
    place: { s3 },
  });
  assert.deepEqual(
    items.map(({ id, image: reference, data }) => [id, reference ?? data?.length]),
    [
      ["a.arrow#0", 6],
      ["a.arrow#1", s3Uri({ bucket, key: `${prefix}/data/b/c.png` })],
    ],
  );
});
