import { LabelmillError, messageOf, toLabelmillError } from "../../errors.ts";
import type { Lane } from "../../schemas/names.ts";
import { DeviceError } from "../devices/device-error.ts";
import type { RanBatch } from "../tuning/batch-budgets.ts";
import type { BatchRules, CutReason } from "./batch.ts";
import { BatcherStats } from "./batcher-stats.ts";
import { LaneScheduler } from "./lane-scheduler.ts";
import type { Entry } from "./length-sorted-list.ts";
import { ThreadLoad } from "./thread-load.ts";

/** The outcome of one item: its answer or its error. */
export type Outcome<R> = R | LabelmillError;

/** The answers to a batch, one for each item and in their order, and the milliseconds of the run. */
export type Answers<R> = { answers: (R | Error)[]; ms: number };

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
   */
  run: (batch: T[], thread: number, longest: number) => Promise<Answers<R>>;
  /** Called for each batch that the model has finished. */
  onRan?: (batch: RanBatch & { reason: CutReason }) => void;
  /** Called when the device failed on a batch of this padded cost; 0 if it failed on a single item, so on any batch. */
  onDeviceError?: (error: DeviceError, paddedCost: number) => void;
};

/** Called with the number of a call's items in a batch, the number of the batch (from 1), and these items' share of its milliseconds. */
export type OnAnswers = (count: number, batch: number, ms: number) => void;

/** Items that were added together, and the promise of their outcomes. */
type Call<R> = {
  lane: Lane;
  addedAt: number;
  outcomes: Outcome<R>[];
  missing: number;
  resolve: (outcomes: Outcome<R>[]) => void;
  reject: (error: unknown) => void;
  onAnswers: OnAnswers | undefined;
  /** Drops the items that still wait. */
  drop?: () => void;
};

type Held<T, R> = { value: T; call: Call<R>; index: number };

/** An idle thread takes a batch at once if the waiting items have at least this part of a budget. */
const WORTH_A_THREAD = 1 / 2;
/** Fewer waiting items stay for a busy thread whose batch ends within this time. A wait of this length is not noticeable. */
const BUSY_THREAD_WAIT_MS = 25;

/**
 * Gathers items into batches and gives each item its own outcome. An idle thread gets a batch at once, unless few items wait and
 * another thread is about to finish its batch. So items that arrive one by one share batches if the model is fast, and never wait
 * for a slow one. A busy thread gets its next batch when enough items wait for a full one: an earlier batch would be smaller and
 * gain nothing.
 */
export class Batcher<T, R> {
  readonly stats = new BatcherStats();
  readonly #options: BatcherOptions<T, R>;
  readonly #lanes = new LaneScheduler<Held<T, R>>();
  #threads: ThreadLoad;
  #running = 0;
  /** Since when busy time is not counted yet. Valid while a batch runs. */
  #busySince = 0;
  /** Whether a cut is scheduled. */
  #scheduled = false;
  /** Set while no batch may start: resolves when no batch runs. */
  #idle: PromiseWithResolvers<void> | undefined;
  #closed: PromiseWithResolvers<void> | undefined;

  constructor(options: BatcherOptions<T, R>) {
    this.#options = options;
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
    };
    const held = items.map(({ length, value }, index) => ({ length, value: { value, call, index } }));
    call.drop = this.#lanes.add(lane, held);
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
    const { rules, batchesPerThread } = this.#options;
    while (this.#lanes.size > 0 && !this.#idle) {
      const { thread, batches } = this.#threads.leastBusy();
      const budget = rules.peek(this.#lanes.nextLength!);
      if (batches === batchesPerThread || (batches > 0 && this.#lanes.cost < budget)) return;
      const little = this.#lanes.cost < budget * WORTH_A_THREAD;
      if (little && this.#threads.endsWithin(BUSY_THREAD_WAIT_MS, performance.now())) return;
      void this.#send(thread);
    }
  }

  async #send(thread: number): Promise<void> {
    const batch = this.#lanes.cut(this.#options.rules);
    const { entries, longest, reason } = batch;
    const paddedCost = batch.cost(entries.length);
    const realCost = this.stats.countBatch(entries, paddedCost, reason);
    const number = this.stats.batches;
    this.#threads.begin(thread, paddedCost, performance.now());
    if (this.#running === 0) this.#busySince = performance.now();
    this.#running += entries.length;
    try {
      const { answers, ms } = await this.#runOrHalve(entries, thread, longest);
      this.stats.countAnswers(entries, ms);
      this.#options.onRan?.({ length: entries[0]!.length, paddedCost, realCost, ms, reason });
      settleAll(entries, answers, { number, ms, realCost });
    } catch (error) {
      for (const call of new Set(entries.map(({ value }) => value.call))) this.#fail(call, toLabelmillError(error));
    }
    this.#threads.end(thread, performance.now());
    this.#running -= entries.length;
    this.#countTime();
    if (this.#running === 0) this.#idle?.resolve();
    if (this.held === 0) this.#closed?.resolve();
    this.#cutSoon();
  }

  /** Runs a batch. One that fails is halved until the failing items are alone. The halves run one after the other, on the same thread. */
  async #runOrHalve(
    entries: readonly Entry<Held<T, R>>[],
    thread: number,
    longest: number,
  ): Promise<{ answers: Outcome<R>[]; ms: number }> {
    const items = entries.map(({ value }) => value.value);
    let ran: Answers<R>;
    try {
      ran = await this.#options.run(items, thread, longest);
    } catch (error) {
      if (error instanceof LabelmillError && error.retryable) throw error;
      if (error instanceof DeviceError) this.#reportDeviceError(error, entries.length, longest);
      if (entries.length === 1) return { answers: [toItemError(error)], ms: 0 };
      const half = entries.length >>> 1;
      const first = await this.#runOrHalve(entries.slice(0, half), thread, longestOf(entries.slice(0, half)));
      const second = await this.#runOrHalve(entries.slice(half), thread, longestOf(entries.slice(half)));
      return { answers: [...first.answers, ...second.answers], ms: first.ms + second.ms };
    }
    const { answers, ms } = ran;
    if (answers.length !== items.length) {
      throw new LabelmillError("INTERNAL", `expected ${items.length} answers for a batch, got ${answers.length}`);
    }
    return { answers: answers.map((answer) => (answer instanceof Error ? toItemError(answer) : answer)), ms };
  }

  /** @throws LabelmillError INFERENCE_FAILED if the device failed on a single item, which is not at fault */
  #reportDeviceError(error: DeviceError, count: number, longest: number): void {
    const cost = count === 1 ? 0 : this.#options.rules.lengthOf(longest) * count;
    this.#options.onDeviceError?.(error, cost);
    if (count > 1) return;
    throw new LabelmillError("INFERENCE_FAILED", `the device failed on a single item: ${error.message}`, {
      cause: error,
    });
  }

  #fail(call: Call<R>, error: LabelmillError): void {
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

function longestOf(entries: readonly Entry<unknown>[]): number {
  return entries.reduce((most, { length }) => Math.max(most, length), 0);
}

/** Settles a batch's items and reports to each call its share of the batch. */
function settleAll<T, R>(
  entries: readonly Entry<Held<T, R>>[],
  answers: readonly Outcome<R>[],
  { number, ms, realCost }: { number: number; ms: number; realCost: number },
): void {
  const shares = new Map<Call<R>, { count: number; cost: number }>();
  for (const [at, { length, value }] of entries.entries()) {
    settle(value, answers[at]!);
    const share = shares.get(value.call) ?? { count: 0, cost: 0 };
    if (share.count === 0) shares.set(value.call, share);
    share.count += 1;
    share.cost += length;
  }
  for (const [call, { count, cost }] of shares) call.onAnswers?.(count, number, (ms * cost) / realCost);
}

/** Has no effect on a call that was rejected. */
function settle<T, R>({ call, index }: Held<T, R>, outcome: Outcome<R>): void {
  call.outcomes[index] = outcome;
  if (--call.missing === 0) call.resolve(call.outcomes);
}

function toItemError(error: unknown): LabelmillError {
  if (error instanceof LabelmillError) return error;
  return new LabelmillError("ITEM_FAILED", `the model failed on this item: ${messageOf(error)}`, { cause: error });
}

function aborted(signal: AbortSignal | undefined): LabelmillError {
  return new LabelmillError("ABORTED", "the work was aborted before it was done", { cause: signal?.reason });
}
