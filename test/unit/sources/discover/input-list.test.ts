import assert from "node:assert/strict";
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { grantsOf, openImageSource, s3GrantsOf } from "../../../../src/sources/open-images.ts";
import type { SourceRecord } from "../../../../src/sources/source.ts";
import { S3 } from "../../../../src/storage/s3/s3.ts";
import { namesOf } from "../../../helpers/inputs/expand.ts";
import { AUTO, rejectsWith, validRecordsOf } from "../../../helpers/inputs/read-source.ts";

const s3 = new S3();

let root: string;
before(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), "labelmill-lists-")));
});
after(async () => {
  s3.close();
  await rm(root, { recursive: true });
});

async function file(name: string, content: string | Uint8Array = "text\nx\n"): Promise<string> {
  const path = join(root, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  return path;
}

async function expanded(...inputs: string[]): Promise<string[]> {
  return (await namesOf(inputs, s3, { fileRoots: ["/"] })).map((path) => path.replace(`${root}/`, ""));
}

async function imagesOf(from: string): Promise<SourceRecord[]> {
  return await validRecordsOf(await openImageSource(from, AUTO, s3));
}

test("a folder or pattern of texts gives its data files, in the order of their paths", async () => {
  const names = ["d/b.csv", "d/a/2.tsv", "d/a/10.csv", "d/é.csv", "d/[x].csv", "d/B.csv"];
  for (const name of names) await file(name);
  for (const name of ["d/_SUCCESS", "d/_tmp/c.csv", "d/.hidden.csv", "d/.h/x.csv"]) await file(name);
  await file("d/empty.csv", "");
  assert.deepEqual(await expanded(join(root, "d")), [
    "d/B.csv",
    "d/[x].csv",
    "d/a/10.csv",
    "d/a/2.tsv",
    "d/b.csv",
    "d/é.csv",
  ]);
  assert.deepEqual(await expanded(join(root, "d/**/*.csv")), [
    "d/B.csv",
    "d/[x].csv",
    "d/a/10.csv",
    "d/b.csv",
    "d/é.csv",
  ]);
  assert.deepEqual(await expanded(join(root, "d/{a,b}*")), ["d/b.csv"]);
  // An existing name is not a pattern. A hidden segment of the argument itself does not hide its files.
  assert.deepEqual(await expanded("-", join(root, "d/[x].csv"), join(root, "d/_tmp")), [
    "-",
    "d/[x].csv",
    "d/_tmp/c.csv",
  ]);
  await rejectsWith(expanded(join(root, "d/*.jsonl")), "INPUT_EMPTY", /no data in .*\*\.jsonl/);
  await mkdir(join(root, "nothing"));
  await rejectsWith(expanded(join(root, "nothing")), "INPUT_EMPTY", /no data in .*nothing/);
});

test("a list has one path or URI per line", async () => {
  const lines = ["# the data", "", "a.csv", "  ../up/b.csv  ", "/abs/c.csv", "s3://bucket/k%20ey.csv", "x y#z*.csv"];
  const url = pathToFileURL(join(root, "é.csv")).href;
  for (const end of ["\n", "\r\n"]) {
    const list = await file("lists/all.txt", `\ufeff${[...lines, url].join(end)}`);
    assert.deepEqual(await expanded(`@${list}`), [
      "lists/a.csv",
      "up/b.csv",
      "/abs/c.csv",
      "s3://bucket/k%20ey.csv",
      "lists/x y#z*.csv",
      "é.csv",
    ]);
  }
  const packed = await file("lists/all.txt.gz", gzipSync("a.csv\n"));
  assert.deepEqual(await expanded(`@${packed}`), ["lists/a.csv"]);
});

test("the error of a bad line in a list has the line number, and no secrets", async () => {
  const cases: [string | Uint8Array, RegExp][] = [
    [`a.csv\n${"x".repeat(1_100_000)}\nb.csv\n`, /"list\.txt"|list\.txt", line 2: .*too long/],
    [`a.csv\n\n${"x".repeat(9000)}\n`, /line 3: .*8192/],
    ["s3://b\n", /line 1: .*s3:\/\/BUCKET/],
    ["s3://bucket/a/\n", /line 1: expected an object/],
    ["a.csv\ns3://bucket/a//b.csv\n", /line 2: .*empty segments/],
    ["https://host/a.csv\n", /line 1: expected a path, a file: or an s3: URI/],
    ["gopher://host/a.csv\n", /line 1: .*scheme gopher/],
    ["a\0b.csv\n", /line 1: .*NUL/],
    [Buffer.from([0x61, 0xff, 0x0a]), /line 1: .*UTF-8/],
  ];
  for (const [content, message] of cases) {
    await rejectsWith(expanded(`@${await file("list.txt", content)}`), "INPUT_UNREADABLE", message);
  }
  const secret = await file("list.txt", "https://me:hunter2@host/a.csv?sig=hunter2\n");
  await assert.rejects(expanded(`@${secret}`), (error: Error) => !error.message.includes("hunter2"));
  await rejectsWith(expanded(`@${await file("none.txt", "# nothing\n")}`), "INPUT_EMPTY", /no data in/);
  await rejectsWith(expanded(`@${join(root, "gone.txt")}`), "INPUT_NOT_FOUND", /gone\.txt/);
  const half = gzipSync("a.csv\n".repeat(10_000));
  await rejectsWith(expanded(`@${await file("half.txt.gz", half.subarray(0, 60))}`), "INPUT_UNREADABLE", /gzip/);
});

test("a list with more inputs than a run may have is refused", async () => {
  const most = await file("most.txt", Array.from({ length: 100_000 }, (_, number) => `${number}.csv`).join("\n"));
  assert.equal((await expanded(`@${most}`)).length, 100_000);
  const more = await file("more.txt", `${"a.csv\n".repeat(100_001)}`);
  await rejectsWith(expanded(`@${more}`), "USAGE", /at most 100000 inputs/);
});

test("a CSV file of an S3 inventory names objects, with encoded keys", async () => {
  const rows = [
    '"bucket","in/a+b%2Bc.csv","12","2026-01-01T00:00:00.000Z"',
    '"bucket","in/empty.csv","0",""',
    '"bucket","in/folder/","0",""',
    '"bucket","in/_tmp/x.csv","3",""',
    '"bucket","in/%C3%A9%3F%2C.csv","5",""',
  ];
  for (const [name, content] of [
    ["inventory.csv", `${rows.join("\n")}\n`],
    ["inventory.csv.gz", gzipSync(rows.join("\n"))],
  ] as const) {
    const list = await file(name, content);
    assert.deepEqual(await expanded(`@${list}`), ["s3://bucket/in/a%20b+c.csv", "s3://bucket/in/%C3%A9%3F,.csv"]);
  }
  const versions = [
    '"bucket","now.csv","v2","true","false","9"',
    '"bucket","now.csv","v1","false","false","9"',
    '"bucket","gone.csv","v3","true","true",""',
    '"bucket","empty.csv","v3","true","false","0"',
  ].join("\n");
  assert.deepEqual(await expanded(`@${await file("versions.csv", versions)}`), ["s3://bucket/now.csv"]);
  for (const [bad, where] of [
    ['"bucket","a.csv"\n"bucket","%zz.csv"', /line 2: expected "BUCKET","KEY"/],
    ["path\na.csv", /line 1: expected "BUCKET","KEY"/],
    ['"bucket","a.csv"\n"x/y","a.csv"', /line 2/],
    ['"bucket","a.csv"\n"bucket","a', /line 2/],
  ] as const) {
    await rejectsWith(expanded(`@${await file("bad.csv", bad)}`), "INPUT_UNREADABLE", where);
  }
});

test("a file that is not the manifest of an inventory is refused", async () => {
  const manifest = { destinationBucket: "arn:aws:s3:::to", fileFormat: "Parquet", fileSchema: "", files: [] };
  for (const [content, message] of [
    ["{", /manifest\.json": expected the manifest\.json/],
    ['{"files":[]}', /destinationBucket/],
    [JSON.stringify(manifest), /in CSV, got "Parquet"/],
    [Buffer.alloc((16 << 20) + 1, 0x20), /at most 16777216 bytes/],
  ] as const) {
    await rejectsWith(expanded(`@${await file("manifest.json", content)}`), "INPUT_UNREADABLE", message);
  }
});

test("a list of images is one input with bad lines as rows in error; a list of archives is several inputs", async () => {
  const list = await file("photos/list", "# photos\na.jpg\nhttps://host/b\nftp://host/c.jpg\n\ns3://bucket/d.jpg\n");
  assert.deepEqual(await namesOf([`@${list}`, "https://host/list.csv"], s3, { kind: "images" }), [
    `@${list}`,
    "https://host/list.csv",
  ]);
  const found = await imagesOf(`@${list}`);
  assert.deepEqual(
    found.map(({ id, image, error }) => [id, error?.code ?? image]),
    [
      ["a.jpg", pathToFileURL(join(root, "photos/a.jpg")).href],
      ["https://host/b", "https://host/b"],
      ["ftp://host/c.jpg", "URL_REFUSED"],
      ["s3://bucket/d.jpg", "s3://bucket/d.jpg"],
    ],
  );
  assert.deepEqual(await grantsOf(`@${list}`), [join(root, "photos")]);
  assert.deepEqual(await grantsOf("@s3://bucket/a/list.txt"), []);
  assert.deepEqual(s3GrantsOf("@s3://bucket/a/list.txt"), ["s3://bucket/a/"]);
  assert.deepEqual(s3GrantsOf("s3://bucket/a/*.jpg"), ["s3://bucket/a/"]);

  const inventory = await file("photos.csv", '"bucket","a.jpg"\n"bucket","notes.txt"\n"bucket","b//c.png"\n');
  const ofInventory = await imagesOf(`@${inventory}`);
  assert.deepEqual(
    ofInventory.map(({ id, image, error }) => [id, error?.code ?? image]),
    [
      ["a.jpg", "s3://bucket/a.jpg"],
      ["b//c.png", "URL_REFUSED"],
    ],
  );
  await rejectsWith(imagesOf(`@${await file("texts.csv", '"bucket","a.txt"\n')}`), "INPUT_EMPTY", /no images/);

  const archives = await file("shards/list.txt", "1.tar\n2.tar\n");
  for (const name of ["shards/1.tar", "shards/2.tar", "shards/_3.tar"]) await file(name);
  const both = [join(root, "shards/1.tar"), join(root, "shards/2.tar")];
  assert.deepEqual(await namesOf([`@${archives}`], s3, { kind: "images" }), both);
  assert.deepEqual(await namesOf([join(root, "shards/*.tar")], s3, { kind: "images" }), both);
  const photos = join(root, "photos/*.jpg");
  assert.deepEqual(await namesOf([photos, join(root, "photos")], s3, { kind: "images" }), [
    photos,
    join(root, "photos"),
  ]);
});

test("a list may name only files in its own folder and granted files", async () => {
  const list = await file("own/list.txt", "a.csv\nin/b.csv\nin/../c.csv\n");
  const names = ["a.csv", "in/b.csv", "c.csv"].map((name) => join(root, "own", name));
  for (const name of ["own/a.csv", "own/in/b.csv", "own/c.csv", "secret/x.csv"]) await file(name);
  assert.deepEqual(await namesOf([`@${list}`], s3), names);
  await symlink(join(root, "secret/x.csv"), join(root, "own/link.csv"));
  await symlink(join(root, "secret"), join(root, "own/folder"));
  await symlink(join(root, "own/a.csv"), join(root, "own/near.csv"));
  const secret = pathToFileURL(join(root, "secret/x.csv")).href;
  for (const line of ["../secret/x.csv", join(root, "secret/x.csv"), secret, "link.csv", "folder/x.csv", "/gone.csv"]) {
    const hostile = await file("own/hostile.txt", `a.csv\n\n${line}\n`);
    await rejectsWith(namesOf([`@${hostile}`], s3), "INPUT_UNREADABLE", /hostile\.txt", line 3: .*--file-roots/);
    const granted = { fileRoots: [join(root, "secret"), "/gone.csv"] };
    assert.equal((await namesOf([`@${hostile}`], s3, granted)).length, 2, line);
  }
  assert.equal((await namesOf([`@${await file("own/near.txt", "near.csv\n")}`], s3)).length, 1);
});
