import { mkdir } from "node:fs/promises";
import type { BareCalls } from "./bare-process.ts";
import { CalledProcess } from "./calls.ts";
import { inputMaker } from "./inputs.ts";
import type { BenchOptions } from "./options.ts";
import { inTurn, percentile, type Summary, summarize } from "./rounds.ts";
import { openService, type S3Place } from "./service.ts";

/** Milliseconds at two percentiles, each in every round. */
export type Percentiles = { p50: Summary; p99: Summary };
/** `beyond`: text by text, what it took more than the model alone. */
export type StoreLatency = { total: Percentiles; beyond: Percentiles };
export type Latency = {
  texts: number;
  from: string;
  meanLength: number;
  /** Of the session that labels a text. */
  intraOpThreads: number;
  s3: StoreLatency;
  folder: StoreLatency;
  model: Percentiles;
};

const MODEL = "tiny-sentiment";
const WARM_UP_TEXTS = 300;

/** One text at a time in an idle service, over S3 and over a folder, and the same texts in onnxruntime-node alone. */
export async function measureLatency(
  folder: string,
  s3: S3Place,
  { rounds, quick }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Latency> {
  await mkdir(folder);
  const maker = await inputMaker("text", folder);
  await using open = new AsyncDisposableStack();
  const { redis, producer, worker, outputs } = await openService(open, { folder, model: MODEL, s3 }, signal);
  const roots = { files: [folder], s3: [outputs.s3!] };
  const { intraOpThreads } = await worker.call("start", { redis, model: MODEL, s3: s3.settings, roots });
  const bare = open.use(new CalledProcess<BareCalls>(new URL("./bare-process.ts", import.meta.url), signal));

  say("one text: warm-up");
  const warm = await maker.make(quick ? WARM_UP_TEXTS / 10 : WARM_UP_TEXTS);
  for (const output of [outputs.s3!, outputs.folder]) await producer.call("submit", { input: warm.path, output });
  const { path } = await maker.make(quick ? 100 : 1000);
  const input = await bare.call("load", { model: MODEL, input: path });
  const times = await inTurn(
    rounds,
    {
      s3: () => producer.call("submit", { input: path, output: outputs.s3! }),
      folder: () => producer.call("submit", { input: path, output: outputs.folder }),
      model: () => bare.call("each", { threads: intraOpThreads, warmUpMs: quick ? 250 : 1000 }),
    },
    (round, { s3: overS3, folder: overFolder, model }) => {
      const [a, b, c] = [overS3, overFolder, model].map((side) => percentile(side, 0.5).toFixed(1));
      say(`one text: round ${round} of ${rounds}: S3 ${a} ms, folder ${b} ms, onnxruntime-node ${c} ms`);
    },
  );
  const storeOf = (name: "s3" | "folder"): StoreLatency => ({
    total: percentilesOf(times.map((round) => round[name])),
    beyond: percentilesOf(times.map((round) => round[name].map((ms, text) => ms - round.model[text]!))),
  });
  return {
    texts: input.items,
    from: maker.from,
    meanLength: input.meanLength,
    intraOpThreads,
    s3: storeOf("s3"),
    folder: storeOf("folder"),
    model: percentilesOf(times.map((round) => round.model)),
  };
}

function percentilesOf(rounds: readonly (readonly number[])[]): Percentiles {
  return {
    p50: summarize(rounds.map((times) => percentile(times, 0.5))),
    p99: summarize(rounds.map((times) => percentile(times, 0.99))),
  };
}
