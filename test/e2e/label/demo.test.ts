import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import type { Row } from "../../../src/schemas/row.ts";
import { assertPlain, verdict, Workspace } from "../../helpers/cli.ts";

test("the demo labels both examples, shows a table and bars, and prints where the results are", async () => {
  await using work = await Workspace.open();
  const { stdout } = await work.expect(0, ["demo", "--out", "shown"]);
  const lines = stdout.split("\n").map((line) => line.replaceAll(/ +/g, " "));
  assert.deepEqual((await readdir(work.file("shown"))).sort(), ["images", "text"]);

  const reviews = await work.rows("shown/text");
  assert.ok(reviews.length >= 200);
  assert.deepEqual(new Set(reviews.map(verdict)), new Set(["POSITIVE", "NEGATIVE"]));
  const pictures = await work.rows("shown/images");
  assert.ok(pictures.length >= 12);
  for (const row of pictures) assert.equal(row.id.split("-")[0], verdict(row), `${row.id} has the right label`);

  for (const [kind, rows] of [
    ["text", reviews],
    ["images", pictures],
  ] as const) {
    for (const row of rows.slice(0, 6))
      assert.ok(
        lines.some((line) => line.startsWith(cells(row))),
        cells(row),
      );
    for (const label of new Set(rows.map(verdict))) {
      const count = rows.filter((row) => verdict(row) === label).length;
      assert.match(stdout, new RegExp(`^${label} +█+ ${count}$`, "m"));
    }
    assert.match(stdout, new RegExp(`^${rows.length} labeled, 0 in error of ${rows.length} in [\\d.]+ s`, "m"));
    assert.match(stdout, new RegExp(`^Results: shown/${kind} `, "m"));
    await work.expect(0, ["verify", `shown/${kind}`]);
  }
  assert.match(stdout, /^All results are in shown\. /m);
  assertPlain(stdout);
});

test("with --json, the demo prints one JSON value", async () => {
  await using work = await Workspace.open();
  const { stdout } = await work.expect(0, ["demo", "--out", "shown", "--json"]);
  const { text, images } = JSON.parse(stdout);
  assert.deepEqual(
    [text.state, text.totals.labeled, images.state, images.totals.errors],
    ["succeeded", 235, "succeeded", 0],
  );
});

/** The first cells of a row in the table, with single spaces between them. */
function cells(row: Row): string {
  return [row.id, verdict(row), "score" in row ? row.score.toFixed(3) : ""].join(" ");
}
