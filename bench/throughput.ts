import { mkdir } from "node:fs/promises";
import { CalledProcess } from "./calls.ts";
import { inputMaker } from "./inputs.ts";
import { rateOf, shown, warmUp } from "./measure.ts";
import type { BenchOptions } from "./options.ts";
import type { PipelineCalls } from "./pipeline-process.ts";
import { inTurn, type Summary, summarize } from "./rounds.ts";
import { openService, type S3Place } from "./service.ts";

/** Items/s of one worker, over Redis and S3 and in the embedded command. */
export type Throughput = { items: number; from: string; service: Summary; embedded: Summary };

const MODEL = "tiny-sentiment";

/** The same texts, settings and number of threads, in the processes of a service and in one. */
export async function measureThroughput(
  folder: string,
  s3: S3Place,
  { rounds, seconds, sweepSeconds }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Throughput> {
  await mkdir(folder);
  const maker = await inputMaker("text", folder);
  await using open = new AsyncDisposableStack();
  const embedded = open.use(
    new CalledProcess<PipelineCalls>(new URL("./pipeline-process.ts", import.meta.url), signal),
  );
  await embedded.call("start", { model: MODEL, folder });
  const { redis, producer, worker, outputs } = await openService(open, { folder, model: MODEL, s3 }, signal);
  const output = outputs.s3!;
  await worker.call("start", { redis, model: MODEL, s3: s3.settings, roots: { files: [], s3: [output] } });

  say("service and command: warm-up");
  const warm = await warmUp(embedded, maker, sweepSeconds);
  await producer.call("label", { input: warm.path, output });
  const { path, count } = await maker.make(Math.ceil(warm.rate * seconds));
  const runs = await inTurn(
    rounds,
    {
      service: () => producer.call("label", { input: path, output }),
      embedded: () => embedded.call("run", { input: path }),
    },
    (round, run) =>
      say(`round ${round} of ${rounds}: service ${shown(run.service)}/s, embedded command ${shown(run.embedded)}/s`),
  );
  for (const { items, errors } of runs.flatMap(({ service, embedded: command }) => [service, command]))
    if (items !== count || errors > 0)
      throw new Error(`expected ${count} labeled items, got ${items}, ${errors} in error`);
  return {
    items: count,
    from: maker.from,
    service: summarize(runs.map((run) => rateOf(run.service))),
    embedded: summarize(runs.map((run) => rateOf(run.embedded))),
  };
}
