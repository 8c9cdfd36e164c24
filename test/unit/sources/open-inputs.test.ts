import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import type { ReadOptions } from "../../../src/schemas/input.ts";
import { type ExpandedInput, expandInputs } from "../../../src/sources/discover/expand-inputs.ts";
import { PassedOver } from "../../../src/sources/discover/passed-over.ts";
import { openImageSource } from "../../../src/sources/open-images.ts";
import { openFullInputs, openInputs } from "../../../src/sources/open-inputs.ts";
import type { Source } from "../../../src/sources/source.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { ownFiles } from "../../helpers/files.ts";
import { tarOf } from "../../helpers/inputs/tar.ts";

const inputs = Array.from({ length: 100 }, (_, index) => String(index));

function sourceOf(uri: string): Source {
  return {
    input: { uri, size: null, modifiedAt: null, hash: null },
    read: { format: "lines", delimiter: null, column: null, idColumn: null, keep: [] },
    async *records() {},
  };
}

test("inputs are opened concurrently, at most 16, and the sources are in the order of the inputs", async () => {
  let open = 0;
  let most = 0;
  const sources = await openInputs(inputs, async (input) => {
    most = Math.max(most, ++open);
    // Later inputs open faster.
    for (let turns = 100 - Number(input); turns > 0; turns--) await setImmediate();
    open--;
    return sourceOf(input);
  });
  assert.deepEqual(
    sources.map(({ input }) => input.uri),
    inputs,
  );
  assert.equal(most, 16);
  assert.deepEqual(await openInputs([], async (input) => sourceOf(input)), []);
});

test("the error is that of the first input that cannot be opened, and few are opened after it", async () => {
  const asked: string[] = [];
  const opening = openInputs(inputs, async (input) => {
    asked.push(input);
    if (input === "20") for (let turns = 0; turns < 10; turns++) await setImmediate();
    if (Number(input) >= 20) throw new Error(input);
    return sourceOf(input);
  });
  await assert.rejects(opening, { message: "20" });
  assert.ok(asked.length <= 20 + 16, `${asked.length} were opened`);
});

test("empty archives and images are passed over if there are other inputs; other errors are not", async () => {
  const file = await ownFiles();
  const empty = await file("empty.tar", "");
  const without = await file("texts.tar", tarOf([{ name: "a.txt", content: "x" }]));
  const list = await file("list.csv", "image\n");
  const full = await file("full.tar", tarOf([{ name: "a.png", content: "x" }]));
  const passedOver = new PassedOver();
  const read: ReadOptions = { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] };
  const open = ({ name }: ExpandedInput) => openImageSource(name, read);
  const opened = (...names: string[]) =>
    openFullInputs(
      names.map((name) => ({ name })),
      open,
      passedOver,
    );
  const sources = await opened(without, empty, list, full, without);
  assert.deepEqual(
    sources.map(({ input }) => input.uri),
    [pathToFileURL(full).href],
  );
  assert.deepEqual(passedOver.report, {
    count: 3,
    reasons: [
      { reason: "empty", count: 1, names: [empty] },
      { reason: "no-records", count: 2, names: [without, list] },
    ],
  });
  await assert.rejects(opened(empty, list), {
    code: "INPUT_EMPTY",
    message: /none of the 2 inputs has records; the first: .*empty\.tar/,
  });
  await assert.rejects(opened(full, `${full}-none`), { code: "INPUT_NOT_FOUND" });
});

test("a folder of archives gives each archive, and other files are reported or refused", async () => {
  const root = await mkdtemp(join(tmpdir(), "labelmill-shards-"));
  after(() => rm(root, { recursive: true }));
  const put = async (path: string, content: string | Uint8Array = "x") => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  };
  const shard = tarOf([{ name: "a.png", content: "x" }]);
  for (const path of ["b.tar", "a/0.tar", ".Trash/old.png", ".git/o.parquet"]) await put(`shards/${path}`, shard);
  await put("shards/README.md");
  await put("shards/empty.tar", "");
  const s3 = new S3();
  after(() => s3.close());
  const expand = async (folder: string, format: ReadOptions["format"] = "auto") => {
    const passedOver = new PassedOver();
    const found = await expandInputs([join(root, folder)], { s3, kind: "images", format, passedOver });
    const { reasons } = passedOver.report;
    return { paths: found.map(({ path }) => path), passed: reasons.map(({ reason, count }) => [reason, count]) };
  };
  const all = await expand("shards");
  assert.deepEqual(all.paths, ["a/0.tar", "b.tar"]);
  assert.deepEqual(
    new Map(all.passed as [string, number][]),
    new Map([
      ["hidden", 2],
      ["not-data", 1],
      ["empty", 1],
    ]),
  );

  await put("shards/index.parquet");
  await assert.rejects(expand("shards"), {
    code: "USAGE",
    message: /got both \("index.parquet", ".*\.tar"\); .*\*\*\/\*\.tar/,
  });
  assert.deepEqual((await expand("shards", "tar")).paths, ["a/0.tar", "b.tar"]);
  assert.deepEqual((await expand("shards", "parquet")).paths, ["index.parquet"]);

  // With an image, it is a folder of images. Its own source counts what is passed over.
  await put("shards/logo.png");
  assert.deepEqual((await expand("shards")).paths, [undefined]);
  const passedOver = new PassedOver();
  await openImageSource(
    join(root, "shards"),
    { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] },
    undefined,
    { passedOver },
  );
  assert.deepEqual(passedOver.report.reasons.find(({ reason }) => reason === "not-an-image")!.count, 5);
});
