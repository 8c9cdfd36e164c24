import { LabelmillError } from "../../errors.ts";
import { servedAs } from "../../fleet/registry.ts";
import type { Model } from "../../inference/model/model.ts";
import { CommitSchema } from "../../models/lock-file.ts";
import { DEFAULT_REVISION, HUB_PREFIX, type HubModel, type NamedModel, readName } from "../../models/names.ts";
import { findModel, type ModelSettings, type PullListener, resolveModel } from "../../models/resolve.ts";
import { noWorker } from "../../producers/runs/check-workers.ts";
import { type LabelKind, type RunModel, TASKS } from "../../producers/runs/request.ts";
import type { Dtype } from "../../schemas/dtype.ts";
import type { ModelPin } from "../../schemas/run.ts";
import type { ServedModel, WorkerInfo } from "../../schemas/worker.ts";

/** The model of a run: its pin, the number of its labels, and its files if a worker in this process needs them. */
export type ChosenModel = RunModel & { files?: Model };

/** The registered workers. Undefined if the command has its own worker, which needs the files. */
type Workers = readonly WorkerInfo[] | undefined;

export class ModelChoice {
  readonly #settings: ModelSettings;
  readonly #listener: PullListener;
  readonly #signal: AbortSignal;

  constructor(settings: ModelSettings, listener: PullListener, signal: AbortSignal) {
    this.#settings = settings;
    this.#listener = listener;
    this.#signal = signal;
  }

  /**
   * Finds a model by its name. If workers are given, the model that they serve under this name is taken: a producer does not need
   * the files (hundreds of megabytes) to know a digest. A folder is always read from this machine.
   * @param name default: the catalog's default for this kind
   * @param queueAnyway if no worker serves the model, its files on this machine or the hub decide
   * @throws LabelmillError MODEL_NOT_FOUND, MODEL_INVALID (its files, or another task), NO_WORKER, and what a pull throws
   */
  async choose(
    kind: LabelKind,
    name: string | undefined,
    workers: Workers,
    queueAnyway: boolean,
  ): Promise<ChosenModel> {
    const task = TASKS[kind];
    const wanted = name ?? this.#settings.catalog.defaults[task];
    const chosen = workers ? await this.#fromWorkers(wanted, workers, queueAnyway) : await this.#fromFiles(wanted);
    if (chosen.pin.task === task) return chosen;
    throw new LabelmillError(
      "MODEL_INVALID",
      `label ${kind} needs a model for ${task}; ${chosen.pin.id} is for ${chosen.pin.task}`,
    );
  }

  async #fromFiles(name: string): Promise<ChosenModel> {
    return chosenOf(await resolveModel(name, this.#settings, this.#listener, this.#signal));
  }

  async #fromWorkers(name: string, workers: readonly WorkerInfo[], queueAnyway: boolean): Promise<ChosenModel> {
    const named = await readName(name, this.#settings.catalog).catch((error: unknown) => {
      // Workers may serve a model that this machine does not know.
      if (error instanceof LabelmillError && error.code !== "USAGE" && error.code !== "INTERNAL") return error;
      throw error;
    });
    if (named instanceof LabelmillError)
      return served(name, this.#fitting(servedAs(workers, name))) ?? notServed(workers, named);
    if (named.kind === "folder" && named.id === undefined) return this.#fromFiles(name);
    const found = served(name, this.#fitting(servedAs(workers, named.id!), named));
    if (found) return found;
    const here = await findModel(named, this.#settings);
    if (here) return chosenOf(here);
    if (queueAnyway) return this.#fromFiles(name);
    throw noWorker(workers, { id: name });
  }

  /** The served versions that have the wanted dtype, revision and pin of the catalog. */
  #fitting(versions: readonly ServedModel[], named?: NamedModel): ServedModel[] {
    const { dtype } = this.#settings;
    return versions.filter((version) => {
      if (dtype !== "auto" && version.dtype !== dtype) return false;
      if (named?.kind !== "hub") return true;
      const pinned = named.pins[version.dtype as Dtype];
      if (pinned) return pinned.commit === version.revision;
      // The same rule as for files: if a model is pinned, a dtype without a pin is taken only if --dtype names it.
      const isPinned = Object.keys(named.pins).length > 0;
      return (dtype !== "auto" || !isPinned) && isOf(named, version);
    });
  }
}

function isOf({ name, revision }: HubModel, version: ServedModel): boolean {
  if (CommitSchema.safeParse(revision).success) return version.revision === revision;
  // Only the hub knows the commit of a branch or a tag. For a model of the catalog, the commit that the workers serve is taken.
  if (!name.startsWith(HUB_PREFIX) || revision === DEFAULT_REVISION) return true;
  return (
    /^[0-9a-f]{7,64}$/.test(revision) && [version.revision, version.digest].some((whole) => whole.startsWith(revision))
  );
}

export function pinOf({ id, revision, digest, dtype, task }: ModelPin): ModelPin {
  return { id, revision, digest, dtype, task };
}

function chosenOf(files: Model): ChosenModel {
  return { pin: pinOf(files), labels: files.labels.length, files };
}

function served(name: string, versions: readonly ServedModel[]): ChosenModel | undefined {
  const [found] = versions;
  if (!found) return undefined;
  if (versions.length === 1) return { pin: pinOf(found), labels: found.labels };
  const names = versions.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`).join(", ");
  throw new LabelmillError("MODEL_NOT_FOUND", `workers serve several versions of ${name}: choose one of ${names}`);
}

function notServed(workers: readonly WorkerInfo[], notHere: LabelmillError): never {
  const ids = [...new Set(workers.flatMap(({ models }) => models.map(({ id }) => id)))].sort().join(", ");
  const message = `${notHere.message}; ${ids ? `workers serve ${ids}` : "no worker is registered"}`;
  throw new LabelmillError(notHere.code, message, { cause: notHere });
}
