import type { Machine, Versions } from "./machine.ts";
import type { Measured } from "./measure.ts";
import type { Startup } from "./startup.ts";

/** All of one benchmark. */
export type Benchmark = {
  date: string;
  command: string;
  /** Rough and short. */
  quick: boolean;
  rounds: number;
  seconds: number;
  machine: Machine;
  versions: Versions;
  models: Measured[];
  startup: Startup;
};

export type Figures = Record<string, number>;

/** Every number by its name; of what was measured in rounds, the median. */
export function figuresOf({ models, startup }: Benchmark): Figures {
  const figures: Figures = {};
  for (const { id, kind, pipeline, bare, loopDelayMs, paddingEfficiency } of models) {
    figures[`items_per_second.${id}.pipeline`] = round(pipeline.median);
    figures[`items_per_second.${id}.ort`] = round(bare.median);
    figures[`pipeline_vs_ort.${id}.${kind}`] = round(ratioOf({ pipeline, bare }));
    figures[`event_loop_delay_ms.${id}.p99`] = round(loopDelayMs.median);
    if (kind === "text") figures[`padding_efficiency.${id}`] = round(paddingEfficiency);
  }
  // The worst of the models: what the bound of 50 ms is about.
  figures["event_loop_delay_ms.p99"] = round(Math.max(...models.map(({ loopDelayMs }) => loopDelayMs.median)));
  figures["startup_ms.first_batch"] = round(startup.firstBatchMs.median);
  figures["startup_ms.total"] = round(startup.totalMs.median);
  return figures;
}

export function ratioOf({ pipeline, bare }: Pick<Measured, "pipeline" | "bare">): number {
  return pipeline.median / bare.median;
}

/** Four digits that count: more would pretend. */
function round(value: number): number {
  return Number(value.toPrecision(4));
}
