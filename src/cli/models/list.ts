import { toLabelmillError } from "../../errors.ts";
import type { Model } from "../../inference/model/model.ts";
import type { CatalogEntry } from "../../models/catalog.ts";
import { exportCommand, ofEntry } from "../../models/names.ts";
import { findModel, type ModelSettings } from "../../models/resolve.ts";
import { readWorkers } from "../../producers/runs/check-workers.ts";
import { DTYPES } from "../../schemas/dtype.ts";
import type { ModelPin } from "../../schemas/run.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit.ts";
import { pinOf } from "../label/model-choice.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { openModels } from "./open-models.ts";

type Place = "built in" | "folder" | "pulled" | "elsewhere";
/** A version of a model. `labels`: their number. `servedBy`: the number of workers, null without REDIS_URL. */
type Listed = ModelPin & { labels: number; where: Place; pinned: boolean; servedBy: number | null };
/** A model of the catalog that has no files on this machine, and the command that gets them. */
type Absent = { id: string; task: string; about: string | null; get: string };
/** A model of the catalog with wrong files. */
type Damaged = { id: string; error: { code: string; message: string } };

/**
 * `labelmill models`: lists the models of the catalog, with their files on this machine, and, with REDIS_URL, the models that workers
 * serve.
 * @returns the exit code: 1 if a model is damaged
 */
export async function listModels({ config, terminal }: CommandContext): Promise<number> {
  const settings = await openModels(config);
  const workers = config.redisUrl ? await readWorkers({ url: config.redisUrl }) : undefined;
  const here: Omit<Listed, "servedBy">[] = [];
  const absent: Absent[] = [];
  const damaged: Damaged[] = [];
  for (const entry of settings.catalog.entries.values()) {
    try {
      const found = await versionsOf(entry, settings);
      here.push(...found);
      if (found.length === 0) absent.push(absentOf(entry));
    } catch (error) {
      const { code, message } = toLabelmillError(error);
      damaged.push({ id: entry.id, error: { code, message } });
    }
  }
  const models = [...here, ...elsewhere(here, workers ?? [])].map((model) => ({
    ...model,
    servedBy: workers ? workers.filter((worker) => serves(worker, model)).length : null,
  }));
  if (terminal.json) terminal.printJson({ models, absent, damaged });
  else show({ models, absent, damaged }, terminal);
  return damaged.length === 0 ? EXIT.ok : EXIT.failed;
}

/** The versions of a model on this machine: each pulled dtype, or the folder. */
async function versionsOf(entry: CatalogEntry, settings: ModelSettings): Promise<Omit<Listed, "servedBy">[]> {
  if (entry.export !== undefined) return [];
  const named = ofEntry(entry);
  if (named.kind === "folder") {
    const model = await findModel(named, settings);
    return model ? [listed(model, named.builtIn ? "built in" : "folder", named.pins !== undefined)] : [];
  }
  const versions: Omit<Listed, "servedBy">[] = [];
  for (const dtype of DTYPES) {
    const model = await findModel(named, { ...settings, dtype });
    if (model) versions.push(listed(model, "pulled", named.pins[dtype] !== undefined));
  }
  return versions;
}

function listed(model: Model, where: Place, pinned: boolean): Omit<Listed, "servedBy"> {
  return { ...pinOf(model), labels: model.labels.length, where, pinned };
}

function absentOf({ id, task, about, export: exported }: CatalogEntry): Absent {
  const get =
    exported === undefined
      ? `labelmill models pull ${id}`
      : `${exportCommand(exported, task)} && labelmill models add DIR --id ${id}`;
  return { id, task, about: about ?? null, get };
}

/** The versions that workers serve and that are not on this machine, each once. */
function elsewhere(here: readonly ModelPin[], workers: readonly WorkerInfo[]): Omit<Listed, "servedBy">[] {
  const served = workers.flatMap(({ models }) => models).filter((model) => !here.some((each) => isSame(each, model)));
  const unique = new Map(served.map((model) => [`${model.id}@${model.digest}`, model]));
  return [...unique.values()].map((model) => ({
    ...pinOf(model),
    labels: model.labels,
    where: "elsewhere",
    pinned: false,
  }));
}

function serves({ models }: WorkerInfo, model: ModelPin): boolean {
  return models.some((each) => isSame(each, model));
}

function isSame(a: ModelPin, b: ModelPin): boolean {
  return a.id === b.id && a.digest === b.digest;
}

type Shown = { models: readonly Listed[]; absent: readonly Absent[]; damaged: readonly Damaged[] };

function show({ models, absent, damaged }: Shown, terminal: Terminal): void {
  const width = Math.max(0, ...[...models, ...absent].map(({ id }) => id.length));
  const name = (id: string) => `${terminal.style("bold", id)}${" ".repeat(width - id.length)}`;
  for (const { id, digest, task, dtype, labels, revision, where, pinned, servedBy } of models) {
    const places = [where === "elsewhere" ? "" : where, pinned ? "pinned" : "", servedBySome(servedBy)];
    const version = revision === "local" ? "" : `  commit ${revision.slice(0, 8)}`;
    terminal.print(
      `${name(id)}@${digest.slice(0, 8)}  ${task}  ${dtype}  ${labels} labels${version}  ${places.filter(Boolean).join(", ")}`,
    );
  }
  for (const { id, task, about, get } of absent)
    terminal.print(`${name(id)}  ${task}  not here: ${get}${about === null ? "" : `  (${about})`}`);
  for (const { id, error } of damaged) terminal.print(terminal.style("red", `${id}  ${error.code}: ${error.message}`));
}

function servedBySome(count: number | null): string {
  if (count === null) return "";
  if (count === 0) return "no worker serves it";
  return count === 1 ? "served by 1 worker" : `served by ${count} workers`;
}
