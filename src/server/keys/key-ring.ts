import pLimit from "p-limit";
import type { Logger } from "../../logger.ts";
import { within } from "../../redis/deadline.ts";
import { type Caller, SCOPES } from "../caller.ts";
import { Problem } from "../problems.ts";
import { equalHashes, hashOfKey, idOfKey, type KeyRecord } from "./key.ts";
import type { KeyCache, KeySet } from "./key-cache.ts";
import type { KeyStore } from "./key-store.ts";

/** How often the keys are read. */
const REFRESH_MS = 5_000;
/** Keys that were read longer ago are not used. With the age of the copy in Redis, a revoked key works for at most 30 s. */
const MAX_AGE_MS = 20_000;
/** A key that is not known may be new. The keys are then read again, at most this often. */
const UNKNOWN_MS = 2_000;
/** How long a request waits for the state store. */
const WAIT_MS = 5_000;

const READS_AT_ONCE = 16;

export const BOOTSTRAP = "bootstrap";

export type KeyRingOptions = {
  store: KeyStore;
  /** Default: the keys are always read from the store. */
  cache?: KeyCache;
  /** The SHA-256 of a key with all scopes that is not on record. */
  bootstrapSha256?: string | undefined;
  log: Logger;
  /** Default: the real time. */
  now?: () => number;
};

/** The keys in use, in memory. A key costs a request no read. */
export class KeyRing {
  readonly #options: KeyRingOptions;
  readonly #now: () => number;
  #keys = new Map<string, KeyRecord>();
  #hasRecords = false;
  #readAt = Number.NEGATIVE_INFINITY;
  #triedAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isFailing = false;

  private constructor(options: KeyRingOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** @throws LabelmillError STORE_FAILED if the keys cannot be read */
  static async open(options: KeyRingOptions): Promise<KeyRing> {
    const ring = new KeyRing(options);
    await ring.#read();
    ring.#timer = setInterval(() => void ring.#readInBackground(), REFRESH_MS).unref();
    return ring;
  }

  /** Whether any key was ever created, or a first key is set. */
  async hasAny(): Promise<boolean> {
    if (this.#options.bootstrapSha256 !== undefined) return true;
    await this.#ensureFresh();
    return this.#hasRecords;
  }

  /**
   * The caller with this key. Undefined if the key is unknown or revoked.
   * @throws Problem 503 if the state store does not answer
   */
  async find(key: string): Promise<Caller | undefined> {
    const hash = hashOfKey(key);
    const { bootstrapSha256 } = this.#options;
    if (bootstrapSha256 !== undefined && equalHashes(bootstrapSha256, hash))
      return { owner: BOOTSTRAP, key: BOOTSTRAP, scopes: new Set(SCOPES) };
    const id = idOfKey(key);
    if (id === undefined) return undefined;
    await this.#ensureFresh();
    // Not from the copy in Redis, which may be older than the key.
    if (!this.#keys.has(id) && this.#now() - this.#triedAt > UNKNOWN_MS) await this.#readForRequest(false);
    const record = this.#keys.get(id);
    if (!record || !equalHashes(record.sha256, hash)) return undefined;
    return { owner: record.owner, key: id, scopes: new Set(record.scopes) };
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #ensureFresh(): Promise<void> {
    if (this.#now() - this.#readAt > MAX_AGE_MS) await this.#readForRequest();
  }

  async #readForRequest(fromCopy = true): Promise<void> {
    try {
      await within(WAIT_MS, this.#read(fromCopy));
    } catch (error) {
      this.#options.log.warn({ err: error }, "keys cannot be read");
      // An unknown key stays unknown. Keys that are too old are not used.
      if (this.#now() - this.#readAt > MAX_AGE_MS)
        throw new Problem(503, "STORE_FAILED", "the state store with the keys does not answer: try again later");
    }
  }

  async #readInBackground(): Promise<void> {
    try {
      await this.#read();
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing) this.#options.log.warn({ err: error }, "keys cannot be read");
      this.#isFailing = true;
    }
  }

  /** Concurrent callers share one read. */
  #read(fromCopy = true): Promise<void> {
    this.#reading ??= this.#readNow(fromCopy).finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readNow(fromCopy: boolean): Promise<void> {
    const { cache } = this.#options;
    const at = this.#now();
    this.#triedAt = at;
    let set = fromCopy ? await cache?.read() : undefined;
    if (!set) {
      set = await this.#fromStore();
      await cache?.write(set);
    }
    this.#hasRecords = set.hasRecords;
    this.#keys = new Map(set.keys.map((key) => [key.id, key]));
    this.#readAt = at;
  }

  /** Records never change, so only new ones are read. */
  async #fromStore(): Promise<KeySet> {
    const { store, log } = this.#options;
    const limit = pLimit(READS_AT_ONCE);
    const read = async (id: string): Promise<KeyRecord | undefined> => {
      try {
        return this.#keys.get(id) ?? (await store.find(id));
      } catch (error) {
        // One record that cannot be read must not lock out the other keys.
        log.error({ err: error, key: id }, "a key cannot be read and is not accepted");
        return undefined;
      }
    };
    const found = await Promise.all((await store.ids()).map((id) => limit(() => read(id))));
    const keys = found.filter((record) => record !== undefined);
    return { hasRecords: keys.length > 0 || (await store.hasRecords()), keys };
  }
}
