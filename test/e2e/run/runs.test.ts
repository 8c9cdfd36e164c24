import assert from "node:assert/strict";
import { appendFile, readdir, readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { lockOutput } from "../../../src/storage/lease/output-lock.ts";
import { type Ended, jsonOf, verdict, Workspace } from "../../helpers/cli.ts";
import { writeTexts } from "../../helpers/runs/pipeline.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

const MODEL = ["--model", "tiny-sentiment"];

let work: Workspace;
let redis: TcpRedis;

before(async () => {
  redis = await TcpRedis.start();
  work = await Workspace.open();
  await writeTexts(work.file("texts.csv"), 400);
  const rows = Array.from({ length: 400 }, (_, i) => `${i},${i % 2 ? "" : "fine"},${i % 4 ? "en" : "de"}`);
  await work.write("gaps.csv", `id,text,lang\n${rows.join("\n")}\n`);
});
after(async () => {
  await work[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

/** A command that uses the Redis server of the tests and shares files with its workers. */
function shared(args: string[]) {
  return { args, options: { env: { REDIS_URL: redis.url } } };
}

async function expectShared(code: number, ...words: string[]): Promise<Ended> {
  const { args, options } = shared(words);
  return work.expect(code, args, options);
}

test("a submitted spec can be paused, listed and resumed, and a worker plans and finishes it while a watch waits", async () => {
  await work.write(
    "spec.yaml",
    "kind: text\ninputs: [texts.csv]\nmodel: tiny-sentiment\nout: spec-out\nsliceItems: 100\ntopK: 1\n",
  );
  const submit = ["run", "submit", "spec.yaml", "--shared-files", "--queue-anyway"];
  const { stdout } = await expectShared(0, ...submit);
  const run = stdout.trim();
  assert.equal((await work.runFile("spec-out")).run, run, "standard output has only the id");
  assert.equal((await work.runFile("spec-out")).spec.sliceItems, 100, "the settings of the spec are used");

  const dropped = jsonOf(await expectShared(0, ...submit, "--out", "dropped", "--json")).run as string;
  await expectShared(0, "run", "cancel", dropped);
  const ended = jsonOf(await expectShared(1, "run", "watch", dropped, "--json"));
  assert.deepEqual([ended.run, ended.state], [dropped, "cancelled"]);

  await expectShared(0, "run", "pause", run);
  await expectShared(1, "run", "pause", dropped);
  const listed = jsonOf(await expectShared(0, "run", "list", "--state", "paused", "--json"));
  assert.deepEqual(
    (listed.runs as { run: string }[]).map((each) => each.run),
    [run],
  );
  await expectShared(0, "run", "resume", run);

  const worker = work.start(["worker", "--models", "tiny-sentiment"], {
    env: { REDIS_URL: redis.url, LABELMILL_FILE_ROOTS: work.path, LABELMILL_THREADS: "1" },
  });
  await worker.says("Serving");
  const watched = jsonOf(await expectShared(0, "run", "watch", run, "--json"));
  assert.deepEqual([watched.run, watched.state], [run, "succeeded"]);
  await work.expect(0, ["verify", "spec-out", "--inputs"]);
  assert.deepEqual(
    (await work.rows("spec-out")).map(({ source }) => source.record),
    Array.from({ length: 400 }, (_, i) => i),
  );
  await expectShared(1, "run", "watch", "0123456789abcdef");
  worker.child.kill("SIGTERM");
  assert.equal((await worker.ended).code, 0);
});

test("one of two concurrent runs gets an output, and a locked output is refused", async () => {
  const submit = (limit: string) => {
    const flags = ["--kind", "text", "texts.csv", ...MODEL, "--out", "both", "--shared-files", "--queue-anyway"];
    const { args, options } = shared(["run", "submit", ...flags, "--limit", limit]);
    return work.run(args, options);
  };
  const ends = await Promise.all([submit("10"), submit("20")]);
  const [won, lost] = ends.sort((a, b) => a.code! - b.code!) as [Ended, Ended];
  assert.deepEqual([won.code, lost.code], [0, 2], won.stderr + lost.stderr);
  assert.match(lost.stderr, /OUTPUT_LOCKED|SPEC_DIFFERS/);
  assert.equal((await work.runFile("both")).run, won.stdout.trim());
  await using _lock = await lockOutput(work.file("both"));
  assert.match((await submit("10")).stderr, /OUTPUT_LOCKED/);
});

test("--where, --sample and --limit choose the same rows each time, and another choice needs --overwrite", async () => {
  const label = ["label", "text", "gaps.csv", ...MODEL, "--out", "chosen", "--where", "lang=de", "--keep", "lang"];
  await work.expect(0, [...label, "--limit", "30"]);
  const rows = await work.rows("chosen");
  assert.deepEqual(
    rows.map(({ source }) => source.record),
    Array.from({ length: 30 }, (_, i) => 4 * i),
  );
  assert.equal((await work.runFile("chosen")).inputs[0]!.travels, "split", "the worker of the command reads the file");
  const differs = await work.expect(2, [...label, "--sample", "0.5"]);
  assert.match(differs.stderr, /SPEC_DIFFERS: [\s\S]*spec\.limit: 30 then, none now/);

  await work.expect(0, [...label, "--sample", "0.5", "--overwrite"]);
  const half = (await work.rows("chosen")).map(({ source }) => source.record);
  assert.ok(half.length > 20 && half.length < 80, `${half.length} of 100`);
  assert.ok(half.every((record) => record % 4 === 0));
  await work.expect(0, ["verify", "chosen"]);
  const { run } = await work.runFile("chosen");
  const parts = (await readdir(work.file("chosen"))).filter((name) => name.startsWith("part-"));
  assert.ok(
    parts.length > 0 && parts.every((name) => name.endsWith(`-${run.slice(0, 8)}.jsonl`)),
    "no part of the former run",
  );

  await work.expect(0, [
    "label",
    "text",
    "gaps.csv",
    ...MODEL,
    "--out",
    "again",
    "--where",
    "lang=de",
    "--sample",
    "0.5",
    "--slice-items",
    "64",
  ]);
  assert.deepEqual(
    (await work.rows("again")).map(({ source }) => source.record),
    half,
  );
});

test("--overwrite refuses an output with foreign files and changes nothing, even if it has a run", async () => {
  const label = ["label", "text", "gaps.csv", ...MODEL, "--limit", "4", "--out"];
  await work.write("foreign/mine.txt", "mine\n");
  const foreign = await work.expect(2, [...label, "foreign", "--overwrite"]);
  assert.match(foreign.stderr, /OUTPUT_FOREIGN/);
  assert.equal(await readFile(work.file("foreign", "mine.txt"), "utf8"), "mine\n");

  await work.expect(3, [...label, "mixed"]);
  await work.write("mixed/mine.txt", "mine\n");
  const mixed = await work.expect(2, [...label, "mixed", "--overwrite"]);
  assert.match(mixed.stderr, /OUTPUT_FOREIGN: .*mine\.txt/);
  assert.equal(await readFile(work.file("mixed", "mine.txt"), "utf8"), "mine\n");
  await work.expect(0, ["verify", "mixed"]);
});

test("a run with too many rows in error fails and reports the first of them", async () => {
  const flags = ["gaps.csv", ...MODEL, "--out", "stopped", "--max-errors", "10", "--slice-items", "50"];
  const summary = jsonOf(await work.expect(1, ["label", "text", ...flags, "--json"]));
  assert.equal(summary.state, "failed");
  assert.match(summary.reason as string, /^TOO_MANY_ERRORS: /);
  const errors = summary.firstErrors as { uri: string; record: number; code: string }[];
  assert.equal(errors.length, 10);
  assert.ok(
    errors.every(({ code, record, uri }) => code === "EMPTY_TEXT" && record % 2 === 1 && uri.endsWith("gaps.csv")),
  );
  assert.ok(!(await readdir(work.file("stopped"))).includes("_SUCCESS"));
  // The same command with a higher limit resumes. Half of the rows have no text.
  flags[flags.indexOf("10")] = "60%";
  await work.expect(3, ["label", "text", ...flags]);
  await work.expect(0, ["verify", "stopped"]);
});

test("verify --inputs finds records that were added after the run", async () => {
  await work.write("grows.csv", "id,text\n1,good\n2,bad\n");
  await work.expect(0, ["label", "text", "grows.csv", ...MODEL, "--out", "grown"]);
  assert.deepEqual((await work.rows("grown")).map(verdict).length, 2);
  await work.expect(0, ["verify", "grown", "--inputs"]);
  await appendFile(work.file("grows.csv"), "3,fine\n");
  await work.expect(0, ["verify", "grown"]);
  const { stdout } = await work.expect(1, ["verify", "grown", "--inputs"]);
  assert.match(stdout, /records of .*grows\.csv now/);
});
