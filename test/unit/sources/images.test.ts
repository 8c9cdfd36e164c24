import assert from "node:assert/strict";
import { mkdir, mkdtemp, realpath, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import type { ReadOptions } from "../../../src/schemas/input.ts";
import { grantsOf, openImageSource, s3GrantsOf } from "../../../src/sources/open-images.ts";
import type { SourceRecord } from "../../../src/sources/source.ts";
import { AUTO, rejectsWith, validRecordsOf } from "../../helpers/inputs/read-source.ts";

const PNG = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");

let root: string;
let photos: string;
before(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), "labelmill-images-")));
  photos = join(root, "photos");
  await mkdir(join(photos, "b", "deep"), { recursive: true });
  await mkdir(join(photos, ".hidden"));
  await mkdir(join(root, "outside"));
  const names = [
    "z.jpg",
    "B.PNG",
    "a.webp",
    "é.gif",
    "b/1.tiff",
    "b/deep/2.avif",
    "b 50%#?.jfif",
    "n.JPE",
    "o.bmp",
    "notes.txt",
    "v.svg",
    "h.heic",
    ".x.jpg",
    ".hidden/y.jpg",
  ];
  for (const name of names) await writeFile(join(photos, name), PNG);
  await writeFile(join(root, "outside", "secret.jpg"), PNG);
  await symlink(join(root, "outside", "secret.jpg"), join(photos, "out.jpg"));
  await symlink(join(root, "outside"), join(photos, "outdir"));
  await symlink(photos, join(photos, "loop"));
  await symlink(join(photos, "z.jpg"), join(photos, "in.jpg"));
  await symlink(join(photos, "gone.jpg"), join(photos, "dangling.jpg"));
});
after(() => rm(root, { recursive: true }));

const IN_ORDER = ["B.PNG", "a.webp", "b 50%#?.jfif", "b/1.tiff", "b/deep/2.avif", "in.jpg", "n.JPE", "z.jpg", "é.gif"];

async function records(from: string | { stdin: Readable }, read: Partial<ReadOptions> = {}): Promise<SourceRecord[]> {
  return await validRecordsOf(await openImageSource(from, { ...AUTO, ...read }));
}

async function refuses(from: string, code: string, message: RegExp, read: Partial<ReadOptions> = {}): Promise<void> {
  await rejectsWith(openImageSource(from, { ...AUTO, ...read }), code, message);
}

async function file(name: string, content: string | Uint8Array): Promise<string> {
  await writeFile(join(root, name), content);
  return join(root, name);
}

test("a folder gives the images of all subfolders in the byte order of their paths, nothing hidden, nothing outside", async () => {
  const source = await openImageSource(photos, AUTO);
  const found = await Array.fromAsync(source.records());
  assert.deepEqual(
    found.map(({ id }) => id),
    IN_ORDER,
  );
  assert.deepEqual(found[2], {
    record: 2,
    id: "b 50%#?.jfif",
    image: pathToFileURL(join(photos, "b 50%#?.jfif")).href,
    input: { image: "b 50%#?.jfif" },
  });
  for (const { image, id } of found) assert.equal(fileURLToPath(image!), join(photos, id));
  assert.equal(source.input.uri, pathToFileURL(photos).href);
  assert.deepEqual([source.input.size, source.input.modifiedAt], [IN_ORDER.length, null]);
  assert.deepEqual(await grantsOf(photos), [photos]);
});

test("a folder's identity changes only with a file's time, size or name", async () => {
  const folder = join(root, "changing");
  await mkdir(folder);
  const hash = async (): Promise<string | null> => (await openImageSource(folder, AUTO)).input.hash;
  await writeFile(join(folder, "a.jpg"), PNG);
  await utimes(join(folder, "a.jpg"), 1, 1);
  const first = await hash();
  await writeFile(join(folder, "notes.txt"), "x");
  assert.equal(await hash(), first);
  await utimes(join(folder, "a.jpg"), 1, 2);
  assert.notEqual(await hash(), first);
  await utimes(join(folder, "a.jpg"), 1, 1);
  assert.equal(await hash(), first);
  await writeFile(join(folder, "b.jpg"), PNG);
  assert.notEqual(await hash(), first);
});

test("a pattern gives matches in byte order, relative to its base folder, and links cannot lead out of it", async () => {
  const found = await records(join(photos, "**/*"));
  assert.deepEqual(
    found.map(({ id }) => id),
    IN_ORDER,
  );
  assert.deepEqual(
    (await records(join(photos, "{a,z}.{webp,jpg}"))).map(({ id }) => id),
    ["a.webp", "z.jpg"],
  );
  assert.deepEqual(
    (await records(join(photos, "b/*/2.*"))).map(({ id, image }) => [id, image]),
    [["deep/2.avif", pathToFileURL(join(photos, "b/deep/2.avif")).href]],
  );
  assert.deepEqual(await grantsOf(join(photos, "b/*/2.*")), [join(photos, "b")]);
  const source = await openImageSource(join(photos, "*.jpg"), AUTO);
  assert.deepEqual([source.input.uri, source.input.size], [pathToFileURL(join(photos, "*.jpg")).href, 2]);
});

test("a file name that is not UTF-8 is a record", {
  skip: process.platform !== "linux" && "such names are Linux's",
}, async () => {
  const folder = join(root, "names");
  await mkdir(folder);
  await writeFile(Buffer.concat([Buffer.from(`${folder}/`), Buffer.of(0xff), Buffer.from(".jpg")]), PNG);
  assert.deepEqual(
    (await records(folder)).map(({ id }) => id),
    ["\uFFFD.jpg"],
  );
});

test("a file whose name looks like a pattern is a file", async () => {
  const path = await file("[1].png", PNG);
  assert.deepEqual(await records(path), [
    { record: 0, id: path, image: pathToFileURL(path).href, input: { image: path } },
  ]);
  assert.deepEqual(await grantsOf(path), [path]);
});

test("a single image is detected by its extension or its first bytes", async () => {
  const magics = [
    "ffd8ffe000104a4649460001",
    "89504e470d0a1a0a00000000",
    "474946383961000000000000",
    "49492a000800000000000000",
    "4d4d002a0000000800000000",
    "524946460000000057454250",
    "0000001c6674797061766966",
    "424d36000000000000003600",
  ];
  for (const [index, magic] of magics.entries()) {
    assert.equal((await records(await file(`magic${index}`, Buffer.from(magic, "hex")))).length, 1, magic);
  }
  assert.equal((await records(await file("broken.jpg", "no image"))).length, 1);
  await refuses(await file("zero.jpg", ""), "INPUT_EMPTY", /zero\.jpg/);
});

test("a URL is one image", async () => {
  assert.deepEqual(await records("https://example.com/a b.jpg?x=1"), [
    {
      record: 0,
      id: "https://example.com/a b.jpg?x=1",
      image: "https://example.com/a%20b.jpg?x=1",
      input: { image: "https://example.com/a b.jpg?x=1" },
    },
  ]);
  assert.deepEqual(await grantsOf("https://example.com/a.jpg"), []);
  await refuses("ftp://example.com/a.jpg", "URL_REFUSED", /ftp/);
  await refuses("file:///etc/a.jpg", "URL_REFUSED", /by its path/);
  await refuses("https://joe:hunter2@example.com/a.jpg", "URL_REFUSED", /^(?!.*hunter2).*password/);
});

test("a plain list: paths relative to the list's folder, URLs, and each refused reference", async () => {
  const lines = [
    "photos/a.webp",
    "",
    "  /abs/x.jpg  ",
    "HTTPS://Example.com/x.jpg",
    pathToFileURL(join(photos, "é.gif")).href,
    "s3://bucket/x.jpg",
    "data:image/png;base64,AAAA",
    "http://joe:hunter2@example.com/x.jpg",
    "http://joe:hunter2@exa mple.com/x.jpg",
    "file://host/x.jpg",
    "a\0b.jpg",
    `http://example.com/${"x".repeat(9000)}`,
    "img:1.jpg",
  ];
  const path = await file("list.txt", lines.join("\n"));
  const found = await records(path);
  assert.deepEqual(
    found.map(({ line, image, error }) => [line, error?.code ?? image]),
    [
      [1, pathToFileURL(join(photos, "a.webp")).href],
      [3, "file:///abs/x.jpg"],
      [4, "https://example.com/x.jpg"],
      [5, pathToFileURL(join(photos, "é.gif")).href],
      [6, "s3://bucket/x.jpg"],
      [7, "URL_REFUSED"],
      [8, "URL_REFUSED"],
      [9, "URL_REFUSED"],
      [10, "URL_REFUSED"],
      [11, "RECORD_INVALID"],
      [12, "RECORD_TOO_LARGE"],
      [13, pathToFileURL(join(root, "img:1.jpg")).href],
    ],
  );
  assert.deepEqual([found[0]!.id, found[0]!.input], ["photos/a.webp", { image: "photos/a.webp" }]);
  assert.equal(found[6]!.id, "http://***@example.com/x.jpg");
  assert.ok(!JSON.stringify(found).includes("hunter2"));
  assert.deepEqual(await grantsOf(path), [root]);
});

test("a local list may name S3 objects, and grants none of them", async () => {
  const lines = [
    "s3://bucket/a b%20%23é%25.jpg",
    "S3://bucket/x.jpg",
    "s3://bucket/a/../x.jpg",
    "s3://bucket/a/%2e%2e/x.jpg",
    "s3://bucket/a?.jpg",
    "s3://bucket/100%.jpg",
    "s3://bucket/./x.jpg",
    "s3://bucket//x.jpg",
    "s3://bucket/folder/",
    "s3://bucket",
    "s3:bucket/x.jpg",
    "s3://joe:hunter2@bucket/x.jpg",
    `s3://bucket/${"x".repeat(1025)}`,
    `s3://bucket/${"x".repeat(9000)}`,
  ];
  const path = await file("s3.txt", lines.join("\n"));
  const found = await records(path);
  assert.deepEqual(
    found.map(({ image, error }) => error?.code ?? image),
    ["s3://bucket/a%20b%20%23%C3%A9%25.jpg", "s3://bucket/x.jpg", ...Array(11).fill("URL_REFUSED"), "RECORD_TOO_LARGE"],
  );
  assert.deepEqual([found[0]!.id, found[11]!.id], [lines[0], "s3://***@bucket/x.jpg"]);
  assert.ok(!JSON.stringify(found).includes("hunter2"));
  assert.deepEqual(s3GrantsOf(path), []);
});

test("an argument on S3 grants a prefix, the prefix of a list, or an image, and no file", async () => {
  const granted: Record<string, string> = {
    "s3://bucket": "s3://bucket/",
    "s3://bucket/a/": "s3://bucket/a/",
    "s3://bucket/a/list.csv": "s3://bucket/a/",
    "s3://bucket/list": "s3://bucket/",
    "s3://bucket/a/x.JPG": "s3://bucket/a/x.JPG",
  };
  for (const [from, root] of Object.entries(granted)) {
    assert.deepEqual(s3GrantsOf(from), [root]);
    assert.deepEqual(await grantsOf(from), []);
  }
  for (const from of ["s3://bucket/a/../list.csv", "s3://bucket/a//"]) {
    assert.throws(() => s3GrantsOf(from), { code: "URL_REFUSED" });
    await refuses(from, "URL_REFUSED", /empty segments/);
  }
});

test("lists as tables, compressed or not: column, ids, kept columns", async () => {
  const csv = "id,label,File\nx1,cat,photos/a.webp\n,dog,\nx3\n,fish,photos/z.jpg\n";
  for (const path of [await file("list.csv", csv), await file("packed.csv.gz", gzipSync(csv))]) {
    const found = await records(path, { idColumn: "id", keep: ["label"] });
    assert.deepEqual(
      found.map(({ line, id, error, input }) => [line, id, error?.code, input]),
      [
        [2, "x1", undefined, { label: "cat", image: "photos/a.webp" }],
        [3, `${path.slice(root.length + 1)}#1`, "RECORD_INVALID", { label: "dog", image: "" }],
        [4, `${path.slice(root.length + 1)}#2`, "RECORD_INVALID", undefined],
        [5, "photos/z.jpg", undefined, { label: "fish", image: "photos/z.jpg" }],
      ],
    );
  }
  const jsonl = await records(await file("list.jsonl", '{"image_url":"https://example.com/1.jpg","n":1}\n'), {
    keep: ["n"],
  });
  assert.deepEqual(jsonl[0]!.input, { n: 1, image: "https://example.com/1.jpg" });
});

test("paths of a list on standard input are relative to the working folder", async () => {
  const found = await records({ stdin: Readable.from(["photos/a.webp\n", "https://example.com/x.jpg\n"]) });
  assert.deepEqual(
    found.map(({ image }) => image),
    [pathToFileURL(join(process.cwd(), "photos/a.webp")).href, "https://example.com/x.jpg"],
  );
  assert.deepEqual(await grantsOf("-"), [await realpath(process.cwd())]);
});

test("an argument that is not an image, folder, pattern or list is refused", async () => {
  await refuses(join(root, "none.jpg"), "INPUT_NOT_FOUND", /none\.jpg/);
  await refuses(join(photos, "*.xyz"), "INPUT_NOT_FOUND", /no image matches/);
  await refuses(join(root, "nowhere/*.jpg"), "INPUT_NOT_FOUND", /no image matches/);
  await mkdir(join(root, "empty"));
  await refuses(join(root, "empty"), "INPUT_EMPTY", /no images/);
  await refuses(await file("thing.bin", "some bytes"), "INPUT_UNREADABLE", /list \(\.txt/);
  await refuses("/dev/null", "INPUT_UNREADABLE", /device/);
  await refuses(photos, "COLUMN_NOT_FOUND", /only a list has columns/, { column: "image" });
  await refuses(await file("wrong.csv", "a,b\n1,2\n"), "COLUMN_NOT_FOUND", /named image, url/);
});
