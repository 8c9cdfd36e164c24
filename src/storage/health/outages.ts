import { setTimeout as delay } from "node:timers/promises";
import { backoffMs } from "../../retry/backoff.ts";
import type { OutageInfo } from "../../schemas/worker.ts";
import { s3Status, s3Trouble } from "../s3/error.ts";
import type { S3, S3Watch } from "../s3/s3.ts";
import { keysBeside, placeOf, StoreError, scopeOf, storeErrorOf } from "../store-error.ts";
import { Outage } from "./outage.ts";
import { outageBegins, outageEnds, outageGivenUp } from "./outage-lines.ts";
import { fails, probeReads, probeWrites } from "./probe.ts";
import { StoreHealth } from "./store-health.ts";

export type OutageTimes = {
  /** How long an outage is waited for. */
  limitMs: number;
  /** How long a store that refuses is: an operator may fix it. */
  refusedLimitMs: number;
  /** The wait before the first probe; it doubles with each, up to `mostProbeMs`. */
  firstProbeMs: number;
  mostProbeMs: number;
};

export type OutageOptions = OutageTimes & {
  /** A request that has had no answer for this long is a reason to probe. */
  silentMs?: number;
  tell: (level: "warn" | "error", line: string) => void;
};

const SILENT_MS = 10_000;
/** One try, which must not take long. */
const PROBE_LIMITS = { tries: 1, sockets: 8 };
/** Changes so close together are told as one. */
const TELL_AFTER_MS = 100;
/** What fails again so soon after it worked is the same outage: a disk with room for a probe and for nothing else. */
const SAME_OUTAGE_MS = 60_000;
/** How long a store is on trial where nobody tries it. */
const TRIAL_MS = 60_000;

/**
 * The stores that this process uses, and which of them are out. A store is out when a request has failed in all its tries and
 * a probe of the store, or another of its keys, fails too. From then on it is probed, with backoff, until it works.
 */
export class Outages implements S3Watch, Disposable {
  readonly #options: Required<OutageOptions>;
  readonly #prober: S3;
  readonly #stores = new Map<string, StoreHealth>();
  readonly #closing = new AbortController();
  readonly #looking: NodeJS.Timeout;
  #changed: NodeJS.Timeout | undefined;
  /** Is called soon after a store went out, came back, or has more or fewer labeled slices waiting for it. */
  onChange: () => void = () => {};

  /** @param s3 has its requests watched from now on */
  constructor(s3: S3, options: OutageOptions) {
    const { silentMs = SILENT_MS } = options;
    this.#options = { ...options, silentMs };
    this.#prober = s3.withLimits({ ...PROBE_LIMITS, silentMs, connectMs: silentMs / 2 });
    s3.watchBy(this);
    this.#looking = setInterval(() => this.#look(silentMs), silentMs / 5).unref();
  }

  asked(bucket: string, key: string, item?: boolean): (error?: unknown) => void {
    const place = `s3://${bucket}`;
    const health = this.#health(place);
    const ended = health.asked(key, item);
    return (error) => {
      // What was aborted here has no answer, nor has what was never sent.
      if (error !== undefined)
        return ended(s3Trouble(error) ?? (s3Status(error) === undefined ? "abandoned" : "answered"));
      ended("answered");
      // Where no probe can tell, a key that failed and works again does.
      for (const each of [health, this.#stores.get(keysBeside(`${place}/${key}`))])
        if (each?.outage?.keys.has(key)) this.#proved(each);
    };
  }

  /** A part was written to this output: an outage of it that no probe can end is over. */
  wrote(output: string): void {
    const health = this.#stores.get(output);
    if (health) this.#proved(health);
  }

  /** The outage of one of the stores that these URIs lie in, if there is one that is waited for. */
  of(uris: readonly string[]): Outage | undefined {
    for (const uri of uris) {
      for (const place of new Set([placeOf(uri), uri, keysBeside(uri)])) {
        const outage = this.#stores.get(place)?.outage;
        if (outage && !outage.givenUp && !outage.onTrial) return outage;
      }
    }
    return undefined;
  }

  /**
   * Whether an error comes from a store that is out. Asks the store where that is not known: it may take a probe's time.
   * @param output the URI of the store that is written to: it is probed by a write
   * @returns undefined where the error is about the key, the request, or no store at all
   */
  async judge(thrown: unknown, output: string): Promise<Outage | undefined> {
    const error = storeErrorOf(thrown);
    if (!error?.trouble) return undefined;
    const at = error.place ?? placeOf(output);
    const isOutput = at === placeOf(output);
    const probe = () => (isOutput ? probeWrites(output, this.#prober) : probeReads(at, this.#prober));
    // Rights are given by prefix: what is forbidden here may be allowed to other runs on the same bucket.
    const mayBeHereOnly = error.trouble.kind === "refused" && !error.trouble.certain;
    const place = mayBeHereOnly ? scopeOf(error, output) : at;
    const health = this.#health(place);
    if (health.outage?.onTrial) this.#resume(health, health.outage);
    if (health.outage) return health.outage;
    const others = this.#health(at).otherFailing(error.key);
    if (error.trouble.certain || (await fails(probe))) return this.#begin(health, place, error, probe);
    if (others.length === 0) return undefined;
    return this.#begin(health, place, error, undefined, new Set([error.key, ...others]));
  }

  /** Does the work, again and again where a store that it needs is out. @throws what it throws otherwise; `signal`'s reason */
  async through<T>(output: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!(await this.outlast(error, output, signal))) throw error;
      }
    }
  }

  /** Waits while the store that an error comes from is out. @returns false where that is not so, or it was out for too long */
  async outlast(error: unknown, output: string, signal: AbortSignal): Promise<boolean> {
    const outage = await this.judge(error, output);
    if (!outage || outage.givenUp) return false;
    await outage.wait(signal);
    return true;
  }

  /** How long the stores of these URIs did not work, up to now: for what must not be counted against a time limit. In ms. */
  troubleMs(uris: readonly string[]): number {
    const places = new Set(uris.map(placeOf));
    return [...places].reduce((sum, place) => sum + (this.#stores.get(place)?.troubleMs ?? 0), 0);
  }

  /** Waits as `Outage.wait` does, with the rows of a labeled slice in memory. */
  async waitWithRows(outage: Outage, signal: AbortSignal): Promise<void> {
    outage.kept += 1;
    this.#change();
    try {
      await outage.wait(signal);
    } finally {
      outage.kept -= 1;
      this.#change();
    }
  }

  list(): OutageInfo[] {
    return [...this.#stores.values()].flatMap(({ outage }) => (outage ? [outage.info] : []));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#looking);
    clearTimeout(this.#changed);
    this.#closing.abort();
    this.#prober.close();
  }

  #health(place: string): StoreHealth {
    const health = this.#stores.get(place) ?? new StoreHealth(this.#options.silentMs / 5);
    this.#stores.set(place, health);
    return health;
  }

  /** A server that has frozen does not refuse: it is noticed by its silence. */
  #look(silentMs: number): void {
    for (const [place, health] of this.#stores) {
      if (health.outage || health.checking || health.silentMs < silentMs) continue;
      health.checking = true;
      const probe = () => probeReads(place, this.#prober);
      void probe()
        .catch((error: unknown) => {
          if (error instanceof StoreError && error.trouble) this.#begin(health, place, error, probe);
        })
        .finally(() => {
          health.checking = false;
        });
    }
  }

  #begin(
    health: StoreHealth,
    place: string,
    error: StoreError,
    probe: (() => Promise<void>) | undefined,
    keys: ReadonlySet<string> = new Set([error.key]),
  ): Outage {
    // Two may have found out at once.
    if (health.outage) return health.outage;
    health.failed(error.key, error.trouble!.kind);
    const { last } = health;
    const same = last && last.outage.kind === error.trouble!.kind && Date.now() - last.endedAt < SAME_OUTAGE_MS;
    // Only a request that really worked starts the time anew: a probe that worked may have been wrong.
    const since = same && !last.proved ? last.outage.since : health.troubleSince;
    const outage = new Outage(place, since, error, keys);
    health.begin(outage);
    const failed = same ? last.failed + 1 : 1;
    outage.nextTryAt = Date.now() + this.#waitMs(failed);
    if (!same) this.#tellBegin(outage);
    if (same && Date.now() >= this.#giveUpAt(outage)) this.#giveUp(outage, !last.outage.givenUp);
    this.#change();
    // A store that certainly refused although its probe worked a moment ago: the probe cannot tell.
    const trusted = !(same && error.trouble!.certain);
    void this.#outlast(health, outage, failed, { probe, trusted }).catch(() => {});
    return outage;
  }

  #tellBegin(outage: Outage): void {
    outage.told = true;
    this.#options.tell("warn", outageBegins(outage, this.#limitOf(outage)));
  }

  #giveUp(outage: Outage, tell: boolean): void {
    outage.givenUp = true;
    if (!tell) return;
    outage.told = true;
    this.#options.tell("error", outageGivenUp(outage));
  }

  /** The wait before the next probe. */
  #waitMs(failed: number): number {
    return backoffMs(failed, { firstMs: this.#options.firstProbeMs, maxMs: this.#options.mostProbeMs });
  }

  /** Probes until the store works; tells once when that has taken too long. Where no probe can be trusted, others try. */
  async #outlast(
    health: StoreHealth,
    outage: Outage,
    failedBefore: number,
    { probe, trusted }: { probe: (() => Promise<void>) | undefined; trusted: boolean },
  ): Promise<void> {
    const { signal } = this.#closing;
    for (let failed = failedBefore; health.outage === outage; failed += 1) {
      const waitMs = this.#waitMs(failed);
      outage.onTrial = false;
      outage.nextTryAt = Date.now() + waitMs;
      const leftMs = outage.givenUp ? waitMs : Math.max(0, this.#giveUpAt(outage) - Date.now());
      await delay(Math.min(waitMs, leftMs), undefined, { signal, ref: false });
      if (!outage.givenUp && Date.now() >= this.#giveUpAt(outage)) {
        this.#giveUp(outage, true);
        outage.release();
      }
      const works = !probe || !(await fails(probe));
      if (works && probe && trusted) this.#end(health, { failed });
      else if (works) await this.#onTrial(health, outage, signal);
      // One that began again soon after it ended is told only now: it does last.
      if (health.outage === outage && !outage.told && !outage.givenUp) this.#tellBegin(outage);
    }
  }

  /** Those who wait try the store themselves. It is out still where one of them fails. */
  async #onTrial(health: StoreHealth, outage: Outage, signal: AbortSignal): Promise<void> {
    outage.onTrial = true;
    outage.release();
    for (let ms = 0; outage.onTrial && health.outage === outage; ms += 50) {
      if (ms >= TRIAL_MS) return this.#end(health);
      await delay(50, undefined, { signal, ref: false });
    }
  }

  #resume(health: StoreHealth, outage: Outage): void {
    if (health.outage === outage) outage.onTrial = false;
  }

  /** A request that failed in the outage has worked. */
  #proved(health: StoreHealth): void {
    if (health.outage?.onTrial) this.#end(health, { proved: true });
  }

  #end(health: StoreHealth, { failed = 1, proved = false } = {}): void {
    const { outage } = health;
    if (!outage) return;
    health.end(outage.error.key);
    health.last = { outage, endedAt: Date.now(), failed, proved };
    if (outage.told) this.#options.tell("warn", outageEnds(outage));
    outage.release();
    this.#change();
  }

  #change(): void {
    this.#changed ??= setTimeout(() => {
      this.#changed = undefined;
      this.onChange();
    }, TELL_AFTER_MS).unref();
  }

  #giveUpAt(outage: Outage): number {
    return outage.since.getTime() + this.#limitOf(outage);
  }

  #limitOf({ kind }: Outage): number {
    return kind === "outage" ? this.#options.limitMs : this.#options.refusedLimitMs;
  }
}
