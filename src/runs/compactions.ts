import type { Redis } from "ioredis";
import { COLUMN_KINDS, type ColumnKind } from "../rows/kept-kinds.ts";
import type { FileLine } from "../schemas/manifest.ts";
import { KEY_PREFIX } from "../schemas/names.ts";
import { RETIRED_RUN_SECONDS } from "./ledger/keys.ts";
import type { FinalizerQueue } from "./queues/finalizer-queue.ts";

/** Consecutive slices whose parts are made into files together; `range` counts them from 0. */
export type SliceRange = { range: number; first: number; last: number };

/** What Redis holds of the output files of runs under way: what the kept columns hold, and the files of each range that is done. */
export class Compactions {
  readonly #redis: Redis;
  readonly #queue: FinalizerQueue;

  constructor(redis: Redis, queue: FinalizerQueue) {
    this.#redis = redis;
    this.#queue = queue;
  }

  /** Notes what a slice's kept columns hold. Must come before its commit: the last one closes the run. */
  async noteColumns(run: string, kinds: ReadonlyMap<string, ReadonlySet<ColumnKind>>): Promise<void> {
    const found = [...kinds].flatMap(([column, some]) => [...some].map((kind) => JSON.stringify([column, kind])));
    if (found.length > 0) await this.#redis.sadd(keyOf(run, "columns"), ...found);
  }

  /** What the kept columns hold, in all slices that were noted. */
  async columns(run: string): Promise<Map<string, Set<ColumnKind>>> {
    const columns = new Map<string, Set<ColumnKind>>();
    for (const member of await this.#redis.smembers(keyOf(run, "columns"))) {
      const [column, kind] = JSON.parse(member) as [string, string];
      const known = COLUMN_KINDS.find((each) => each === kind);
      if (known) columns.set(column, (columns.get(column) ?? new Set()).add(known));
    }
    return columns;
  }

  /** Asks for the files of those ranges that are not done. @returns whether all are */
  async ask(run: string, output: string, ranges: AsyncIterable<SliceRange>): Promise<boolean> {
    let count = 0;
    const missing: SliceRange[] = [];
    for await (const range of ranges) {
      count += 1;
      if (!(await this.isDone(run, range.range))) missing.push(range);
    }
    // Before the first job: whoever does the last one asks how many there are.
    await this.#redis.set(keyOf(run, "ranges"), count);
    for (const range of missing) await this.#queue.compact({ run, output, ...range });
    return missing.length === 0;
  }

  async isDone(run: string, range: number): Promise<boolean> {
    return (await this.#redis.hexists(keyOf(run, "files"), String(range))) === 1;
  }

  /** The files of a range are there. */
  async done(run: string, range: number, files: readonly FileLine[]): Promise<void> {
    await this.#redis.hset(keyOf(run, "files"), String(range), JSON.stringify(files));
  }

  /** Has the run closed, if all its files are there. A try that comes after its own range was done asks as well: the first may have died. */
  async closeIfDone(run: string, output: string): Promise<void> {
    const [done, ranges] = await Promise.all([
      this.#redis.hlen(keyOf(run, "files")),
      this.#redis.get(keyOf(run, "ranges")),
    ]);
    if (done === Number(ranges ?? -1)) await this.#queue.add(run, output, true);
  }

  /** The files of all ranges, in order. */
  async *files(run: string): AsyncGenerator<FileLine> {
    const ranges = Number((await this.#redis.get(keyOf(run, "ranges"))) ?? 0);
    for (let range = 0; range < ranges; range++) {
      const found = await this.#redis.hget(keyOf(run, "files"), String(range));
      yield* JSON.parse(found ?? "[]") as FileLine[];
    }
  }

  /** As `RunLedger.retire`. */
  async retire(run: string): Promise<void> {
    const keys = (["columns", "ranges", "files"] as const).map((name) => keyOf(run, name));
    await Promise.all(keys.map((key) => this.#redis.expire(key, RETIRED_RUN_SECONDS)));
  }
}

function keyOf(run: string, name: "columns" | "ranges" | "files"): string {
  return `${KEY_PREFIX}:run:${run}:${name}`;
}
