import { abortable } from "../../abortable.ts";
import type { Outages } from "../../storage/health/outages.ts";
import type { Body, ObjectStore, StoredObject } from "../../storage/store.ts";
import type { OutageBuffer } from "./outage-buffer.ts";

/**
 * An output as a slice sees it. Its part is put when the store takes it: in an outage it waits in memory where there is room.
 * Every call ends at once when `signal` aborts, so that a store that does not answer holds up no shutdown; what was asked may
 * be done all the same, and the next try of the slice finds it.
 */
export class OutageAwareStore implements ObjectStore {
  readonly uri: string;
  readonly conditionalWrites: boolean;
  readonly #store: ObjectStore;
  readonly #outages: Outages;
  /** Undefined: what cannot be written now is not kept. */
  readonly #held: OutageBuffer | undefined;
  readonly #signal: AbortSignal;
  readonly #onWait: () => void;

  /** @param onWait called before rows wait for the end of an outage */
  constructor(
    store: ObjectStore,
    outages: Outages,
    held: OutageBuffer | undefined,
    signal: AbortSignal,
    onWait: () => void,
  ) {
    this.uri = store.uri;
    this.conditionalWrites = store.conditionalWrites;
    this.#store = store;
    this.#outages = outages;
    this.#held = held;
    this.#signal = signal;
    this.#onWait = onWait;
  }

  async putIfAbsent(key: string, body: Uint8Array): Promise<boolean> {
    for (;;) {
      try {
        const isFirst = await abortable(this.#store.putIfAbsent(key, body), this.#signal);
        this.#outages.wrote(this.uri);
        return isFirst;
      } catch (error) {
        this.#signal.throwIfAborted();
        const outage = await this.#outages.judge(error, this.uri);
        if (!outage || outage.givenUp) throw error;
        using kept = this.#held?.take(body.length);
        if (!kept) throw error;
        this.#onWait();
        await this.#outages.waitWithRows(outage, this.#signal);
      }
    }
  }

  get(key: string): Promise<Uint8Array> {
    return abortable(this.#store.get(key), this.#signal);
  }

  stream(key: string): AsyncIterable<Uint8Array> {
    return this.#store.stream(key);
  }

  put(key: string, body: Body): Promise<void> {
    return this.#store.put(key, body);
  }

  remove(key: string): Promise<void> {
    return this.#store.remove(key);
  }

  list(prefix: string): AsyncIterable<StoredObject> {
    return this.#store.list(prefix);
  }
}
