import assert from "node:assert/strict";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import type { ErrorCode } from "../../../src/errors.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { planFromRunFile } from "../../../src/producers/planning/plan-from-run-file.ts";
import { controlRun } from "../../../src/producers/runs/control.ts";
import { HiddenStores } from "../../../src/producers/runs/hidden-stores.ts";
import { type SpecDeps, submitSpec } from "../../../src/producers/runs/submit-spec.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { PlanQueue } from "../../../src/runs/queues/plan-queue.ts";
import type { ModelPin } from "../../../src/schemas/run.ts";
import type { WorkerInfo } from "../../../src/schemas/worker.ts";
import { openToRead } from "../../../src/storage/open.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { FAST, TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";
import { servedModel, workerInfo } from "../../helpers/runs/worker-info.ts";
import { openTestBucket } from "../../helpers/servers/s3-bucket.ts";
import { isError } from "../../helpers/store-conformance.ts";

const MODEL = "tiny-sentiment";
const RUN = "00000000000000aa";

const { server, s3, bucket } = await openTestBucket();
const { id, revision, digest, dtype, task, labels: names } = await loadBuiltIn(MODEL);
const labels = names.length;
const pin: ModelPin = { id, revision, digest, dtype, task };
const never = new AbortController().signal;
const at = (key: string) => ({ bucket, key });

for (const key of ["in/a.csv", "in/b.csv", "secret/a.csv", "out/single-0000000000000001.jsonl"])
  await s3.put(at(key), Buffer.from("text\ngood\nbad\n"));
await s3.put(at("in/list.txt"), Buffer.from(`s3://${bucket}/secret/a.csv\n`));
await s3.put(at("in/local.txt"), Buffer.from("file:///etc/hosts\n"));

/** Dependencies with a worker that was granted `in/` for reading and `out/` for the output. Nothing is queued. */
function depsWith(given: Partial<SpecDeps> = {}, worker: Partial<WorkerInfo> = {}) {
  const asked: string[] = [];
  const queued: string[] = [];
  const client = new S3(server.settings, { tries: 2, delayMs: 1 });
  client.setWatch({
    onRequest: (_bucket, key) => {
      asked.push(key);
      return () => {};
    },
  });
  const output = `s3://${bucket}/out/`;
  const deps: SpecDeps = {
    run: RUN,
    output,
    hidden: new HiddenStores([output]),
    s3: client,
    workers: [
      workerInfo({
        models: [servedModel({ ...pin, labels })],
        s3Roots: [`s3://${bucket}/in/`, output],
        ...worker,
      }),
    ],
    granted: { fileRoots: [], s3Roots: [] },
    sharedFiles: false,
    choose: async () => ({ pin, labels }),
    settings: { sliceBytes: 1_000_000, events: "none" },
    runs: undefined,
    queuePlan: async (run) => {
      queued.push(run);
    },
    ...given,
  };
  return { deps, asked, queued, [Symbol.dispose]: () => client.close() };
}

test("a caller can name only inputs that workers were granted, and the submitter reads no others", async () => {
  const refused: [inputs: string[], code: ErrorCode, kind?: string][] = [
    [["/etc/hosts"], "LOCAL_PATH_REMOTE_WORKER"],
    [["../secret.csv"], "LOCAL_PATH_REMOTE_WORKER"],
    [["@/etc/hosts"], "LOCAL_PATH_REMOTE_WORKER"],
    [["file:///etc/hosts"], "LOCAL_PATH_REMOTE_WORKER"],
    [["http://127.0.0.1/a.csv"], "LOCAL_PATH_REMOTE_WORKER"],
    [["-"], "USAGE"],
    [[`s3://${bucket}/secret/a.csv`], "NOT_GRANTED"],
    [[`s3://${bucket}/secret/`], "NOT_GRANTED"],
    [[`s3://${bucket}/`], "NOT_GRANTED"],
    [[`s3://${bucket}/*/a.csv`], "NOT_GRANTED"],
    [[`s3://${bucket}/in/a.csv`, `s3://${bucket}/secret/a.csv`], "NOT_GRANTED"],
    [[`s3://${bucket}/secret/`], "NOT_GRANTED", "images"],
    [[`@s3://${bucket}/secret/a.csv`], "NOT_GRANTED", "images"],
    // A granted list that names what is not granted.
    [[`@s3://${bucket}/in/list.txt`], "NOT_GRANTED"],
    [[`@s3://${bucket}/in/local.txt`], "INPUT_UNREADABLE"],
    // Workers were granted the output, which has the rows of other callers.
    [[`s3://${bucket}/out/`], "NOT_GRANTED"],
    [[`s3://${bucket}/out/single-0000000000000001.jsonl`], "NOT_GRANTED"],
  ];
  for (const [inputs, code, kind = "text"] of refused) {
    using context = depsWith();
    await assert.rejects(submitSpec({ kind, inputs }, context.deps, never), isError(code), inputs.join());
    assert.deepEqual(context.queued, [], inputs.join());
    const other = context.asked.filter((key) => !key.startsWith("in/") && !key.startsWith(`out/${RUN}/`));
    assert.deepEqual(other, [], inputs.join());
  }
});

test("without a worker, the grants of the server decide", async () => {
  using none = depsWith({ workers: [] });
  const spec = { kind: "text", inputs: [`s3://${bucket}/in/a.csv`] };
  await assert.rejects(submitSpec(spec, none.deps, never), isError("NOT_GRANTED"));
  const run = "00000000000000ab";
  using granted = depsWith({ run, workers: [], granted: { fileRoots: [], s3Roots: [`s3://${bucket}/in/`] } });
  const { out, state } = await submitSpec(spec, granted.deps, never);
  assert.deepEqual([out, state, granted.queued], [`s3://${bucket}/out/${run}/`, "planning", [run]]);
});

test("an output must be granted, and outside of the stores of the server", async () => {
  const inputs = [`s3://${bucket}/in/a.csv`];
  const outs = [`s3://${bucket}/out/x/`, `s3://${bucket}/%6Fut/x/`, `s3://${bucket}/`, `s3://${bucket}/other/`];
  for (const out of outs) {
    using context = depsWith();
    await assert.rejects(submitSpec({ kind: "text", inputs, out }, context.deps, never), isError("NOT_GRANTED"), out);
    assert.deepEqual(context.queued, []);
  }
  using local = depsWith();
  const spec = { kind: "text", inputs, out: "/tmp/x/" };
  await assert.rejects(submitSpec(spec, local.deps, never), isError("LOCAL_PATH_REMOTE_WORKER"));
  using own = depsWith({}, { outputRoots: [`s3://${bucket}/out/`, `s3://${bucket}/labels/`] });
  const { out } = await submitSpec({ kind: "text", inputs, out: `s3://${bucket}/labels/one` }, own.deps, never);
  assert.equal(out, `s3://${bucket}/labels/one/`);
});

test("the run of another caller is not continued", async () => {
  const spec = { kind: "text", inputs: [`s3://${bucket}/in/a.csv`], out: `s3://${bucket}/labels/two/` };
  const worker = { outputRoots: [`s3://${bucket}/out/`, `s3://${bucket}/labels/`] };
  using first = depsWith({}, worker);
  await submitSpec(spec, first.deps, never);
  const seen: string[] = [];
  const checkFormer = async ({ run }: { run: string }) => {
    seen.push(run);
    throw new Error("not yours");
  };
  using second = depsWith({ run: "00000000000000ac", checkFormer }, worker);
  await assert.rejects(submitSpec(spec, second.deps, never), /not yours/);
  assert.deepEqual([seen, second.queued], [[RUN], []]);
});

test("local inputs need --shared-files, a grant, and a place outside of the stores of the server", async () => {
  await using pipeline = await TestPipeline.open();
  const granted = join(pipeline.folder, "in");
  await mkdir(join(granted, "server"), { recursive: true });
  await writeFile(join(pipeline.folder, "secret.csv"), "text\ngood\n");
  await writeFile(join(granted, "server", "single.csv"), "text\ngood\n");
  await writeFile(join(granted, "a.csv"), "text\ngood\n");
  await symlink(join(pipeline.folder, "secret.csv"), join(granted, "link.csv"));
  await writeFile(join(granted, "list.txt"), "../secret.csv\n");
  const hidden = new HiddenStores([pathToFileURL(`${join(granted, "server")}/`).href]);
  const place = (name: string) => join(granted, name);
  for (const [name, code] of [
    [join(pipeline.folder, "secret.csv"), "NOT_GRANTED"],
    [`${granted}/../secret.csv`, "NOT_GRANTED"],
    ["in/a.csv", "NOT_GRANTED"],
    [place("link.csv"), "NOT_GRANTED"],
    [`@${place("list.txt")}`, "INPUT_UNREADABLE"],
    [place("server/single.csv"), "NOT_GRANTED"],
    [granted, "NOT_GRANTED"],
  ] as const) {
    using context = depsWith({ hidden, sharedFiles: true }, { fileRoots: [granted] });
    await assert.rejects(submitSpec({ kind: "text", inputs: [name] }, context.deps, never), isError(code), name);
  }
  const run = "00000000000000ad";
  using shared = depsWith({ run, hidden, sharedFiles: true }, { fileRoots: [granted] });
  await submitSpec({ kind: "text", inputs: [place("a.csv")] }, shared.deps, never);
  assert.deepEqual(shared.queued, [run]);
});

test("a wrong spec names its key", async () => {
  using context = depsWith();
  const inputs = [`s3://${bucket}/in/a.csv`];
  for (const [spec, message] of [
    [{ kind: "text" }, /^the spec: inputs: /],
    [{ kind: "text", inputs, topk: 1 }, /unknown key "topk"; did you mean "topK"\?/],
    [{ kind: "text", inputs, dtype: "q8" }, /^the spec: dtype: expected fp32/],
    ["text", /^the spec: /],
    [null, /^the spec: /],
  ] as const)
    await assert.rejects(submitSpec(spec, context.deps, never), (error) => {
      assert.ok(isError("SPEC_INVALID")(error));
      assert.match((error as Error).message, message);
      return true;
    });
});

test("a spec that is submitted twice at a time becomes one run, which workers finish", async () => {
  await using pipeline = await TestPipeline.open();
  await writeTexts(join(pipeline.folder, "texts.csv"), 100);
  await pipeline.worker({ threads: 1 }, { plan: planFromRunFile });
  const redis = await pipeline.connection();
  const plans = new PlanQueue(redis, { attempts: 5, backoffMs: FAST.backoffMs });
  pipeline.defer(() => plans.close());
  const output = pipeline.output("out");
  const worker = { s3Roots: [], fileRoots: [pipeline.folder] };
  const own = {
    ...{ output, hidden: new HiddenStores([output]), sharedFiles: true },
    queuePlan: (run: string, out: string) => plans.add(run, out),
  };
  using context = depsWith(own, worker);
  const spec = { kind: "text", inputs: [join(pipeline.folder, "texts.csv")], sliceItems: 10 };
  const both = await Promise.all([submitSpec(spec, context.deps, never), submitSpec(spec, context.deps, never)]);
  assert.deepEqual(
    both.map(({ run, out, state }) => [run, out, state]),
    [0, 1].map(() => [RUN, `${output}${RUN}/`, "planning"]),
  );
  assert.equal(await pipeline.ended(RUN), "succeeded");
  const ledger = new RunLedger(redis);
  assert.deepEqual(
    (await ledger.runs(10)).map(({ run }) => run),
    [RUN],
  );
  const { ok, totals } = await verifyOutput(await openToRead(both[0]!.out));
  assert.deepEqual({ ok, totals }, { ok: true, totals: { parts: 10, planned: 100, labeled: 100, errors: 0 } });
  const again = await submitSpec(spec, context.deps, never);
  assert.deepEqual([again.run, again.state], [RUN, "succeeded"]);
  const { done, progress } = await controlRun("cancel", RUN, ledger);
  assert.deepEqual([done, progress.state], [false, "succeeded"]);
  await assert.rejects(controlRun("pause", "00000000000000ff", ledger), isError("RUN_UNKNOWN"));
});
