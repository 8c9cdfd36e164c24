import { mkdir } from "node:fs/promises";
import { shortTexts } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { openService, type S3Place } from "../processes/own-service.ts";
import { measure, ratio } from "../report/measure.ts";
import { inTurn, MARGIN, rateOf, shown, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";
import { PipelineSide, untilSettled } from "../sides/pipeline-side.ts";

const MODEL = "tiny-sentiment";

/** The same texts, settings and number of threads, in the processes of a service and in one. */
export async function measureThroughput(
  folder: string,
  s3: S3Place,
  options: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  const { rounds, seconds, quick } = options;
  await mkdir(folder);
  const maker = await shortTexts(folder);
  await using open = new AsyncDisposableStack();
  const embedded = open.use(await PipelineSide.open({ model: MODEL, folder }, signal));
  const { redis, producer, worker, outputs } = await openService(open, { folder, model: MODEL, s3 }, signal);
  const output = outputs.s3!;
  await worker.call("start", {
    redis,
    model: MODEL,
    s3: s3.settings,
    cacheDir: folder,
    roots: { files: [], s3: [output] },
  });

  say("service and command: warm-up");
  const rate = await embedded.warmUp(maker, options);
  const input = await maker.make(Math.ceil(rate * seconds * MARGIN));
  await untilSettled(quick, async () => {
    await producer.call("label", { input: input.path, output });
    return worker.call("settled", {});
  });
  const runs = await inTurn(
    rounds,
    {
      service: () => producer.call("label", { input: input.path, output }),
      embedded: () => embedded.run(input),
    },
    (round, run) =>
      say(`round ${round} of ${rounds}: service ${shown(run.service)}/s, embedded command ${shown(run.embedded)}/s`),
  );
  for (const { service } of runs)
    if (service.items !== input.count || service.errors > 0)
      throw new Error(`expected ${input.count} labeled items, got ${service.items}, ${service.errors} in error`);
  const over = (figure: (run: (typeof runs)[number]) => number) => summarize(runs.map(figure));
  const service = over((run) => rateOf(run.service));
  const one = measure("service: one worker over Redis and S3, items/s", service, `items_per_second.${MODEL}.service`);
  const command = over((run) => rateOf(run.embedded));
  const other = measure("embedded command, items/s", command, `items_per_second.${MODEL}.embedded`);
  const share = over((run) => rateOf(run.service) / rateOf(run.embedded));
  return {
    title: "Items/s of one worker over Redis and S3",
    about: [
      `The same ${number(input.count)} texts a round (from \`${maker.from}\`, repeated) with ${MODEL}, from opening the input, a local file, to the manifest. A producer`,
      "plans and waits as `label` does with `REDIS_URL`: the texts travel in the jobs, the parts go to S3. The embedded command is the pipeline",
      "of the other figures: planner and worker in one process, with its own Redis on a unix socket, and a folder.",
    ],
    measures: [one, other, ratio("service ÷ embedded command", share, [one, other], `service_vs_embedded.${MODEL}`)],
    details: [],
  };
}
