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
  /** The longest wait for the end of an outage. */
  limitMs: number;
  /** The longest wait for a store that refuses requests: an operator may fix it. */
  refusedLimitMs: number;
  /** The wait before the first probe. It doubles with each probe, up to `mostProbeMs`. */
  firstProbeMs: number;
  mostProbeMs: number;
};

export type OutageOptions = OutageTimes & {
  /** A request without an answer for this long is a reason to probe. Default: 10,000. */
  silentMs?: number;
  log: (level: "warn" | "error", line: string) => void;
};

const SILENT_MS = 10_000;
/** One try, so that a probe is short. */
const PROBE_LIMITS = { tries: 1, sockets: 8 };
/** Changes within this time are reported as one. */
const CHANGE_DELAY_MS = 100;
/** A store that fails again within this time is in the same outage: a disk may have room for a probe but not for a part. */
const SAME_OUTAGE_MS = 60_000;
/** The end of a trial that no slice takes part in. */
const TRIAL_MS = 60_000;

/**
 * The stores that this process uses, and their outages. An outage begins when all tries of a request have failed and a probe of
 * the store, or another of its keys, fails too. From then on the store is probed, with backoff, until it works.
 */
export class Outages implements S3Watch, Disposable {
  readonly #options: Required<OutageOptions>;
  readonly #prober: S3;
  readonly #stores = new Map<string, StoreHealth>();
  readonly #closing = new AbortController();
  readonly #watching: NodeJS.Timeout;
  #changed: NodeJS.Timeout | undefined;
  /** Called shortly after an outage began or ended, or the number of labeled slices that wait for it changed. */
  onChange: () => void = () => {};

  /** @param s3 reports its requests to this object from now on */
  constructor(s3: S3, options: OutageOptions) {
    const { silentMs = SILENT_MS } = options;
    this.#options = { ...options, silentMs };
    this.#prober = s3.withLimits({ ...PROBE_LIMITS, silentMs, connectMs: silentMs / 2 });
    s3.setWatch(this);
    this.#watching = setInterval(() => this.#checkSilence(silentMs), silentMs / 5).unref();
  }

  onRequest(bucket: string, key: string, item?: boolean): (error?: unknown) => void {
    const place = `s3://${bucket}`;
    const health = this.#health(place);
    const ended = health.requestStarted(key, item);
    return (error) => {
      // A request that was aborted here, or never sent, says nothing about the store.
      if (error !== undefined)
        return ended(s3Trouble(error) ?? (s3Status(error) === undefined ? "abandoned" : "answered"));
      ended("answered");
      // A key that failed and works again ends an outage that no probe can end.
      for (const each of [health, this.#stores.get(keysBeside(`${place}/${key}`))])
        if (each?.outage?.keys.has(key)) this.#proved(each);
    };
  }

  /** Call it after writing a part to this output: it ends an outage that no probe can end. */
  wrote(output: string): void {
    const health = this.#stores.get(output);
    if (health) this.#proved(health);
  }

  /** The outage to wait for of one of the stores of these URIs, if any. */
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
   * Whether an error comes from an outage of its store. Probes the store if that is unknown.
   * @param output the URI of the store for writing: it is probed by a write
   * @returns undefined if the error concerns the key, the request, or no store
   */
  async outageOf(thrown: unknown, output: string): Promise<Outage | undefined> {
    const error = storeErrorOf(thrown);
    if (!error?.trouble) return undefined;
    const at = error.place ?? placeOf(output);
    const isOutput = at === placeOf(output);
    const probe = () => (isOutput ? probeWrites(output, this.#prober) : probeReads(at, this.#prober));
    // Rights are granted by prefix: a request that is forbidden here may be allowed to other runs on the same bucket.
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

  /** Does the work, and repeats it after each outage of its store. @throws any other error of it; the reason of `signal` */
  async retryAfterOutages<T>(output: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!(await this.waitForEnd(error, output, signal))) throw error;
      }
    }
  }

  /** Waits for the end of the outage that an error comes from. @returns false without an outage, or if it exceeded its limit */
  async waitForEnd(error: unknown, output: string, signal: AbortSignal): Promise<boolean> {
    const outage = await this.outageOf(error, output);
    if (!outage || outage.givenUp) return false;
    await outage.wait(signal);
    return true;
  }

  /** The total time in which the stores of these URIs did not work, in ms. It must not count against a time limit. */
  troubleMs(uris: readonly string[]): number {
    const places = new Set(uris.map(placeOf));
    return [...places].reduce((sum, place) => sum + (this.#stores.get(place)?.troubleMs ?? 0), 0);
  }

  /** Waits as `Outage.wait` does, and counts a labeled slice that is kept in memory. */
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
    clearInterval(this.#watching);
    clearTimeout(this.#changed);
    this.#closing.abort();
    this.#prober.close();
  }

  #health(place: string): StoreHealth {
    const health = this.#stores.get(place) ?? new StoreHealth(this.#options.silentMs / 5);
    this.#stores.set(place, health);
    return health;
  }

  /** A frozen server refuses nothing: only its silence shows the outage. */
  #checkSilence(silentMs: number): void {
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
    // Two requests may detect the outage at the same time.
    if (health.outage) return health.outage;
    health.failed(error.key, error.trouble!.kind);
    const { last } = health;
    const same = last && last.outage.kind === error.trouble!.kind && Date.now() - last.endedAt < SAME_OUTAGE_MS;
    // Only a successful request starts the time again: a successful probe may have been wrong.
    const since = same && !last.proved ? last.outage.since : health.troubleSince;
    const outage = new Outage(place, since, error, keys);
    health.begin(outage);
    const failed = same ? last.failed + 1 : 1;
    outage.nextTryAt = Date.now() + this.#waitMs(failed);
    if (!same) this.#logBegin(outage);
    if (same && Date.now() >= this.#giveUpAt(outage)) this.#giveUp(outage, !last.outage.givenUp);
    this.#change();
    // The store certainly refused although its probe succeeded a moment ago: the probe is not reliable.
    const trusted = !(same && error.trouble!.certain);
    void this.#probeUntilItWorks(health, outage, failed, { probe, trusted }).catch(() => {});
    return outage;
  }

  #logBegin(outage: Outage): void {
    outage.reported = true;
    this.#options.log("warn", outageBegins(outage, this.#limitOf(outage)));
  }

  #giveUp(outage: Outage, log: boolean): void {
    outage.givenUp = true;
    if (!log) return;
    outage.reported = true;
    this.#options.log("error", outageGivenUp(outage));
  }

  /** The wait before the next probe. */
  #waitMs(failed: number): number {
    return backoffMs(failed, { firstMs: this.#options.firstProbeMs, maxMs: this.#options.mostProbeMs });
  }

  /** Probes until the store works; logs once when the limit has passed. If no probe can be trusted, the waiting slices try. */
  async #probeUntilItWorks(
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
      // An outage that began again soon after its end is logged only now, when it has lasted.
      if (health.outage === outage && !outage.reported && !outage.givenUp) this.#logBegin(outage);
    }
  }

  /** The waiting slices try the store themselves. The outage continues if one of them fails. */
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

  /** A request that failed in the outage has succeeded. */
  #proved(health: StoreHealth): void {
    if (health.outage?.onTrial) this.#end(health, { proved: true });
  }

  #end(health: StoreHealth, { failed = 1, proved = false } = {}): void {
    const { outage } = health;
    if (!outage) return;
    health.end(outage.error.key);
    health.last = { outage, endedAt: Date.now(), failed, proved };
    if (outage.reported) this.#options.log("warn", outageEnds(outage));
    outage.release();
    this.#change();
  }

  #change(): void {
    this.#changed ??= setTimeout(() => {
      this.#changed = undefined;
      this.onChange();
    }, CHANGE_DELAY_MS).unref();
  }

  #giveUpAt(outage: Outage): number {
    return outage.since.getTime() + this.#limitOf(outage);
  }

  #limitOf({ kind }: Outage): number {
    return kind === "outage" ? this.#options.limitMs : this.#options.refusedLimitMs;
  }
}
