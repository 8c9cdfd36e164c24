import { hostname } from "node:os";
import { BEAT_MS, type WorkerRegistry } from "../fleet/registry.ts";
import type { Engine } from "../inference/engine.ts";
import { BATCHES_PER_THREAD } from "../inference/session-pool.ts";
import type { Logger } from "../logger.ts";
import { SCHEMA_VERSION } from "../schemas/names.ts";
import type { ServedModel, WorkerInfo } from "../schemas/worker.ts";
import { SOFTWARE } from "../software.ts";

export type RegistrationParts = {
  id: string;
  registry: WorkerRegistry;
  engines: readonly Engine[];
  threads: number;
  fileRoots: readonly string[];
  s3Roots: readonly string[];
  log: Logger;
};

/** A worker's place in the registry: told at once, then anew every ten seconds, and given up at the end. */
export class Registration {
  readonly #parts: RegistrationParts;
  readonly #startedAt = new Date().toISOString();
  readonly #timer: NodeJS.Timeout;
  #beating: Promise<void>;

  constructor(parts: RegistrationParts) {
    this.#parts = parts;
    this.#beating = this.#beat();
    this.#timer = setInterval(() => this.beat(), BEAT_MS).unref();
  }

  /** Tells of itself out of turn: a Redis that came back may have forgotten. */
  beat(): void {
    this.#beating = this.#beat();
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
    await this.#parts.registry
      .beat(this.#info())
      .catch((error: unknown) => this.#parts.log.debug({ err: error }, "could not register"));
  }

  #info(): WorkerInfo {
    const { id, engines, threads, fileRoots, s3Roots } = this.#parts;
    return {
      v: SCHEMA_VERSION,
      id,
      host: hostname().slice(0, 255),
      pid: process.pid,
      software: SOFTWARE,
      startedAt: this.#startedAt,
      models: engines.map((engine) => served(engine, threads)),
      fileRoots: [...fileRoots],
      s3Roots: [...s3Roots],
    };
  }
}

function served({ model, stats, held }: Engine, threads: number): ServedModel {
  const { id, revision, digest, dtype, task, labels } = model;
  return {
    ...{ id, revision, digest, dtype, task },
    labels: labels.length,
    device: "cpu",
    slots: threads * BATCHES_PER_THREAD,
    itemsPerSecond: stats.busyMs > 0 ? Math.round((stats.items / stats.busyMs) * 10_000) / 10 : null,
    batches: stats.batches,
    items: stats.items,
    held,
  };
}
