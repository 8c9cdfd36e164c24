import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { inputMaker, openInput } from "./inputs.ts";
import type { BenchOptions } from "./options.ts";
import { readUse } from "./redis.ts";
import { type Summary, summarize } from "./rounds.ts";
import { openService } from "./service.ts";

/** Bytes that Redis holds for an item that waits: in all, and of data alone. `textBytes`: of the text itself, UTF-8. */
export type QueuedItems = { items: number; textBytes: number; used: Summary; dataset: Summary };
export type QueueMemory = { from: string; sliceItems: number; slices: QueuedItems; singles: QueuedItems };

type Grown = { used: number; dataset: number };
type Input = { path: string; count: number };

const MODEL = "tiny-sentiment";
const SLICE_ITEMS = 500;
const SLICES = 100;
const SINGLES = 5_000;

/** Queues items where nobody takes them, and looks at what Redis holds when the producer's connections are gone. */
export async function measureMemory(
  folder: string,
  { rounds, quick }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<QueueMemory> {
  await mkdir(folder);
  const maker = await inputMaker("text", folder);
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
  return {
    from: maker.from,
    sliceItems: SLICE_ITEMS,
    slices: await perItem(inSlices, grown.slices),
    singles: await perItem(alone, grown.singles),
  };
}

async function growth(redis: string, queue: () => Promise<void>): Promise<Grown> {
  const before = await readUse(redis);
  await queue();
  const after = await readUse(redis);
  return { used: after.usedBytes - before.usedBytes, dataset: after.datasetBytes - before.datasetBytes };
}

async function perItem({ path, count }: Input, grown: readonly Grown[]): Promise<QueuedItems> {
  let textBytes = 0;
  for await (const { text } of (await openInput("text", path)).records()) textBytes += Buffer.byteLength(text!);
  return {
    items: count,
    textBytes: textBytes / count,
    used: summarize(grown.map(({ used }) => used / count)),
    dataset: summarize(grown.map(({ dataset }) => dataset / count)),
  };
}
