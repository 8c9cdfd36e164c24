import type { Outage } from "./outage.ts";
import type { StoreTrouble } from "./store-error.ts";

/** Failed tries in a row from which on a key counts as failing: below, an answer 503 now and then is part of the day. */
const FAILING_TRIES = { outage: 3, refused: 1 };

/** What was seen of one store: requests under way, keys that fail, and the time in which nothing worked. Times in ms. */
export class StoreHealth {
  outage: Outage | undefined;
  /** The last outage, if it ended a moment ago: what fails again so soon is the same one. `proved`: ended by a request, not by a probe. */
  last: { outage: Outage; endedAt: number; waitMs: number; proved: boolean } | undefined;
  /** Whether somebody is finding out if it is out. */
  checking = false;
  readonly #quietMs: number;
  readonly #underWay = new Map<symbol, number>();
  readonly #failing = new Map<string, { kind: StoreTrouble["kind"]; tries: number }>();
  /** The begin of the earliest failed try since the last answer. */
  #troubleSince: number | undefined;
  #troubleMs = 0;
  #answeredAt = performance.now();

  /** @param quietMs a request without an answer for so long is a sign of trouble */
  constructor(quietMs: number) {
    this.#quietMs = quietMs;
  }

  /** A request begins. @returns what is called at its end, with the trouble that it met */
  asked(key: string): (trouble?: StoreTrouble) => void {
    const request = Symbol(key);
    const begunAt = performance.now();
    this.#underWay.set(request, begunAt);
    return (trouble) => {
      this.#underWay.delete(request);
      if (trouble) this.failed(key, trouble.kind, begunAt);
      else this.answered(key, begunAt);
    };
  }

  failed(key: string, kind: StoreTrouble["kind"], begunAt: number): void {
    this.#troubleSince = Math.min(begunAt, this.#troubleSince ?? begunAt);
    this.#failing.set(key, { kind, tries: (this.#failing.get(key)?.tries ?? 0) + 1 });
    // Who asks for thousands of keys that are gone leaves no trace of each.
    if (this.#failing.size > 1000) this.#failing.delete(this.#failing.keys().next().value!);
  }

  answered(key: string, begunAt: number): void {
    const now = performance.now();
    this.#troubleMs += now - (this.#troubleSince ?? this.#quietSince(begunAt, now) ?? now);
    this.#troubleSince = undefined;
    this.#answeredAt = now;
    this.#failing.delete(key);
  }

  /** When it was last known to work, as far as that was seen. */
  get troubleSince(): Date {
    const now = performance.now();
    const oldest = this.#underWay.values().next().value ?? now;
    return new Date(Date.now() - (now - Math.min(this.#troubleSince ?? now, this.#quietSince(oldest, now) ?? now)));
  }

  /** Keys that fail, `key` left out. */
  otherFailing(key: string): string[] {
    return [...this.#failing].flatMap(([other, { kind, tries }]) =>
      other !== key && tries >= FAILING_TRIES[kind] ? [other] : [],
    );
  }

  /** How long it has been silent though it was asked something; 0 where nothing is under way, or it answered others since. */
  get silentMs(): number {
    const now = performance.now();
    const oldest = this.#underWay.values().next().value ?? now;
    return oldest < this.#answeredAt ? 0 : now - oldest;
  }

  get isAsked(): boolean {
    return this.#underWay.size > 0;
  }

  /** Time in which nothing worked here, up to now. */
  get troubleMs(): number {
    const now = performance.now();
    const oldest = this.#underWay.values().next().value ?? now;
    const begun = this.outage ? now - (Date.now() - this.outage.since.getTime()) : undefined;
    const since = Math.min(this.#troubleSince ?? now, begun ?? now, this.#quietSince(oldest, now) ?? now);
    return this.#troubleMs + now - since;
  }

  #quietSince(begunAt: number, now: number): number | undefined {
    return begunAt >= this.#answeredAt && now - begunAt > this.#quietMs ? begunAt : undefined;
  }
}
