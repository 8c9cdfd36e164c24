import type { EmptySlices } from "./empty-slices.ts";
import type { Latency } from "./latency.ts";
import type { Machine, Versions } from "./machine.ts";
import type { Measured } from "./measure.ts";
import type { QueueMemory } from "./memory.ts";
import type { Startup } from "./startup.ts";
import type { Throughput } from "./throughput.ts";

/** All of one benchmark: what was asked for of it. */
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
  startup: Startup | undefined;
  latency: Latency | undefined;
  throughput: Throughput | undefined;
  emptySlices: EmptySlices | undefined;
  memory: QueueMemory | undefined;
};

export type Figures = Record<string, number>;

/** Every number by its name; of what was measured in rounds, the median. */
export function figuresOf(benchmark: Benchmark): Figures {
  const { models, startup, latency, throughput, emptySlices, memory } = benchmark;
  const figures: Figures = {};
  for (const { id, kind, pipeline, bare, loopDelayMs, paddingEfficiency } of models) {
    figures[`items_per_second.${id}.pipeline`] = pipeline.median;
    figures[`items_per_second.${id}.ort`] = bare.median;
    figures[`pipeline_vs_ort.${id}.${kind}`] = ratioOf({ pipeline, bare });
    figures[`event_loop_delay_ms.${id}.p99`] = loopDelayMs.median;
    if (kind === "text") figures[`padding_efficiency.${id}`] = paddingEfficiency;
  }
  // The worst of the models: what the bound of 50 ms is about.
  if (models.length > 0)
    figures["event_loop_delay_ms.p99"] = Math.max(...models.map(({ loopDelayMs }) => loopDelayMs.median));
  if (startup) {
    figures["startup_ms.first_batch"] = startup.firstBatchMs.median;
    figures["startup_ms.total"] = startup.totalMs.median;
  }
  if (latency) latencyFigures(figures, latency);
  if (throughput) {
    const { service, embedded } = throughput;
    figures["items_per_second.tiny-sentiment.service"] = service.median;
    figures["items_per_second.tiny-sentiment.embedded"] = embedded.median;
    figures["service_vs_embedded.tiny-sentiment"] = service.median / embedded.median;
  }
  if (emptySlices) {
    const { labelmill, bullmq } = emptySlices;
    figures["slices_per_second.labelmill"] = labelmill.perSecond.median;
    figures["slices_per_second.bullmq"] = bullmq.perSecond.median;
    figures["redis_us_per_slice.labelmill"] = labelmill.redisMicroseconds.median;
    figures["redis_us_per_slice.bullmq"] = bullmq.redisMicroseconds.median;
    figures.slices_vs_bullmq = labelmill.perSecond.median / bullmq.perSecond.median;
  }
  if (memory) {
    figures["redis_bytes_per_item.slices"] = memory.slices.used.median;
    figures["redis_bytes_per_item.singles"] = memory.singles.used.median;
  }
  return Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, round(value)]));
}

function latencyFigures(figures: Figures, { s3, folder, model }: Latency): void {
  for (const share of ["p50", "p99"] as const) {
    figures[`one_text_ms.model.${share}`] = model[share].median;
    figures[`one_text_ms.s3.${share}`] = s3.total[share].median;
    figures[`one_text_ms.folder.${share}`] = folder.total[share].median;
    figures[`one_text_ms.s3_beyond_model.${share}`] = s3.beyond[share].median;
    figures[`one_text_ms.folder_beyond_model.${share}`] = folder.beyond[share].median;
  }
}

export function ratioOf({ pipeline, bare }: Pick<Measured, "pipeline" | "bare">): number {
  return pipeline.median / bare.median;
}

/** Four digits that count: more would pretend. */
function round(value: number): number {
  return Number(value.toPrecision(4));
}
