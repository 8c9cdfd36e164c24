import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { PullBar } from "../../../../src/cli/models/pull-bar.ts";
import { Terminal } from "../../../../src/cli/terminal/terminal.ts";
import type { Pulled } from "../../../../src/models/hub/pull.ts";
import type { HubModel } from "../../../../src/models/names.ts";

const MODEL: HubModel = {
  kind: "hub",
  name: "distilbert-sst2",
  id: "distilbert-sst2",
  repo: "a/b",
  revision: "main",
  pins: {},
};
const FILE = { path: "onnx/model.onnx", size: 268_000_000, sha256: "0".repeat(64) };
const PULLED: Pulled = {
  dir: "/models/x",
  lock: { schemaVersion: 1, repo: "a/b", revision: "main", dtype: "fp32", commit: "c".repeat(40), files: [FILE] },
};

/** The text that a pull writes on standard error. */
function written({ isTTY, json }: { isTTY: boolean; json: boolean }, ends: Pulled | undefined): string {
  const err = Object.assign(new PassThrough().setEncoding("utf8"), { isTTY, columns: 200 });
  const bar = new PullBar(new Terminal(json, err as never, err as never));
  bar.began(MODEL, "fp32");
  bar.progress({ doneBytes: 67_000_000, totalBytes: 268_000_000, file: FILE.path });
  bar.progress({ doneBytes: 134_000_000, totalBytes: 268_000_000, file: FILE.path });
  bar.ended(ends);
  return String(err.read());
}

test("on a terminal: a line at the start, a bar, and a line at the end", () => {
  const text = written({ isTTY: true, json: false }, PULLED);
  assert.match(text, /^Pulling distilbert-sst2 \(fp32\) from a\/b@main\n/);
  assert.match(text, /\r█{12}░{12} 134\.0 MB\/268\.0 MB · [\d.]+ MB\/s · .* left · onnx\/model\.onnx/);
  assert.match(text, /Pulled distilbert-sst2 \(fp32\): 268\.0 MB in .*, commit cccccccc\n$/);
  assert.ok(text.includes("\r\u001b[KPulled"), "the last line replaces the bar");
});

test("not on a terminal, or with --json: only the two lines; for a failed pull only the first", () => {
  for (const to of [
    { isTTY: false, json: false },
    { isTTY: true, json: true },
  ])
    assert.match(written(to, PULLED), /^Pulling [^\n\r]*\nPulled [^\n\r]*\n$/);
  assert.match(written({ isTTY: false, json: false }, undefined), /^Pulling [^\n\r]*\n$/);
});
