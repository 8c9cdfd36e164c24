import { LabelmillError } from "../errors.ts";
import { DTYPES, type Dtype } from "../schemas/dtype.ts";
import type { FileEntry } from "./catalog.ts";
import { putEntries } from "./catalog-file.ts";
import { findPulled } from "./hub/pull.ts";
import type { Pins } from "./lock-file.ts";
import { type HubModel, readName } from "./names.ts";
import { loadPulled, type ModelSettings, sourceOf } from "./resolve.ts";

/** A model that was pinned, and its commit. */
export type Pinned = { name: string; dtype: Dtype; commit: string; files: number };

/**
 * Pins pulled models in a catalog: for each dtype, the commit and the SHA-256 of its files.
 * @param names ids of the catalog, or `hf:` names. If empty: all pulled models of the catalog
 * @param file the user's catalog
 * @throws LabelmillError MODEL_NOT_FOUND for a model that is not pulled, USAGE for a folder, MODEL_HASH for changed files
 */
export async function pinPulled(names: readonly string[], settings: ModelSettings, file: string): Promise<Pinned[]> {
  const { catalog } = settings;
  const hubIds = [...catalog.entries.values()].flatMap(({ id, repo }) => (repo === undefined ? [] : [id]));
  const entries: FileEntry[] = [];
  for (const name of names.length > 0 ? new Set(names) : hubIds) {
    const model = await readName(name, catalog);
    if (model.kind === "folder")
      throw new LabelmillError(
        "USAGE",
        `${name} is the folder ${model.dir}: \`labelmill models add ${model.dir} --id ID\` pins its files`,
      );
    const entry = await pinnedEntry(model, settings);
    if (entry) entries.push(entry);
    else if (names.length > 0) throw notPulled(name);
  }
  if (entries.length === 0) throw notPulled("a model of the catalog");
  await putEntries(file, entries);
  return entries.flatMap(({ id, pins }) =>
    DTYPES.flatMap((dtype) => {
      const pinned = pins?.[dtype] as Pins | undefined;
      return pinned ? [{ name: id, dtype, commit: pinned.commit, files: pinned.files.length }] : [];
    }),
  );
}

async function pinnedEntry(model: HubModel, settings: ModelSettings): Promise<FileEntry | undefined> {
  const pins: HubModel["pins"] = { ...model.pins };
  let { task } = model;
  let isHere = false;
  for (const dtype of DTYPES) {
    const pulled = await findPulled(sourceOf(model, dtype), settings.modelsDir, model.pins[dtype]);
    if (!pulled) continue;
    isHere = true;
    ({ task } = await loadPulled(model, pulled, settings));
    pins[dtype] = { commit: pulled.lock.commit, files: pulled.lock.files };
  }
  if (!isHere) return undefined;
  const about = settings.catalog.entries.get(model.name)?.about;
  const { name: id, repo, revision } = model;
  return { id, task: task!, repo, revision, ...(about === undefined ? {} : { about }), pins };
}

function notPulled(what: string): LabelmillError {
  return new LabelmillError(
    "MODEL_NOT_FOUND",
    `expected ${what} on this machine, to pin its files: \`labelmill models pull ID\` downloads one`,
  );
}
