import { mkdir, rm, stat } from "node:fs/promises";
import { shortTexts } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { openService } from "../processes/own-service.ts";
import { readUse } from "../processes/redis.ts";
import { rssMeasures } from "../processes/rss.ts";
import { measure, unmarked } from "../report/measure.ts";
import { rateOf, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";

const MODEL = "tiny-sentiment";
const ROWS = 10_000_000;
const QUICK_ROWS = 300_000;
const WARM_UP_ROWS = 10_000;
const MEGABYTE = 1e6;

/** Memory that a very large run needs in Redis and in the two processes that plan and label it. */
export async function measureScale(
  folder: string,
  { quick }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  await mkdir(folder);
  const maker = await shortTexts(folder, { most: ROWS });
  say("scale: writing the rows");
  const warm = await maker.make(WARM_UP_ROWS);
  const input = await maker.make(quick ? QUICK_ROWS : ROWS);
  const { size } = await stat(input.path);
  try {
    await using open = new AsyncDisposableStack();
    const { redis, producer, worker, outputs } = await openService(open, { folder, model: MODEL }, signal);
    const roots = { files: [folder], s3: [] };
    await worker.call("start", { redis, model: MODEL, s3: {}, cacheDir: folder, roots, stand: "free" });
    await producer.call("label", { input: warm.path, output: outputs.folder, splits: true });
    say(`scale: ${number(input.count)} rows`);
    await worker.call("rss", {});
    const run = await producer.call("label", { input: input.path, output: outputs.folder, splits: true });
    if (run.items !== input.count || run.errors > 0)
      throw new Error(`expected ${input.count} labeled rows, got ${run.items}, ${run.errors} of them in error`);
    const working = await worker.call("rss", {});
    const { peakBytes } = await readUse(redis);
    return {
      title: `A run of ${number(input.count)} rows`,
      about: [
        `A CSV file of ${number(input.count)} rows (${number(size / MEGABYTE)} MB; an id, and texts from \`${maker.from}\`) through a model that costs nothing. One process plans,`,
        `in slices of the default size. Another reads the splits, labels and writes ${number(run.items)} rows. Redis's memory is its \`used_memory_peak\` from its start to the end of the run;`,
        `1 MB is 1,000,000 bytes. The memory (RSS) of each process was sampled ${number(run.rssBytes.length)} times.`,
      ],
      measures: [
        unmarked("Redis's memory, highest, MB", summarize([peakBytes / MEGABYTE]), "redis_mb.rows_10m"),
        ...rssMeasures("planner: ", run.rssBytes, "rss_growth.planner_10m"),
        ...rssMeasures("worker: ", working, "rss_growth.worker_10m"),
        measure("rows/s", summarize([rateOf(run)]), "rows_per_second.rows_10m"),
      ],
      details: [],
    };
  } finally {
    // Gigabytes, which the later parts do not need.
    await rm(folder, { recursive: true });
  }
}
