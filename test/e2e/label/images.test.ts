import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFile, mkdir, readFile, symlink } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import sharp from "sharp";
import type { LabeledRow, Row } from "../../../src/schemas/row.ts";
import { jsonOf, verdict, Workspace } from "../../helpers/cli.ts";
import { png } from "../../helpers/inputs/images.ts";

const EXAMPLES = fileURLToPath(new URL("../../../examples/images/", import.meta.url));
const SHIP = `${EXAMPLES}ship-sailing-boat.jpg`;

let work: Workspace;
let ship: Buffer;

before(async () => {
  work = await Workspace.open();
  ship = await readFile(SHIP);
  await mkdir(work.file("shelf", "deep"), { recursive: true });
  await copyFile(SHIP, work.file("shelf", "ship.jpg"));
  await copyFile(`${EXAMPLES}dog-brown-and-white.webp`, work.file("shelf", "deep", "dog.webp"));
  await copyFile(`${EXAMPLES}truck-with-box.png`, work.file("shelf", "deep", "truck.png"));
  await work.write("shelf/notes.txt", "not an image\n");
  await work.write("outside.jpg", ship);
});
after(() => work[Symbol.asyncDispose]());

function scoreOf(row: Row | undefined): number {
  return (row as LabeledRow).score;
}

test("unusual images of a list are labeled, and each invalid one is only a row in error", async () => {
  const odd: Record<string, Buffer> = {
    "first.jpg": ship,
    "cmyk.jpg": await sharp(ship).toColourspace("cmyk").jpeg().toBuffer(),
    "deep.png": await sharp(ship).toColourspace("rgb16").png().toBuffer(),
    "alpha.png": await sharp(ship).ensureAlpha(1).png().toBuffer(),
    "grey.png": await sharp(ship).greyscale().png().toBuffer(),
    "turned.jpg": await sharp(await sharp(ship).rotate(-90).toBuffer())
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer(),
    "moving.gif": await moving(ship),
  };
  assert.equal((await sharp(odd["cmyk.jpg"]).metadata()).space, "cmyk");
  assert.equal((await sharp(odd["deep.png"]).metadata()).depth, "ushort");
  assert.equal((await sharp(odd["moving.gif"]).metadata()).pages, 2);
  const bad: Record<string, Buffer | string> = {
    "cut.jpg": ship.subarray(0, ship.length >> 1),
    "text.jpg": "this is not an image\n",
    "huge.png": png(10_000, 10_000, new Uint8Array(10)),
    "empty.png": "",
  };
  for (const [name, bytes] of Object.entries({ ...odd, ...bad, "last.jpg": ship }))
    await work.write(`list/${name}`, bytes);
  await symlink(work.file("outside.jpg"), work.file("list", "link.jpg"));
  const before = Object.keys(odd);
  const names = [...before, "missing.jpg", ...Object.keys(bad), "../outside.jpg", "link.jpg", "last.jpg"];
  const urls = ["http://127.0.0.1:9/x.jpg", "ftp://example.com/x.jpg", "http://user:secret@example.com/x.jpg"];
  await work.write("list/all.txt", `${[...names, ...urls].join("\n")}\n\n`);

  const ended = await work.expect(3, [
    "label",
    "images",
    "--model",
    "tiny-image",
    "list/all.txt",
    "--out",
    "odd",
    "--json",
  ]);
  const rows = await work.rows("odd");
  const verdicts = Object.fromEntries(rows.map((row) => [row.id, verdict(row)]));
  assert.deepEqual(verdicts, {
    ...Object.fromEntries(before.map((name) => [name, "ship"])),
    "missing.jpg": "IMAGE_NOT_FOUND",
    "cut.jpg": "IMAGE_INVALID",
    "text.jpg": "IMAGE_INVALID",
    "huge.png": "IMAGE_TOO_LARGE",
    "empty.png": "IMAGE_INVALID",
    "../outside.jpg": "NOT_GRANTED",
    "link.jpg": "NOT_GRANTED",
    "last.jpg": "ship",
    "http://127.0.0.1:9/x.jpg": "URL_REFUSED",
    "ftp://example.com/x.jpg": "URL_REFUSED",
    "http://***@example.com/x.jpg": "URL_REFUSED",
  });
  assert.deepEqual(
    rows.map(({ source }) => [source.uri, source.record, source.line]),
    rows.map((_, i) => [pathToFileURL(work.file("list", "all.txt")).href, i, i + 1]),
  );
  assert.equal(scoreOf(rows.find(({ id }) => id === "last.jpg")), scoreOf(rows[0]), "neighbours are not affected");
  // These images show the same picture, except for the losses of JPEG.
  for (const name of ["turned.jpg", "alpha.png", "deep.png"]) {
    const difference = Math.abs(scoreOf(rows.find(({ id }) => id === name)) - scoreOf(rows[0]));
    assert.ok(difference < 0.02, `${name} differs by ${difference}`);
  }
  const { totals } = jsonOf(ended) as { totals: { planned: number; labeled: number; errors: number } };
  assert.deepEqual(
    [totals.planned, totals.labeled, totals.errors],
    [names.length + 3, before.length + 1, names.length - before.length + 2],
  );
  await work.expect(0, ["verify", "odd"]);
});

test("one run labels a folder, a pattern, a file and a list", async () => {
  await work.write("shelf/list.txt", "ship.jpg\ndeep/dog.webp\n");
  const inputs = ["shelf", "shelf/**/*.png", "outside.jpg", "shelf/list.txt"];
  await work.expect(0, ["label", "images", "--model", "tiny-image", ...inputs, "--out", "forms", "--top-k", "3"]);
  const rows = await work.rows("forms");
  // The folder and the pattern have the same path, so their ids start with the URIs.
  const [folder, pattern] = ["shelf", "shelf/**/*.png"].map((name) => pathToFileURL(work.file(name)).href);
  assert.deepEqual(
    rows.map((row) => [row.id, verdict(row), row.source.record, row.input]),
    [
      [`${folder}#deep/dog.webp`, "dog", 0, { image: "deep/dog.webp" }],
      [`${folder}#deep/truck.png`, "truck", 1, { image: "deep/truck.png" }],
      [`${folder}#ship.jpg`, "ship", 2, { image: "ship.jpg" }],
      [`${pattern}#deep/truck.png`, "truck", 0, { image: "deep/truck.png" }],
      ["outside.jpg", "ship", 0, { image: "outside.jpg" }],
      ["ship.jpg", "ship", 0, { image: "ship.jpg" }],
      ["deep/dog.webp", "dog", 1, { image: "deep/dog.webp" }],
    ],
  );
  for (const row of rows) assert.equal((row as LabeledRow).labels.length, 3);
  await work.expect(0, ["verify", "forms"]);
});

test("images at private addresses are fetched only with --allow-private", async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url!);
    if (request.url === "/ship.jpg") response.writeHead(200, { "content-type": "image/jpeg" }).end(ship);
    else if (request.url === "/moved") response.writeHead(302, { location: "/ship.jpg" }).end();
    else response.writeHead(404).end();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  try {
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const pictures = [`${base}/ship.jpg`, `${base}/moved`, `${base}/none.jpg`, "shelf/ship.jpg"];
    await work.write("table.csv", `sku,picture,note\n${pictures.map((each, i) => `s${i},${each},n${i}`).join("\n")}\n`);
    const columns = ["--column", "picture", "--id-column", "sku", "--keep", "note"];
    const args = ["label", "images", "--model", "tiny-image", "table.csv", ...columns];

    await work.expect(3, [...args, "--out", "refused"]);
    assert.deepEqual(
      (await work.rows("refused")).map((row) => [row.id, verdict(row)]),
      [
        ["s0", "URL_REFUSED"],
        ["s1", "URL_REFUSED"],
        ["s2", "URL_REFUSED"],
        ["s3", "ship"],
      ],
    );
    assert.deepEqual(asked, [], "the server got no request");

    await work.expect(3, [...args, "--out", "allowed", "--allow-private"]);
    assert.deepEqual(
      (await work.rows("allowed")).map((row) => [row.id, verdict(row), row.input]),
      [
        ["s0", "ship", { note: "n0", image: pictures[0] }],
        ["s1", "ship", { note: "n1", image: pictures[1] }],
        ["s2", "IMAGE_NOT_FOUND", { note: "n2", image: pictures[2] }],
        ["s3", "ship", { note: "n3", image: pictures[3] }],
      ],
    );
    assert.deepEqual(asked.sort(), ["/moved", "/none.jpg", "/ship.jpg", "/ship.jpg"]);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

/** A GIF of two pictures: the given one, and a black one. */
async function moving(first: Buffer): Promise<Buffer> {
  const { data, info } = await sharp(first).resize(64, 64).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const both = Buffer.concat([data, Buffer.alloc(data.length)]);
  const { width, height, channels } = info;
  return sharp(both, { raw: { width, height: 2 * height, channels, pageHeight: height } })
    .gif({ delay: [10, 10] })
    .toBuffer();
}
