import type { Stage } from "../../schemas/worker.ts";

/** The stages outside the engine. The engine measures the others (BatcherStats). */
export type TimedStage = Exclude<Stage, "queue" | "infer">;

/**
 * Total time of the slices and items of one model in each stage since the worker's start. STAGES defines the stages.
 */
export class StageTimes {
  readonly #totals: Record<TimedStage, { ms: number; count: number }> = {
    wait: { ms: 0, count: 0 },
    fetch: { ms: 0, count: 0 },
    prepare: { ms: 0, count: 0 },
    write: { ms: 0, count: 0 },
  };

  /**
   * @param count number of slices or items that took `ms` together; 0 if they are counted with a later part of the
   * stage
   */
  add(stage: TimedStage, ms: number, count: number): void {
    const total = this.#totals[stage];
    total.ms += ms;
    total.count += count;
  }

  /** Adds the time of `work`, whether it succeeds or not: timeouts must be visible. */
  async time<T>(stage: TimedStage, count: number, work: () => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    try {
      return await work();
    } finally {
      this.add(stage, performance.now() - startedAt, count);
    }
  }

  /** Total time in ms, and the number of slices or items. */
  total(stage: TimedStage): { ms: number; count: number } {
    return { ...this.#totals[stage] };
  }
}
