import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type MadeInput, openInput, shortTexts } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { openService } from "../processes/own-service.ts";
import { readUse } from "../processes/redis.ts";
import { type Measure, measure, ratio } from "../report/measure.ts";
import { summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";

type Grown = { used: number; dataset: number };

const MODEL = "tiny-sentiment";
const SLICE_ITEMS = 500;
const SLICES = 100;
const SINGLES = 5_000;

/** Queues items without a worker, and measures Redis's memory after the producer's connections are closed. */
export async function measureMemory(
  folder: string,
  { rounds, quick }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  await mkdir(folder);
  const maker = await shortTexts(folder);
  const share = quick ? 10 : 1;
  say("bytes in Redis");
  const settings = { sliceItems: SLICE_ITEMS, windowSlices: SLICES };
  const inSlices = await maker.make((SLICES * SLICE_ITEMS) / share);
  const alone = await maker.make(SINGLES / share);
  const grown = { slices: [] as Grown[], singles: [] as Grown[] };
  for (let round = 1; round <= rounds; round++) {
    await using open = new AsyncDisposableStack();
    const { redis, producer, outputs } = await openService(
      open,
      { folder: join(folder, String(round)), model: MODEL },
      signal,
    );
    const output = outputs.folder;
    const first = await maker.make(1);
    // The scripts are in Redis from here on.
    await producer.call("queue", { input: first.path, output });
    await producer.call("queueSingles", { input: first.path, output });
    const slices = () => producer.call("queue", { input: inSlices.path, output, settings });
    grown.slices.push(await growth(redis, slices));
    grown.singles.push(await growth(redis, () => producer.call("queueSingles", { input: alone.path, output })));
  }
  const textBytes = await bytesOf(inSlices);
  const measures = [
    ...perItem(`slices of ${SLICE_ITEMS}`, inSlices, textBytes, grown.slices, "redis_bytes_per_item.slices"),
    ...perItem("single submissions", alone, await bytesOf(alone), grown.singles, "redis_bytes_per_item.singles"),
  ];
  return {
    title: "Bytes in Redis of a queued item",
    about: [
      `Growth of \`used_memory\` and \`used_memory_dataset\` without a worker, per item: ${number(inSlices.count)} texts in slices (with the plan of the run)`,
      `and ${number(alone.count)} single submissions, after the producer's connections are closed. The texts travel in the jobs (from \`${maker.from}\`; ${textBytes.toFixed(1)} bytes`,
      "of UTF-8 on average), with id, record and line.",
    ],
    measures,
    details: [],
  };
}

async function growth(redis: string, queue: () => Promise<unknown>): Promise<Grown> {
  const before = await readUse(redis);
  await queue();
  const after = await readUse(redis);
  return { used: after.usedBytes - before.usedBytes, dataset: after.datasetBytes - before.datasetBytes };
}

async function bytesOf({ path, count }: MadeInput): Promise<number> {
  let bytes = 0;
  for await (const { text } of (await openInput("text", path)).records()) bytes += Buffer.byteLength(text!);
  return bytes / count;
}

function perItem(what: string, { count }: MadeInput, textBytes: number, grown: Grown[], figure: string): Measure[] {
  const used = grown.map((one) => one.used / count);
  const all = measure(`${what}, all of Redis's memory`, summarize(used), figure);
  return [
    all,
    measure(`${what}, data alone`, summarize(grown.map(({ dataset }) => dataset / count))),
    ratio(`${what}, all ÷ bytes of the text`, summarize(used.map((bytes) => bytes / textBytes)), [all]),
  ];
}
