import { hostname } from "node:os";
import type { Granted } from "../../fetch/output-grants.ts";
import { BEAT_MS, EXPIRY_MS, type WorkerRegistry } from "../../fleet/registry.ts";
import type { Engine } from "../../inference/engine.ts";
import { BATCHES_PER_THREAD } from "../../inference/sessions/session-pool.ts";
import type { Logger } from "../../logger.ts";
import { SCHEMA_VERSION, SERVED_JOB_VERSIONS } from "../../schemas/names.ts";
import type { ModelWork, ServedModel, StageTime, WorkerInfo } from "../../schemas/worker.ts";
import { SOFTWARE } from "../../software.ts";
import type { Outages } from "../../storage/health/outages.ts";
import type { Counts } from "../deliver/delivery-counts.ts";
import type { ModelService } from "../model-service.ts";
import { BusyMeter } from "./busy-meter.ts";
import type { StageTimes } from "./stage-times.ts";

export type RegistrationDeps = {
  id: string;
  registry: WorkerRegistry;
  services: readonly Pick<ModelService, "engine" | "stages">[];
  /** Why the models run on these devices. */
  deviceReason: string;
  granted: Granted;
  outages: Pick<Outages, "list">;
  deliveries: Pick<Counts, "current">;
  log: Logger;
};

/** Registers a worker in the fleet's registry: at once, then every ten seconds. Removes it at the end. */
export class Registration {
  readonly #deps: RegistrationDeps;
  readonly #busy: readonly BusyMeter[];
  readonly #startedAt = new Date().toISOString();
  readonly #timer: NodeJS.Timeout;
  /** The running beat. Only one runs at a time, so that beats do not pile up in an outage of Redis. */
  #beating: Promise<void> | undefined;
  /** When Redis last had the entry of this worker. */
  #registeredAt = Number.NEGATIVE_INFINITY;
  /** Another beat was requested while one was running. */
  #isStale = false;

  constructor(deps: RegistrationDeps) {
    this.#deps = deps;
    this.#busy = deps.services.map(() => new BusyMeter(performance.now()));
    this.beat();
    this.#timer = setInterval(() => this.beat(), BEAT_MS).unref();
  }

  /** Registers now, for example because a restarted Redis may have lost the entry. */
  beat(): void {
    this.#isStale = true;
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = undefined;
    });
  }

  /** Whether Redis has the entry of this worker, as far as known: producers find it. */
  get isRegistered(): boolean {
    return performance.now() - this.#registeredAt < EXPIRY_MS;
  }

  /** Settles when the running beat was sent or has failed. */
  async sent(): Promise<void> {
    await this.#beating;
  }

  /** @param reachable false: Redis is not reachable; its entry of this worker expires */
  async end(reachable: boolean): Promise<void> {
    clearInterval(this.#timer);
    this.#registeredAt = Number.NEGATIVE_INFINITY;
    if (!reachable) return;
    await this.#beating;
    await this.#deps.registry.leave(this.#deps.id).catch(() => {});
  }

  /** A failed beat is not repeated: the next one follows within ten seconds. */
  async #beat(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false;
      const sentAt = performance.now();
      try {
        await this.#deps.registry.beat(this.#info());
        this.#registeredAt = sentAt;
      } catch (error) {
        this.#deps.log.debug({ err: error }, "could not register");
      }
    }
  }

  #info(): WorkerInfo {
    const { id, services, deviceReason, granted, outages, deliveries } = this.#deps;
    const out = outages.list();
    const delivered = deliveries.current;
    return {
      v: SCHEMA_VERSION,
      id,
      host: hostname().slice(0, 255),
      pid: process.pid,
      software: SOFTWARE,
      startedAt: this.#startedAt,
      models: services.map((service, at) => served(service, this.#busy[at]!)),
      deviceReason,
      jobVersions: [...SERVED_JOB_VERSIONS],
      fileRoots: [...granted.fileRoots],
      s3Roots: [...granted.s3Roots],
      ...(granted.outputRoots ? { outputRoots: [...granted.outputRoots] } : {}),
      ...(delivered ? { deliveries: delivered } : {}),
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
