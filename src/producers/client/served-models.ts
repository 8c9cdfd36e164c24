import type { Redis } from "ioredis";
import { LabelmillError } from "../../errors.ts";
import { isCurrent, servedAs, WorkerRegistry } from "../../fleet/registry.ts";
import { JOB_VERSION } from "../../schemas/names.ts";
import type { ModelPin } from "../../schemas/run.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";

/** How long an answer is reused. Workers register every 10 s: a lookup per submission would only cost round trips. */
const REUSED_MS = 2_000;

/** A model that the server declares: items can be submitted to it while no worker serves it. */
export type DeclaredModel = {
  name: string;
  pin: ModelPin;
  /** The number of its labels. */
  labels: number;
  labelNames?: readonly string[];
};

/** The models that are declared, or that workers serve, by name. */
export class ServedModels {
  readonly #registry: WorkerRegistry;
  readonly #declared: readonly DeclaredModel[];
  #last: { at: number; workers: Promise<readonly WorkerInfo[]> } | undefined;

  constructor(redis: Redis, declared: readonly DeclaredModel[] = []) {
    this.#registry = new WorkerRegistry(redis);
    this.#declared = declared;
  }

  /**
   * @returns the declared version of the model, else the served one, and its number of labels
   * @throws LabelmillError NO_WORKER if workers serve no version, or several
   */
  async find(name: string): Promise<{ pin: ModelPin; labels: number }> {
    const declared = this.#declared.find((model) => isNamed(model, name));
    if (declared) return declared;
    const workers = await this.#workers();
    const versions = servedAs(workers.filter(isCurrent), name);
    const [found] = versions;
    if (found && versions.length === 1) {
      const { id, revision, digest, dtype, task, labels } = found;
      return { pin: { id, revision, digest, dtype, task }, labels };
    }
    // A worker may be about to register: the next submission looks again.
    this.#last = undefined;
    const several = versions.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`).join(", ");
    if (found)
      throw new LabelmillError("NO_WORKER", `workers serve several versions of ${name}: choose one of ${several}`);
    const isOutdated = servedAs(workers, name).length > 0;
    throw new LabelmillError(
      "NO_WORKER",
      isOutdated
        ? `only older workers serve ${name}, and they take no jobs of version ${JOB_VERSION}: update labelmill where they run`
        : `no worker serves ${name}: start one (labelmill worker --models ${name})`,
    );
  }

  /** Concurrent callers share one lookup. A failed lookup is not reused. */
  async #workers(): Promise<readonly WorkerInfo[]> {
    if (!this.#last || performance.now() - this.#last.at > REUSED_MS)
      this.#last = { at: performance.now(), workers: this.#registry.workers() };
    try {
      return await this.#last.workers;
    } catch (error) {
      this.#last = undefined;
      throw error;
    }
  }
}

/** Whether a declared model has this name, which may be its id, or the id with the start of its digest: `id@digest`. */
function isNamed({ name: own, pin }: DeclaredModel, name: string): boolean {
  const [id, digest = ""] = name.split("@");
  return name === own || (id === pin.id && pin.digest.startsWith(digest));
}
