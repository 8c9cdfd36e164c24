import assert from "node:assert/strict";
import { copyFile, mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { newRunFile } from "../../../../src/outputs/run-file.ts";
import { decodePlanned, encodePlanned, splitsOf } from "../../../../src/runs/ledger/codec.ts";
import { SplitSchema } from "../../../../src/schemas/split.ts";
import { namedFile } from "../../../../src/sources/bytes/read-file.ts";
import { expandInputs } from "../../../../src/sources/discover/expand-inputs.ts";
import { idNames } from "../../../../src/sources/item/id-names.ts";
import { openImageSource } from "../../../../src/sources/open-images.ts";
import { openTextSource } from "../../../../src/sources/open-texts.ts";
import { readSplit } from "../../../../src/sources/read-split.ts";
import { cutSlices } from "../../../../src/sources/slices.ts";
import type { Source } from "../../../../src/sources/source.ts";
import { S3 } from "../../../../src/storage/s3/s3.ts";
import { namesOf } from "../../../helpers/inputs/expand.ts";
import { AUTO, NEVER } from "../../../helpers/inputs/read-source.ts";
import { tarOf } from "../../../helpers/inputs/tar.ts";

const PARQUET = fileURLToPath(new URL("../../../fixtures/parquet/none.parquet", import.meta.url));
const s3 = new S3();

let root: string;
before(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), "labelmill-ids-")));
});
after(async () => {
  s3.close();
  await rm(root, { recursive: true });
});

async function file(name: string, content: string | Uint8Array = "text\nx\ny\n"): Promise<string> {
  await mkdir(dirname(join(root, name)), { recursive: true });
  await writeFile(join(root, name), content);
  return join(root, name);
}

const uriOf = (name: string) => pathToFileURL(join(root, name)).href;

type Ids = Source["ids"];
function named(name: string, path?: string, ids?: Ids): Parameters<typeof idNames>[0][number] {
  const input = { uri: uriOf(name), size: null, modifiedAt: null, hash: null };
  return { input, ...(ids ? { ids } : {}), ...(path === undefined ? {} : { path }) };
}

test("the prefix of ids is the path below the argument or the file's name; the input's URI if two would be equal", () => {
  assert.deepEqual(idNames([named("x.csv"), named("d/a/p.csv", "a/p.csv"), named("d/b/p.csv", "b/p.csv")]), [
    undefined,
    "a/p.csv",
    "b/p.csv",
  ]);
  // A file at the top of a folder has the same name as a file that is named itself.
  assert.deepEqual(idNames([named("d/x.csv", "x.csv")]), [undefined]);
  assert.deepEqual(idNames([named("a/p.csv"), named("b/p.csv"), named("q.csv")]), [
    uriOf("a/p.csv"),
    uriOf("b/p.csv"),
    undefined,
  ]);
  assert.deepEqual(idNames([named("a/in/p.csv", "in/p.csv"), named("b/in/p.csv", "in/p.csv")]), [
    uriOf("a/in/p.csv"),
    uriOf("b/in/p.csv"),
  ]);
  const stdin = { input: { uri: "stdin:", size: null, modifiedAt: null, hash: null } };
  assert.deepEqual(idNames([stdin, named("stdin")]), [undefined, uriOf("stdin")]);
  // If a link is named, the name is that of the file.
  assert.deepEqual(idNames([named("a/p.csv"), named("d/q.csv", "p.csv")]), [uriOf("a/p.csv"), uriOf("d/q.csv")]);
});

test("archives: ids are keys if one archive is named itself, else keys with its path or URI", () => {
  assert.deepEqual(idNames([named("a.tar", undefined, "members")]), [undefined]);
  assert.deepEqual(idNames([named("s/0.tar", "0.tar", "members"), named("s/1.tar", "1.tar", "members")]), [
    "0.tar",
    "1.tar",
  ]);
  assert.deepEqual(
    idNames([named("s/0.tar", "0.tar", "members")]),
    ["0.tar"],
    "independent of other inputs of the run",
  );
  assert.deepEqual(idNames([named("a.tar", undefined, "members"), named("b.tar", undefined, "members")]), [
    uriOf("a.tar"),
    uriOf("b.tar"),
  ]);
});

test("folders of images: ids are paths, unless two folders share a path", () => {
  const of = (...paths: string[]): Ids => ({ paths: () => paths });
  assert.deepEqual(
    idNames([
      named("a", undefined, of("1.jpg", "2.jpg")),
      named("b", undefined, of("2.jpg")),
      named("c", undefined, of("3.jpg")),
      named("list.txt", undefined, "data"),
    ]),
    [uriOf("a"), uriOf("b"), undefined, undefined],
  );
});

test("an item has the same id as a record, in a split, and in a split that is planned again", async () => {
  const csv = await file("in/a.csv");
  const parquet = await file("in/b.parquet", "");
  await copyFile(PARQUET, parquet);
  const shard = await file("in/c.tar", tarOf([{ name: "k.jpg", content: "x" }, { name: "l.jpg" }]));
  const list = await file("in/list.csv", "image,n\n,1\n");
  const texts = await Promise.all([csv, parquet].map((path) => openTextSource(path, AUTO)));
  const images = await Promise.all([shard, list].map((path) => openImageSource(path, AUTO)));
  for (const [task, sources] of [
    ["text-classification", texts],
    ["image-classification", images],
  ] as const)
    for (const source of sources) {
      for (const idName of [undefined, "deep/name é"]) {
        const size = { items: 100_000, bytes: 9_000_000 };
        const options = { size, idName: () => idName };
        const expected = (await Array.fromAsync(source.records(idName))).map(({ id }) => id);
        assert.ok(expected.length > 0 && (idName === undefined || expected.every((id) => id.startsWith(`${idName}#`))));
        const [slice] = await Array.fromAsync(cutSlices([source], { ...options, travels: () => "split" }));
        const [split] = slice!.splits!;
        const ids = async (of: typeof split) => {
          const place = namedFile(fileURLToPath(source.input.uri));
          const read = readSplit(SplitSchema.parse(of), task, place, NEVER);
          return (await Array.fromAsync(read)).map(({ id }) => id);
        };
        assert.deepEqual(await ids(split), expected);
        const runFile = newRunFile({
          spec: { read: AUTO } as Parameters<typeof newRunFile>[0]["spec"],
          inputs: [{ ...source, ...(idName === undefined ? {} : { idName }) }],
        });
        const lost = splitsOf(decodePlanned(encodePlanned(slice!)), runFile);
        assert.deepEqual(await ids(lost![0]), expected);
        if (source.onlySplits) continue;
        const [inline] = await Array.fromAsync(cutSlices([source], options));
        assert.deepEqual(
          inline!.items!.map(({ id }) => id),
          expected,
        );
      }
    }
});

test("an expanded input has its path below the argument that covers it", async () => {
  for (const name of ["tree/a/p.csv", "tree/b/p.csv"]) await file(name);
  const list = await file("tree/list.txt", "a/p.csv\n./b/p.csv\n");
  const tree = join(root, "tree");
  for (const argument of [join(tree, "**/*.csv"), `@${list}`, join(tree, "{a,b}/p.csv")]) {
    const found = await expandInputs([argument], { s3 });
    assert.deepEqual(
      found.map(({ path }) => path),
      ["a/p.csv", "b/p.csv"],
      argument,
    );
  }
  assert.deepEqual(await expandInputs([join(tree, "a/p.csv")], { s3 }), [{ name: join(tree, "a/p.csv") }]);
  assert.deepEqual(await namesOf([join(tree, "a")], s3), [join(tree, "a/p.csv")]);
});
