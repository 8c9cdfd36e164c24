import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFile, mkdir, mkdtemp, open, realpath, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import type { ReadOptions } from "../../../../src/schemas/input.ts";
import { type Split, SplitSchema } from "../../../../src/schemas/split.ts";
import { namedFile } from "../../../../src/sources/bytes/read-file.ts";
import { grantsOf, openImageSource } from "../../../../src/sources/open-images.ts";
import { openTextSource } from "../../../../src/sources/open-texts.ts";
import { readSplit } from "../../../../src/sources/read-split.ts";
import { cutSlices } from "../../../../src/sources/slices.ts";
import type { Cut, SourceRecord } from "../../../../src/sources/source.ts";
import { ALL, AUTO, NEVER, readSplits, rejectsWith, splitsOf } from "../../../helpers/inputs/read-source.ts";
import { type Entry, tarOf } from "../../../helpers/inputs/tar.ts";

let root: string;
before(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), "labelmill-tar-")));
});
after(() => rm(root, { recursive: true }));

let archives = 0;
async function archive(content: readonly Entry[] | Uint8Array): Promise<string> {
  const path = join(root, `${archives++}.tar`);
  await writeFile(path, content instanceof Uint8Array ? content : tarOf(content));
  return path;
}

function itemsOf(splits: readonly Split[]): Promise<SourceRecord[]> {
  return readSplits(splits, { task: "image-classification" });
}

/** All items of an archive, planned and read. */
async function all(path: string, read: Partial<ReadOptions> = {}): Promise<SourceRecord[]> {
  return await itemsOf(await splitsOf(await openImageSource(path, { ...AUTO, ...read })));
}

test("an image is a record with its unique key as id, and requested members beside it are kept", async () => {
  const path = await archive([
    { name: "./a/", type: "5" },
    { name: "./a/000.cls", content: "3" },
    { name: "./a/000.jpg", content: "A" },
    { name: "./a/000.json", content: '{"caption":"one","n":[1]}' },
    { name: "a/000.txt", content: "first" },
    { name: "a/000.txt", content: "last" },
    { name: "README", content: "no key" },
    { name: "only.txt", content: "no image" },
    { name: "link.jpg", type: "2", size: "00000000777\0" },
    { name: "pipe.jpg", type: "6" },
    { name: "b.JPEG", content: "B" },
    { name: "b.json", content: "{" },
    { name: "c.d/1.webp", content: "" },
  ]);
  const source = await openImageSource(path, { ...AUTO, keep: ["json", "cls", "txt"] });
  assert.deepEqual(
    [source.onlySplits, source.read.format, source.columns],
    [true, "tar", { json: "json", cls: "string", txt: "string" }],
  );
  assert.deepEqual(await Array.fromAsync(source.records()), [
    { record: 0, id: "a/000" },
    { record: 1, id: "b" },
    { record: 2, id: "c.d/1" },
  ]);
  const kept = { json: { caption: "one", n: [1] }, cls: "3", txt: "last", image: "a/000.jpg" };
  assert.deepEqual(await itemsOf(await splitsOf(source)), [
    { record: 0, id: "a/000", data: new Uint8Array([65]), input: kept },
    { record: 1, id: "b", data: new Uint8Array([66]), input: { json: "{", cls: null, txt: null, image: "b.JPEG" } },
    {
      record: 2,
      id: "c.d/1",
      data: new Uint8Array(),
      input: { json: null, cls: null, txt: null, image: "c.d/1.webp" },
    },
  ]);
  assert.deepEqual(await grantsOf(path), [path]);
  const [{ passedOver }] = (await Array.fromAsync(source.splitter!.cuts({ record: 0 }, () => ALL, undefined))) as [Cut];
  assert.deepEqual(passedOver!.reasons, [
    { reason: "not-an-image", count: 2, names: ["0.tar:README", "0.tar:only.txt"] },
    { reason: "link-or-device", count: 2, names: ["0.tar:link.jpg", "0.tar:pipe.jpg"] },
    { reason: "replaced", count: 1, names: ["0.tar:a/000.txt"] },
  ]);
});

test("the records of any cuts are those of the whole archive, from any place on", async () => {
  const part = fc.record({
    extension: fc.constantFrom("jpg", "png", "json", "cls", "txt", "b.jpg"),
    bytes: fc.integer({ min: 0, max: 3000 }),
    type: fc.constantFrom("0", "0", "0", "\0", "2", "5"),
    long: fc.constantFrom(undefined, "pax", "gnu", "ustar"),
  });
  const key = fc.record({ folder: fc.integer({ min: 0, max: 9 }), parts: fc.array(part, { maxLength: 4 }) });
  const size = fc.record({ items: fc.integer({ min: 1, max: 5 }), bytes: fc.integer({ min: 1, max: 9000 }) });
  const sampling = fc.constantFrom(undefined, 0.5, 0.1);
  await fc.assert(
    fc.asyncProperty(fc.array(key, { minLength: 1, maxLength: 12 }), size, sampling, async (keys, room, sample) => {
      const entries = keys.flatMap(({ folder, parts }, number) =>
        parts.map(({ extension, bytes, type, long }): Entry => {
          const name = `${"folder/".repeat(folder + 1)}${number}.${extension}`;
          const content = type === "2" || type === "5" ? "" : Buffer.alloc(bytes, number + 65);
          return { name, content, type, ...(long ? { long } : {}) };
        }),
      );
      const expected: string[] = [];
      for (const [number, { parts }] of keys.entries()) {
        const images = parts.filter(({ extension, type }) => /(jpg|png)$/.test(extension) && !/[25]/.test(type));
        // If members have one name, the last one counts.
        const last = images.filter(
          ({ extension }, at) => images.findLastIndex((each) => each.extension === extension) === at,
        );
        for (const { extension, bytes } of last)
          expected.push(`${number}${last.length > 1 ? `.${extension}` : ""}:${bytes}`);
      }
      const path = await archive([{ name: "first.jpg", content: "x" }, ...entries]);
      const shown = (items: readonly SourceRecord[]) =>
        items.map(({ id, data, record }) => `${record}|${id.split("/").at(-1)}:${data!.length}`);
      const source = await openImageSource(path, AUTO);
      const whole = shown(await itemsOf(await splitsOf(source)));
      assert.deepEqual(
        whole,
        ["first:1", ...expected].map((text, record) => `${record}|${text}`),
      );

      const cuts = await Array.fromAsync(source.splitter!.cuts({ record: 0 }, () => room, sample));
      const splits = cuts.map(({ split }) => SplitSchema.parse(split));
      for (const [index, { split, bytes }] of cuts.entries()) {
        const selected = split.selected ?? split.count;
        assert.ok(selected <= room.items && (selected <= 1 || bytes <= room.bytes));
        assert.equal(split.first, index === 0 ? 0 : splits[index - 1]!.first + splits[index - 1]!.count);
        assert.ok(selected > 0 || index === cuts.length - 1);
      }
      const items = shown(await itemsOf(splits));
      if (sample === undefined) assert.deepEqual(items, whole);
      assert.deepEqual(items, shown(await itemsOf(await splitsOf(source, ALL, sample))));
      assert.equal(
        items.length,
        splits.reduce((sum, { selected, count }) => sum + (selected ?? count), 0),
      );
      for (const [index, { next }] of cuts.entries()) {
        assert.deepEqual(await splitsOf(source, room, sample, next), splits.slice(index + 1));
      }
    }),
    { numRuns: 60 },
  );
});

test("archives of the system's tar are read in all formats", async () => {
  const folder = join(root, "made");
  const deep = "d".repeat(70);
  await mkdir(join(folder, deep, deep), { recursive: true });
  await writeFile(join(folder, deep, deep, `${"n".repeat(90)}.jpg`), "long");
  await writeFile(join(folder, "é.jpg"), "é");
  for (const format of ["ustar", "pax", "gnu"]) {
    const path = join(root, `${format}.tar`);
    execFileSync("tar", ["--sort=name", `--format=${format}`, "-cf", path, "-C", folder, "."]);
    const found = await all(path);
    assert.deepEqual(
      found.map(({ id, data }) => [id, Buffer.from(data!).toString()]),
      [
        [`${deep}/${deep}/${"n".repeat(90)}`, "long"],
        ["é", "é"],
      ],
    );
  }
});

test("an image or kept member that is too large costs its own row", async () => {
  const big = Buffer.alloc(20_000_001);
  const deep = `${"[".repeat(30_000)}${"]".repeat(30_000)}`;
  const path = await archive([
    { name: "a.jpg", content: "a" },
    { name: "b.jpg", content: big },
    { name: "c.jpg", content: "c" },
    { name: "c.json", content: Buffer.alloc(65_537, 0x20) },
    { name: "d.jpg", content: "d" },
    { name: "d.json", content: deep },
    { name: "e.jpg", content: "e" },
  ]);
  const splits = await splitsOf(await openImageSource(path, { ...AUTO, keep: ["json"] }));
  assert.deepEqual(
    splits.map(({ count }) => count),
    [1, 1, 3],
  );
  const found = await itemsOf(splits);
  assert.deepEqual(
    found.map(({ id, error, data }) => [id, error?.code ?? data?.length]),
    [
      ["a", 1],
      ["b", "FETCH_TOO_LARGE"],
      ["c", "RECORD_TOO_LARGE"],
      ["d", "RECORD_INVALID"],
      ["e", 1],
    ],
  );
});

test("hostile and damaged archives are refused when they are planned, with the offset", async () => {
  const image = { name: "a.jpg", content: "a" };
  const good = tarOf([image]);
  const huge = Buffer.from([0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255]).toString("latin1");
  const negative = Buffer.alloc(12, 0xff).toString("latin1");
  const flipped = Buffer.from(tarOf([image, { name: "b.jpg", content: "b" }]));
  flipped[1024]! ^= 1;
  const cases: [Uint8Array, RegExp][] = [
    [tarOf([image, { name: "b.jpg", size: negative }]), /byte 1024: expected the size of a member/],
    [tarOf([image, { name: "b.jpg", size: huge }]), /byte 1024: expected the size of a member/],
    [tarOf([image, { name: "b.jpg", size: "77777777777\0" }]), /byte 1024: expected 8589934591 more bytes/],
    [tarOf([image, { name: "b.jpg", size: "elephant\0\0\0\0" }]), /expected the size of a member/],
    [tarOf([image, { name: "x/../../b.jpg", content: "b" }]), /"\.\."/],
    [tarOf([image, { name: "x", type: "x", content: "nonsense" }]), /pax records/],
    [tarOf([image, { name: "x", type: "x", content: "99 path=b\n" }]), /pax records/],
    [tarOf([image, { name: "x", type: "L", content: Buffer.alloc((1 << 20) + 1, 97) }]), /bytes of header/],
    [tarOf([image, { name: "x", type: "S" }]), /sparse/],
    [flipped, /byte 1024: expected the header.*checksum/],
    [good.subarray(0, 1024), /end mark/],
    [tarOf([image, { name: "b.jpg", content: Buffer.alloc(5000) }]).subarray(0, 4000), /cut off/],
  ];
  for (const [content, message] of cases) await rejectsWith(all(await archive(content)), "INPUT_UNREADABLE", message);
  await rejectsWith(all(await archive(Buffer.alloc(4096, 65))), "INPUT_UNREADABLE", /byte 0: expected the header/);
});

test("a file that is not an archive of images is refused with the fix", async () => {
  const packed = join(root, "packed.tar.gz");
  await writeFile(packed, gzipSync(tarOf([{ name: "a.jpg", content: "a" }])));
  await rejectsWith(openImageSource(packed, AUTO), "INPUT_UNREADABLE", /gunzip/);
  await rejectsWith(openImageSource(await archive([{ name: "a.txt" }]), AUTO), "INPUT_EMPTY", /no images/);
  const path = await archive([{ name: "a.jpg", content: "a" }]);
  await rejectsWith(openTextSource(path, AUTO), "INPUT_UNREADABLE", /unpack it/);
  for (const read of [{ column: "x" }, { idColumn: "x" }, { keep: ["jpg"] }, { where: [{ column: "x", value: "" }] }])
    await rejectsWith(openImageSource(path, { ...AUTO, ...read }), "COLUMN_NOT_FOUND", /--keep takes the extension/);
});

test("an archive that changed since it was planned is refused", async () => {
  const entries = ["a", "b", "c"].map((name) => ({ name: `${name}.jpg`, content: name }));
  const path = await archive(entries);
  const splits = await splitsOf(await openImageSource(path, AUTO), { items: 1, bytes: 1 });
  assert.equal((await itemsOf(splits)).length, 3);
  await appendFile(path, "x");
  await rejectsWith(itemsOf(splits), "INPUT_CHANGED", /\.tar changed/);
  await truncate(path, 700);
  await rejectsWith(itemsOf(splits), "INPUT_CHANGED", /\.tar changed/);
  // A wrong count is detected too.
  const other = await splitsOf(await openImageSource(await archive(entries), AUTO));
  await rejectsWith(itemsOf([{ ...other[0]!, count: 2 }]), "INPUT_CHANGED", /expected 2 images/);
});

test("slices of archives contain whole keys, and a retry only the named records", async () => {
  const entries = Array.from({ length: 25 }, (_, number) => ({ name: `${number}.jpg`, content: String(number) }));
  const sources = await Promise.all([0, 1].map(async () => openImageSource(await archive(entries), AUTO)));
  const slices = await Array.fromAsync(
    cutSlices(sources, { size: { items: 10, bytes: 1_000_000 }, travels: () => "split", limit: 40 }),
  );
  assert.deepEqual(
    slices.map(({ count, splits }) => [count, splits!.map(({ first, count }) => [first, count])]),
    [
      [10, [[0, 10]]],
      [10, [[10, 10]]],
      [
        10,
        [
          [20, 5],
          [0, 5],
        ],
      ],
      [10, [[5, 10]]],
    ],
  );
  await rejectsWith(Array.fromAsync(cutSlices(sources, { size: ALL })), "USAGE", /cannot be part of a job/);
  const only = await itemsOf([{ ...slices[1]!.splits![0]!, only: [12, 19] }]);
  assert.deepEqual(
    only.map(({ record, id }) => [record, id]),
    [
      [12, "12"],
      [19, "19"],
    ],
  );
});

test("images with dots in their names are records with unique ids, with any members between them", async () => {
  const names = ["22.05.png", "IMG_2024.01.05.jpg", "IMG_2024.01.06.jpg", "a.jfif", "4.image.jpg", "x.txt", "b.jpg"];
  const path = await archive([...names, "b.seg.png", "c/b.jpg"].map((name) => ({ name, content: name })));
  const expected = ["22", "IMG_2024.01.05.jpg", "IMG_2024.01.06.jpg", "a", "4", "b.jpg", "b.seg.png", "c/b"];
  const source = await openImageSource(path, AUTO);
  assert.deepEqual(
    (await Array.fromAsync(source.records())).map(({ id }) => id),
    expected,
  );
  for (const size of [ALL, { items: 1, bytes: 1 }, { items: 3, bytes: 9000 }]) {
    const found = await itemsOf(await splitsOf(source, size));
    assert.deepEqual(
      found.map(({ id }) => id),
      expected,
    );
    assert.ok(found.every(({ data, input }) => Buffer.from(data!).toString() === input!.image));
  }
});

test("names that are not UTF-8 are compared by their bytes and displayed with escapes", async () => {
  const entries = [0xe9, 0xe8, 0xe7].map((byte) => ({
    name: `caf${String.fromCharCode(byte)}.jpg`,
    content: String(byte),
  }));
  const names = [...entries, { name: "caf\\xE9.jpg", content: "escape" }, { name: "x\\y.jpg", content: "backslash" }];
  // Names of other systems, with one byte per character.
  const path = await archive(tarOf(names, undefined, "latin1"));
  const found = await all(path);
  assert.deepEqual(
    found.map(({ id, data }) => [id, Buffer.from(data!).toString()]),
    [
      ["caf\\xE9", "233"],
      ["caf\\xE8", "232"],
      ["caf\\xE7", "231"],
      ["caf\\\\xE9", "escape"],
      ["x\\y", "backslash"],
    ],
  );
});

/** A file that counts the bytes that are read. */
function countedPlace(path: string): { place: ReturnType<typeof namedFile>; bytes: () => number } {
  const place = namedFile(path);
  let bytes = 0;
  const open = async () => {
    const file = await place.open();
    const read = file.read.bind(file) as (...args: unknown[]) => ReturnType<typeof file.read>;
    const counted = async (...args: unknown[]) => {
      const found = await read(...args);
      bytes += found.bytesRead;
      return found;
    };
    return Object.assign(file, { read: counted });
  };
  return { place: { ...place, open }, bytes: () => bytes };
}

test("a worker loads only the kept members of the items of a sample or retry", async () => {
  const content = JSON.stringify("j".repeat(60_000));
  const keys = Array.from({ length: 200 }, (_, key) => String(key).padStart(3, "0"));
  const beside = (key: string) => [
    { name: `${key}.json`, content },
    { name: `${key}.seg.json`, content: key },
  ];
  const path = await archive(keys.flatMap((key) => [...beside(key), { name: `${key}.png`, content: key }]));
  const source = await openImageSource(path, { ...AUTO, keep: ["json", "seg.json"] });
  const [sampled] = await splitsOf(source, ALL, 0.05);
  const [whole] = await splitsOf(source);
  for (const split of [sampled!, { ...whole!, only: [7, 9], selected: 2 }]) {
    const { place, bytes } = countedPlace(path);
    const items = await Array.fromAsync(readSplit(split, "image-classification", place, NEVER));
    assert.equal(items.length, split.selected);
    for (const { id, data, input } of items) {
      assert.equal(Buffer.from(data!).toString(), id);
      assert.deepEqual(input, { json: "j".repeat(60_000), "seg.json": id, image: `${id}.png` });
    }
    assert.ok(bytes() < split.count * 3 * 4096 + items.length * 2 * content.length, `${bytes()} bytes read`);
  }
});

test("a split with kept members spans at most 128 MiB, and a split has at most 50,000 records", async () => {
  const path = join(root, "wide.tar");
  const file = await open(path, "w");
  let at = 0;
  const size = 40 << 20;
  for (let number = 0; number < 10; number++) {
    const images = tarOf([{ name: `${number}.jpg`, content: String(number) }], Buffer.alloc(0));
    const gap = tarOf([{ name: `${number}.bin`, size: size.toString(8).padStart(11, "0") }], Buffer.alloc(0));
    await file.write(Buffer.concat([images, gap]), 0, images.length + gap.length, at);
    at += images.length + gap.length + size;
  }
  await file.truncate(at + 1024);
  await file.close();
  const counts = async (path: string, keep: string[], sample?: number) =>
    (await splitsOf(await openImageSource(path, { ...AUTO, keep }), ALL, sample)).map(({ count }) => count);
  assert.deepEqual(await counts(path, []), [10]);
  assert.deepEqual(await counts(path, ["json"]), [4, 4, 2]);
  assert.deepEqual(await counts(path, ["json"], 1e-9), [4, 4, 2]);

  const many = await archive(Array.from({ length: 50_001 }, (_, number) => ({ name: `${number}.jpg` })));
  assert.deepEqual(await counts(many, [], 1e-9), [50_000, 1]);
});

test("a split lists a bounded number of replaced images and of ids that are whole names", async () => {
  const listed = ({ at }: Split) =>
    at.kind === "tar" ? (at.replaced?.length ?? 0) + (at.byName?.length ?? 0) : Number.NaN;
  const replaced = Array.from({ length: 1200 }, (_, number) => ({ name: "a.jpg", content: String(number) }));
  const mixed = Array.from({ length: 1200 }, (_, number) => [
    { name: `${number}.jpg` },
    { name: number % 2 === 0 ? `${number}.png` : `${number}-.png` },
    { name: `x${number}.jpg` },
  ]).flat();
  for (const entries of [[{ name: "x.jpg", content: "x" }, ...replaced], mixed]) {
    const splits = await splitsOf(await openImageSource(await archive(entries), AUTO));
    assert.ok(splits.length > 1);
    for (const split of splits) assert.ok(listed(split) <= 500, `${listed(split)} listed`);
    const items = await itemsOf(splits);
    assert.equal(items.length, new Set(entries.map(({ name }) => name)).size);
    assert.equal(new Set(items.map(({ id }) => id)).size, items.length);
    if (entries.at(-1)!.name === "a.jpg") assert.equal(Buffer.from(items.at(-1)!.data!).toString(), "1199");
  }
});

test("a kept member is found before or after its image, and refused if it is far away", async () => {
  const keys = ["a", "b.c", "d"];
  const images = keys.map((key) => ({ name: `${key}.jpg`, content: key }));
  const beside = keys.map((key) => ({ name: `${key}.JSON`, content: JSON.stringify({ key }) }));
  for (const entries of [
    [...beside, ...images],
    [...images, ...beside],
    [...images, ...beside.toReversed()],
  ]) {
    const path = await archive(entries);
    for (const size of [ALL, { items: 1, bytes: 1 }]) {
      const splits = await splitsOf(await openImageSource(path, { ...AUTO, keep: ["json"] }), size);
      assert.deepEqual(
        (await itemsOf(splits)).map(({ input }) => input!.json),
        keys.map((key) => ({ key })),
      );
    }
  }
  const far = await archive([...images, { name: "big.bin", content: Buffer.alloc(33 << 20) }, ...beside]);
  const source = await openImageSource(far, { ...AUTO, keep: ["json"] });
  await rejectsWith(splitsOf(source), "INPUT_UNREADABLE", /--keep json .*byte 0 is at byte .*--sort=name/);
  // Members that are not kept may be anywhere.
  assert.equal((await all(far)).length, 3);
});

test("if images have one name, the last one is the record in every cut, and the others are reported", async () => {
  const entries = ["a", "b", "a", "c", "b", "a"].map((name, at) => ({ name: `${name}.jpg`, content: `${name}${at}` }));
  const path = await archive([...entries, { name: "._a.jpg" }, { name: "z.heic" }]);
  const source = await openImageSource(path, AUTO);
  for (const size of [ALL, { items: 1, bytes: 1 }]) {
    const items = await itemsOf(await splitsOf(source, size));
    assert.deepEqual(
      items.map(({ id, data }) => [id, Buffer.from(data!).toString()]),
      [
        ["c", "c3"],
        ["b", "b4"],
        ["a", "a5"],
      ],
    );
  }
  const cuts = await Array.fromAsync(source.splitter!.cuts({ record: 0 }, () => ({ items: 1, bytes: 1 }), undefined));
  assert.deepEqual(
    cuts.map(({ passedOver }) => passedOver?.reasons.map(({ reason, count }) => [reason, count])),
    [
      [
        ["hidden", 1],
        ["image-not-decodable", 1],
        ["replaced", 3],
      ],
      undefined,
      undefined,
    ],
  );
});

test("a split that was planned by an older version is refused", async () => {
  const path = await archive([{ name: "a.jpg", content: "a" }]);
  const [split] = await splitsOf(await openImageSource(path, AUTO));
  const { offset, bytes } = split!.at as { offset: number; bytes: number };
  const old: Split = SplitSchema.parse({ ...split!, at: { kind: "tar", offset, bytes } });
  await rejectsWith(itemsOf([old]), "INPUT_CHANGED", /older version/);
});
