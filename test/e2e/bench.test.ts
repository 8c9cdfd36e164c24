import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { inexactVersions, lockAddresses } from "../helpers/rules/package-rules.ts";

const root = join(import.meta.dirname, "..", "..");
const folder = mkdtempSync(join(tmpdir(), "bench-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function bench(...args: string[]) {
  return spawnSync(process.execPath, [join(root, "bench", "main.ts"), ...args], { encoding: "utf8", cwd: folder });
}

test("the benchmark runs one part alone, lists the parts it skipped, and writes its figures", () => {
  const json = join(folder, "figures.json");
  const args = ["--quick", "--rounds", "1", "--seconds", "1", "--only", "free_text", "--json", json];
  const { status, stdout, stderr } = bench(...args);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /Rough and short/);
  assert.match(stdout, /`free_model_vs_tokenizer\.text`\) +\| +\d[\d.]* .*≥ 0\.85 .*(met|\*\*missed\*\*)/);
  assert.match(stdout, /`pipeline_vs_ort\.text_mixed`\) +\| not measured /);
  const { machine, versions, figures } = JSON.parse(readFileSync(json, "utf8"));
  assert.ok(machine.cores > 0);
  assert.equal(versions.node, process.versions.node);
  const whole = figures["items_per_second.free_text.pipeline"];
  const alone = figures["items_per_second.free_text.tokenizer"];
  assert.ok(whole > 0 && alone > 0, JSON.stringify(figures));
  // Each figure has four digits.
  assert.ok(Math.abs(figures["free_model_vs_tokenizer.text"] - whole / alone) < 0.01 * (whole / alone));
});

test("an unknown part is a usage error", () => {
  const { status, stderr } = bench("--only", "speed");
  assert.equal(status, 2);
  assert.match(stderr, /--only: expected one of text_short, .* got speed/);
});

test("the compared packages have exact versions, and their lock file names no host", () => {
  const peers = join(root, "bench", "peers");
  const { dependencies } = JSON.parse(readFileSync(join(peers, "package.json"), "utf8"));
  assert.deepEqual(inexactVersions({ dependencies }), []);
  assert.deepEqual(lockAddresses(readFileSync(join(peers, "package-lock.json"), "utf8")), []);
});
