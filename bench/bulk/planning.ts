import { mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { openRedis } from "../../src/redis/connect.ts";
import { RunLedger } from "../../src/runs/ledger/ledger.ts";
import { type MadeInput, shortTexts } from "../inputs/inputs.ts";
import type { RowFormat } from "../inputs/row-file.ts";
import type { BenchOptions } from "../options.ts";
import { openService, type Service } from "../processes/own-service.ts";
import { measure } from "../report/measure.ts";
import { inTurn, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";

type Planned = { gigabytesPerMinute: number; slicesPerSecond: number };

const MODEL = "tiny-sentiment";
const FORMATS = ["csv", "jsonl"] as const satisfies readonly RowFormat[];
const ROWS = 6_000_000;
const QUICK_ROWS = 300_000;
const TEXT_LENGTH = 185;
/** No worker takes slices, so there must be room for all of them. */
const settings = { windowSlices: Number.MAX_SAFE_INTEGER };

/** How fast large inputs are planned without a worker. */
export async function measurePlanning(
  folder: string,
  { rounds, quick }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  await mkdir(folder);
  say("planning: writing the inputs");
  const made = { length: TEXT_LENGTH, most: ROWS };
  const makers = await Promise.all(FORMATS.map((format) => shortTexts(folder, { ...made, format })));
  const [csv, jsonl] = [
    await makers[0]!.make(quick ? QUICK_ROWS : ROWS),
    await makers[1]!.make(quick ? QUICK_ROWS : ROWS),
  ];
  const sizes = { csv: (await stat(csv.path)).size, jsonl: (await stat(jsonl.path)).size };
  try {
    const plan = (input: MadeInput, bytes: number, round: string) =>
      planOnce(join(folder, round), input, bytes, signal);
    let at = 0;
    const sides = {
      csv: () => plan(csv, sizes.csv, `csv-${at++}`),
      jsonl: () => plan(jsonl, sizes.jsonl, `jsonl-${at++}`),
    };
    const runs = await inTurn(rounds, sides, (round, run) => {
      const [a, b] = [run.csv, run.jsonl].map((side) => side.gigabytesPerMinute.toFixed(2));
      say(`planning: round ${round} of ${rounds}: CSV ${a} GB/min, JSONL ${b} GB/min`);
    });
    const over = (format: RowFormat, figure: keyof Planned) => summarize(runs.map((run) => run[format][figure]));
    return {
      title: "Planning",
      about: [
        `A CSV file of ${number(sizes.csv / 1e9)} GB and a JSONL file of ${number(sizes.jsonl / 1e9)} GB, ${number(csv.count)} rows each of about 200 bytes (texts joined from \`${makers[0]!.from}\`),`,
        "in the page cache. One process cuts them into slices of the default size and adds these to the queue of a real Redis without workers.",
        "The time is from opening the input to the last slice. 1 GB is 10⁹ bytes.",
      ],
      measures: FORMATS.flatMap((format) => {
        const name = { csv: "CSV", jsonl: "JSONL" }[format];
        return [
          measure(`${name}, GB a minute`, over(format, "gigabytesPerMinute"), `planning_gb_per_minute.${format}`),
          measure(`${name}, slices/s`, over(format, "slicesPerSecond")),
        ];
      }),
      details: [],
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Plans in a separate process, with its own Redis, which starts empty. */
async function planOnce(
  folder: string,
  { path, count }: MadeInput,
  bytes: number,
  signal: AbortSignal,
): Promise<Planned> {
  await using open = new AsyncDisposableStack();
  const { redis, producer, outputs } = await openService(open, { folder, model: MODEL }, signal);
  const { run, seconds } = await producer.call("queue", {
    input: path,
    output: outputs.folder,
    settings,
    splits: true,
  });
  const { slices } = await plannedIn(redis, run, count);
  return { gigabytesPerMinute: (bytes / 1e9 / seconds) * 60, slicesPerSecond: slices / seconds };
}

/** What Redis received. A planner that leaves something out is fast, and wrong. */
async function plannedIn(redis: Service["redis"], run: string, rows: number): Promise<{ slices: number }> {
  const connection = await openRedis({ url: redis }, "producer");
  try {
    const progress = await new RunLedger(connection).progress(run);
    if (progress?.slices === undefined || progress.items !== rows)
      throw new Error(`expected ${rows} planned rows, got ${progress?.items} in ${progress?.slices} slices`);
    return { slices: progress.slices };
  } finally {
    connection.disconnect();
  }
}
