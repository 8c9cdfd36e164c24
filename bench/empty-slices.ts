import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import type { Job } from "../src/schemas/job.ts";
import { partKey, SCHEMA_VERSION } from "../src/schemas/names.ts";
import type { BullmqCalls } from "./bullmq-process.ts";
import { CalledProcess } from "./calls.ts";
import { inputMaker } from "./inputs.ts";
import { openModel } from "./models.ts";
import type { BenchOptions } from "./options.ts";
import { readUse } from "./redis.ts";
import { inTurn, type Summary, summarize } from "./rounds.ts";
import { openService } from "./service.ts";

/** Slices (jobs) of a side a second, and what Redis's processor did for one of them. */
export type EmptySide = { perSecond: Summary; redisMicroseconds: Summary; redisBusy: Summary };
export type EmptySlices = { slices: number; runs: number; parallel: number; labelmill: EmptySide; bullmq: EmptySide };

type EmptyRound = { perSecond: number; redisMicroseconds: number; redisBusy: number };

/** Runs planned at a time: as many as it takes for the worker to have something to do always. */
const RUNS = 8;
/** Jobs that BullMQ alone adds at a time; and takes at a time, about as many as a worker takes of slices that small. */
const PARALLEL = { add: RUNS, take: 128 } as const;
const MODEL = "tiny-sentiment";
const FIRST_SLICES = 400;

/** What Redis carries with work that is empty: one producer, one worker; BullMQ alone does the same with two processes. */
export async function measureEmptySlices(
  folder: string,
  { rounds, seconds }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<EmptySlices> {
  await mkdir(folder);
  const maker = await inputMaker("text", folder);
  await using open = new AsyncDisposableStack();
  const { redis, producer, worker, outputs } = await openService(open, { folder, model: MODEL }, signal);
  await worker.call("start", { redis, model: MODEL, s3: {}, roots: { files: [folder], s3: [] }, empty: true });
  const script = new URL("./bullmq-process.ts", import.meta.url);
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
    slices,
    runs: RUNS,
    parallel: PARALLEL.take,
    labelmill: sideOf(runs.map((run) => run.labelmill)),
    bullmq: sideOf(runs.map((run) => run.bullmq)),
  };
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

function sideOf(rounds: readonly EmptyRound[]): EmptySide {
  return {
    perSecond: summarize(rounds.map((round) => round.perSecond)),
    redisMicroseconds: summarize(rounds.map((round) => round.redisMicroseconds)),
    redisBusy: summarize(rounds.map((round) => round.redisBusy)),
  };
}

/** As large as the slices of the other side. */
async function payloadLike(ref: string, output: string): Promise<Job> {
  const { id, digest, task } = await openModel(ref);
  const run = randomBytes(8).toString("hex");
  const text = "a smart , sweet and playful romantic comedy that earns every laugh it gets . 1234";
  return {
    v: SCHEMA_VERSION,
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
