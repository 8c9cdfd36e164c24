import { mkdir } from "node:fs/promises";
import type { LabelKind } from "../src/cli/model-choice.ts";
import { CORES } from "../src/config.ts";
import type { BareCalls, BareInput } from "./bare-process.ts";
import { bestOf, sweep, type Tried, waysOf } from "./bare-side.ts";
import { CalledProcess } from "./calls.ts";
import { type InputMaker, inputMaker } from "./inputs.ts";
import { kindOf, openModel } from "./models.ts";
import type { BenchOptions } from "./options.ts";
import type { PipelineCalls, PipelineRun, PipelineSetup } from "./pipeline-process.ts";
import { inTurn, type Summary, summarize } from "./rounds.ts";

/** What one model came to. Rates are items/s. */
export type Measured = {
  id: string;
  kind: LabelKind;
  from: string;
  input: BareInput;
  setup: PipelineSetup;
  sweep: Tried[];
  best: Tried;
  pipeline: Summary;
  bare: Summary;
  loopDelayMs: Summary;
  /** Cost of all batches without padding ÷ with it, 0..1. */
  paddingEfficiency: number;
  /** Of a run: items that got an error row instead of labels. */
  errors: number;
};

const FIRST_ITEMS = 64;

/** Warms both sides up, finds the best way to ask onnxruntime-node, then lets the two run in turn. */
export async function measure(
  ref: string,
  folder: string,
  options: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Measured> {
  const model = await openModel(ref);
  const kind = kindOf(model);
  await mkdir(folder);
  const maker = await inputMaker(kind, folder);
  await using pipeline = new CalledProcess<PipelineCalls>(new URL("./pipeline-process.ts", import.meta.url), signal);
  await using bare = new CalledProcess<BareCalls>(new URL("./bare-process.ts", import.meta.url), signal);
  const setup = await pipeline.call("start", { model: ref, folder });
  say(`${model.id}: warm-up and sweep`);
  const warmUpMs = options.sweepSeconds * 250;
  const warm = await warmUp(pipeline, maker, options.sweepSeconds);
  await bare.call("load", { model: ref, input: warm.path });
  const tried = await sweep(bare, waysOf(kind, CORES), warmUpMs);
  const best = bestOf(tried);

  const { path, count } = await maker.make(Math.ceil(warm.rate * options.seconds));
  // The same items as often as it takes the faster side to fill the time.
  const passes = Math.max(1, Math.ceil((best.rate * options.seconds) / count));
  const input = await bare.call("load", { model: ref, input: path });
  if (input.items !== count) throw new Error(`expected ${count} items in ${path}, read ${input.items}`);
  const runs = await inTurn(
    options.rounds,
    {
      pipeline: () => pipeline.call("run", { input: path }),
      bare: () => bare.call("run", { way: best.way, warmUpMs, passes }),
    },
    (round, run) =>
      say(
        `${model.id}: round ${round} of ${options.rounds}: pipeline ${shown(run.pipeline)}/s, onnxruntime-node ${shown(run.bare)}/s`,
      ),
  );
  const pipelines = runs.map((run) => run.pipeline);
  return {
    id: model.id,
    kind,
    from: maker.from,
    input,
    setup,
    sweep: tried,
    best,
    pipeline: summarize(pipelines.map(rateOf)),
    bare: summarize(runs.map((run) => rateOf(run.bare))),
    loopDelayMs: summarize(pipelines.map(({ loopDelayMs }) => loopDelayMs)),
    paddingEfficiency: sum(pipelines, "realCost") / sum(pipelines, "paddedCost"),
    errors: Math.max(...pipelines.map(({ errors }) => errors)),
  };
}

/** Two runs: a small one, which says how large the other must be to last `seconds`. */
export async function warmUp(
  pipeline: CalledProcess<PipelineCalls>,
  maker: InputMaker,
  seconds: number,
): Promise<{ path: string; rate: number }> {
  const first = await maker.make(FIRST_ITEMS);
  const small = await pipeline.call("run", { input: first.path });
  const { path } = await maker.make(Math.ceil(rateOf(small) * seconds));
  const run = await pipeline.call("run", { input: path });
  return { path, rate: rateOf(run) };
}

export function rateOf({ items, seconds }: Pick<PipelineRun, "items" | "seconds">): number {
  return items / seconds;
}

export function shown(run: Pick<PipelineRun, "items" | "seconds">): string {
  return rateOf(run).toFixed(1);
}

function sum(runs: readonly PipelineRun[], key: "realCost" | "paddedCost"): number {
  return runs.reduce((total, run) => total + run[key], 0);
}
