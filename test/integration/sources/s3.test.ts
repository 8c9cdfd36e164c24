import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { Fetcher } from "../../../src/fetch/fetcher.ts";
import { FileGrants } from "../../../src/fetch/grants.ts";
import { S3Grants } from "../../../src/fetch/s3-grants.ts";
import { InputSchema, type ReadOptions } from "../../../src/schemas/input.ts";
import { ItemSchema } from "../../../src/schemas/item.ts";
import { openImageSource, s3GrantsOf } from "../../../src/sources/open-images.ts";
import { openInputs } from "../../../src/sources/open-inputs.ts";
import { openTextSource } from "../../../src/sources/open-texts.ts";
import { readSplit } from "../../../src/sources/read-split.ts";
import type { Cut, Source, SourceRecord } from "../../../src/sources/source.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { parseS3Uri, s3Uri } from "../../../src/storage/s3/uri.ts";
import { namesOf } from "../../helpers/inputs/expand.ts";
import { AUTO, NEVER, rejectsWith } from "../../helpers/inputs/read-source.ts";
import { type Answer, hostileServer } from "../../helpers/servers/hostile-server.ts";
import { openTestBucket } from "../../helpers/servers/s3-bucket.ts";

const PNG = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");
const FAST = { tries: 2, delayMs: 1 };
const TOO_LARGE = "fauxqs takes no object as large as this needs";

const { server, s3, bucket } = await openTestBucket();

/** Writes an object. @param under its prefix. Default: a new one @returns its URI */
let objects = 0;
async function object(key: string, content: string | Uint8Array, under = `${objects++}/`): Promise<string> {
  await s3.put({ bucket, key: under + key }, Buffer.from(content));
  return s3Uri({ bucket, key: under + key });
}

/** All records. Each must be valid as an item of a job. */
async function records(source: Source): Promise<SourceRecord[]> {
  InputSchema.parse(source.input);
  const found = await Array.fromAsync(source.records());
  for (const [index, record] of found.entries()) {
    ItemSchema.parse({ ...record, source: 0 });
    assert.equal(record.record, index);
  }
  return found;
}

/** A server that answers as the test defines, in place of S3. */
async function inItsPlace(t: TestContext, answer: Answer): Promise<S3> {
  const hostile = await hostileServer(answer);
  const client = new S3({ ...server.settings, endpoint: hostile.origin, pathStyle: true }, FAST);
  t.after(async () => {
    client.close();
    await hostile[Symbol.asyncDispose]();
  });
  return client;
}

/** A proxy to the server that counts the bytes of responses and can cut connections. */
async function wayTo(t: TestContext): Promise<{ s3: S3; bytes: () => number; cut: () => void }> {
  const target = new URL(server.endpoint);
  const sockets = new Set<Socket>();
  let bytes = 0;
  const proxy = createServer((here) => {
    const there = connect(Number(target.port), target.hostname);
    for (const socket of [here, there]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        here.destroy();
        there.destroy();
      });
    }
    there.on("data", (chunk) => {
      bytes += chunk.length;
    });
    here.pipe(there).pipe(here);
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const endpoint = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const client = new S3({ ...server.settings, endpoint }, FAST);
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  t.after(async () => {
    client.close();
    cut();
    proxy.close();
    await once(proxy, "close");
  });
  return { s3: client, bytes: () => bytes, cut };
}

/** A page of a listing, with objects of one byte. */
function listing(keys: readonly string[], more = ""): string {
  const rest = '<Size>1</Size><ETag>"e"</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified>';
  const objects = keys.map((key) => `<Contents><Key>${key}</Key>${rest}</Contents>`);
  return `<?xml version="1.0"?><ListBucketResult>${more}${objects.join("")}</ListBucketResult>`;
}

/** A CSV file of about `megabytes`. */
function table(megabytes: number): Buffer {
  return Buffer.concat([Buffer.from("id,text\n"), Buffer.alloc(megabytes << 20, "a7,a text of some length\n")]);
}

test("a table on S3 is read like a file, repeatedly, and is identified by its ETag", async () => {
  const csv = 'id,stars,Review\na7,5,"Good, ""really"""\n,1,bad\n';
  const uri = await object("reviews é#1.csv", csv);
  const source = await openTextSource(uri, { ...AUTO, idColumn: "id", keep: ["stars"] }, s3);
  assert.deepEqual(source.read, { format: "csv", delimiter: ",", column: "Review", idColumn: "id", keep: ["stars"] });
  const expected = [
    { record: 0, line: 2, id: "a7", text: 'Good, "really"', input: { stars: "5" } },
    { record: 1, line: 3, id: "reviews é#1.csv#1", text: "bad", input: { stars: "1" } },
  ];
  assert.deepEqual(await records(source), expected);
  assert.deepEqual(await records(source), expected, "read again");
  const { size, etag, modifiedAt } = await s3.head(parseS3Uri(uri));
  assert.deepEqual(source.input, { uri, size, modifiedAt: modifiedAt.toISOString(), hash: `etag:${etag}` });
  assert.equal(size, csv.length);
  assert.match(etag, /^[^"]+$/);
});

test("each format is detected by name or content, compressed or not", async () => {
  const cases: [string, string | Uint8Array, ReadOptions["format"]][] = [
    ["a.csv.gz", gzipSync("text\ngood\nbad\n"), "csv"],
    ["packed", gzipSync('{"text":"good"}\n{"text":"bad"}\n'), "jsonl"],
    ["a.tsv", "text\tn\ngood\t1\nbad\t2\n", "csv"],
    ["part-0000", "good\nbad\n", "lines"],
    ["utf16.txt", Buffer.from("\ufeffgood\nbad\n", "utf16le"), "lines"],
  ];
  for (const [name, content, format] of cases) {
    const source = await openTextSource(await object(name, content), AUTO, s3);
    assert.equal(source.read.format, format, name);
    assert.deepEqual(
      (await records(source)).map(({ text }) => text),
      ["good", "bad"],
      name,
    );
  }
});

test("opening reads only the beginning of an object", async (t) => {
  if (!server.conditionalWrites) return t.skip(TOO_LARGE);
  const uri = await object("large.csv", table(64));
  const way = await wayTo(t);
  const source = await openTextSource(uri, AUTO, way.s3);
  assert.equal(source.read.column, "text");
  const found = source.records()[Symbol.asyncIterator]();
  await found.next();
  await found.return?.();
  assert.ok(way.bytes() < 32 << 20, `${way.bytes()} bytes received`);
});

test("an object that is replaced or removed after it was opened is refused", async () => {
  for (const open of [openTextSource, openImageSource]) {
    const uri = await object("list.csv", "text\ngood\n");
    const source = await open(uri, { ...AUTO, column: "text" }, s3);
    await s3.put(parseS3Uri(uri), Buffer.from("text\nbetter\n"));
    await assert.rejects(records(source), { code: "INPUT_CHANGED", message: /list\.csv changed.* 12 of / });
    await s3.delete(parseS3Uri(uri));
    await assert.rejects(records(source), { code: "INPUT_CHANGED", message: /list\.csv changed.*it no longer exists/ });
  }
});

test("an object that is replaced during reading fails the reading when the connection ends", async (t) => {
  if (!server.conditionalWrites) return t.skip(TOO_LARGE);
  const uri = await object("large.csv", table(64));
  const way = await wayTo(t);
  const found = (await openTextSource(uri, AUTO, way.s3)).records()[Symbol.asyncIterator]();
  await found.next();
  way.cut();
  for (let more = 0; more < 1000; more++) await found.next();
  await s3.put(parseS3Uri(uri), table(1));
  way.cut();
  const drain = async () => {
    for (let next = await found.next(); !next.done; next = await found.next());
  };
  await assert.rejects(drain(), { code: "INPUT_CHANGED", message: /large\.csv changed/ });
});

test("unreadable input is refused before anything is read, with the answer of S3", async (t) => {
  const xml = "<Error><Code>AccessDenied</Code><Message>m</Message></Error>";
  const forbidding = await inItsPlace(t, (response) => response.writeHead(403).end(xml));
  const busy = await inItsPlace(t, (response) => response.writeHead(503).end());
  for (const open of [openTextSource, openImageSource]) {
    await rejectsWith(open(`s3://${bucket}/no.csv`, AUTO, s3), "INPUT_NOT_FOUND", /no\.csv"; a prefix ends in "\/"/);
    await rejectsWith(open(`s3://${bucket}-none/a.csv`, AUTO, s3), "STORE_FAILED", /bucket does not exist/);
    await rejectsWith(open(await object("empty.csv", ""), AUTO, s3), "INPUT_EMPTY", /empty\.csv" is empty/);
    await rejectsWith(open("s3://bucket/a.csv", AUTO, forbidding), "STORE_FAILED", /forbidden/);
    await rejectsWith(open("s3://bucket/a.csv", AUTO, busy), "STORE_FAILED", /503/);
    await rejectsWith(open("s3://bucket/a.csv", AUTO), "INPUT_UNREADABLE", /S3 client/);
  }
  for (const client of [forbidding, busy]) {
    await rejectsWith(openImageSource("s3://bucket/a/", AUTO, client), "STORE_FAILED", /forbidden|503/);
    await rejectsWith(namesOf(["s3://bucket/a/"], client), "STORE_FAILED", /forbidden|503/);
  }
  await rejectsWith(openTextSource(`s3://${bucket}/a/`, AUTO, s3), "INPUT_UNREADABLE", /is a bucket or prefix/);
  await rejectsWith(openTextSource("s3://a", AUTO, s3), "USAGE", /s3:\/\/BUCKET\/KEY/);
  await rejectsWith(openImageSource("s3://a", AUTO, s3), "URL_REFUSED", /s3:\/\/BUCKET\/KEY/);
  await rejectsWith(openImageSource(`s3://${bucket}/no/`, AUTO, s3), "INPUT_EMPTY", /no images below/);
  await rejectsWith(openImageSource(await object("x.bin", "?"), AUTO, s3), "INPUT_UNREADABLE", /set --format/);
});

test("a prefix of texts gives its objects in the order of their keys, without files that are not data", async () => {
  const own = await server.makeBucket();
  const contents: Record<string, string> = {
    "in/b.csv": "text\nb\n",
    "in/a/2.csv": "text\na2\n",
    "in/a/10.csv": "text\na10\n",
    "in/é #1.csv": "text\né\n",
    "in/_SUCCESS": "x",
    "in/_tmp/c.csv": "text\nx\n",
    "in/.hidden.csv": "text\nx\n",
    "in/empty.csv": "",
    "in/folder/": "",
    "in/marker/": "x",
    "in.csv": "text\nx\n",
    "_out/in/d.csv": "text\nd\n",
  };
  for (const [key, content] of Object.entries(contents)) {
    await s3.put({ bucket: own, key }, Buffer.from(content));
  }
  const named = await namesOf(["-", "here.csv", `s3://${own}/in/`, `s3://${own}/in.csv`], s3);
  const below = ["in/a/10.csv", "in/a/2.csv", "in/b.csv", "in/é #1.csv"].map((key) => s3Uri({ bucket: own, key }));
  assert.deepEqual(named, ["-", "here.csv", ...below, `s3://${own}/in.csv`]);
  const sources = await openInputs(below, (uri) => openTextSource(uri, AUTO, s3));
  const texts = await Promise.all(sources.map(async (source) => (await records(source)).map(({ text }) => text)));
  assert.deepEqual(texts, [["a10"], ["a2"], ["b"], ["é"]]);
  // Hidden segments count only below the prefix.
  assert.deepEqual(await namesOf([`s3://${own}/_out/`], s3), [`s3://${own}/_out/in/d.csv`]);
  for (const all of [`s3://${own}`, `s3://${own}/`]) {
    assert.deepEqual(await namesOf([all], s3), [`s3://${own}/in.csv`, ...below]);
  }
  await assert.rejects(namesOf([`s3://${own}/in/folder/`], s3), { code: "INPUT_EMPTY", message: /in\/folder\// });
  await assert.rejects(namesOf([`s3://${own}-none/`], s3), {
    code: "STORE_FAILED",
    message: /bucket does not exist/,
  });
});

test("listing stops when a run would have too many objects", async (t) => {
  let pages = 0;
  const endless = await inItsPlace(t, (response) => {
    const keys = Array.from({ length: 1000 }, (_, index) => `in/${pages * 1000 + index}.csv`);
    pages++;
    response.end(listing(keys, "<IsTruncated>true</IsTruncated><NextContinuationToken>more</NextContinuationToken>"));
  });
  await assert.rejects(namesOf(["s3://bucket/in/"], endless), { code: "USAGE", message: /at most 100000 inputs/ });
  assert.equal(pages, 101);
});

test("the result does not depend on the order of the server's listing", async (t) => {
  const client = await inItsPlace(t, (response) => response.end(listing(["in/a.csv", "in/é.csv", "in/B.csv"])));
  const named = await namesOf(["s3://bucket/in/"], client);
  assert.deepEqual(named, ["s3://bucket/in/B.csv", "s3://bucket/in/a.csv", "s3://bucket/in/%C3%A9.csv"]);
});

test("images whose keys other readers would resolve are rows in error, and their neighbours are not", async (t) => {
  const keys = ["in/a.jpg", "in//b.jpg", "in/c//d.jpg", "in/e.jpg"];
  const client = await inItsPlace(t, (response) => response.end(listing(keys)));
  const found = await records(await openImageSource("s3://bucket/in/", AUTO, client));
  assert.deepEqual(
    found.map(({ id, image, error }) => [id, error?.code ?? image]),
    [
      ["/b.jpg", "URL_REFUSED"],
      ["a.jpg", "s3://bucket/in/a.jpg"],
      ["c//d.jpg", "URL_REFUSED"],
      ["e.jpg", "s3://bucket/in/e.jpg"],
    ],
  );
});

test("a prefix of images works like a folder, and grants what it names", async (t) => {
  const under = "photos/of/";
  const keys = ["z.jpg", "B.PNG", "a.webp", "é.gif", "b/1.tiff", "b 50%#?.jfif"];
  const others = ["notes.txt", ".x.jpg", ".hidden/y.jpg", "folder.jpg/", "o.bmp"];
  for (const key of [...keys, ...others]) await object(key, key, under);
  const prefix = `s3://${bucket}/${under}`;
  const source = await openImageSource(prefix, AUTO, s3);
  const found = await records(source);
  const inOrder = ["B.PNG", "a.webp", "b 50%#?.jfif", "b/1.tiff", "z.jpg", "é.gif"];
  assert.deepEqual(
    found.map(({ id }) => id),
    inOrder,
  );
  const image = `s3://${bucket}/photos/of/b%2050%25%23%3F.jfif`;
  assert.deepEqual(found[2], { record: 2, id: "b 50%#?.jfif", image, input: { image: "b 50%#?.jfif" } });
  assert.deepEqual({ ...source.input, hash: null }, { uri: prefix, size: 6, modifiedAt: null, hash: null });

  const s3Grants = new S3Grants(s3GrantsOf(prefix));
  const fetcher = new Fetcher({ grants: new FileGrants([]), s3, s3Grants, allowPrivate: false });
  t.after(() => fetcher.close());
  const { signal } = new AbortController();
  for (const { id, image } of found) {
    if (image !== undefined) assert.equal(Buffer.from(await fetcher.get(image, signal)).toString(), id);
  }

  const hash = async () => (await openImageSource(prefix, AUTO, s3)).input.hash;
  assert.equal(await hash(), source.input.hash);
  await object("notes.txt", "other", under);
  assert.equal(await hash(), source.input.hash);
  await object("z.jpg", "Z.jpg", under);
  assert.notEqual(await hash(), source.input.hash);
  await assert.rejects(openImageSource(prefix, { ...AUTO, column: "x" }, s3), { code: "COLUMN_NOT_FOUND" });
});

test("a single image is detected by its name or its first bytes", async () => {
  for (const uri of [await object("broken.jpg", "no image"), await object("unnamed", PNG)]) {
    const source = await openImageSource(uri, AUTO, s3);
    assert.deepEqual(await records(source), [{ record: 0, id: uri, image: uri, input: { image: uri } }]);
    assert.match(source.input.hash!, /^etag:/);
  }
});

test("a list on S3: paths below its prefix and URLs are read; paths that lead out of it are refused", async (t) => {
  const lines = [
    "a.webp",
    "./deep/b 50%#.jpg",
    `s3://${bucket}/lists/in/a.webp`,
    `s3://${bucket}/lists/other.jpg`,
    "https://example.com/x.jpg",
    "file:///abs/x.jpg",
    "../other.jpg",
    "deep/../../other.jpg",
    "/abs/x.jpg",
    "deep//x.jpg",
    "folder/",
    "a\0b.jpg",
    "x".repeat(1025),
    `s3://${bucket}/lists/in/../other.jpg`,
    `s3://joe:hunter2@${bucket}/x.jpg`,
  ];
  for (const key of ["in/a.webp", "in/deep/b 50%#.jpg", "other.jpg"]) await object(key, PNG, "lists/");
  const uri = await object("in/list.txt", lines.join("\n"), "lists/");
  const found = await records(await openImageSource(uri, AUTO, s3));
  assert.deepEqual(
    found.map(({ image, error }) => error?.code ?? image),
    [
      `s3://${bucket}/lists/in/a.webp`,
      `s3://${bucket}/lists/in/deep/b%2050%25%23.jpg`,
      `s3://${bucket}/lists/in/a.webp`,
      `s3://${bucket}/lists/other.jpg`,
      "https://example.com/x.jpg",
      "URL_REFUSED",
      ...Array(9).fill("URL_REFUSED"),
    ],
  );
  assert.deepEqual([found[1]!.id, found[1]!.input], [lines[1], { image: lines[1] }]);
  assert.ok(!JSON.stringify(found).includes("hunter2"));

  const s3Grants = new S3Grants(s3GrantsOf(uri));
  const fetcher = new Fetcher({ grants: new FileGrants([]), s3, s3Grants, allowPrivate: false });
  t.after(() => fetcher.close());
  const { signal } = new AbortController();
  for (const { image } of found.slice(0, 3)) assert.ok(PNG.equals(await fetcher.get(image!, signal)));
  await assert.rejects(fetcher.get(found[3]!.image!, signal), { code: "NOT_GRANTED" });
});

test("lists as tables name objects in a column, on S3 and locally", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "labelmill-s3-lists-"));
  t.after(() => rm(folder, { recursive: true }));
  const csv = `id,label,Image\nx1,cat,s3://${bucket}/t/a.webp\n,dog,t/b.jpg\n`;
  await writeFile(join(folder, "list.csv"), csv);
  const jsonl = '{"image":"\\ud800.jpg"}\n{"image":"t/b.jpg"}\n';
  for (const [from, relative] of [
    [join(folder, "list.csv"), `file://${folder}/t/b.jpg`],
    [await object("list.csv.gz", gzipSync(csv), ""), `s3://${bucket}/t/b.jpg`],
  ] as const) {
    const found = await records(await openImageSource(from, { ...AUTO, idColumn: "id", keep: ["label"] }, s3));
    assert.deepEqual(
      found.map(({ id, image, input }) => [id, image, input!.label]),
      [
        ["x1", `s3://${bucket}/t/a.webp`, "cat"],
        ["t/b.jpg", relative, "dog"],
      ],
    );
  }
  const found = await records(await openImageSource(await object("list.jsonl", jsonl, ""), AUTO, s3));
  assert.deepEqual(
    found.map(({ image, error }) => error?.code ?? image),
    ["RECORD_INVALID", `s3://${bucket}/t/b.jpg`],
  );
});

async function cutsOf(source: Source, items: number): Promise<Cut[]> {
  return await Array.fromAsync(source.splitter!.cuts({ record: 0 }, () => ({ items, bytes: 1e9 }), undefined));
}

test("cutting an S3 object can be restarted after any cut, including the last one", async () => {
  for (const [key, content, items] of [
    ["x.txt", "a\nb\n", ["a", "b"]],
    ["x.txt", "a\nb", ["a", "b"]],
    ["x.csv", "sep=;\nn;text\n1;a\n2;b", ["a", "b"]],
    ["x.jsonl", '{"text":"a"}\n{"text":"b"}', ["a", "b"]],
    ["x.json", '[{"text":"a"},{"text":"b"}]', ["a", "b"]],
    ["x.json", '[{"text":"a"},{"text":"b"}', ["a", "b", "RECORD_INVALID"]],
    ["x.json", '[{"text":"a"},\n', ["a", "RECORD_INVALID"]],
  ] as const) {
    const source = await openTextSource(await object(key, content), AUTO, s3);
    const found: SourceRecord[] = [];
    let from: Cut["next"] | undefined = { record: 0 };
    while (from) {
      const cuts: AsyncIterable<Cut> = source.splitter!.cuts(from, () => ({ items: 1, bytes: 1e9 }), undefined);
      from = undefined;
      for await (const { split, next } of cuts) {
        found.push(...(await Array.fromAsync(readSplit(split, "text-classification", { s3 }, NEVER))));
        from = next;
        break;
      }
    }
    assert.deepEqual(
      found.map(({ text, error }) => text ?? error?.code),
      items,
      content,
    );
  }
});

test("a split on S3 is read by its range, and gives the records of the whole object", async (t) => {
  const way = await wayTo(t);
  const rows = Array.from({ length: 20_000 }, (_, row) => `${row},"text\r\nnumber é ${row}"\r\n`);
  const uri = await object("large.csv", `\uFEFFid,text\r\n${rows.join("")}`);
  const source = await openTextSource(uri, { ...AUTO, idColumn: "id" }, s3);
  const whole = await records(source);
  const cuts = await cutsOf(source, 3000);
  assert.equal(cuts.length, 7);
  const before = way.bytes();
  const found: SourceRecord[] = [];
  for (const { split } of cuts)
    found.push(...(await Array.fromAsync(readSplit(split, "text-classification", { s3: way.s3 }, NEVER))));
  assert.deepEqual(found, whole);
  const size = source.input.size!;
  assert.ok(way.bytes() - before < size * 1.1, `${way.bytes() - before} of ${size} bytes`);
  const resumed = await Array.fromAsync(
    source.splitter!.cuts(cuts[4]!.next, () => ({ items: 3000, bytes: 1e9 }), undefined),
  );
  assert.deepEqual(resumed, cuts.slice(5));
});

test("a replaced object fails its cuts and splits, and the error has its name", async () => {
  const uri = await object("list.csv", "id,text\n1,a\n2,b\n3,c\n");
  const source = await openTextSource(uri, AUTO, s3);
  const [first, second] = await cutsOf(source, 2);
  await s3.put(parseS3Uri(uri), Buffer.from("id,text\n1,a\n2,X\n3,c\n"));
  const changed = { code: "INPUT_CHANGED", message: /list\.csv/ };
  for (const cut of [first!, second!])
    await assert.rejects(Array.fromAsync(readSplit(cut.split, "text-classification", { s3 }, NEVER)), changed);
  await assert.rejects(cutsOf(source, 2), changed);
  await assert.rejects(
    Array.fromAsync(source.splitter!.cuts(first!.next, () => ({ items: 1, bytes: 1e9 }), undefined)),
    changed,
  );
});

test("splits of a list on S3 name objects below its prefix", async () => {
  const uri = await object("list.txt", "a.png\n\n./b/c.png\n");
  const source = await openImageSource(uri, AUTO, s3);
  const found: SourceRecord[] = [];
  for (const { split } of await cutsOf(source, 1))
    found.push(...(await Array.fromAsync(readSplit(split, "image-classification", { s3 }, NEVER))));
  assert.deepEqual(found, await records(source));
});

test("a range is resumed after a broken connection, from servers with and without support for ranges", async (t) => {
  const content = Buffer.from("0123456789abcdefghij");
  for (const ranged of [true, false]) {
    const asked: (string | undefined)[] = [];
    const client = await inItsPlace(t, (response, request) => {
      asked.push(request.headers.range);
      const [from, to] = ranged ? /=(\d+)-(\d+)/.exec(request.headers.range!)!.slice(1).map(Number) : [0, 19];
      const part = content.subarray(from, to! + 1);
      const range = ranged ? { "content-range": `bytes ${from}-${to}/20` } : {};
      response.writeHead(ranged ? 206 : 200, { etag: '"e"', "content-length": part.length, ...range });
      if (asked.length > 1) return void response.end(part);
      response.write(part.subarray(0, ranged ? 4 : 9), () => response.destroy());
    });
    const pieces = await Array.fromAsync(
      client.stream({ bucket: "b", key: "k" }, { etag: "e", range: { start: 5, end: 12 } }),
    );
    assert.equal(Buffer.concat(pieces).toString(), "56789ab");
    assert.deepEqual(asked, ["bytes=5-11", "bytes=9-11"]);
  }
});
