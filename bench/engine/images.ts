import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { copyPictures, imageFiles, imageUrls } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { CalledProcess } from "../processes/calls.ts";
import type { HttpCalls } from "../processes/http-process.ts";
import { type Measure, measure, ratio, unmarked } from "../report/measure.ts";
import { inTurn, MARGIN, type Rate, rateOf, shown, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";
import { BareSide } from "../sides/bare-side.ts";
import type { PipelineRun } from "../sides/pipeline-process.ts";
import { PipelineSide } from "../sides/pipeline-side.ts";
import { PrepareSide } from "../sides/prepare-side.ts";

export type ImageCase = {
  /** Name of the figures, before `_files` and `_http`. */
  name: string;
  title: string;
  model: string;
  /** Name of the figure of the main thread's delay. */
  delay: string;
};

/** The pipeline with pictures from files and over HTTP, and its two bounds, each with all cores: onnxruntime and sharp. */
export async function measureImages(
  { name, title, model, delay }: ImageCase,
  folder: string,
  options: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  const { rounds, seconds, sweepSeconds } = options;
  await mkdir(folder);
  await using open = new AsyncDisposableStack();
  const pictures = await copyPictures(join(folder, "distinct"));
  const server = open.use(
    new CalledProcess<HttpCalls>(new URL("../processes/http-process.ts", import.meta.url), signal),
  );
  const maker = imageFiles(folder, pictures);
  const urlMaker = imageUrls(folder, pictures, await server.call("serve", { folder: pictures.folder }));
  say(`${name}: warm-up and sweep`);
  const pipeline = open.use(await PipelineSide.open({ model, folder, settings: { allowPrivate: true } }, signal));
  const rate = await pipeline.warmUp(maker, options);
  say(`${name}: ${pipeline.about}`);
  const sample = await maker.make(Math.ceil(rate * sweepSeconds));
  await pipeline.run(await urlMaker.make(sample.count));
  const bare = open.use(await BareSide.open({ model, kind: "images", input: sample }, options, signal));
  const sharp = open.use(await PrepareSide.open({ model, kind: "images", input: sample }, options, signal));

  const count = Math.ceil(rate * seconds * MARGIN);
  const [files, urls] = [await maker.make(count), await urlMaker.make(count)];
  const bareItems = Math.ceil(bare.best.rate * seconds * MARGIN);
  const runs = await inTurn(
    rounds,
    {
      files: () => pipeline.run(files),
      http: () => pipeline.run(urls),
      ort: () => bare.run(bareItems),
      sharp: () => sharp.run(seconds),
    },
    (round, run) =>
      say(
        `${name}: round ${round} of ${rounds}: files ${shown(run.files)}/s, HTTP ${shown(run.http)}/s, ` +
          `onnxruntime-node ${shown(run.ort)}/s, sharp ${shown(run.sharp)}/s`,
      ),
  );
  return {
    title,
    about: [
      `${number(files.count)} photographs a round: the ${pictures.files.length} of \`${maker.from}\`, repeated. onnxruntime-node alone is fastest with`,
      `${bare.about}. The pipeline ${pipeline.about}. **The limit** is 1 ÷ (1 ÷ onnxruntime-node alone + 1 ÷ bare sharp), both with all cores.`,
    ],
    measures: imageMeasures(name, delay, runs),
    details: [bare.details, sharp.details],
  };
}

type ImageRound = { files: PipelineRun; http: PipelineRun; ort: Rate; sharp: Rate };

function imageMeasures(name: string, delay: string, runs: readonly ImageRound[]): Measure[] {
  const over = (figure: (run: ImageRound) => number) => summarize(runs.map(figure));
  const side = (key: keyof ImageRound, what: string) =>
    measure(
      `${what}, items/s`,
      over((run) => rateOf(run[key])),
      `items_per_second.${name}.${key}`,
    );
  const limitOf = (run: ImageRound) => 1 / (1 / rateOf(run.ort) + 1 / rateOf(run.sharp));
  const [fromFiles, overHttp] = [side("files", "pipeline, from files"), side("http", "pipeline, over HTTP")];
  const [ort, decode] = [side("ort", "onnxruntime-node alone"), side("sharp", "bare sharp")];
  const toLimit = (key: "files" | "http", what: string, whole: Measure) =>
    ratio(
      what,
      over((run) => rateOf(run[key]) / limitOf(run)),
      [whole, ort, decode],
      `pipeline_vs_limit.${name}_${key}`,
    );
  return [
    fromFiles,
    overHttp,
    ort,
    decode,
    unmarked("limit, items/s", over(limitOf)),
    toLimit("files", "pipeline ÷ limit, from files", fromFiles),
    toLimit("http", "pipeline ÷ limit, over HTTP", overHttp),
    unmarked(
      "images per batch, from files",
      over((run) => run.files.items / run.files.batches),
    ),
    unmarked(
      "event-loop delay, p99, ms",
      over((run) => run.files.loopDelayMs),
      delay,
    ),
  ];
}
