import { mkdir } from "node:fs/promises";
import { loadTokenizer } from "../../src/inference/preprocess/text/tokenizer.ts";
import { mixedTexts, shortTexts } from "../inputs/inputs.ts";
import { openModel } from "../inputs/models.ts";
import type { BenchOptions } from "../options.ts";
import { type Measure, measure, ratio, unmarked } from "../report/measure.ts";
import { inTurn, MARGIN, type Rate, rateOf, type Summary, shown, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";
import { BareSide } from "../sides/bare-side.ts";
import type { PipelineRun } from "../sides/pipeline-process.ts";
import { PipelineSide } from "../sides/pipeline-side.ts";
import { TransformersjsSide } from "../sides/transformersjs-side.ts";

export type TextCase = {
  /** Name of the figures. */
  name: string;
  title: string;
  model: string;
  lengths: "short" | "mixed";
  /** transformers.js behind BullMQ: its folder, and the texts of a job. */
  peer?: { packages: string; perJob: number } | undefined;
};

/** The pipeline, onnxruntime alone with its best batches, and transformers.js if it is installed: in turn, on the same texts. */
export async function measureTexts(
  { name, title, model, lengths, peer }: TextCase,
  folder: string,
  options: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  const { rounds, seconds, sweepSeconds } = options;
  await mkdir(folder);
  const { dir } = await openModel(model);
  const maker = await (lengths === "short" ? shortTexts(folder) : mixedTexts(folder, await loadTokenizer(dir)));
  say(`${name}: warm-up and sweep`);
  await using open = new AsyncDisposableStack();
  const pipeline = open.use(await PipelineSide.open({ model, folder }, signal));
  const rate = await pipeline.warmUp(maker, options);
  say(`${name}: ${pipeline.about}`);
  const sample = await maker.make(Math.ceil(rate * sweepSeconds));
  const bare = open.use(await BareSide.open({ model, kind: "text", input: sample }, options, signal));
  const { block } = maker;
  const js =
    peer && open.use(await TransformersjsSide.open({ ...peer, model: dir, input: sample, block }, options, signal));

  const input = await maker.make(Math.ceil(Math.max(rate, bare.best.rate) * seconds * MARGIN));
  const read = await bare.load(input);
  const runs = await inTurn(
    rounds,
    {
      pipeline: () => pipeline.run(input),
      ort: () => bare.run(),
      js: async () => js?.run(input, block, seconds),
    },
    (round, run) =>
      say(
        `${name}: round ${round} of ${rounds}: pipeline ${shown(run.pipeline)}/s, onnxruntime-node ${shown(run.ort)}/s` +
          (run.js ? `, transformers.js ${shown(run.js)}/s` : ""),
      ),
  );
  const about = [
    `${number(input.count)} texts a round, ${read.meanLength.toFixed(1)} tokens on average, ${read.longest} at most, from \`${maker.from}\`.`,
    `onnxruntime-node alone is fastest with ${bare.about}. The pipeline ${pipeline.about}.`,
  ];
  const section: Section = { title, about, measures: pipelineMeasures(name, runs), details: [bare.details] };
  if (js && peer) {
    section.measures.push(...peerMeasures(name, peer.perJob, runs));
    section.details.push(js.details);
  }
  return section;
}

type TextRound = { pipeline: PipelineRun; ort: Rate; js: Rate | undefined };

function overRounds(runs: readonly TextRound[], figure: (run: TextRound) => number): Summary {
  return summarize(runs.map(figure));
}

function pipelineRate(name: string, runs: readonly TextRound[]): Measure {
  const rates = overRounds(runs, (run) => rateOf(run.pipeline));
  return measure("pipeline, items/s", rates, `items_per_second.${name}.pipeline`);
}

function pipelineMeasures(name: string, runs: readonly TextRound[]): Measure[] {
  const over = (figure: (run: TextRound) => number) => overRounds(runs, figure);
  const whole = pipelineRate(name, runs);
  const ort = measure(
    "onnxruntime-node alone, items/s",
    over((run) => rateOf(run.ort)),
    `items_per_second.${name}.ort`,
  );
  const padding = over(({ pipeline: { realCost, paddedCost } }) => realCost / paddedCost);
  return [
    whole,
    ort,
    ratio(
      "pipeline ÷ onnxruntime-node",
      over((run) => rateOf(run.pipeline) / rateOf(run.ort)),
      [whole, ort],
      `pipeline_vs_ort.${name}`,
    ),
    unmarked("padding efficiency", padding, `padding_efficiency.${name}`),
    unmarked(
      "texts per batch",
      over((run) => run.pipeline.items / run.pipeline.batches),
    ),
    unmarked(
      "event-loop delay, p99, ms",
      over((run) => run.pipeline.loopDelayMs),
    ),
  ];
}

/** @param perJob texts in a job of transformers.js */
function peerMeasures(name: string, perJob: number, runs: readonly TextRound[]): Measure[] {
  const how = perJob === 1 ? "one by one" : `in arrays of ${perJob}`;
  const rates = overRounds(runs, (run) => rateOf(run.js!));
  const peer = measure(`transformers.js ${how}, items/s`, rates, `items_per_second.${name}.transformersjs${perJob}`);
  const faster = overRounds(runs, (run) => rateOf(run.pipeline) / rateOf(run.js!));
  const sides = [pipelineRate(name, runs), peer];
  return [
    peer,
    ratio(`pipeline ÷ transformers.js ${how}`, faster, sides, `pipeline_vs_transformersjs${perJob}.${name}`),
  ];
}
