import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openImageSource } from "../../../src/sources/open-images.ts";
import { openTextSource } from "../../../src/sources/open-texts.ts";
import { readSplit } from "../../../src/sources/read-split.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { s3Uri } from "../../../src/storage/s3/uri.ts";
import { AUTO, NEVER } from "../../helpers/inputs/read-source.ts";
import { openTestBucket } from "../../helpers/servers/s3-bucket.ts";

const { server, s3, bucket } = await openTestBucket();

function fixture(codec: string): Promise<Buffer> {
  return readFile(fileURLToPath(new URL(`../../fixtures/parquet/${codec}.parquet`, import.meta.url)));
}

/** A client that records the requested ranges. */
class CountingS3 extends S3 {
  readonly ranges: { start: number; end?: number }[] = [];
  override stream(...asked: Parameters<S3["stream"]>): ReturnType<S3["stream"]> {
    this.ranges.push(asked[1]?.range ?? { start: 0 });
    return super.stream(...asked);
  }
}

test("Parquet on S3: only the footer and the needed columns are read, and a split has the rows of the whole object", async () => {
  const at = { bucket, key: `${randomBytes(4).toString("hex")}/data.parquet` };
  // The columns that are not requested are most of the object.
  const bytes = await fixture("snappy");
  await s3.put(at, bytes);
  const counting = new CountingS3(server.settings);
  try {
    const source = await openTextSource(s3Uri(at), { ...AUTO, column: "kind" }, counting);
    counting.ranges.length = 0;
    const records = await Array.fromAsync(source.records());
    assert.equal(records.length, 90);
    assert.ok(records.every(({ text }, row) => text === (row % 2 === 0 ? "even" : "odd")));
    const read = counting.ranges.reduce((sum, { start, end = bytes.length }) => sum + end - start, 0);
    assert.ok(counting.ranges.length === 3 && read < bytes.length / 10, `${read} of ${bytes.length} bytes`);
    const cuts = await Array.fromAsync(
      source.splitter!.cuts({ record: 0 }, () => ({ items: 40, bytes: 1e6 }), undefined),
    );
    const parts = cuts.map(({ split }) => Array.fromAsync(readSplit(split, "text-classification", { s3 }, NEVER)));
    assert.deepEqual((await Promise.all(parts)).flat(), records);
    const images = await openImageSource(s3Uri(at), { ...AUTO, column: "kind" }, s3);
    const [first] = await Array.fromAsync(images.records());
    assert.equal(first!.image, s3Uri({ ...at, key: at.key.replace("data.parquet", "even") }));
  } finally {
    counting.close();
  }
});

test("Parquet on S3: a replaced object fails the split with INPUT_CHANGED", async () => {
  const at = { bucket, key: `${randomBytes(4).toString("hex")}/data.parquet` };
  await s3.put(at, await fixture("gzip"));
  const source = await openTextSource(s3Uri(at), AUTO, s3);
  const cuts = source.splitter!.cuts({ record: 0 }, () => ({ items: 40, bytes: 1e6 }), undefined);
  const { split } = (await Array.fromAsync(cuts))[0]!;
  await s3.put(at, await fixture("zstd"));
  const read = Array.fromAsync(readSplit(split, "text-classification", { s3 }, NEVER));
  await assert.rejects(read, { code: "INPUT_CHANGED", message: /data\.parquet changed while it was read/ });
});
