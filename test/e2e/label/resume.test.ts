import assert from "node:assert/strict";
import { readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { partKey } from "../../../src/schemas/names.ts";
import { hasFile, jsonOf, type RunningCommand, Workspace } from "../../helpers/cli.ts";
import { writeTextModel } from "../../helpers/models/onnx.ts";
import { writeTexts } from "../../helpers/runs/pipeline.ts";

const RECORDS = 240;
/** About 100 ms per batch and two to three batches per slice: slow enough to be interrupted in the middle. */
const SLOW = ["--model", "slow", "--threads", "1", "--text-budget", "32"];
const COMMAND = ["label", "text", "texts.csv", "--out", "out", "--slice-items", "10", ...SLOW];

let work: Workspace;

before(async () => {
  work = await Workspace.open();
  await writeTexts(work.file("texts.csv"), RECORDS);
  await writeTextModel(work.file("slow"), { weights: [1, -1], bias: [0, 0], slow: 10_000 });
});
after(() => work[Symbol.asyncDispose]());

async function partsOf(out: string): Promise<Map<string, string>> {
  const names = (await readdir(work.file(out))).filter((name) => name.startsWith("part-")).sort();
  const parts = names.map(async (name) => [name, await readFile(work.file(out, name), "utf8")] as const);
  return new Map(await Promise.all(parts));
}

/** Waits until the command has written a part. @param partsBefore the number of parts before its start */
async function firstPart(command: RunningCommand, out: string, partsBefore: number): Promise<void> {
  await command.says(partsBefore === 0 ? "Run " : "Resuming run ");
  await command.until(work.file(out), async () => (await partsOf(out)).size > partsBefore);
}

function assertUnchanged(before: Map<string, string>, now: Map<string, string>): void {
  for (const [name, text] of before) assert.equal(now.get(name), text, `${name} is unchanged`);
}

test("after SIGINT, SIGTERM and SIGKILL, the same command resumes without a lost or doubled row", async () => {
  const first = work.start(COMMAND);
  await firstPart(first, "out", 0);

  const rival = await work.expect(2, [...COMMAND, "--json"]);
  const { error } = jsonOf(rival) as { error: { code: string; message: string } };
  assert.equal(error.code, "OUTPUT_LOCKED");
  assert.match(error.message, new RegExp(`in use by process ${first.child.pid} `));

  first.child.kill("SIGINT");
  const interrupted = await first.ended;
  assert.equal(interrupted.code, 130, interrupted.stderr);
  assert.match(
    interrupted.stderr,
    /SIGINT: finishing the running slices for at most \d+ s, then giving the rest back \(again to stop at once\)/,
  );
  assert.match(interrupted.stderr, /labelmill: ABORTED: .*run the same command again/);
  assert.equal(interrupted.stdout, "");
  assert.ok(!(await hasFile(work.file("out"), /^(_lock|_manifest\.json|_SUCCESS)$/)));
  const afterInt = await partsOf("out");

  const second = work.start([...COMMAND, "--json"]);
  await firstPart(second, "out", afterInt.size);
  second.child.kill("SIGTERM");
  const terminated = await second.ended;
  assert.equal(terminated.code, 130, terminated.stderr);
  assert.equal((jsonOf(terminated).error as { code: string }).code, "ABORTED");
  const afterTerm = await partsOf("out");
  assertUnchanged(afterInt, afterTerm);

  const third = work.start(COMMAND);
  await firstPart(third, "out", afterTerm.size);
  third.child.kill("SIGKILL");
  await third.ended;
  await work.redisClosed();
  assert.ok(await hasFile(work.file("out"), /^_lock$/), "a killed command leaves its lock");
  const afterKill = await partsOf("out");
  assertUnchanged(afterTerm, afterKill);
  assert.ok(afterKill.size < RECORDS / 10, "it was killed in the middle");
  await work.expect(1, ["verify", "out"]);

  await work.expect(0, COMMAND);
  assert.ok(!(await hasFile(work.file("out"), /^_lock$/)));
  const parts = await partsOf("out");
  assertUnchanged(afterKill, parts);
  const { run } = await work.runFile("out");
  assert.deepEqual(
    [...parts.keys()],
    Array.from({ length: RECORDS / 10 }, (_, slice) => partKey(run, slice)),
  );
  assert.deepEqual(
    (await work.rows("out")).map(({ id, source }) => [id, source.record]),
    Array.from({ length: RECORDS }, (_, i) => [`texts.csv#${i}`, i]),
  );
  await work.expect(0, ["verify", "out"]);
});

test("a finished run is reported with its exit code, and a changed command or input is refused with the differences", async () => {
  const ran = await partsOf("out");
  const finished = await work.expect(0, COMMAND);
  assert.match(finished.stderr, /out is finished already \(run [0-9a-f]{16}\): nothing to do/);
  assert.match(finished.stdout, new RegExp(`${RECORDS} labeled, 0 in error of ${RECORDS} with slow`));

  await writeFile(work.file("other.csv"), "text\nfine\n");
  const others: [string[], string[]][] = [
    [
      [...COMMAND, "--top-k", "1", "--model", "tiny-sentiment", "--slice-items", "20"],
      [
        "spec.topK: 2 then, 1 now",
        'spec.model.id: "slow" then, "tiny-sentiment" now',
        "spec.sliceItems: 10 then, 20 now",
      ],
    ],
    [["label", "text", "other.csv", ...COMMAND.slice(3)], ['other.csv" now']],
    [["label", "text", "other.csv", ...COMMAND.slice(2)], ["inputs: 1 then, 2 now"]],
  ];
  for (const [args, differences] of others) {
    const { stderr } = await work.expect(2, args);
    assert.match(stderr, /labelmill: SPEC_DIFFERS: /);
    for (const difference of differences) assert.ok(stderr.includes(difference), `expected ${difference}: ${stderr}`);
  }
  // A file with the same bytes and another modification time counts as changed.
  await utimes(work.file("texts.csv"), 1, 1);
  const touched = await work.expect(2, COMMAND);
  assert.match(touched.stderr, /texts\.csv\.modifiedAt: \S+ then, "1970-01-01T00:00:01\.000Z" now/);
  assert.deepEqual(await partsOf("out"), ran, "existing parts are unchanged");
});

describe("outputs and signals", { concurrency: 2 }, () => {
  test("a permanently failed slice gives exit 1 and no _SUCCESS, until the same command labels it", async () => {
    const args = ["label", "text", "--model", "tiny-sentiment", "small.csv", "--out", "small", "--slice-items", "5"];
    await writeTexts(work.file("small.csv"), 15);
    await work.expect(0, args);
    // As a killed command leaves it, and with a part that another process has replaced.
    for (const name of ["_SUCCESS", "_manifest.json", "_parts.jsonl"]) await rm(work.file("small", name));
    const { run } = await work.runFile("small");
    const right = await readFile(work.file("small", partKey(run, 1)), "utf8");
    await writeFile(work.file("small", partKey(run, 1)), "{}\n");

    const { stdout } = await work.expect(1, args);
    assert.match(stdout, /PART_MISMATCH in slice 1: .*\n/);
    assert.match(stdout, /1 slices failed permanently: run the same command again/);
    assert.ok(!(await hasFile(work.file("small"), /^_SUCCESS$/)));
    const manifest = JSON.parse(await readFile(work.file("small", "_manifest.json"), "utf8"));
    assert.equal(manifest.state, "failed");
    assert.deepEqual(manifest.failed[0].planned, [{ input: 0, first: 5, count: 5 }]);
    assert.match((await work.expect(1, ["verify", "small"])).stdout, /1 slices failed permanently/);

    await rm(work.file("small", partKey(run, 1)));
    await work.expect(0, args);
    assert.equal(await readFile(work.file("small", partKey(run, 1)), "utf8"), right);
    await work.expect(0, ["verify", "small"]);
  });

  test("a second SIGINT ends the command and its Redis server immediately", async () => {
    await using work = await Workspace.open();
    await writeTexts(work.file("texts.csv"), RECORDS);
    await writeTextModel(work.file("slow"), { weights: [1, -1], bias: [0, 0], slow: 200_000 });
    const args = ["label", "text", "texts.csv", "--out", "forced", ...SLOW, "--grace-ms", "60000"];
    const command = work.start(args);
    await command.says("Run ");
    const taken = async () =>
      (await readFile(work.file("forced", "_inflight"), "utf8").catch(() => "")).includes("try ");
    await command.until(work.file("forced"), taken);
    const redisClosed = work.redisClosed();
    command.child.kill("SIGINT");
    await command.says("again to stop at once");
    const began = performance.now();
    // Signals within a second after the first one are ignored.
    const again = setInterval(() => command.child.kill("SIGINT"), 100);
    const { signal, stderr } = await command.ended.finally(() => clearInterval(again));
    const ms = performance.now() - began;
    assert.equal(signal, "SIGINT", "a shell shows 130");
    assert.doesNotMatch(stderr, /terminate|abort/i, "without a crash report");
    // One batch takes longer than this, and the slice takes a minute.
    assert.ok(ms < 5000, `took ${ms.toFixed(0)} ms`);
    await redisClosed;
  });

  test("standard input cannot be resumed, so an output that has a run refuses it", async () => {
    const args = ["label", "text", "--model", "tiny-sentiment", "-", "--out", "piped"];
    await work.expect(0, args, { input: "a good one\na bad one\n" });
    const before = await partsOf("piped");
    for (const unfinished of [false, true]) {
      if (unfinished) await rm(work.file("piped", "_SUCCESS"));
      const { stderr } = await work.expect(2, args, { input: "a good one\na bad one\n" });
      assert.match(stderr, /labelmill: OUTPUT_NOT_RESUMABLE: .*standard input/);
    }
    assert.deepEqual(await partsOf("piped"), before);
  });

  test("a folder with other files is refused and not changed", async () => {
    await work.write("home/letter.txt", "dear all\n");
    const { stderr } = await work.expect(2, [
      "label",
      "text",
      "--model",
      "tiny-sentiment",
      "texts.csv",
      "--out",
      "home",
    ]);
    assert.match(stderr, /labelmill: OUTPUT_FOREIGN: .*letter\.txt/);
    assert.deepEqual(await readdir(work.file("home")), ["letter.txt"]);
    assert.equal(await readFile(work.file("home", "letter.txt"), "utf8"), "dear all\n");
  });
});
