import type { Redis } from "ioredis";
import { COLUMN_KINDS, type ColumnKind } from "../rows/kept-column-kinds.ts";
import type { FileLine } from "../schemas/manifest.ts";
import { KEY_PREFIX } from "../schemas/names.ts";
import { RETIRED_RUN_SECONDS } from "./ledger/keys.ts";
import type { FinalizerQueue } from "./queues/finalizer-queue.ts";

/** Consecutive slices whose parts are compacted together. `range` is the number of the range, from 0; `last` is included. */
export type SliceRange = { range: number; first: number; last: number };

/** The state of compaction in Redis: the kinds of values in the kept columns, and the output files of each finished range. */
export class Compactions {
  readonly #redis: Redis;
  readonly #queue: FinalizerQueue;

  constructor(redis: Redis, queue: FinalizerQueue) {
    this.#redis = redis;
    this.#queue = queue;
  }

  /** Adds the kinds of values in a slice's kept columns. Must happen before the commit of the slice: the last commit closes the run. */
  async noteColumns(run: string, kinds: ReadonlyMap<string, ReadonlySet<ColumnKind>>): Promise<void> {
    const found = [...kinds].flatMap(([column, some]) => [...some].map((kind) => JSON.stringify([column, kind])));
    if (found.length > 0) await this.#redis.sadd(keyOf(run, "columns"), ...found);
  }

  /** The kinds of values in the kept columns, over all noted slices. */
  async columns(run: string): Promise<Map<string, Set<ColumnKind>>> {
    const columns = new Map<string, Set<ColumnKind>>();
    for (const member of await this.#redis.smembers(keyOf(run, "columns"))) {
      const [column, kind] = JSON.parse(member) as [string, string];
      const known = COLUMN_KINDS.find((each) => each === kind);
      if (known) columns.set(column, (columns.get(column) ?? new Set()).add(known));
    }
    return columns;
  }

  /** Queues the compaction of the ranges that are not done. @returns whether all are done */
  async ask(run: string, output: string, ranges: AsyncIterable<SliceRange>): Promise<boolean> {
    let count = 0;
    const missing: SliceRange[] = [];
    for await (const range of ranges) {
      count += 1;
      if (!(await this.isDone(run, range.range))) missing.push(range);
    }
    // Before the first job: the worker that finishes the last range reads the number of ranges.
    await this.#redis.set(keyOf(run, "ranges"), count);
    for (const range of missing) await this.#queue.compact({ run, output, ...range });
    return missing.length === 0;
  }

  async isDone(run: string, range: number): Promise<boolean> {
    return (await this.#redis.hexists(keyOf(run, "files"), String(range))) === 1;
  }

  /** Stores the files of a finished range. */
  async done(run: string, range: number, files: readonly FileLine[]): Promise<void> {
    await this.#redis.hset(keyOf(run, "files"), String(range), JSON.stringify(files));
  }

  /** Queues the finalizer if all ranges are done. A retry of a finished range calls this too: the first attempt may have died before. */
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

  /** Like `RunLedger.retire`. */
  async retire(run: string): Promise<void> {
    const keys = (["columns", "ranges", "files"] as const).map((name) => keyOf(run, name));
    await Promise.all(keys.map((key) => this.#redis.expire(key, RETIRED_RUN_SECONDS)));
  }
}

function keyOf(run: string, name: "columns" | "ranges" | "files"): string {
  return `${KEY_PREFIX}:run:${run}:${name}`;
}
