import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { LabelKind } from "../../src/producers/runs/request.ts";
import { copyPictures, type InputMaker, imageFiles, shortTexts } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { rssMeasures } from "../processes/rss.ts";
import { measure, ratio } from "../report/measure.ts";
import { inTurn, MARGIN, rateOf, shown, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";
import { PipelineSide } from "../sides/pipeline-side.ts";
import { PrepareSide } from "../sides/prepare-side.ts";

const PREPARE = { text: "tokenizer", images: "sharp" } as const satisfies Record<LabelKind, string>;
const TITLES = {
  text: "A model that costs nothing: texts",
  images: "A model that costs nothing: photographs",
} as const satisfies Record<LabelKind, string>;
const MANY_TEXTS = 1_000_000;

/** The pipeline with a free model beside the bare tokenizer pool or bare sharp, in turn. */
export async function measureFree(
  kind: LabelKind,
  model: string,
  folder: string,
  options: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  const { rounds, seconds, sweepSeconds } = options;
  const name = `free_${kind}`;
  const prepare = PREPARE[kind];
  const maker = await makerOf(kind, folder);
  say(`${name}: warm-up and sweep`);
  await using open = new AsyncDisposableStack();
  const pipeline = open.use(await PipelineSide.open({ model, folder, free: true }, signal));
  const rate = await pipeline.warmUp(maker, options);
  say(`${name}: ${pipeline.about}`);
  const sample = await maker.make(Math.ceil(rate * sweepSeconds));
  const alone = open.use(await PrepareSide.open({ model, kind, input: sample }, options, signal));
  const input = await maker.make(Math.ceil(rate * seconds * MARGIN));
  const runs = await inTurn(
    rounds,
    { pipeline: () => pipeline.run(input), alone: () => alone.run(seconds) },
    (round, run) =>
      say(`${name}: round ${round} of ${rounds}: pipeline ${shown(run.pipeline)}/s, ${prepare} ${shown(run.alone)}/s`),
  );
  const over = (figure: (run: (typeof runs)[number]) => number) => summarize(runs.map(figure));
  const whole = measure(
    "pipeline, items/s",
    over((run) => rateOf(run.pipeline)),
    `items_per_second.${name}.pipeline`,
  );
  const bare = measure(
    `bare ${prepare}, items/s`,
    over((run) => rateOf(run.alone)),
    `items_per_second.${name}.${prepare}`,
  );
  const share = over((run) => rateOf(run.pipeline) / rateOf(run.alone));
  return {
    title: TITLES[kind],
    about: [
      `${number(input.count)} items a round, from \`${maker.from}\`. The session in the inference threads returns constant logits at once.`,
      "Everything else is real: inputs, Redis, preparation, batches, messages to and from the threads, parts, manifest.",
    ],
    measures: [
      whole,
      bare,
      ratio(`pipeline ÷ bare ${prepare}`, share, [whole, bare], `free_model_vs_${prepare}.${kind}`),
    ],
    details: [alone.details],
  };
}

/** Memory of the pipeline's process while a million texts go through a free model. */
export async function measureRss(
  model: string,
  folder: string,
  { quick }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  const maker = await makerOf("text", folder);
  await using pipeline = await PipelineSide.open({ model, folder, free: true }, signal);
  say("rss: a million texts");
  const input = await maker.make(quick ? MANY_TEXTS / 10 : MANY_TEXTS);
  const run = await pipeline.run(input);
  return {
    title: "Memory over a million texts",
    about: [
      `One run of ${number(input.count)} short texts through a model that costs nothing. The memory (RSS) of the process that plans and labels`,
      `was sampled ${number(run.rssBytes.length)} times.`,
    ],
    measures: rssMeasures("", run.rssBytes, "rss_growth.text_1m"),
    details: [],
  };
}

async function makerOf(kind: LabelKind, folder: string): Promise<InputMaker> {
  await mkdir(folder);
  return kind === "text" ? shortTexts(folder) : imageFiles(folder, await copyPictures(join(folder, "distinct")));
}
