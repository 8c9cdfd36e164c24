import { hostname } from "node:os";
import type { Granted } from "../../fetch/output-grants.ts";
import { BEAT_MS, type WorkerRegistry } from "../../fleet/registry.ts";
import type { Engine } from "../../inference/engine.ts";
import { BATCHES_PER_THREAD } from "../../inference/sessions/session-pool.ts";
import type { Logger } from "../../logger.ts";
import { SCHEMA_VERSION } from "../../schemas/names.ts";
import type { ModelWork, ServedModel, StageTime, WorkerInfo } from "../../schemas/worker.ts";
import { SOFTWARE } from "../../software.ts";
import type { Outages } from "../../storage/health/outages.ts";
import type { ModelService } from "../model-service.ts";
import { BusyMeter } from "./busy-meter.ts";
import type { StageTimes } from "./stage-times.ts";

export type RegistrationDeps = {
  id: string;
  registry: WorkerRegistry;
  services: readonly Pick<ModelService, "engine" | "stages">[];
  /** Why the models run where they do. */
  deviceReason: string;
  granted: Granted;
  outages: Pick<Outages, "list">;
  log: Logger;
};

/** A worker's place in the registry: told at once, then anew every ten seconds, and given up at the end. */
export class Registration {
  readonly #parts: RegistrationDeps;
  readonly #busy: readonly BusyMeter[];
  readonly #startedAt = new Date().toISOString();
  readonly #timer: NodeJS.Timeout;
  /** The beat under way. An outage of Redis may last: beats that wait for its end must not pile up. */
  #beating: Promise<void> | undefined;
  /** What the beat under way tells is no longer all. */
  #isStale = false;

  constructor(parts: RegistrationDeps) {
    this.#parts = parts;
    this.#busy = parts.services.map(() => new BusyMeter(performance.now()));
    this.beat();
    this.#timer = setInterval(() => this.beat(), BEAT_MS).unref();
  }

  /** Tells of itself out of turn: a Redis that came back may have forgotten. */
  beat(): void {
    this.#isStale = true;
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = undefined;
    });
  }

  /** Settles when the last word was told, or could not be. */
  async told(): Promise<void> {
    await this.#beating;
  }

  /** @param reachable false: Redis is gone, and forgets this worker by itself */
  async end(reachable: boolean): Promise<void> {
    clearInterval(this.#timer);
    if (!reachable) return;
    await this.#beating;
    await this.#parts.registry.leave(this.#parts.id).catch(() => {});
  }

  /** A beat that fails is followed by the next one. */
  async #beat(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false;
      await this.#parts.registry
        .beat(this.#info())
        .catch((error: unknown) => this.#parts.log.debug({ err: error }, "could not register"));
    }
  }

  #info(): WorkerInfo {
    const { id, services, deviceReason, granted, outages } = this.#parts;
    const out = outages.list();
    return {
      v: SCHEMA_VERSION,
      id,
      host: hostname().slice(0, 255),
      pid: process.pid,
      software: SOFTWARE,
      startedAt: this.#startedAt,
      models: services.map((service, at) => served(service, this.#busy[at]!)),
      deviceReason,
      fileRoots: [...granted.fileRoots],
      s3Roots: [...granted.s3Roots],
      ...(granted.outputRoots ? { outputRoots: [...granted.outputRoots] } : {}),
      ...(out.length > 0 ? { outages: out } : {}),
    };
  }
}

function served({ engine, stages }: RegistrationDeps["services"][number], busy: BusyMeter): ServedModel {
  const { model, devices, stats, held, layout } = engine;
  const { id, revision, digest, dtype, task, labels } = model;
  return {
    ...{ id, revision, digest, dtype, task },
    labels: labels.length,
    device: devices.join(", "),
    slots: layout.threads * BATCHES_PER_THREAD,
    itemsPerSecond: stats.busyMs > 0 ? Math.round((stats.items / stats.busyMs) * 10_000) / 10 : null,
    batches: stats.batches,
    items: stats.items,
    held,
    work: workOf(engine, stages, busy),
  };
}

function workOf(engine: Engine, stages: StageTimes, busy: BusyMeter): ModelWork {
  const { stats, layout, budgets, settled, depth } = engine;
  const { batches, items, realCost, paddedCost, inferMs, queuedMs, cuts } = stats;
  return {
    ...layout,
    busy: busy.read(performance.now(), inferMs, layout.threads),
    paddingEfficiency: paddedCost > 0 ? realCost / paddedCost : null,
    meanBatch: batches > 0 ? items / batches : null,
    cuts: { ...cuts },
    budgets: { ...budgets },
    settled,
    depth,
    stages: {
      wait: mean(stages.total("wait")),
      fetch: mean(stages.total("fetch")),
      prepare: mean(stages.total("prepare")),
      queue: mean({ ms: queuedMs, count: items }),
      infer: mean({ ms: inferMs, count: items }),
      write: mean(stages.total("write")),
    },
  };
}

function mean({ ms, count }: { ms: number; count: number }): StageTime {
  return { count, meanMs: count > 0 ? Math.max(0, ms / count) : null };
}
