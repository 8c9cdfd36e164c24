import type { Redis } from "ioredis";
import { LabelmillError } from "../../errors.ts";
import { servedAs, WorkerRegistry } from "../../fleet/registry.ts";
import type { ModelPin } from "../../schemas/run.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";

/** Workers tell of themselves every ten seconds: asking for each submission would only cost round trips. */
const HELD_MS = 2_000;

/** The models that workers serve, by their names. */
export class ServedModels {
  readonly #registry: WorkerRegistry;
  #held: { at: number; workers: Promise<readonly WorkerInfo[]> } | undefined;

  constructor(redis: Redis) {
    this.#registry = new WorkerRegistry(redis);
  }

  /** @returns the one version that is served, and how many labels it has. @throws LabelmillError NO_WORKER for none or several */
  async find(name: string): Promise<{ pin: ModelPin; labels: number }> {
    const versions = servedAs(await this.#workers(), name);
    const [found] = versions;
    if (found && versions.length === 1) {
      const { id, revision, digest, dtype, task, labels } = found;
      return { pin: { id, revision, digest, dtype, task }, labels };
    }
    // Somebody may just be coming.
    this.#held = undefined;
    const several = versions.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`).join(", ");
    throw new LabelmillError(
      "NO_WORKER",
      found
        ? `workers serve several versions of ${name}: name one of ${several}`
        : `nobody serves ${name}: start one (labelmill worker --models ${name})`,
    );
  }

  /** The answer is shared while it is still awaited: many may ask at once. One that failed is not held. */
  async #workers(): Promise<readonly WorkerInfo[]> {
    if (!this.#held || performance.now() - this.#held.at > HELD_MS)
      this.#held = { at: performance.now(), workers: this.#registry.workers() };
    try {
      return await this.#held.workers;
    } catch (error) {
      this.#held = undefined;
      throw error;
    }
  }
}
