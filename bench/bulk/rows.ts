import { mkdir } from "node:fs/promises";
import { MAX_SLICE_ITEMS } from "../../src/schemas/job.ts";
import { shortTexts } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { measure, ratio } from "../report/measure.ts";
import { inTurn, MARGIN, rateOf, shown, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";
import { PipelineSide } from "../sides/pipeline-side.ts";
import { StagesSide } from "../sides/stages-side.ts";

const MODEL = "tiny-sentiment";
/** The slice size that planners use for a model that labels more than 2,000 items a second. */
const SLICE_ITEMS = MAX_SLICE_ITEMS;

/** Rows in, rows out: the pipeline with a free model, and its stages without Redis, batcher and inference thread, in turn. */
export async function measureRows(
  folder: string,
  options: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  const { rounds, seconds, sweepSeconds } = options;
  await mkdir(folder);
  const maker = await shortTexts(folder, { format: "jsonl" });
  say("rows: warm-up and sweep");
  await using open = new AsyncDisposableStack();
  const pipeline = open.use(
    await PipelineSide.open({ model: MODEL, folder, free: true, settings: { sliceItems: SLICE_ITEMS } }, signal),
  );
  const rate = await pipeline.warmUp(maker, options);
  say(`rows: ${pipeline.about}`);
  const sample = await maker.make(Math.ceil(rate * sweepSeconds));
  const stages = open.use(await StagesSide.open({ model: MODEL, folder, sliceItems: SLICE_ITEMS, sample }, signal));
  const input = await maker.make(Math.ceil(rate * seconds * MARGIN));
  const sides = { pipeline: () => pipeline.run(input), stages: () => stages.run(input) };
  const runs = await inTurn(rounds, sides, (round, run) =>
    say(`rows: round ${round} of ${rounds}: pipeline ${shown(run.pipeline)}/s, stages ${shown(run.stages)}/s`),
  );
  const over = (figure: (run: (typeof runs)[number]) => number) => summarize(runs.map(figure));
  const whole = measure(
    "pipeline, rows/s",
    over((run) => rateOf(run.pipeline)),
    "rows_per_second.jsonl.pipeline",
  );
  const alone = measure(
    "stages alone, rows/s",
    over((run) => rateOf(run.stages)),
    "rows_per_second.jsonl.stages",
  );
  const share = over((run) => rateOf(run.pipeline) / rateOf(run.stages));
  return {
    title: "A model that costs nothing: rows in, rows out",
    about: [
      `${number(input.count)} rows a round (from \`${maker.from}\`), JSONL in, JSONL out, in splits of ${number(SLICE_ITEMS)}.`,
      "**The stages alone** are the same reader, tokenizer pool (2 threads), row encoder and writer in a separate process,",
      "without Redis, batcher and inference thread. Every text gets the same labels.",
    ],
    measures: [whole, alone, ratio("pipeline ÷ stages alone", share, [whole, alone], "free_model_vs_stages.jsonl")],
    details: [stages.details],
  };
}
