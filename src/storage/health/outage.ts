import type { OutageInfo } from "../../schemas/worker.ts";
import type { StoreError, StoreTrouble } from "../store-error.ts";

/** An outage of a store, from its detection until the store works again. */
export class Outage {
  readonly place: string;
  readonly kind: StoreTrouble["kind"];
  readonly since: Date;
  readonly error: StoreError;
  /** The keys that failed when it began. If no probe can be trusted, a successful request of one of them ends it. */
  readonly keys: ReadonlySet<string>;
  /** Slices whose rows are kept in memory. */
  kept = 0;
  nextTryAt = Date.now();
  /** Set when the limit has passed: from then on, a failing request is reported with its own error. */
  givenUp = false;
  /** Whether the outage is in the log. */
  reported = false;
  /** The waiting slices may try the store, because no probe can find out whether it works. */
  onTrial = false;
  #turn = Promise.withResolvers<void>();

  constructor(place: string, since: Date, error: StoreError, keys: ReadonlySet<string>) {
    this.place = place;
    this.since = since;
    this.kind = error.trouble!.kind;
    this.error = error;
    this.keys = keys;
  }

  /** Resolves when the store is to be tried again, or is given up. @throws the reason of an aborted `signal` */
  async wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, reject } = Promise.withResolvers<never>();
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      await Promise.race([this.#turn.promise, promise]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** Ends all waits. */
  release(): void {
    this.#turn.resolve();
    this.#turn = Promise.withResolvers();
  }

  /** The time until the next try, in ms: at least 100. */
  get retryMs(): number {
    return Math.max(100, this.nextTryAt - Date.now());
  }

  get info(): OutageInfo {
    return {
      place: this.place,
      kind: this.kind,
      since: this.since.toISOString(),
      nextTryAt: new Date(this.nextTryAt).toISOString(),
      reason: this.error.message.slice(0, 1000),
      kept: this.kept,
    };
  }
}
