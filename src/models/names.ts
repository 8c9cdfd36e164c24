import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { LabelmillError } from "../errors.ts";
import type { Dtype } from "../schemas/dtype.ts";
import type { Task } from "../schemas/task.ts";
import { builtInNames, type Catalog, type CatalogEntry } from "./catalog.ts";
import { type Pins, RepoSchema, RevisionSchema } from "./lock-file.ts";

/** A model on the hub. `name`: its name in the catalog, or `hf:OWNER/NAME@REVISION`. */
export type HubModel = {
  kind: "hub";
  name: string;
  /** Its id in runs and workers: `name` without the revision. */
  id: string;
  repo: string;
  revision: string;
  pins: Partial<Record<Dtype, Pins>>;
  /** What the catalog says that it is for. */
  task?: Task;
};

/** A model in a folder. `pins`: its files as the catalog pins them. */
export type FolderModel = {
  kind: "folder";
  name: string;
  id?: string;
  dir: string;
  pins?: Partial<Record<Dtype, Pick<Pins, "files">>>;
  task?: Task;
  builtIn: boolean;
};

export type NamedModel = HubModel | FolderModel;

export const DEFAULT_REVISION = "main";
/** The prefix of a repository of the hub that needs no catalog entry. */
export const HUB_PREFIX = "hf:";

/**
 * Finds the model of a name: an id of the catalog, `hf:OWNER/NAME@REVISION`, or a folder.
 * @throws LabelmillError MODEL_NOT_FOUND with the known names, USAGE for an invalid `hf:` name, MODEL_INVALID for a model that
 * must be exported first
 */
export async function readName(name: string, catalog: Catalog): Promise<NamedModel> {
  if (name.startsWith(HUB_PREFIX)) return readHubName(name, catalog);
  const entry = catalog.entries.get(name);
  if (entry) return ofEntry(entry);
  const dir = resolve(name);
  if (await stat(dir).catch(() => undefined)) return { kind: "folder", name, dir, builtIn: false };
  throw new LabelmillError(
    "MODEL_NOT_FOUND",
    `expected a model, got ${JSON.stringify(name)}: name one of the catalog (${[...catalog.entries.keys()].join(", ")}), hf:OWNER/NAME, or a model's folder`,
  );
}

/** @throws LabelmillError MODEL_INVALID for a model that must be exported first */
export function ofEntry(entry: CatalogEntry): NamedModel {
  const { id, task, repo, revision = DEFAULT_REVISION, folder, pins, builtIn } = entry;
  if (folder !== undefined)
    return { kind: "folder", name: id, id, dir: folder, task, builtIn, ...(pins ? { pins } : {}) };
  // The schema requires a commit for the pins of a repository.
  if (repo !== undefined)
    return { kind: "hub", name: id, id: idOf(id), repo, revision, pins: (pins ?? {}) as HubModel["pins"], task };
  throw new LabelmillError(
    "MODEL_INVALID",
    `${id} is published without ONNX and must be exported once: \`${exportCommand(entry.export!, task)}\`, then \`labelmill models add DIR --id ${id}\``,
  );
}

/** The command of Hugging Face Optimum that writes the model's folder. Its tasks have the same names as ours. */
export function exportCommand(repo: string, task: Task): string {
  return `optimum-cli export onnx --model ${repo} --task ${task} DIR`;
}

/** The error for a model that is not on this machine and may not be pulled. */
export function notHere(name: string, catalog: Catalog): LabelmillError {
  return new LabelmillError(
    "MODEL_NOT_FOUND",
    `${name} is not on this machine, and labelmill is offline: ${otherwise(name, catalog)}`,
  );
}

export function otherwise(name: string, catalog: Catalog): string {
  return `pull it where the hub can be reached (\`labelmill models pull ${name}\`), or name a built-in model (${builtInNames(catalog)})`;
}

function readHubName(name: string, catalog: Catalog): NamedModel {
  const [repo = "", revision = DEFAULT_REVISION, ...more] = name.slice(HUB_PREFIX.length).split("@");
  if (more.length > 0 || !RepoSchema.safeParse(repo).success || !RevisionSchema.safeParse(revision).success)
    throw new LabelmillError("USAGE", `expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION, got ${JSON.stringify(name)}`);
  const full = `${HUB_PREFIX}${repo}@${revision}`;
  const entry = catalog.entries.get(full);
  if (entry) return ofEntry(entry);
  return { kind: "hub", name: full, id: idOf(full), repo, revision, pins: {} };
}

function idOf(name: string): string {
  return name.startsWith(HUB_PREFIX) ? name.split("@")[0]! : name;
}
