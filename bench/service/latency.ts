import { mkdir } from "node:fs/promises";
import { shortTexts } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { CalledProcess } from "../processes/calls.ts";
import { openService, type S3Place } from "../processes/own-service.ts";
import { type Measure, measure } from "../report/measure.ts";
import { inTurn, percentile, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";
import type { BareCalls } from "../sides/bare-process.ts";

const MODEL = "tiny-sentiment";
const WARM_UP_TEXTS = 300;

/** One text at a time in an idle service, over S3 and over a folder, and the same texts in onnxruntime-node alone. */
export async function measureLatency(
  folder: string,
  s3: S3Place,
  { rounds, quick }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  await mkdir(folder);
  const maker = await shortTexts(folder);
  await using open = new AsyncDisposableStack();
  const { redis, producer, worker, outputs } = await openService(open, { folder, model: MODEL, s3 }, signal);
  const roots = { files: [folder], s3: [outputs.s3!] };
  const { intraOpThreads } = await worker.call("start", {
    redis,
    model: MODEL,
    s3: s3.settings,
    cacheDir: folder,
    roots,
  });
  const bare = open.use(new CalledProcess<BareCalls>(new URL("../sides/bare-process.ts", import.meta.url), signal));

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
  const session = `a session of ${intraOpThreads} thread${intraOpThreads === 1 ? "" : "s"}, as in the worker`;
  return {
    title: "One text in an idle service",
    about: [
      "Milliseconds from `producer.submit` until `run.wait()` returns. The rows are then in the store and in the results queue.",
      `${number(input.items)} texts a round, one after the other, ${input.meanLength.toFixed(1)} tokens on average, from \`${maker.from}\`, with ${MODEL}.`,
      "Writes to the folder are synced to the disk. **The model alone** is one run of onnxruntime-node for the same text, tokenized before the clock starts,",
      `in a separate process with ${session}.`,
      "**Beyond the model** is the difference for each text: queueing, tokenizing, messages between processes and threads, the write, the event.",
    ],
    measures: latencyMeasures(times),
    details: [],
  };
}

/** Milliseconds of each text. */
type LatencyRound = Record<"s3" | "folder" | "model", number[]>;

function latencyMeasures(times: readonly LatencyRound[]): Measure[] {
  const rows = (what: string, figure: string, timesOf: (round: LatencyRound) => number[]) =>
    (["p50", "p99"] as const).map((name) => {
      const share = name === "p50" ? 0.5 : 0.99;
      const value = summarize(times.map((round) => percentile(timesOf(round), share)));
      return measure(`${what}, ${name}, ms`, value, `${figure}.${name}`);
    });
  const beyond = (name: "s3" | "folder") => (round: LatencyRound) =>
    round[name].map((ms, text) => ms - round.model[text]!);
  return [
    ...rows("model alone", "one_text_ms.model", (round) => round.model),
    ...rows("S3, total", "one_text_ms.s3", (round) => round.s3),
    ...rows("S3, beyond the model", "one_text_ms.s3_beyond_model", beyond("s3")),
    ...rows("folder, total", "one_text_ms.folder", (round) => round.folder),
    ...rows("folder, beyond the model", "single_text_overhead_ms", beyond("folder")),
  ];
}
