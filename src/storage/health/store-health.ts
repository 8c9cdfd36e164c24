import type { StoreTrouble } from "../store-error.ts";
import type { Outage } from "./outage.ts";

/** The failed tries in a row after which a key counts as failing. A single 503 now and then is normal. */
const FAILING_TRIES = { outage: 3, refused: 1 };

/** For this long, a failed key is evidence that the store may be failing. */
const EVIDENCE_MS = 60_000;

/** How a request ended. `abandoned`: by the caller, or by a failure that says nothing about the store. */
export type RequestEnd = "answered" | "abandoned" | StoreTrouble;

/** The observations of one store: running requests, failing keys, and the time in which nothing worked. Times in ms. */
export class StoreHealth {
  outage: Outage | undefined;
  /**
   * The last outage, which continues if the store fails again soon after its end. `failed`: the number of its failed probes,
   * plus 1. `proved`: a request ended it, not a probe.
   */
  last: { outage: Outage; endedAt: number; failed: number; proved: boolean } | undefined;
  /** Whether a probe is running. */
  checking = false;
  readonly #quietMs: number;
  readonly #running = new Map<symbol, number>();
  readonly #failing = new Map<string, { kind: StoreTrouble["kind"]; tries: number; at: number }>();
  readonly #clock: () => number;
  /** The start of the earliest failed try since the last answer. */
  #troubleSince: number | undefined;
  #troubleMs = 0;
  /** `#troubleMs` covers the time until this moment. */
  #countedTo: number;
  #answeredAt: number;
  #outageAt: number | undefined;

  /**
   * @param quietMs a request without an answer for this long is a sign of trouble
   * @param clock in ms. Default: `performance.now`
   */
  constructor(quietMs: number, clock: () => number = () => performance.now()) {
    this.#quietMs = quietMs;
    this.#clock = clock;
    this.#answeredAt = clock();
    this.#countedTo = this.#answeredAt;
  }

  /**
   * Call it when a request starts.
   * @param item an item refers to the key: its failure is no evidence about other keys
   * @returns a function to call at the end of the request
   */
  requestStarted(key: string, item = false): (end: RequestEnd) => void {
    const request = Symbol(key);
    const begunAt = this.#clock();
    this.#running.set(request, begunAt);
    return (end) => {
      this.#running.delete(request);
      if (end === "answered") this.answered(key, begunAt);
      else if (end === "abandoned") this.#count(begunAt);
      else this.failed(key, end.kind, begunAt, item);
    };
  }

  /** Call it when an outage begins. */
  begin(outage: Outage): void {
    this.outage = outage;
    this.#outageAt = this.#clock();
  }

  /** Call it when the outage ends: the key is answered. */
  end(key: string): void {
    this.answered(key, this.#clock());
    this.outage = undefined;
    this.#outageAt = undefined;
  }

  failed(key: string, kind: StoreTrouble["kind"], begunAt = this.#clock(), item = false): void {
    this.#troubleSince = Math.min(begunAt, this.#troubleSince ?? begunAt);
    if (item) return;
    this.#failing.set(key, { kind, tries: (this.#fresh(key)?.tries ?? 0) + 1, at: this.#clock() });
    // Bounded, because a run may request thousands of keys that fail.
    if (this.#failing.size > 1000) this.#failing.delete(this.#failing.keys().next().value!);
  }

  answered(key: string, begunAt: number): void {
    const now = this.#count(begunAt);
    this.#troubleSince = undefined;
    this.#answeredAt = now;
    this.#failing.delete(key);
  }

  /** The last moment at which the store was known to work. */
  get troubleSince(): Date {
    const now = this.#clock();
    const oldest = this.#running.values().next().value ?? now;
    return new Date(Date.now() - (now - Math.min(this.#troubleSince ?? now, this.#quietSince(oldest, now) ?? now)));
  }

  /** The keys that failed within the last minute, without `key`. */
  otherFailing(key: string): string[] {
    return [...this.#failing.keys()].filter((other) => {
      const seen = this.#fresh(other);
      return other !== key && seen !== undefined && seen.tries >= FAILING_TRIES[seen.kind];
    });
  }

  #fresh(key: string) {
    const seen = this.#failing.get(key);
    return seen && this.#clock() - seen.at < EVIDENCE_MS ? seen : undefined;
  }

  /** How long the oldest running request has waited; 0 if none is running, or the store has answered another one since. */
  get silentMs(): number {
    const now = this.#clock();
    const oldest = this.#running.values().next().value ?? now;
    return oldest < this.#answeredAt ? 0 : now - oldest;
  }

  /** The total time in which nothing worked, up to now. It never decreases. */
  get troubleMs(): number {
    const now = this.#clock();
    return this.#troubleMs + now - this.#uncounted(now);
  }

  /** Adds the time of trouble up to now. @returns the current time */
  #count(begunAt: number): number {
    const now = this.#clock();
    this.#troubleMs += now - this.#uncounted(now, begunAt);
    this.#countedTo = now;
    return now;
  }

  /** The start of the time of trouble that is not counted yet; `now` if the store works. */
  #uncounted(now: number, begunAt = now): number {
    const oldest = Math.min(begunAt, this.#running.values().next().value ?? now);
    const since = Math.min(this.#troubleSince ?? now, this.#outageAt ?? now, this.#quietSince(oldest, now) ?? now);
    return Math.max(this.#countedTo, since);
  }

  #quietSince(begunAt: number, now: number): number | undefined {
    return begunAt >= this.#answeredAt && now - begunAt > this.#quietMs ? begunAt : undefined;
  }
}
