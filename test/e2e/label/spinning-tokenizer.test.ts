import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { hasFile, jsonOf, verdict, Workspace } from "../../helpers/cli.ts";
import { SPINS, writeSpinningTokenizer } from "../../helpers/models/text-models.ts";

const TINY = fileURLToPath(new URL("../../../models/tiny-sentiment", import.meta.url));

/** `tiny-sentiment` with an exponential regular expression in its tokenizer, and `texts.txt` with a text that triggers it at each of `places`. */
async function prepare(work: Workspace, count: number, places: ReadonlySet<number>): Promise<string[]> {
  await cp(TINY, work.file("model"), { recursive: true });
  await writeSpinningTokenizer(work.file("model"), "pre-tokenizer");
  const lines = Array.from({ length: count }, (_, i) => (places.has(i) ? SPINS : `a good text, number ${i}`));
  await work.write("texts.txt", lines.join("\n"));
  return ["label", "text", "texts.txt", "--model", "model", "--out", "out"];
}

test("only the texts that the tokenizer cannot encode in time are rows in error", async () => {
  await using work = await Workspace.open();
  const spinning = new Set([3, 150, 151, 299]);
  const command = await prepare(work, 300, spinning);
  const ended = await work.expect(3, [...command, "--json", "--text-timeout-ms", "300", "--slice-items", "100"]);
  assert.deepEqual(jsonOf(ended).errorCodes, { TEXT_TIMEOUT: 4 });
  const verdicts = (await work.rows("out")).map(verdict);
  assert.deepEqual(
    verdicts.map((each) => each === "TEXT_TIMEOUT"),
    verdicts.map((_, i) => spinning.has(i)),
  );
  await work.expect(0, ["verify", "out"]);
});

test("more than 20 such texts fail the run with the tokenizer as its reason", async () => {
  await using work = await Workspace.open();
  const command = await prepare(work, 60, new Set(Array.from({ length: 30 }, (_, i) => 2 * i)));
  const ended = await work.expect(1, [...command, "--json", "--text-timeout-ms", "100", "--slice-items", "10"]);
  const { state, reason } = jsonOf(ended);
  assert.equal(state, "failed");
  assert.match(
    String(reason),
    /^MODEL_INVALID: .*tokenizer\.json: expected each text of a run to be encoded within 0\.1 s/,
  );
});

test("SIGTERM ends a command whose tokenizer is stuck", async () => {
  await using work = await Workspace.open();
  const command = await prepare(work, 9, new Set([0]));
  const limits = ["--text-timeout-ms", "3600000", "--grace-ms", "500", "--slice-items", "1"];
  const started = work.start([...command, ...limits]);
  await started.says("Run ");
  // A part exists, so the first slice has been taken before.
  await started.until(work.file("out"), () => hasFile(work.file("out"), /^part-/));
  started.child.kill("SIGTERM");
  const { code, signal, stderr } = await started.ended;
  assert.deepEqual({ code, signal }, { code: 130, signal: null }, stderr);
});
