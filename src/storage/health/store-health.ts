import type { StoreTrouble } from "../store-error.ts";
import type { Outage } from "./outage.ts";

/** Failed tries in a row from which on a key counts as failing: below, an answer 503 now and then is part of the day. */
const FAILING_TRIES = { outage: 3, refused: 1 };

/** How long a key that failed is evidence that others may: later, it is a key of its own. */
const EVIDENCE_MS = 60_000;

/** How a request ended: `abandoned` by who asked, or failed without an answer of the store for a reason of its own. */
export type RequestEnd = "answered" | "abandoned" | StoreTrouble;

/** What was seen of one store: requests under way, keys that fail, and the time in which nothing worked. Times in ms. */
export class StoreHealth {
  outage: Outage | undefined;
  /**
   * The last outage, if it ended a moment ago: what fails again so soon is the same one. `failed`: the probes of it that failed,
   * plus 1. `proved`: ended by a request, not by a probe.
   */
  last: { outage: Outage; endedAt: number; failed: number; proved: boolean } | undefined;
  /** Whether somebody is finding out if it is out. */
  checking = false;
  readonly #quietMs: number;
  readonly #underWay = new Map<symbol, number>();
  readonly #failing = new Map<string, { kind: StoreTrouble["kind"]; tries: number; at: number }>();
  readonly #clock: () => number;
  /** The begin of the earliest failed try since the last answer. */
  #troubleSince: number | undefined;
  #troubleMs = 0;
  /** Up to when the time without an answer is counted in `#troubleMs`. */
  #countedTo: number;
  #answeredAt: number;
  #outageAt: number | undefined;

  /**
   * @param quietMs a request without an answer for so long is a sign of trouble
   * @param clock in ms, that of `performance.now` by default
   */
  constructor(quietMs: number, clock: () => number = () => performance.now()) {
    this.#quietMs = quietMs;
    this.#clock = clock;
    this.#answeredAt = clock();
    this.#countedTo = this.#answeredAt;
  }

  /**
   * A request begins.
   * @param item the key is what an item refers to: that it fails is no evidence against other keys
   * @returns what is called at its end
   */
  asked(key: string, item = false): (end: RequestEnd) => void {
    const request = Symbol(key);
    const begunAt = this.#clock();
    this.#underWay.set(request, begunAt);
    return (end) => {
      this.#underWay.delete(request);
      if (end === "answered") this.answered(key, begunAt);
      else if (end === "abandoned") this.#count(begunAt);
      else this.failed(key, end.kind, begunAt, item);
    };
  }

  /** The store is out from now on. */
  begin(outage: Outage): void {
    this.outage = outage;
    this.#outageAt = this.#clock();
  }

  /** The outage is over: that key is answered. */
  end(key: string): void {
    this.answered(key, this.#clock());
    this.outage = undefined;
    this.#outageAt = undefined;
  }

  failed(key: string, kind: StoreTrouble["kind"], begunAt = this.#clock(), item = false): void {
    this.#troubleSince = Math.min(begunAt, this.#troubleSince ?? begunAt);
    if (item) return;
    this.#failing.set(key, { kind, tries: (this.#fresh(key)?.tries ?? 0) + 1, at: this.#clock() });
    // Who asks for thousands of keys that are gone leaves no trace of each.
    if (this.#failing.size > 1000) this.#failing.delete(this.#failing.keys().next().value!);
  }

  answered(key: string, begunAt: number): void {
    const now = this.#count(begunAt);
    this.#troubleSince = undefined;
    this.#answeredAt = now;
    this.#failing.delete(key);
  }

  /** When it was last known to work, as far as that was seen. */
  get troubleSince(): Date {
    const now = this.#clock();
    const oldest = this.#underWay.values().next().value ?? now;
    return new Date(Date.now() - (now - Math.min(this.#troubleSince ?? now, this.#quietSince(oldest, now) ?? now)));
  }

  /** Keys that failed within the last minute, `key` left out. */
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

  /** How long it has been silent though it was asked something; 0 where nothing is under way, or it answered others since. */
  get silentMs(): number {
    const now = this.#clock();
    const oldest = this.#underWay.values().next().value ?? now;
    return oldest < this.#answeredAt ? 0 : now - oldest;
  }

  get isAsked(): boolean {
    return this.#underWay.size > 0;
  }

  /** Time in which nothing worked here, up to now. It never goes back. */
  get troubleMs(): number {
    const now = this.#clock();
    return this.#troubleMs + now - this.#uncounted(now);
  }

  /** Counts the time of trouble up to now, which it returns. */
  #count(begunAt: number): number {
    const now = this.#clock();
    this.#troubleMs += now - this.#uncounted(now, begunAt);
    this.#countedTo = now;
    return now;
  }

  /** Since when nothing has worked, of the time that is not counted yet; `now` where it works. */
  #uncounted(now: number, begunAt = now): number {
    const oldest = Math.min(begunAt, this.#underWay.values().next().value ?? now);
    const since = Math.min(this.#troubleSince ?? now, this.#outageAt ?? now, this.#quietSince(oldest, now) ?? now);
    return Math.max(this.#countedTo, since);
  }

  #quietSince(begunAt: number, now: number): number | undefined {
    return begunAt >= this.#answeredAt && now - begunAt > this.#quietMs ? begunAt : undefined;
  }
}
