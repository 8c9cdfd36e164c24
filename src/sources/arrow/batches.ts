import { ByteCache } from "../bytes/byte-cache.ts";
import { cacheKey, ENTRY_BYTES } from "../bytes/cache-key.ts";
import type { Origin } from "../bytes/origin.ts";
import type { FileBlocks } from "./check-metadata.ts";
import { readAhead, schemaOf } from "./file.ts";
import { type Message, type ReadBytes, readMessage, unreadable } from "./messages.ts";

/** The most record batches and dictionary messages of one input: their positions are kept in memory. */
const MAX_BATCHES = 1_000_000;
const MAX_DICTIONARIES = 100_000;
/** The most messages that one dictionary may consist of. */
const MAX_DELTAS = 200;

/** Memory that the position of a batch takes. */
const BATCH_BYTES = 128;
/** Bytes that are read at once: small messages are read together. */
const SCANNED_BYTES = 128 << 10;

/** A record batch with rows. `at`: the offset of its message. `first`: the number of its first row. */
export type Batch = { at: number; first: number; rows: number };

/** The positions of the record batches and dictionaries of an input. */
export type BatchIndex = {
  batches: readonly Batch[];
  /** Rows of all batches. */
  rows: number;
  /** Memory that the index takes. */
  bytes: number;
  /** The index of the batch that contains a row. */
  batchAt(row: number): number;
  /** Offsets of the messages of a dictionary that apply to a batch (by its index): one with the first values, and its deltas. */
  dictionary(id: number, batch: number): readonly number[];
};

const indexes = new ByteCache<BatchIndex>(64 << 20, ({ bytes }) => bytes);

/** Reads the metadata of all messages, not their bodies. @throws LabelmillError INPUT_UNREADABLE if the input is cut off or damaged */
export function indexOf(origin: Origin): Promise<BatchIndex> {
  return indexes.get(cacheKey(origin), async () => {
    const schema = await schemaOf(origin);
    const read = readAhead(origin, SCANNED_BYTES);
    const index = new OpenIndex(origin);
    if (schema.blocks) await readBlocks(origin, read, schema.blocks, schema.end, index);
    else await readStream(origin, read, schema.start, index);
    return index;
  });
}

class OpenIndex implements BatchIndex {
  readonly batches: Batch[] = [];
  rows = 0;
  bytes = ENTRY_BYTES;
  readonly #origin: Origin;
  /** By dictionary id: its messages, and the index of the first batch that they apply to. */
  readonly #dictionaries = new Map<number, { batch: number; messages: readonly number[] }[]>();
  #messages = 0;

  constructor(origin: Origin) {
    this.#origin = origin;
  }

  add(message: Message): void {
    if (message.kind === "batch") this.#addBatch(message.at, message.batch.rows);
    else if (message.kind === "dictionary") this.#addDictionary(message.at, message.id, message.isDelta);
    else
      throw unreadable(
        this.#origin,
        `the message at byte ${message.at} is of the kind ${message.kind}, which is not allowed there`,
      );
  }

  batchAt(row: number): number {
    return Math.max(
      0,
      lastWhere(this.batches, ({ first }) => first <= row),
    );
  }

  dictionary(id: number, batch: number): readonly number[] {
    const states = this.#dictionaries.get(id) ?? [];
    return states[lastWhere(states, (state) => state.batch <= batch)]?.messages ?? [];
  }

  #addBatch(at: number, rows: number): void {
    // A batch without rows does not have to be read.
    if (rows === 0) return;
    if (this.batches.length === MAX_BATCHES)
      throw unreadable(this.#origin, `expected at most ${MAX_BATCHES} record batches: write it with larger ones`);
    this.batches.push({ at, first: this.rows, rows });
    this.rows += rows;
    this.bytes += BATCH_BYTES;
    if (!Number.isSafeInteger(this.rows)) throw unreadable(this.#origin, `expected fewer rows, got ${this.rows}`);
  }

  #addDictionary(at: number, id: number, isDelta: boolean): void {
    if (++this.#messages > MAX_DICTIONARIES)
      throw unreadable(this.#origin, `expected at most ${MAX_DICTIONARIES} dictionaries: write it without them`);
    const states = this.#dictionaries.get(id) ?? [];
    const last = states.at(-1);
    const messages = isDelta ? [...(last?.messages ?? []), at] : [at];
    if (messages.length > MAX_DELTAS)
      throw unreadable(this.#origin, `a dictionary grows ${MAX_DELTAS} times: write it without dictionaries`);
    const batch = this.batches.length;
    if (last?.batch === batch) last.messages = messages;
    else states.push({ batch, messages });
    this.#dictionaries.set(id, states);
    this.bytes += BATCH_BYTES + 8 * messages.length;
  }
}

/** The index of the last element that fits, or -1. All elements that fit must be before those that do not. */
function lastWhere<T>(all: readonly T[], fits: (one: T) => boolean): number {
  let [low, high] = [-1, all.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(all[middle]!)) low = middle;
    else high = middle - 1;
  }
  return low;
}

async function readStream(origin: Origin, read: ReadBytes, start: number, index: OpenIndex): Promise<void> {
  const size = origin.input.size!;
  let at = start;
  for (;;) {
    const message = await readMessage(origin, read, at, size);
    at = message.end;
    if (message.kind === "end") break;
    index.add(message);
  }
  if (at !== size) {
    const why = `its stream ends at byte ${at}, but ${size - at} bytes follow: write one stream to a file`;
    throw unreadable(origin, why);
  }
}

/** In a file, every dictionary applies to all batches, regardless of their order. */
async function readBlocks(
  origin: Origin,
  read: ReadBytes,
  { dictionaries, batches }: FileBlocks,
  end: number,
  index: OpenIndex,
): Promise<void> {
  for (const kind of ["dictionary", "batch"] as const)
    for (const at of kind === "batch" ? batches : dictionaries) {
      if (!(at >= 0 && Number.isSafeInteger(at))) throw unreadable(origin, `its footer names a message at byte ${at}`);
      const message = await readMessage(origin, read, at, end);
      if (message.kind !== kind) throw unreadable(origin, `expected a ${kind} at byte ${at}, got a ${message.kind}`);
      index.add(message);
    }
}
