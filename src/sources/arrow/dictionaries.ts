import { setImmediate as turn } from "node:timers/promises";
import type { Dictionary } from "apache-arrow";
import type { LabelmillError } from "../../errors.ts";
import { ByteCache } from "../bytes/byte-cache.ts";
import { cacheKey, ENTRY_BYTES } from "../bytes/cache-key.ts";
import type { Origin } from "../bytes/origin.ts";
import { BatchBuffers } from "./buffers.ts";
import { type ArrowSchema, readAhead } from "./file.ts";
import { layoutOf } from "./layout.ts";
import { Budget, type Load, loadColumn, type ReadValue, TooManyBytes } from "./load-column.ts";
import { readMessage, unreadable } from "./messages.ts";

/** The most bytes and values of one dictionary. */
const MAX_DICTIONARY_BYTES = 128 << 20;
const MAX_DICTIONARY_VALUES = 1 << 24;
/** Milliseconds that values are examined before the event loop runs other tasks. */
const TURN_MS = 20;

export type LoadedDictionary = { length: number; read: ReadValue; bytes: number; longest?: Promise<number> };

const loadedDictionaries = new ByteCache<LoadedDictionary>(128 << 20, ({ bytes }) => bytes);

/** The dictionaries of some batches of an input. They are read on demand. */
export class Dictionaries {
  readonly #origin: Origin;
  readonly #schema: ArrowSchema;
  readonly #messages: readonly number[];
  readonly #inside: readonly number[];

  /**
   * @param messages offsets of the dictionaries' messages; those of one dictionary are in order
   * @param inside ids of the dictionaries whose values are being read
   */
  constructor(origin: Origin, schema: ArrowSchema, messages: readonly number[], inside: readonly number[] = []) {
    this.#origin = origin;
    this.#schema = schema;
    this.#messages = messages;
    this.#inside = inside;
  }

  /** @throws LabelmillError INPUT_UNREADABLE */
  async get(type: Dictionary): Promise<LoadedDictionary> {
    if (this.#inside.includes(type.id)) throw unreadable(this.#origin, `dictionary ${type.id} contains itself`);
    return await loadedDictionaries.get(cacheKey(this.#origin, type.id, this.#messages), () => this.#load(type));
  }

  /** Size of the longest value in bytes. */
  async longest(type: Dictionary): Promise<number> {
    const dictionary = await this.get(type);
    dictionary.longest ??= longestOf(dictionary);
    return await dictionary.longest;
  }

  async #load({ id, dictionary: type }: Dictionary): Promise<LoadedDictionary> {
    const chunks: { first: number; read: ReadValue }[] = [];
    const inner = new Dictionaries(this.#origin, this.#schema, this.#messages, [...this.#inside, id]);
    let [length, bytes] = [0, 0];
    const read = readAhead(this.#origin);
    for (const at of this.#messages) {
      const message = await readMessage(this.#origin, read, at, this.#origin.input.size!);
      if (message.kind !== "dictionary") throw unreadable(this.#origin, `expected a dictionary at byte ${at}`);
      if (message.id !== id) continue;
      if (!message.isDelta) [chunks.length, length, bytes] = [0, 0, 0];
      const { batch } = message;
      const [column] = layoutOf([{ type }], batch, this.#schema.version);
      const load: Load = {
        buffers: new BatchBuffers(this.#origin, batch),
        dictionary: (of) => inner.get(of),
        limit: MAX_DICTIONARY_BYTES,
        loaded: bytes,
        columns: 0,
      };
      if (length + batch.rows > MAX_DICTIONARY_VALUES) throw this.#tooLarge(id, `${MAX_DICTIONARY_VALUES} values`);
      chunks.push({ first: length, read: await this.#values(id, () => loadColumn(column!, 0, batch.rows, load)) });
      length += batch.rows;
      bytes = load.loaded;
    }
    const readValue: ReadValue = (index, budget) => {
      const chunk = chunks.findLast(({ first }) => first <= index)!;
      return chunk.read(index - chunk.first, budget);
    };
    return { length, read: readValue, bytes: bytes + ENTRY_BYTES * (chunks.length + 1) };
  }

  async #values(id: number, load: () => Promise<ReadValue>): Promise<ReadValue> {
    try {
      return await load();
    } catch (error) {
      if (!(error instanceof TooManyBytes)) throw error;
      throw this.#tooLarge(id, `${MAX_DICTIONARY_BYTES} bytes`);
    }
  }

  #tooLarge(id: number, most: string): LabelmillError {
    return unreadable(this.#origin, `dictionary ${id}: expected at most ${most}: write the file without dictionaries`);
  }
}

/** Values are not decoded: any number of views may refer to the same long text. */
async function longestOf({ length, read }: LoadedDictionary): Promise<number> {
  let longest = 0;
  let began = performance.now();
  for (let index = 0; index < length; index++) {
    const budget = new Budget({ onlyCounts: true });
    try {
      read(index, budget);
    } catch (error) {
      if (!(error instanceof TooManyBytes)) throw error;
      // This is the limit of a value.
      return Math.max(longest, budget.spent);
    }
    longest = Math.max(longest, budget.spent);
    if (performance.now() - began < TURN_MS) continue;
    await turn();
    began = performance.now();
  }
  return longest;
}
