import { orderedJsonRows } from "../../outputs/ordered-rows.ts";
import { readManifest, readRunFile } from "../../outputs/output.ts";
import { jsonLines } from "../../rows/json-lines.ts";
import { readPart } from "../../rows/part.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { isEnded } from "../../runs/state.ts";
import { type Manifest, PartLineSchema } from "../../schemas/manifest.ts";
import { PARTS_FILE, partKey, singleKey } from "../../schemas/names.ts";
import { isCompacted } from "../../schemas/output.ts";
import type { Row } from "../../schemas/row.ts";
import type { ReadableStore } from "../../storage/store.ts";
import type { ServerDeps } from "../deps.ts";
import { Problem } from "../problems.ts";
import type { KnownRun, RunReader } from "./run-reader.ts";

/** A place in the rows of a run: a slice, the number of rows of it before the place, and the number of all rows before it. */
type Place = { slice: number; row: number; total: number };
/** The rows of a part from `first` on. */
type Piece = { key: string; first: number; count: number };
/** A slice that has ended. Without a key, it failed and has no part. */
type EndedSlice = { slice: number; key?: string; rows: number };

/** A page of rows. `next`: the cursor of the next page; undefined after the last row of a run that has ended. */
export type RowsPage = { rows: AsyncIterable<readonly Row[]>; next: string | undefined };

const START: Place = { slice: 0, row: 0, total: 0 };

/** Reads the rows of runs by pages. Rows come in the order of the items. A run in progress gives those before its first unfinished slice. */
export class RowsReader {
  readonly #reader: RunReader;
  readonly #ledger: RunLedger;

  constructor(reader: RunReader, { redis }: Pick<ServerDeps, "redis">) {
    this.#reader = reader;
    this.#ledger = new RunLedger(redis);
  }

  /**
   * The next rows. They are read while `rows` is iterated, one part at a time.
   * @param cursor the `next` of the page before. Default: the first rows
   * @throws Problem for an invalid cursor, and for a run whose rows are in Parquet files
   */
  async page(known: KnownRun, cursor: string | undefined, limit: number): Promise<RowsPage> {
    const from = cursor === undefined ? START : placeOf(cursor);
    if (known.kind === "single") return this.#single(known, from, limit);
    const store = await this.#reader.open(known);
    const manifest = await readManifest(store);
    if (manifest?.run === known.run) return finished(store, manifest, from, limit);
    return this.#running(known, store, from, limit);
  }

  async #single(known: KnownRun, from: Place, limit: number): Promise<RowsPage> {
    const end = await this.#reader.endOf(known);
    if (!end) return { rows: none(), next: cursorOf(from) };
    const key = known.key ?? singleKey(known.run);
    // A failed run has no part.
    const slices = end.failed ? [] : [{ slice: 0, key, rows: end.rows }];
    return pageOf(await this.#reader.open(known), from, limit, asyncOf(slices), true);
  }

  async #running({ run }: KnownRun, store: ReadableStore, from: Place, limit: number): Promise<RowsPage> {
    const state = await this.#ledger.state(run);
    const count = state === undefined ? 0 : await this.#ledger.plannedSlices(run);
    const runFile = await readRunFile(store);
    const apart = runFile !== undefined && isCompacted(runFile.spec.output);
    const hasEnded = state !== undefined && isEnded(state);
    const ledger = this.#ledger;
    const slices = async function* (): AsyncGenerator<EndedSlice> {
      for await (const { slice, receipt, failed } of ledger.slices(run, count, 500, from.slice)) {
        if (receipt) yield { slice, key: partKey(run, slice, apart), rows: receipt.rows };
        else if (failed) yield { slice, rows: 0 };
        // The rows after an unfinished slice wait for it, unless the run was ended before.
        else if (!hasEnded) return;
      }
    };
    return pageOf(store, from, limit, slices(), hasEnded);
  }
}

async function finished(store: ReadableStore, manifest: Manifest, from: Place, limit: number): Promise<RowsPage> {
  if (manifest.filesSha256 === undefined) return pageOf(store, from, limit, listedParts(store, from.slice), true);
  const runFile = await readRunFile(store);
  if (runFile?.spec.output.format === "parquet")
    throw new Problem(
      409,
      "RUN_FAILED",
      `expected a run whose output is JSON lines, got Parquet files: read them in ${store.uri}`,
    );
  const { labeled, errors } = manifest.totals;
  const total = from.total + limit;
  const next = total < labeled + errors ? cursorOf({ slice: 0, row: 0, total }) : undefined;
  return { rows: firstOf(orderedJsonRows(store, from.total), limit), next };
}

async function* listedParts(store: ReadableStore, first: number): AsyncGenerator<EndedSlice> {
  for await (const { value } of jsonLines(store.stream(PARTS_FILE))) {
    const { slice, key, rows } = PartLineSchema.parse(value);
    if (slice >= first) yield { slice, key, rows };
  }
}

/** Cuts a page from slices that have ended. @param complete no more slices follow these */
async function pageOf(
  store: ReadableStore,
  from: Place,
  limit: number,
  slices: AsyncIterable<EndedSlice>,
  complete: boolean,
): Promise<RowsPage> {
  const pieces: Piece[] = [];
  let at = from;
  let left = limit;
  let isCut = false;
  for await (const { slice, key, rows } of slices) {
    const first = slice === at.slice ? at.row : 0;
    if (left === 0 && first < rows) {
      isCut = true;
      break;
    }
    const count = Math.min(left, Math.max(0, rows - first));
    if (key !== undefined && count > 0) pieces.push({ key, first, count });
    left -= count;
    const isWhole = first + count >= rows;
    at = { slice: isWhole ? slice + 1 : slice, row: isWhole ? 0 : first + count, total: at.total + count };
    if (!isWhole) {
      isCut = true;
      break;
    }
  }
  return { rows: rowsOf(store, pieces), next: complete && !isCut ? undefined : cursorOf(at) };
}

async function* rowsOf(store: ReadableStore, pieces: readonly Piece[]): AsyncGenerator<readonly Row[]> {
  for (const { key, first, count } of pieces) yield readPart(await store.get(key)).rows.slice(first, first + count);
}

async function* firstOf(all: AsyncIterable<readonly Row[]>, limit: number): AsyncGenerator<readonly Row[]> {
  let left = limit;
  for await (const rows of all) {
    yield rows.slice(0, left);
    left -= rows.length;
    if (left <= 0) return;
  }
}

async function* none(): AsyncGenerator<readonly Row[]> {}

async function* asyncOf<T>(all: readonly T[]): AsyncGenerator<T> {
  yield* all;
}

function cursorOf({ slice, row, total }: Place): string {
  return `${slice}.${row}.${total}`;
}

function placeOf(cursor: string): Place {
  const [, slice, row, total] = /^(\d{1,7})\.(\d{1,7})\.(\d{1,12})$/.exec(cursor) ?? [];
  if (total === undefined)
    throw new Problem(400, "REQUEST_INVALID", "querystring cursor: expected the cursor of a page of rows");
  return { slice: Number(slice), row: Number(row), total: Number(total) };
}
