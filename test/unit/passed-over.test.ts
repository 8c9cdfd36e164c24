import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { passedOverLines } from "../../src/cli/passed-over.ts";
import type { ReadOptions } from "../../src/schemas/input.ts";
import { PassedOverSchema, sumPassedOver } from "../../src/schemas/passed-over.ts";
import { openImageSource } from "../../src/sources/images.ts";
import { expandInputs } from "../../src/sources/inputs.ts";
import { PassedOver } from "../../src/sources/passed-over.ts";
import { S3 } from "../../src/storage/s3.ts";

const AUTO: ReadOptions = { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] };
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

test("all is counted, the first ten names of each reason are kept, and nothing of them reaches a terminal", () => {
  const passedOver = new PassedOver();
  for (let number = 0; number < 1000; number++) passedOver.add("empty", `${number}.csv`);
  passedOver.add("hidden", "a\u001b[31m\n\u202eb\ud800");
  passedOver.add("hidden", "x".repeat(5000));
  const [hidden, empty] = passedOver.report.reasons;
  assert.deepEqual([empty!.count, empty!.names], [1000, Array.from({ length: 10 }, (_, number) => `${number}.csv`)]);
  assert.equal(hidden!.names[0], "a\ufffd[31m\ufffd\ufffdb\ufffd");
  assert.equal(hidden!.names[1]!.length, 200);
  assert.equal(passedOver.report.count, 1002);
  assert.deepEqual(passedOverLines(passedOver.report).slice(0, 1), ["Passed over: 1002 files"]);
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

test("a folder and a pattern of texts tell what they pass over", async () => {
  const folder = await files("texts", ["a.csv", ".git/x", ".hidden", "_tmp/b.csv", "_SUCCESS", "cat.jpg", "in/d.csv"]);
  await files("texts", ["none.csv"], "");
  await symlink(join(folder, "gone.csv"), join(folder, "link.csv"));
  await symlink(tmpdir(), join(folder, "out.csv"));
  execFileSync("mkfifo", [join(folder, "pipe.csv")]);
  const passedOver = new PassedOver();
  const found = await expandInputs([folder], s3, "text", passedOver);
  assert.deepEqual(found, [join(folder, "a.csv"), join(folder, "in/d.csv")]);
  assert.deepEqual(shown(passedOver), [
    ["hidden", 4, ["texts/.git/", "texts/.hidden", "texts/_SUCCESS", "texts/_tmp/b.csv"]],
    ["empty", 1, ["texts/none.csv"]],
    ["image-among-texts", 1, ["texts/cat.jpg"]],
    ["link-or-device", 3, ["texts/link.csv", "texts/out.csv", "texts/pipe.csv"]],
  ]);
  const ofPattern = new PassedOver();
  assert.deepEqual(await expandInputs([join(folder, "*.{csv,jpg}")], s3, "text", ofPattern), [join(folder, "a.csv")]);
  assert.deepEqual(shown(ofPattern), [
    ["empty", 1, ["texts/none.csv"]],
    ["image-among-texts", 1, ["texts/cat.jpg"]],
    ["link-or-device", 3, ["texts/link.csv", "texts/out.csv", "texts/pipe.csv"]],
  ]);
});

test("a folder and a pattern of images tell what they pass over", async () => {
  const folder = await files("images", ["a.jpg", "b/c.png", "notes.txt", "b/.d.jpg", "data.csv"]);
  const passedOver = new PassedOver();
  await openImageSource(folder, AUTO, s3, passedOver);
  assert.deepEqual(shown(passedOver), [
    ["hidden", 1, ["images/b/.d.jpg"]],
    ["not-an-image", 2, ["images/data.csv", "images/notes.txt"]],
  ]);
  const ofPattern = new PassedOver();
  await openImageSource(join(folder, "*"), AUTO, s3, ofPattern);
  assert.deepEqual(shown(ofPattern), [["not-an-image", 2, ["images/data.csv", "images/notes.txt"]]]);
});

test("an inventory tells what it names and is not taken", async () => {
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
  assert.deepEqual(await expandInputs([`@${folder}/list.csv`], s3, "text", texts), ["s3://bucket/a.csv"]);
  const gone: [string, number, string[]][] = [
    ["empty", 1, ["s3://bucket/empty.csv"]],
    ["folder-marker", 1, ["s3://bucket/folder/"]],
  ];
  const old: [string, number, string[]] = ["old-version", 2, ["s3://bucket/a.csv", "s3://bucket/gone.csv"]];
  assert.deepEqual(shown(texts), [["hidden", 1, ["_tmp/b.csv"]], ...gone, ["image-among-texts", 1, ["c.jpg"]], old]);
  const images = new PassedOver();
  await openImageSource(`@${folder}/list.csv`, AUTO, s3, images);
  assert.deepEqual(shown(images), [...gone, ["not-an-image", 2, ["_tmp/b.csv", "a.csv"]], old]);
});
