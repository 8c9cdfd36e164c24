import type { OutageInfo } from "../../schemas/worker.ts";
import type { StoreError, StoreTrouble } from "../store-error.ts";

/** A store that is out, from the moment it is known to be until it works again. */
export class Outage {
  readonly place: string;
  readonly kind: StoreTrouble["kind"];
  readonly since: Date;
  readonly error: StoreError;
  /** Keys that failed when it began: one of them that works again ends it. */
  readonly keys: ReadonlySet<string>;
  /** Slices whose rows wait in memory. */
  kept = 0;
  nextTryAt = Date.now();
  /** Set when the limit has passed: what fails from then on fails with its own reason. */
  givenUp = false;
  /** Whether the log says that the store is out. */
  told = false;
  /** The store may be tried by whoever waits: no probe can tell whether it works. */
  onTrial = false;
  #turn = Promise.withResolvers<void>();

  constructor(place: string, since: Date, error: StoreError, keys: ReadonlySet<string>) {
    this.place = place;
    this.since = since;
    this.kind = error.trouble!.kind;
    this.error = error;
    this.keys = keys;
  }

  /** Settles when the store is to be tried again, or is given up. @throws what `signal` was aborted with */
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

  /** Has all that wait try again. */
  release(): void {
    this.#turn.resolve();
    this.#turn = Promise.withResolvers();
  }

  /** How long until the next try, in ms: at least 100. */
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
