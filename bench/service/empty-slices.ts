import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import type { Job } from "../../src/schemas/job.ts";
import { JOB_VERSION, partKey } from "../../src/schemas/names.ts";
import { shortTexts } from "../inputs/inputs.ts";
import { openModel } from "../inputs/models.ts";
import type { BenchOptions } from "../options.ts";
import type { BullmqCalls } from "../processes/bullmq-process.ts";
import { CalledProcess } from "../processes/calls.ts";
import { openService } from "../processes/own-service.ts";
import { readUse } from "../processes/redis.ts";
import { type Measure, measure, ratio, unmarked } from "../report/measure.ts";
import { inTurn, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";

type EmptyRound = { perSecond: number; redisMicroseconds: number; redisBusy: number };

/** Runs planned concurrently: enough to keep the worker busy. */
const RUNS = 8;
/** Jobs that BullMQ alone adds concurrently and takes concurrently: about as many as a worker takes of slices that small. */
const PARALLEL = { add: RUNS, take: 128 } as const;
const MODEL = "tiny-sentiment";
const FIRST_SLICES = 400;

/** What Redis carries with work that is empty: one producer, one worker; BullMQ alone does the same with two processes. */
export async function measureEmptySlices(
  folder: string,
  { rounds, seconds }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  await mkdir(folder);
  const maker = await shortTexts(folder);
  await using open = new AsyncDisposableStack();
  const { redis, producer, worker, outputs } = await openService(open, { folder, model: MODEL }, signal);
  await worker.call("start", {
    redis,
    model: MODEL,
    s3: {},
    cacheDir: folder,
    roots: { files: [folder], s3: [] },
    empty: true,
  });
  const script = new URL("../processes/bullmq-process.ts", import.meta.url);
  const adder = open.use(new CalledProcess<BullmqCalls>(script, signal));
  const taker = open.use(new CalledProcess<BullmqCalls>(script, signal));
  const payload = await payloadLike(MODEL, outputs.folder);

  const labelmill = (input: string) =>
    timed(redis, async () => {
      const order = { input, output: outputs.folder, settings: { sliceItems: 1 }, runs: RUNS };
      const run = await producer.call("label", order);
      if (run.errors > 0) throw new Error(`expected no errors, got ${run.errors}`);
      return { count: run.items, seconds: run.seconds };
    });
  const bullmq = (count: number) =>
    timed(redis, async () => {
      const queue = `bench-${randomBytes(4).toString("hex")}`;
      const drained = taker.call("drain", { redis, queue, count, parallel: PARALLEL.take });
      await adder.call("add", { redis, queue, count, parallel: PARALLEL.add, payload });
      return { count, seconds: await drained };
    });

  say("empty slices: warm-up");
  const first = await maker.make(Math.ceil(FIRST_SLICES / RUNS));
  await bullmq(FIRST_SLICES);
  await labelmill(first.path);
  const { perSecond } = await labelmill(first.path);
  const { path, count } = await maker.make(Math.ceil((perSecond * seconds) / 2 / RUNS));
  const slices = count * RUNS;
  const runs = await inTurn(rounds, { labelmill: () => labelmill(path), bullmq: () => bullmq(slices) }, (round, run) =>
    say(
      `empty slices: round ${round} of ${rounds}: labelmill ${run.labelmill.perSecond.toFixed(0)}/s, BullMQ ${run.bullmq.perSecond.toFixed(0)}/s`,
    ),
  );
  return {
    title: "Slices/s that one Redis carries",
    about: [
      `${number(slices)} slices of one item a round, in ${RUNS} runs that one process plans concurrently, up to the last manifest, with one worker. Planning, queueing,`,
      "taking, committing, notifying watchers and closing the runs are real. **Left out** are fetching, tokenizing and the model (every item gets its",
      "label at once), and the store (parts stay in the worker's memory; the files of the runs are in a folder). **BullMQ alone** is one process that adds",
      `as many jobs of that size, ${RUNS} at a time, and one that takes up to ${PARALLEL.take} at a time and does nothing. Redis's CPU time is that of its main`,
      "thread. Where its share is far below 1, the other processes use up the cores. 1 s ÷ the CPU time per slice is about the highest rate of one Redis.",
    ],
    measures: sliceMeasures(runs),
    details: [],
  };
}

type Side = "labelmill" | "bullmq";

function sliceMeasures(runs: readonly Record<Side, EmptyRound>[]): Measure[] {
  const over = (side: Side, figure: keyof EmptyRound) => summarize(runs.map((run) => run[side][figure]));
  const ours = measure("labelmill, slices/s", over("labelmill", "perSecond"), "slices_per_second.labelmill");
  const alone = measure("BullMQ alone, jobs/s", over("bullmq", "perSecond"), "slices_per_second.bullmq");
  const share = summarize(runs.map((run) => run.labelmill.perSecond / run.bullmq.perSecond));
  const redisMeasures = (what: string, side: Side) => [
    measure(`${what}: Redis's CPU time for one, µs`, over(side, "redisMicroseconds"), `redis_us_per_slice.${side}`),
    unmarked(`${what}: share of the time that Redis was busy`, over(side, "redisBusy")),
  ];
  return [
    ours,
    alone,
    ratio("labelmill ÷ BullMQ alone", share, [ours, alone], "slices_vs_bullmq"),
    ...redisMeasures("labelmill", "labelmill"),
    ...redisMeasures("BullMQ alone", "bullmq"),
  ];
}

async function timed(redis: string, work: () => Promise<{ count: number; seconds: number }>): Promise<EmptyRound> {
  const before = await readUse(redis);
  const { count, seconds } = await work();
  const cpuSeconds = (await readUse(redis)).cpuSeconds - before.cpuSeconds;
  return {
    perSecond: count / seconds,
    redisMicroseconds: (cpuSeconds / count) * 1e6,
    redisBusy: cpuSeconds / seconds,
  };
}

/** As large as the slices of the other side. */
async function payloadLike(ref: string, output: string): Promise<Job> {
  const { id, digest, task } = await openModel(ref);
  const run = randomBytes(8).toString("hex");
  const text = "a smart , sweet and playful romantic comedy that earns every laugh it gets . 1234";
  return {
    v: JOB_VERSION,
    run,
    slice: 0,
    model: { id, digest, task },
    output: `${output}out-${run.slice(0, 8)}/`,
    key: partKey(run, 0),
    topK: 2,
    events: "none",
    sources: [`${output}input-0.csv`],
    items: [{ id: "1234", source: 0, record: 1234, line: 1235, text }],
  };
}
