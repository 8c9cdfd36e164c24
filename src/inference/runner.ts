import { LabelmillError, toLabelmillError } from "../errors.ts";
import type { BatchRules, CutReason } from "./batching/batch.ts";
import { type Device, kindOf } from "./devices/device.ts";
import { DeviceError } from "./devices/device-error.ts";
import type { Model } from "./model/model.ts";
import type { Packable, Ranked } from "./sessions/batch-buffer.ts";
import type { BatchClaim } from "./sessions/batch-claim.ts";
import { SessionPool } from "./sessions/session-pool.ts";
import { setupOf } from "./sessions/session-setup.ts";
import { Budgets, type RanBatch } from "./tuning/batch-budgets.ts";
import { type Sizing, sizeModel } from "./tuning/batch-sizing.ts";
import { type Layout, LayoutSearch, layoutsOf, usualLayout } from "./tuning/thread-layouts.ts";
import { readTuning, type Tuning, writeTuning } from "./tuning/tuning-file.ts";

export type RunnerOptions = {
  model: Model;
  /** GPUs, one inference thread each. Default: the CPU. */
  devices?: readonly Device[] | undefined;
  /** CPU cores that the model may use. */
  cores: number;
  /** Inference threads on the CPU, each with a copy of the model. Default: searched for while running. */
  threads?: number | undefined;
  /** Threads within one run. Default: cores ÷ threads. */
  intraOpThreads?: number | undefined;
  /** The largest padded cost of a batch: longest text × texts in tokens, or images. Default: searched for while running. */
  budget?: number | undefined;
  /** Where the search for the budget begins. Default: a value for the task and the device. */
  startBudget?: number | undefined;
  /** A file that stores the results of the search. Default: they are not stored. */
  tuningFile?: string | undefined;
  /** The module that inference threads run; it calls `serveSession`. Default: onnxruntime's. */
  thread?: URL | undefined;
  /** Called with log messages about the search and about failures. */
  log?: ((message: string, detail: Record<string, unknown>) => void) | undefined;
};

/** Consecutive batches under load before layouts are compared: without load, threads do not compete for cores. */
const UNDER_LOAD = 12;

/** Runs batches of one model on its threads. Searches for the best batch sizes and, on the CPU, the best number of threads. */
export class Runner implements BatchRules {
  readonly model: Model;
  readonly #options: RunnerOptions;
  readonly #sizing: Sizing;
  readonly #layouts: LayoutSearch;
  readonly #failed = Promise.withResolvers<LabelmillError>();
  #pool: SessionPool;
  #budgets: Budgets;
  /** Batches of this padded cost and more ran out of memory. */
  #tooLarge: number;
  #underLoad = 0;
  /** Whether a change of layout was requested: batches that end until then ran with the old one. */
  #changing = false;
  /** The budgets found with each number of threads. */
  readonly #foundWith = new Map<number, Record<number, number>>();
  /** The last content of the tuning file. */
  #stored = "";
  #writing: Promise<void> = Promise.resolve();

  private constructor(
    options: RunnerOptions,
    sizing: Sizing,
    pool: SessionPool,
    tuning: Tuning | undefined,
    layouts: LayoutSearch,
  ) {
    this.model = options.model;
    this.#options = options;
    this.#sizing = sizing;
    this.#layouts = layouts;
    this.#pool = pool;
    this.#tooLarge = Math.min(pool.tooLarge, tuning?.tooLarge ?? Number.POSITIVE_INFINITY);
    this.#budgets = this.#newBudgets(tuning?.budgets, true);
  }

  /** Resolves when every thread has loaded the model and run it. Throws MODEL_INVALID or INFERENCE_FAILED. */
  static async start(options: RunnerOptions): Promise<Runner> {
    const tuning = options.tuningFile === undefined ? undefined : await readTuning(options.tuningFile);
    const layouts = openLayouts(options, tuning);
    const sizing = await sizingFor(options);
    const pool = await openPool(options, sizing, layouts.current);
    return new Runner(options, sizing, pool, tuning, layouts);
  }

  get devices(): readonly Device[] {
    return this.#options.devices ?? ["cpu"];
  }

  get threads(): number {
    return this.#pool.size;
  }

  get layout(): Layout {
    return { threads: this.threads, intraOpThreads: this.#layouts.current.intraOpThreads };
  }

  get found(): Record<number, number> {
    return this.#budgets.found;
  }

  get settled(): boolean {
    return this.#budgets.settled && this.#layouts.done;
  }

  get failed(): Promise<LabelmillError> {
    return this.#failed.promise;
  }

  next(length: number): number {
    return this.#budgets.next(length);
  }

  peek(length: number): number {
    return this.#budgets.peek(length);
  }

  within(length: number, ms: number): number {
    const rate = this.#budgets.rateOf(length);
    return rate === undefined ? Number.POSITIVE_INFINITY : this.#sizing.shapes.largestWithin(rate * ms, length);
  }

  get reach(): number {
    return this.#budgets.reach;
  }

  lengthOf(length: number): number {
    return this.#sizing.shapes.lengthOf(length);
  }

  get similar(): number {
    return this.#sizing.similar;
  }

  /**
   * Throws what the pool throws, and a DeviceError for several items whose padded cost ran out of memory before.
   * @param claim of a batch that may be taken back until it begins
   */
  async run(
    items: readonly Packable[],
    longest: number,
    topK: number,
    thread: number,
    claim?: BatchClaim,
  ): Promise<{ ranked: (Ranked[] | null)[]; ms: number }> {
    const shape = this.#sizing.shapes.shapeOf(items.length, longest);
    const cost = shape.rows * shape.length;
    const isTried = cost < this.#tooLarge;
    if (isTried) {
      try {
        return await this.#pool.run(items, shape, topK, thread, claim);
      } catch (error) {
        if (!(error instanceof DeviceError) || !error.isOutOfMemory || shape.rows === 1) throw error;
        this.#noteTooLarge(cost, error);
        if (items.length > 1) throw error;
      }
    } else if (items.length > 1)
      throw new DeviceError(`out of memory, as batches of padded cost ${this.#tooLarge} were before`);
    // One item may still pass without padding rows.
    return this.#pool.run(items, { rows: 1, length: shape.length }, topK, thread, isTried ? undefined : claim);
  }

  /**
   * Records a batch that ended. A short one has less than its budget on purpose: only its speed is recorded.
   * @returns whether to call `changeLayout` as soon as no batch runs
   */
  recordBatch({ reason, isShort, ...batch }: RanBatch & { reason: CutReason; isShort: boolean }): boolean {
    if (this.#changing) return false;
    if (reason === "full") this.#budgets.recordRate(batch);
    if (isShort) return false;
    this.#budgets.record(batch);
    this.#underLoad = reason === "drained" ? 0 : this.#underLoad + 1;
    if (this.settled) this.#store();
    if (this.#layouts.done || this.#underLoad < UNDER_LOAD || !this.#budgets.settled) return false;
    this.#underLoad = 0;
    this.#foundWith.set(this.threads, this.#budgets.found);
    this.#changing = this.#layouts.record(this.#budgets.rates) !== undefined;
    return this.#changing;
  }

  /** Switches to the next layout to try, or to the best one. @returns the new number of threads */
  async changeLayout(): Promise<number> {
    const found = this.#budgets.found;
    await this.#pool.close();
    this.#pool = await this.#openNext();
    this.#log("thread layout changed", { ...this.layout });
    const before = this.#foundWith.get(this.threads);
    this.#budgets = this.#newBudgets(before ?? found, before !== undefined);
    this.#changing = false;
    return this.threads;
  }

  async #openNext(): Promise<SessionPool> {
    try {
      return await openPool(this.#options, this.#sizing, this.#layouts.current);
    } catch (error) {
      this.#log("a thread layout could not be started", { err: error });
      return await openPool(this.#options, this.#sizing, this.#layouts.failed()).catch((again: unknown) => {
        this.#failed.resolve(toLabelmillError(again, "INFERENCE_FAILED"));
        // The old pool is closed, so every batch fails, to be retried by another process.
        return this.#pool;
      });
    }
  }

  deviceFailed(error: DeviceError, paddedCost: number): void {
    if (paddedCost > 0) return;
    const message = `${this.model.id}: the device failed on a single item, so this process ends and another one may continue: ${error.message}`;
    this.#failed.resolve(new LabelmillError("INFERENCE_FAILED", message, { cause: error }));
  }

  async close(): Promise<void> {
    await this.#pool.close();
    await this.#writing;
  }

  #newBudgets(from: Readonly<Record<number, number>> | undefined, trusted: boolean): Budgets {
    const budgets = new Budgets({ ...this.#sizing.budgets, from, trusted });
    budgets.tooLarge(this.#tooLarge);
    return budgets;
  }

  #noteTooLarge(cost: number, error: DeviceError): void {
    this.#tooLarge = Math.min(this.#tooLarge, cost);
    this.#budgets.tooLarge(cost);
    this.#log("batches of this padded cost run out of memory", { cost, err: error });
  }

  #log(message: string, detail: Record<string, unknown>): void {
    this.#options.log?.(message, { model: this.model.id, ...detail });
  }

  /** Writes the tuning file. If that fails, the next start searches again. */
  #store(): void {
    const { tuningFile, devices } = this.#options;
    if (tuningFile === undefined) return;
    const layout = devices ? {} : { layout: this.layout };
    const tooLarge = Number.isFinite(this.#tooLarge) ? { tooLarge: this.#tooLarge } : {};
    const tuning: Tuning = { v: 1, ...layout, budgets: this.found, ...tooLarge };
    const text = JSON.stringify(tuning);
    if (text === this.#stored) return;
    this.#stored = text;
    this.#log("batch budgets found", { ...tuning });
    this.#writing = this.#writing
      .then(() => writeTuning(tuningFile, tuning))
      .catch((error: unknown) => this.#log("the tuning file cannot be written", { err: error }));
  }
}

function openLayouts(
  { devices, cores, threads, intraOpThreads }: RunnerOptions,
  tuning: Tuning | undefined,
): LayoutSearch {
  const usual = usualLayout(cores);
  if (devices || threads !== undefined || intraOpThreads !== undefined) {
    const count = devices?.length ?? threads ?? Math.max(1, Math.floor(cores / intraOpThreads!));
    const fixed = { threads: count, intraOpThreads: intraOpThreads ?? Math.max(1, Math.floor(cores / count)) };
    return new LayoutSearch([fixed], fixed);
  }
  const { layout } = tuning ?? {};
  return layout ? new LayoutSearch([layout], layout) : new LayoutSearch(layoutsOf(cores), usual);
}

function openPool(
  { model, devices, thread }: RunnerOptions,
  { warmUp }: Sizing,
  { threads, intraOpThreads }: Layout,
): Promise<SessionPool> {
  const each: readonly Device[] = devices ?? new Array<Device>(threads).fill("cpu");
  return SessionPool.start(
    each.map((device) => setupOf(model, { device, intraOpThreads, warmUp })),
    thread,
  );
}

function sizingFor({ model, devices, budget, startBudget }: RunnerOptions): Promise<Sizing> {
  return sizeModel(model, kindOf(devices?.[0] ?? "cpu"), { budget, start: startBudget });
}
