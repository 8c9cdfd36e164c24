import { abortable } from "../../abortable.ts";
import type { Outages } from "../../storage/health/outages.ts";
import type { Body, ObjectStore, StoredObject } from "../../storage/store.ts";
import type { OutageBuffer } from "./outage-buffer.ts";

/**
 * The output of one attempt. If the store is unavailable when the part is to be written, the part waits in memory for
 * the end of the outage, as far as the buffer has room. Reads of a part and its write end at once when `signal` aborts,
 * so that a store that does not answer delays no shutdown. The request may still succeed; the next attempt of the slice
 * finds it.
 */
export class OutageAwareStore implements ObjectStore {
  readonly uri: string;
  readonly conditionalWrites: boolean;
  readonly #store: ObjectStore;
  readonly #outages: Outages;
  readonly #buffer: OutageBuffer | undefined;
  readonly #signal: AbortSignal;
  readonly #onWait: () => void;

  /**
   * @param buffer undefined: a part that cannot be written now fails
   * @param onWait called before a part waits for the end of an outage
   */
  constructor(
    store: ObjectStore,
    outages: Outages,
    buffer: OutageBuffer | undefined,
    signal: AbortSignal,
    onWait: () => void,
  ) {
    this.uri = store.uri;
    this.conditionalWrites = store.conditionalWrites;
    this.#store = store;
    this.#outages = outages;
    this.#buffer = buffer;
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
        const outage = await this.#outages.outageOf(error, this.uri);
        if (!outage || outage.givenUp) throw error;
        using reserved = this.#buffer?.reserve(body.length);
        if (!reserved) throw error;
        this.#onWait();
        await this.#outages.waitWithRows(outage, this.#signal);
      }
    }
  }

  get(key: string): Promise<Uint8Array> {
    return abortable(this.#store.get(key), this.#signal);
  }

  getWithEtag(key: string): Promise<{ bytes: Uint8Array; etag: string } | undefined> {
    return abortable(this.#store.getWithEtag(key), this.#signal);
  }

  head(key: string): Promise<{ etag: string; size: number } | undefined> {
    return abortable(this.#store.head(key), this.#signal);
  }

  replaceIf(key: string, etag: string | null, body: Uint8Array): Promise<string | null> {
    return abortable(this.#store.replaceIf(key, etag, body), this.#signal);
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
