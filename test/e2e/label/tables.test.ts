import assert from "node:assert/strict";
import { cp, mkdir, readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { LabeledRow } from "../../../src/schemas/row.ts";
import { jsonOf, verdict, Workspace } from "../../helpers/cli.ts";
import { arrowOfPictures, parquetOfBytes } from "../../helpers/inputs/image-tables.ts";

const EXAMPLES = fileURLToPath(new URL("../../../examples/images/", import.meta.url));
const SAVED = fileURLToPath(new URL("../../fixtures/arrow/saved", import.meta.url));

let work: Workspace;

before(async () => {
  work = await Workspace.open();
});
after(() => work[Symbol.asyncDispose]());

test("a folder of datasets.save_to_disk can be labeled and verified", async () => {
  await cp(SAVED, work.file("saved"), { recursive: true });
  const ended = await work.expect(0, [
    ...["label", "text", "--model", "tiny-sentiment", "saved", "--keep", "label", "--out", "texts", "--json"],
  ]);
  const rows = (await work.rows("texts")) as LabeledRow[];
  assert.equal(rows.length, 20);
  assert.deepEqual(
    rows.map(({ input }) => input!.label),
    Array.from({ length: 20 }, (_, row) => row % 2),
  );
  const { passedOver } = jsonOf(ended) as { passedOver: { count: number; reasons: { reason: string }[] } };
  assert.deepEqual([passedOver.count, passedOver.reasons[0]!.reason], [2, "not-data"]);
  await work.expect(0, ["verify", "texts", "--inputs"]);
});

test("images in tables and in a folder of tables are labeled from their bytes, and each invalid one is a row in error", async () => {
  const ship = await readFile(`${EXAMPLES}ship-sailing-boat.jpg`);
  const dog = await readFile(`${EXAMPLES}dog-brown-and-white.webp`);
  await mkdir(work.file("tables"));
  const first = [
    { bytes: ship, path: "a/ship.jpg" },
    { bytes: dog, path: null },
    { bytes: Buffer.from("89504e47", "hex"), path: "cut.png" },
    { bytes: null, path: "missing.jpg" },
    { bytes: null },
  ];
  await work.write("tables/first.arrow", Buffer.from(arrowOfPictures("image", first)));
  await work.expect(3, [
    "label",
    "images",
    "--model",
    "tiny-image",
    "tables/first.arrow",
    "--keep",
    "number",
    "--out",
    "one",
  ]);
  const rows = await work.rows("one");
  assert.deepEqual(
    rows.map((row) => [row.id, verdict(row), row.input]),
    [
      ["first.arrow#0", "ship", { number: 0, image: "a/ship.jpg" }],
      ["first.arrow#1", "dog", { number: 1 }],
      ["first.arrow#2", "IMAGE_INVALID", { number: 2, image: "cut.png" }],
      ["first.arrow#3", "IMAGE_NOT_FOUND", { number: 3, image: "missing.jpg" }],
      ["first.arrow#4", "RECORD_INVALID", undefined],
    ],
  );
  await work.expect(0, ["verify", "one", "--inputs"]);

  await mkdir(work.file("hub", "data"), { recursive: true });
  await work.write("hub/README.md", "about the data\n");
  await work.write("hub/data/train-0.parquet", Buffer.from(parquetOfBytes("image", [dog, ship])));
  await work.write("hub/data/train-1.parquet", Buffer.from(parquetOfBytes("image", [ship])));
  await work.expect(0, ["label", "images", "--model", "tiny-image", "hub", "--out", "all"]);
  assert.deepEqual((await work.rows("all")).map(verdict), ["dog", "ship", "ship"]);
  await work.expect(0, ["verify", "all", "--inputs"]);
});
