import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { LabelmillError } from "../../../src/errors.ts";
import { readManifest } from "../../../src/outputs/output.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { partKey } from "../../../src/schemas/names.ts";
import { openImageSource } from "../../../src/sources/open-images.ts";
import { openTextSource } from "../../../src/sources/open-texts.ts";
import { readSplit } from "../../../src/sources/read-split.ts";
import { namesOf } from "../../helpers/inputs/expand.ts";
import { AUTO, NEVER } from "../../helpers/inputs/read-source.ts";
import { tarOf } from "../../helpers/inputs/tar.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";
import { openTestBucket } from "../../helpers/servers/s3-bucket.ts";

const PICTURES = fileURLToPath(new URL("../../../examples/images/", import.meta.url));

const { s3, bucket } = await openTestBucket();

async function object(key: string, content: string | Uint8Array): Promise<string> {
  await s3.put({ bucket, key }, Buffer.from(content));
  return `s3://${bucket}/${encodeURI(key)}`;
}

test("images in an archive get the same labels as files", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1 }, { models: ["tiny-image"] });
  const folder = join(pipeline.folder, "pictures");
  await mkdir(folder);
  const names = (await readdir(PICTURES)).sort();
  const entries = [];
  for (const name of names) {
    const content = await readFile(join(PICTURES, name));
    await writeFile(join(folder, name), content);
    entries.push({ name, content }, { name: name.replace(/\.\w+$/, ".json"), content: "{}" });
  }
  await writeFile(join(pipeline.folder, "shard.tar"), tarOf([...entries, { name: "zz.jpg", content: "no image" }]));
  const run = async (path: string, out: string, travels: "split" | "inline") => {
    const { state, store, runFile } = await pipeline.run(
      { kind: "images", path, model: "tiny-image", out, travels },
      { sliceItems: 4 },
    );
    const { ok, problems } = await verifyOutput(store);
    assert.deepEqual([ok, problems], [true, []]);
    const parts = Array.from({ length: 4 }, (_, slice) => store.get(partKey(runFile.run, slice)));
    const lines = (await Promise.all(parts)).flatMap((part) => Buffer.from(part!).toString().trim().split("\n"));
    const rows = lines.map((line) => JSON.parse(line));
    const { passedOver } = (await readManifest(store))!;
    return { state, rows, passedOver };
  };
  const files = await run(folder, "of-files", "inline");
  const shard = await run(join(pipeline.folder, "shard.tar"), "of-shard", "split");
  assert.deepEqual([files.state, shard.state], ["succeeded", "finished_with_errors"]);
  // The metadata beside the images, which is not kept.
  assert.deepEqual(
    shard.passedOver?.reasons.map(({ reason, count }) => [reason, count]),
    [["not-an-image", names.length]],
  );
  assert.equal(files.passedOver?.count, 0);
  assert.equal(files.rows.length, names.length);
  assert.deepEqual(
    shard.rows.slice(0, -1).map(({ id, labels }) => [id, labels]),
    files.rows.map(({ id, labels }) => [id.replace(/\.\w+$/, ""), labels]),
  );
  assert.deepEqual([shard.rows.at(-1).id, shard.rows.at(-1).error.code], ["zz", "IMAGE_INVALID"]);
});

test("an archive on S3 is read like a file, large members by separate requests, and a replaced archive is refused", async () => {
  const large = randomBytes(3_000_000);
  const shard = tarOf([
    { name: "a.cls", content: "1" },
    { name: "a.jpg", content: "A" },
    { name: "b.bin", content: large },
    { name: "b.jpg", content: large.subarray(0, 2_000_000) },
    { name: "c.bin", content: large },
    { name: "c.jpg", content: "C" },
  ]);
  const uri = await object("shards/1.tar", shard);
  await object("shards/_2.tar", shard);
  assert.deepEqual(await namesOf([`s3://${bucket}/shards/*.tar`], s3, { kind: "images" }), [uri]);
  const source = await openImageSource(uri, { ...AUTO, keep: ["cls"] }, s3);
  const cuts = await Array.fromAsync(
    source.splitter!.cuts({ record: 0 }, () => ({ items: 2, bytes: 10_000_000 }), undefined),
  );
  const read = async () => {
    const parts = cuts.map(({ split }) => Array.fromAsync(readSplit(split, "image-classification", { s3 }, NEVER)));
    return (await Promise.all(parts)).flat();
  };
  const found = await read();
  assert.deepEqual(
    found.map(({ record, id, input, data }) => [record, id, input!.cls, data!.length]),
    [
      [0, "a", "1", 1],
      [1, "b", null, 2_000_000],
      [2, "c", null, 1],
    ],
  );
  assert.ok(large.subarray(0, 2_000_000).equals(found[1]!.data!));
  assert.equal(Buffer.from(found[2]!.data!).toString(), "C");
  await object("shards/1.tar", tarOf([{ name: "a.jpg", content: "other" }]));
  await assert.rejects(read(), { code: "INPUT_CHANGED", message: /shards\/1\.tar/ });
  await assert.rejects(Array.fromAsync(source.records()), { code: "INPUT_CHANGED", message: /shards\/1\.tar/ });
});

test("a pattern of keys gives the matching objects, nothing hidden below its fixed prefix", async () => {
  for (const key of [
    "g/a/1.jsonl.gz",
    "g/a/b/2.jsonl.gz",
    "g/a/3.jsonl",
    "g/a/_4.jsonl.gz",
    "g/a/x*y.csv",
    "g/a/xzy.csv",
  ])
    await object(key, "x");
  await object("g/a/empty.jsonl.gz", "");
  const named = async (pattern: string) =>
    (await namesOf([`s3://${bucket}/${pattern}`], s3)).map((uri) => uri.replace(`s3://${bucket}/`, ""));
  assert.deepEqual(await named("g/a/*.jsonl.gz"), ["g/a/1.jsonl.gz"]);
  assert.deepEqual(await named("g/**/*.{gz,jsonl}"), ["g/a/1.jsonl.gz", "g/a/3.jsonl", "g/a/b/2.jsonl.gz"]);
  assert.deepEqual(await named("g/a/x*y.csv"), ["g/a/x*y.csv", "g/a/xzy.csv"]);
  assert.deepEqual(await named("g/*/x%2A?.csv".replace("?", "y")), ["g/a/x*y.csv"]);
  await assert.rejects(named("g/*.none"), { code: "INPUT_EMPTY", message: /\*\.none/ });
  await assert.rejects(named("g/*?.csv"), { code: "USAGE", message: /%3F/ });
  await assert.rejects(namesOf([`s3://${bucket}-none/*.csv`], s3), {
    code: "STORE_FAILED",
    message: /bucket does not exist/,
  });

  for (const key of ["i/b.jpg", "i/a.png", "i/c/d.jpg", "i/.e.jpg", "i/notes.txt"]) await object(key, "x");
  const source = await openImageSource(`s3://${bucket}/i/*.{jpg,png,txt}`, AUTO, s3);
  const ids = (await Array.fromAsync(source.records())).map(({ id, image }) => [id, image]);
  assert.deepEqual(ids, [
    ["a.png", `s3://${bucket}/i/a.png`],
    ["b.jpg", `s3://${bucket}/i/b.jpg`],
  ]);
  await assert.rejects(openImageSource(`s3://${bucket}/i/*.gif`, AUTO, s3), { code: "INPUT_NOT_FOUND" });
});

test("a list on S3 names keys below its prefix, and the manifest of an inventory all objects of its data files", async () => {
  const list = await object("l/list.txt", `a.csv\nb/c.csv\ns3://other/d.csv\n`);
  assert.deepEqual(await namesOf([`@${list}`], s3), [
    `s3://${bucket}/l/a.csv`,
    `s3://${bucket}/l/b/c.csv`,
    "s3://other/d.csv",
  ]);
  await object("l/up.txt", "../a.csv\n");
  await assert.rejects(namesOf([`@s3://${bucket}/l/up.txt`], s3), { code: "INPUT_UNREADABLE", message: /line 1/ });
  await assert.rejects(namesOf([`@s3://${bucket}/l/none.txt`], s3), { code: "INPUT_NOT_FOUND" });

  const rows = (keys: readonly string[], size: number) =>
    gzipSync(keys.map((key) => `"${size}","${bucket}","${key}"\n`).join(""));
  await object("inv/data/1.csv.gz", rows(["in/a+b.csv", "in/x.jpg"], 5));
  await object("inv/data/2.csv.gz", rows(["in/y.png"], 7));
  await object("inv/data/3.csv.gz", rows(["in/empty.jpg"], 0));
  const manifest = {
    sourceBucket: bucket,
    destinationBucket: `arn:aws:s3:::${bucket}`,
    version: "2016-11-30",
    fileFormat: "CSV",
    fileSchema: "Size, Bucket, Key",
    files: [1, 2, 3].map((file) => ({ key: `inv/data/${file}.csv.gz`, size: 1, MD5checksum: "" })),
  };
  const uri = await object("inv/manifest.json", JSON.stringify(manifest));
  // For texts: all but the images.
  assert.deepEqual(await namesOf([`@${uri}`], s3), [`s3://${bucket}/in/a%20b.csv`]);
  const images = await Array.fromAsync((await openImageSource(`@${uri}`, AUTO, s3)).records());
  assert.deepEqual(
    images.map(({ record, id }) => [record, id]),
    [
      [0, "in/x.jpg"],
      [1, "in/y.png"],
    ],
  );
  // Its data files are read with the rights of the process that reads the manifest, and their keys become ids.
  const elsewhere = await object(
    "inv/other/manifest.json",
    JSON.stringify({ ...manifest, destinationBucket: "other" }),
  );
  const refused = { code: "INPUT_UNREADABLE", message: /data files in its own bucket, got "other"/ };
  await assert.rejects(namesOf([`@${elsewhere}`], s3), refused);
  await assert.rejects(openImageSource(`@${elsewhere}`, AUTO, s3), refused);
  const asked: string[] = [];
  const granted = async (file: string) => {
    asked.push(file);
    if (file.endsWith("/2.csv.gz")) throw new LabelmillError("NOT_GRANTED", file);
  };
  await assert.rejects(openImageSource(`@${uri}`, AUTO, s3, { granted }), { code: "NOT_GRANTED" });
  assert.deepEqual(asked, [`s3://${bucket}/inv/data/1.csv.gz`, `s3://${bucket}/inv/data/2.csv.gz`]);
  const gone = { ...manifest, files: [{ key: "inv/data/4.csv.gz" }] };
  const broken = await object("inv/gone/manifest.json", JSON.stringify(gone));
  await assert.rejects(namesOf([`@${broken}`], s3), { code: "INPUT_NOT_FOUND", message: /4\.csv\.gz/ });
});

test("the error of an object that is replaced between opening and reading has its name", async () => {
  const uri = await object("changing.csv", "text\na\n");
  const source = await openTextSource(uri, AUTO, s3);
  await object("changing.csv", "text\nb\n");
  await assert.rejects(Array.fromAsync(source.records()), { code: "INPUT_CHANGED", message: /changing\.csv changed/ });
});

test("a list or table on S3 cannot name files of this machine, even granted ones", async () => {
  const everything = { fileRoots: ["/"] };
  for (const line of ["file:///etc/passwd", "FILE:///etc/passwd", "file:/etc/passwd"]) {
    const list = await object("remote/list.txt", `a.csv\n${line}\n`);
    for (const kind of ["text", "images"] as const) {
      const archives = await object("remote/archives.txt", `a.tar\n${line}\n`);
      await assert.rejects(namesOf([`@${kind === "text" ? list : archives}`], s3, { kind, ...everything }), {
        code: "INPUT_UNREADABLE",
        message: /line 2: .*cannot name files of this machine/,
      });
    }
    const pictures = await object("remote/pictures.txt", `a.jpg\n${line}\n`);
    const table = await object("remote/pictures.csv", `image\na.jpg\n${line}\n`);
    for (const from of [`@${pictures}`, pictures, table]) {
      const source = await openImageSource(from, AUTO, s3);
      const found = await Array.fromAsync(source.records());
      const read = [found];
      // As a worker reads it.
      for await (const { split } of source.splitter?.cuts(
        { record: 0 },
        () => ({ items: 9, bytes: 9999 }),
        undefined,
      ) ?? [])
        read.push(await Array.fromAsync(readSplit(split, "image-classification", { s3 }, NEVER)));
      for (const records of read)
        assert.deepEqual(
          records.map(({ image, error }) => error?.code ?? image),
          [`s3://${bucket}/remote/a.jpg`, "URL_REFUSED"],
          from,
        );
    }
  }
});
