import { LabelmillError, toLabelmillError } from "../../errors.ts";
import type { Lane } from "../../schemas/names.ts";
import type { DeviceError } from "../devices/device-error.ts";
import { InteractiveFlow } from "../interactive-flow.ts";
import { BatchClaim } from "../sessions/batch-claim.ts";
import type { RanBatch } from "../tuning/batch-budgets.ts";
import type { BatchRules, CutReason } from "./batch.ts";
import { BatcherStats } from "./batcher-stats.ts";
import { type Call, type Held, type OnAnswers, type Outcome, settleAll } from "./calls.ts";
import { type Cut, LaneScheduler } from "./lane-scheduler.ts";
import type { Entry } from "./length-sorted-list.ts";
import { type Answers, runOrHalve } from "./run-or-halve.ts";
import { ThreadLoad } from "./thread-load.ts";

export type BatcherOptions<T, R> = {
  rules: BatchRules;
  /** Number of threads, at least 1. */
  threads: number;
  /** The most batches of a thread: one that runs, the others ready. */
  batchesPerThread: number;
  /**
   * Runs a batch on a thread (0 to threads − 1). The answer of an item that failed is an Error. Throws a retryable LabelmillError if
   * a thread or device failed, not an item, and a DeviceError if a smaller batch may pass.
   * @param longest the largest of the items' lengths
   * @param claim of a batch that may be taken back until the thread begins it. Throws ABORTED if it was
   */
  run: (batch: T[], thread: number, longest: number, claim?: BatchClaim) => Promise<Answers<R>>;
  /** Called for each batch that the model has finished. `isShort`: it had less than the best budget on purpose. */
  onRan?: (batch: RanBatch & { reason: CutReason; isShort: boolean }) => void;
  /** Called when the device failed on a batch of this padded cost; 0 if it failed on a single item, so on any batch. */
  onDeviceError?: (error: DeviceError, paddedCost: number) => void;
  /** The clock, in ms. Default: performance.now. */
  now?: () => number;
};

/** A batch on a thread. */
type Sent<T, R> = { cut: Cut<Held<T, R>>; claim: BatchClaim | undefined };

/** An idle thread takes a batch at once if the waiting items have at least this part of a budget. */
const WORTH_A_THREAD = 1 / 2;
/** Fewer waiting items stay for a busy thread whose batch ends within this time. A wait of this length is not noticeable. */
const BUSY_THREAD_WAIT_MS = 25;

/**
 * Gathers items into batches and gives each item its own outcome. An idle thread gets a batch at once, unless few items wait and
 * another thread is about to finish its batch. So items that arrive one by one share batches if the model is fast, and never wait
 * for a slow one. A busy thread gets its next batch when enough items wait for a full one: an earlier batch would be smaller and
 * gain nothing. A bulk batch that waits on a thread is taken back for interactive items.
 */
export class Batcher<T, R> {
  readonly stats = new BatcherStats();
  readonly #options: BatcherOptions<T, R>;
  readonly #lanes = new LaneScheduler<Held<T, R>>();
  #threads: ThreadLoad;
  /** For each thread, the batch that waits behind the running one. */
  #ready: (Sent<T, R> | undefined)[] = [];
  #running = 0;
  #batches = 0;
  readonly #flow: InteractiveFlow;
  /** Since when busy time is not counted yet. Valid while a batch runs. */
  #busySince = 0;
  /** Whether a cut is scheduled. */
  #scheduled = false;
  /** Set while no batch may start: resolves when no batch runs. */
  #idle: PromiseWithResolvers<void> | undefined;
  #closed: PromiseWithResolvers<void> | undefined;

  constructor(options: BatcherOptions<T, R>) {
    this.#options = options;
    this.#flow = new InteractiveFlow(options.now);
    this.#threads = new ThreadLoad(options.threads);
  }

  /** Items that wait for a batch. */
  get depth(): number {
    return this.#lanes.size;
  }

  /** Items that wait or run. */
  get held(): number {
    return this.#lanes.size + this.#running;
  }

  /**
   * Adds items that belong together: one outcome for each, in their order. `length` is an item's cost, at least 1. An item that makes
   * its batch fail gets ITEM_FAILED, its neighbours get their answers. Rejects with a retryable LabelmillError if a thread or device
   * failed, and with ABORTED if the signal aborts or the batcher closes; waiting items are dropped then.
   * @param onAnswers called for each batch that contained some of the items
   * @param lane interactive items go first
   */
  async add(
    items: readonly Entry<T>[],
    signal?: AbortSignal,
    onAnswers?: OnAnswers,
    lane: Lane = "bulk",
  ): Promise<Outcome<R>[]> {
    if (this.#closed) throw new LabelmillError("ABORTED", "expected an open batcher, got one that is closing");
    if (signal?.aborted) throw aborted(signal);
    if (items.length === 0) return [];
    const { promise, resolve, reject } = Promise.withResolvers<Outcome<R>[]>();
    const call: Call<R> = {
      lane,
      addedAt: performance.now(),
      outcomes: new Array(items.length),
      missing: items.length,
      resolve,
      reject,
      onAnswers,
      isRejected: false,
    };
    const held = items.map(({ length, value }, index) => ({ length, value: { value, call, index } }));
    call.drop = this.#lanes.add(lane, held);
    if (lane === "interactive") this.#flow.note();
    const onAbort = () => this.#fail(call, aborted(signal));
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#cutSoon();
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Waits for the running batches and starts no others until `change` has settled. It resolves to the new number of threads. */
  async change(change: () => Promise<number>): Promise<void> {
    this.#idle = Promise.withResolvers<void>();
    if (this.#running === 0) this.#idle.resolve();
    await this.#idle.promise;
    try {
      this.#threads = new ThreadLoad(await change());
      this.#ready = [];
    } finally {
      this.#idle = undefined;
      this.#cutSoon();
    }
  }

  /** Rejects new items. Resolves when no item waits or runs. */
  close(): Promise<void> {
    this.#closed ??= Promise.withResolvers<void>();
    if (this.held === 0) this.#closed.resolve();
    return this.#closed.promise;
  }

  /** Cuts in the next turn of the event loop, so that items of this turn share batches. */
  #cutSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#cut();
    });
  }

  #cut(): void {
    while (this.#lanes.size > 0 && !this.#idle) {
      const thread = this.#nextThread();
      if (thread === undefined) return;
      void this.#send(thread);
    }
  }

  /** The thread that gets the next batch; undefined if the items wait. */
  #nextThread(): number | undefined {
    const { rules, batchesPerThread } = this.#options;
    const { thread, batches } = this.#threads.leastBusy();
    const budget = this.#lanes.nextBudget(rules, this.#flow.keepsComing)!;
    if (batches === 0) {
      const little = this.#lanes.cost < budget * WORTH_A_THREAD;
      return little && this.#threads.isIdleWithin(BUSY_THREAD_WAIT_MS, this.#now()) ? undefined : thread;
    }
    if (this.#lanes.isInteractiveNext(rules, this.#flow.keepsComing)) {
      const overtaken = this.#overtake();
      if (overtaken !== undefined) return overtaken;
    }
    return batches < batchesPerThread && this.#lanes.cost >= budget ? thread : undefined;
  }

  /** Makes room for interactive items where a thread is soonest done. @returns that thread; undefined if no bulk batch waits on one */
  #overtake(): number | undefined {
    for (;;) {
      const takeable = [...this.#ready.keys()].filter((thread) => this.#ready[thread]?.claim);
      if (takeable.length === 0) return undefined;
      const free = this.#threads.counts.flatMap((count, thread) =>
        count < this.#options.batchesPerThread ? [thread] : [],
      );
      const thread = this.#threads.soonest([...takeable, ...free]);
      if (!takeable.includes(thread) || this.#takeBack(thread)) return thread;
    }
  }

  /** Takes back the batch that waits on a thread. @returns false if the thread has begun it */
  #takeBack(thread: number): boolean {
    const sent = this.#ready[thread]!;
    this.#ready[thread] = undefined;
    if (!sent.claim!.takeBack()) return false;
    const { batch } = sent.cut;
    const { entries } = batch;
    this.stats.uncountBatch(entries, batch.cost(entries.length), batch.reason);
    this.#threads.takeBack(thread);
    this.#running -= entries.length;
    this.#lanes.putBack(sent.cut);
    for (const { call } of entries.map(({ value }) => value)) if (call.isRejected) call.drop?.();
    return true;
  }

  #now(): number {
    return this.#options.now?.() ?? performance.now();
  }

  async #send(thread: number): Promise<void> {
    const cut = this.#lanes.cut(this.#options.rules, this.#flow.keepsComing);
    const { entries, reason } = cut.batch;
    const paddedCost = cut.batch.cost(entries.length);
    const realCost = this.stats.countBatch(entries, paddedCost, reason);
    const number = ++this.#batches;
    const isBehind = this.#threads.counts[thread]! > 0;
    const claim = isBehind && cut.canWait ? new BatchClaim() : undefined;
    if (isBehind) this.#ready[thread] = { cut, claim };
    this.#threads.begin(thread, paddedCost, this.#now());
    if (this.#running === 0) this.#busySince = performance.now();
    this.#running += entries.length;
    try {
      const { answers, ms } = await this.#run(entries, thread, claim);
      if (claim?.isTakenBack) return;
      this.stats.countAnswers(entries, ms);
      this.#options.onRan?.({ length: entries[0]!.length, paddedCost, realCost, ms, reason, isShort: cut.isShort });
      settleAll(entries, answers, { number, ms, realCost });
    } catch (error) {
      if (claim?.isTakenBack) return;
      for (const call of new Set(entries.map(({ value }) => value.call))) this.#fail(call, toLabelmillError(error));
    }
    this.#ready[thread] = undefined;
    this.#threads.end(thread, this.#now());
    this.#running -= entries.length;
    this.#countTime();
    if (this.#running === 0) this.#idle?.resolve();
    if (this.held === 0) this.#closed?.resolve();
    this.#cutSoon();
  }

  #run(entries: readonly Entry<Held<T, R>>[], thread: number, claim: BatchClaim | undefined) {
    const { run, rules, onDeviceError } = this.#options;
    return runOrHalve(
      entries,
      (some, longest) => {
        const items = some.map(({ value }) => value.value);
        if (some === entries) return run(items, thread, longest, claim);
        // A batch that was halved before it reached the thread has begun too.
        claim?.begin();
        return run(items, thread, longest);
      },
      (error, count, longest) => onDeviceError?.(error, count === 1 ? 0 : rules.lengthOf(longest) * count),
    );
  }

  #fail(call: Call<R>, error: LabelmillError): void {
    call.isRejected = true;
    call.reject(error);
    call.drop?.();
    if (this.held === 0) this.#closed?.resolve();
  }

  #countTime(): void {
    const now = performance.now();
    this.stats.busyMs += now - this.#busySince;
    this.#busySince = now;
  }
}

function aborted(signal: AbortSignal | undefined): LabelmillError {
  return new LabelmillError("ABORTED", "the work was aborted before it was done", { cause: signal?.reason });
}
