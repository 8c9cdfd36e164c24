import { mkdir } from "node:fs/promises";
import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { SLEEP_MS } from "../config.ts";
import { shortTexts } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { CalledProcess } from "../processes/calls.ts";
import { openService } from "../processes/own-service.ts";
import type { WorkerCalls } from "../processes/worker-process.ts";
import { unmarked } from "../report/measure.ts";
import { summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";

const MODEL = "tiny-sentiment";
const SLICES = 60;
const SLICE_ITEMS = 50;
const LATE_MS = 10_000;
/** One inference thread in each worker: its sleep represents the model. */
const ONE_THREAD = { threads: 1, intraOpThreads: 1 };
const SCRIPT = new URL("../processes/worker-process.ts", import.meta.url);

/** How long the other workers are still busy after the first worker has nothing left to do. */
export async function measureStraggler(
  folder: string,
  { rounds }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  await mkdir(folder);
  const maker = await shortTexts(folder);
  const input = await maker.make(SLICES * SLICE_ITEMS);
  const sliceMs = SLICE_ITEMS * SLEEP_MS;
  const tails: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    const tailMs = await tailOf(input.path, folder, signal);
    tails.push(tailMs / sliceMs);
    say(`straggler: round ${round} of ${rounds}: ${(tailMs / sliceMs).toFixed(2)} slice times`);
  }
  return {
    title: "The last slices of three workers",
    about: [
      `${SLICES} slices of ${SLICE_ITEMS} texts and three worker processes. Their model sleeps ${SLEEP_MS} ms per text, so a slice takes a worker ${number(sliceMs / 1000)} s (one slice time).`,
      `One of them starts ${LATE_MS / 1000} s after the run. A worker is idle when it has published the event of its last slice.`,
      "The run ends when the process that planned it sees the manifest.",
    ],
    measures: [
      unmarked("from the first idle worker to the end of the run, slice times", summarize(tails), "straggler_slices"),
      unmarked("the same, in the worst round", summarize([Math.max(...tails)]), "straggler_slices.worst"),
    ],
    details: [],
  };
}

/** @returns milliseconds from the first idle worker to the end of the run */
async function tailOf(input: string, folder: string, signal: AbortSignal): Promise<number> {
  await using open = new AsyncDisposableStack();
  const { redis, producer, worker, outputs } = await openService(open, { folder, model: MODEL }, signal);
  const workers = [worker, ...[1, 2].map(() => open.use(new CalledProcess<WorkerCalls>(SCRIPT, signal)))];
  const start = (one: CalledProcess<WorkerCalls>) =>
    one.call("start", {
      redis,
      model: MODEL,
      s3: {},
      cacheDir: folder,
      roots: { files: [folder], s3: [] },
      stand: "sleeping",
      settings: ONE_THREAD,
    });
  const [late, ...early] = workers;
  await Promise.all(early.map(start));
  const settings = { sliceItems: SLICE_ITEMS };
  const order = { input, output: outputs.folder, settings, splits: true };
  const startedAt = performance.now();
  const ended = producer.call("label", order).then((run) => ({ run, at: Date.now() }));
  const joined = delay(LATE_MS, undefined, { signal }).then(() => start(late!));
  const [{ run, at }] = await Promise.all([ended, joined]);
  if (run.items !== SLICES * SLICE_ITEMS || run.errors > 0)
    throw new Error(`expected ${SLICES * SLICE_ITEMS} labeled texts, got ${run.items}, ${run.errors} of them in error`);
  const last = await Promise.all(workers.map((one) => one.call("lastSlice", {})));
  const missed = last.filter((each) => each === undefined).length;
  if (missed > 0)
    throw new Error(
      `expected all workers to have had a slice in ${number((performance.now() - startedAt) / 1000)} s, ${missed} had none`,
    );
  return at - Math.min(...last.map((each) => each!));
}
