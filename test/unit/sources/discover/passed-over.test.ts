import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { passedOverLines } from "../../../../src/cli/terminal/passed-over.ts";
import { PassedOverSchema, sumPassedOver } from "../../../../src/schemas/input.ts";
import { PassedOver } from "../../../../src/sources/discover/passed-over.ts";
import { openImageSource } from "../../../../src/sources/open-images.ts";
import { S3 } from "../../../../src/storage/s3/s3.ts";
import { namesOf } from "../../../helpers/inputs/expand.ts";
import { AUTO } from "../../../helpers/inputs/read-source.ts";

const s3 = new S3();

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), "labelmill-passed-"));
});
after(async () => {
  s3.close();
  await rm(root, { recursive: true });
});

async function files(folder: string, names: readonly string[], content = "text\nx\n"): Promise<string> {
  for (const name of names) {
    await mkdir(dirname(join(root, folder, name)), { recursive: true });
    await writeFile(join(root, folder, name), content);
  }
  return join(root, folder);
}

/** The reasons with their counts and names, relative to the test's folder. */
function shown(passedOver: PassedOver): [string, number, string[]][] {
  const { count, reasons } = PassedOverSchema.parse(passedOver.report);
  assert.equal(
    count,
    reasons.reduce((sum, each) => sum + each.count, 0),
  );
  return reasons.map(({ reason, count, names }) => [
    reason,
    count,
    names.map((name) => name.replace(`${root}/`, "")).sort(),
  ]);
}

test("everything is counted, the first ten names of each reason are kept, and names are safe to print", () => {
  const passedOver = new PassedOver();
  for (let number = 0; number < 1000; number++) passedOver.add("empty", `${number}.csv`);
  passedOver.add("hidden", "a\u001b[31m\n\u202eb\ud800");
  passedOver.add("hidden", "x".repeat(5000));
  const [hidden, empty] = passedOver.report.reasons;
  assert.deepEqual([empty!.count, empty!.names], [1000, Array.from({ length: 10 }, (_, number) => `${number}.csv`)]);
  assert.equal(hidden!.names[0], "a\ufffd[31m \ufffdb\ufffd");
  assert.equal(hidden!.names[1]!.length, 200);
  assert.equal(passedOver.report.count, 1002);
  assert.deepEqual(passedOverLines(passedOver.report).slice(0, 1), ["Skipped: 1002 files"]);
  assert.equal(passedOverLines(passedOver.report)[2], "  1000 empty: 0.csv, 1.csv, 2.csv, …");
  assert.deepEqual(passedOverLines(new PassedOver().report), []);
  const twice = sumPassedOver([passedOver.report, passedOver.report]);
  assert.deepEqual(
    [twice.count, twice.reasons.map(({ reason, count, names }) => [reason, count, names.length])],
    [
      2004,
      [
        ["hidden", 4, 4],
        ["empty", 2000, 10],
      ],
    ],
  );
});

test("a folder and a pattern of texts report what they pass over", async () => {
  const folder = await files("texts", ["a.csv", ".git/x", ".hidden", "_tmp/b.csv", "_SUCCESS", "cat.jpg", "in/d.csv"]);
  await files("texts", ["none.csv"], "");
  await symlink(join(folder, "gone.csv"), join(folder, "link.csv"));
  await symlink(tmpdir(), join(folder, "out.csv"));
  execFileSync("mkfifo", [join(folder, "pipe.csv")]);
  const passedOver = new PassedOver();
  const found = await namesOf([folder], s3, { passedOver });
  assert.deepEqual(found, [join(folder, "a.csv"), join(folder, "in/d.csv")]);
  assert.deepEqual(shown(passedOver), [
    ["hidden", 4, ["texts/.git/", "texts/.hidden", "texts/_SUCCESS", "texts/_tmp/b.csv"]],
    ["empty", 1, ["texts/none.csv"]],
    ["image-among-texts", 1, ["texts/cat.jpg"]],
    ["link-or-device", 3, ["texts/link.csv", "texts/out.csv", "texts/pipe.csv"]],
  ]);
  const ofPattern = new PassedOver();
  assert.deepEqual(await namesOf([join(folder, "*.{csv,jpg}")], s3, { passedOver: ofPattern }), [
    join(folder, "a.csv"),
  ]);
  assert.deepEqual(shown(ofPattern), [
    ["empty", 1, ["texts/none.csv"]],
    ["image-among-texts", 1, ["texts/cat.jpg"]],
    ["link-or-device", 3, ["texts/link.csv", "texts/out.csv", "texts/pipe.csv"]],
  ]);
});

test("a folder and a pattern of images report what they pass over", async () => {
  const folder = await files("images", ["a.jpg", "b/c.png", "notes.txt", "b/.d.jpg", "data.csv"]);
  const passedOver = new PassedOver();
  await openImageSource(folder, AUTO, s3, { passedOver });
  assert.deepEqual(shown(passedOver), [
    ["hidden", 1, ["images/b/.d.jpg"]],
    ["not-an-image", 2, ["images/data.csv", "images/notes.txt"]],
  ]);
  const ofPattern = new PassedOver();
  await openImageSource(join(folder, "*"), AUTO, s3, { passedOver: ofPattern });
  assert.deepEqual(shown(ofPattern), [["not-an-image", 2, ["images/data.csv", "images/notes.txt"]]]);
});

test("an inventory reports what it names and is passed over", async () => {
  const rows = [
    '"bucket","a.csv","v2","true","false","9"',
    '"bucket","a.csv","v1","false","false","9"',
    '"bucket","gone.csv","v3","true","true",""',
    '"bucket","empty.csv","v3","true","false","0"',
    '"bucket","folder/","v3","true","false","0"',
    '"bucket","_tmp/b.csv","v3","true","false","9"',
    '"bucket","c.jpg","v3","true","false","9"',
  ].join("\n");
  const folder = await files("inventory", ["list.csv"], rows);
  const texts = new PassedOver();
  assert.deepEqual(await namesOf([`@${folder}/list.csv`], s3, { passedOver: texts }), ["s3://bucket/a.csv"]);
  const gone: [string, number, string[]][] = [
    ["empty", 1, ["s3://bucket/empty.csv"]],
    ["folder-marker", 1, ["s3://bucket/folder/"]],
  ];
  const old: [string, number, string[]] = ["old-version", 2, ["s3://bucket/a.csv", "s3://bucket/gone.csv"]];
  assert.deepEqual(shown(texts), [
    ["hidden", 1, ["s3://bucket/_tmp/b.csv"]],
    ...gone,
    ["image-among-texts", 1, ["s3://bucket/c.jpg"]],
    old,
  ]);
  const images = new PassedOver();
  await openImageSource(`@${folder}/list.csv`, AUTO, s3, { passedOver: images });
  assert.deepEqual(shown(images), [...gone, ["not-an-image", 2, ["_tmp/b.csv", "a.csv"]], old]);
});

test("in a cloned data set of a hub, the data is read and the files that describe it are not", async () => {
  const folder = await files("hub", ["README.md", "LICENSE", "dataset_infos.json", "reviews.py", "data/train.csv"]);
  await files("hub", [".gitattributes", "data/README.txt", "data/dataset_info.json", "data/test.csv.gz", "run.sh"]);
  const passedOver = new PassedOver();
  assert.deepEqual(await namesOf([folder], s3, { passedOver }), [
    join(folder, "data/test.csv.gz"),
    join(folder, "data/train.csv"),
  ]);
  assert.deepEqual(shown(passedOver), [
    ["hidden", 1, ["hub/.gitattributes"]],
    [
      "not-data",
      5,
      ["LICENSE", "README.md", "data/README.txt", "data/dataset_info.json", "dataset_infos.json"].map(inHub),
    ],
    ["unknown-extension", 2, ["hub/reviews.py", "hub/run.sh"]],
  ]);
  // A file that is named itself is read in the given format.
  assert.deepEqual(await namesOf([join(folder, "README.md")], s3), [join(folder, "README.md")]);
});

function inHub(name: string): string {
  return `hub/${name}`;
}

test("a folder of several formats is refused with the counts, unless an option or a pattern selects one", async () => {
  const folder = await files("several", ["a.csv", "b.tsv", "c.parquet", "d/e.json", "part-0", "notes.dat"]);
  const several =
    /USAGE|expected files of one format in .*several", got 2 as csv \("a\.csv", "b\.tsv"\), 1 as parquet .*, 1 as json .*several\/\*\*\/\*\.csv".*--format/;
  for (const argument of [folder, join(folder, "**/*"), join(folder, "*.*")])
    await assert.rejects(namesOf([argument], s3), { code: "USAGE", message: /expected files of one format in/ });
  await assert.rejects(namesOf([folder], s3), { code: "USAGE", message: several });
  const passedOver = new PassedOver();
  assert.deepEqual(await namesOf([folder], s3, { format: "csv", passedOver }), [
    join(folder, "a.csv"),
    join(folder, "b.tsv"),
  ]);
  assert.deepEqual(shown(passedOver), [
    ["unknown-extension", 2, ["several/notes.dat", "several/part-0"]],
    ["other-format", 2, ["several/c.parquet", "several/d/e.json"]],
  ]);
  assert.deepEqual(await namesOf([join(folder, "*.{csv,parquet}")], s3), [
    join(folder, "a.csv"),
    join(folder, "c.parquet"),
  ]);
  assert.deepEqual(await namesOf([join(folder, "part-*")], s3), [join(folder, "part-0")]);
  assert.deepEqual(await namesOf([join(folder, "*.dat")], s3), [join(folder, "notes.dat")]);
  // The given format applies to a folder whose names have no format, or all have another one.
  const parts = await files("parts", ["part-0", "part-1"]);
  await assert.rejects(namesOf([parts], s3), { code: "INPUT_EMPTY", message: /2 unknown-extension \(.*part-0\)/ });
  assert.equal((await namesOf([parts], s3, { format: "csv" })).length, 2);
  const tables = await files("tables", ["a.csv", "b.csv"]);
  assert.equal((await namesOf([tables], s3, { format: "lines" })).length, 2);
  // If the format is given, the error does not suggest --format.
  await assert.rejects(namesOf([folder], s3, { format: "lines" }), (error: Error) => {
    assert.match(error.message, /no file name has the format lines: select one format with a pattern/);
    return !error.message.includes("say which");
  });
  // A .json file may be JSONL.
  const json = await files("json", ["extra.jsonl", "more.ndjson", "part-0.json"]);
  const all = ["extra.jsonl", "more.ndjson", "part-0.json"].map((name) => join(json, name));
  for (const format of ["auto", "jsonl"] as const) assert.deepEqual(await namesOf([json], s3, { format }), all);
  assert.deepEqual(await namesOf([json], s3, { format: "json" }), all.slice(2));
});

test("an inventory of several formats is refused like a folder, and unknown extensions are passed over", async () => {
  const row = (key: string) => `"bucket","${key}","9"`;
  const folder = await files("mixed-inventory", ["list.csv"], ["a.csv", "b.pdf", "c.csv"].map(row).join("\n"));
  const passedOver = new PassedOver();
  const list = `@${folder}/list.csv`;
  assert.deepEqual(await namesOf([list], s3, { passedOver }), ["s3://bucket/a.csv", "s3://bucket/c.csv"]);
  assert.deepEqual(shown(passedOver), [["unknown-extension", 1, ["s3://bucket/b.pdf"]]]);
  await files("mixed-inventory", ["list.csv"], ["a.csv", "b.parquet"].map(row).join("\n"));
  await assert.rejects(namesOf([list], s3), { code: "USAGE", message: /1 as csv .*1 as parquet/ });
});

test("images with decodable extensions are taken; others are passed over, or rows if they are named", async () => {
  const decodable = ["a.jpg", "b.JPEG", "c.jpe", "d.jfif", "e.png", "f.webp", "g.gif", "h.tif", "i.tiff", "j.avif"];
  const others = ["k.heic", "l.heif", "m.jp2", "n.bmp", "o.svg", "p.jxl"];
  const folder = await files("kinds", [...decodable, ...others]);
  const passedOver = new PassedOver();
  const source = await openImageSource(folder, AUTO, s3, { passedOver });
  assert.deepEqual(
    (await Array.fromAsync(source.records())).map(({ id }) => id),
    decodable,
  );
  assert.deepEqual(shown(passedOver), [["image-not-decodable", 6, others.map((name) => `kinds/${name}`)]]);
  for (const name of others) {
    const named = await openImageSource(join(folder, name), AUTO, s3);
    assert.equal((await Array.fromAsync(named.records())).length, 1, name);
  }
  const none = await files("heic", ["a.heic"]);
  await assert.rejects(openImageSource(none, AUTO, s3), { code: "INPUT_EMPTY", message: /1 image-not-decodable/ });
  const texts = new PassedOver();
  await files("kinds", ["z.csv"]);
  assert.deepEqual(await namesOf([folder], s3, { passedOver: texts }), [join(folder, "z.csv")]);
  assert.deepEqual(
    shown(texts).map(([reason, count]) => [reason, count]),
    [["image-among-texts", 16]],
  );
});
