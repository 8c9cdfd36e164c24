import type { Stage } from "../../schemas/worker.ts";

/** The stages that slices pass through outside of the engine, which keeps the time of the others (BatcherStats). */
export type TimedStage = Exclude<Stage, "queue" | "infer">;

/** How long the slices and items of one model took, stage by stage, since the worker's start. What a stage is says STAGES. */
export class StageTimes {
  readonly #totals: Record<TimedStage, { ms: number; count: number }> = {
    wait: { ms: 0, count: 0 },
    fetch: { ms: 0, count: 0 },
    prepare: { ms: 0, count: 0 },
    write: { ms: 0, count: 0 },
  };

  /** @param count of slices or items that took `ms` together; 0 where the time is a part of what is counted later */
  add(stage: TimedStage, ms: number, count: number): void {
    const total = this.#totals[stage];
    total.ms += ms;
    total.count += count;
  }

  /** Adds what `work` takes, whether it succeeds or not: what times out is what one wants to see. */
  async time<T>(stage: TimedStage, count: number, work: () => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    try {
      return await work();
    } finally {
      this.add(stage, performance.now() - startedAt, count);
    }
  }

  /** Milliseconds, and how many slices or items they are of. */
  total(stage: TimedStage): { ms: number; count: number } {
    return { ...this.#totals[stage] };
  }
}
