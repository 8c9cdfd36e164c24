import { toLabelmillError } from "../errors.ts";
import { builtInModels, loadModel } from "../inference/model.ts";
import type { ModelPin } from "../schemas/run.ts";
import type { WorkerInfo } from "../schemas/worker.ts";
import { EXIT, type LabelWorld } from "./label.ts";
import { BUILT_IN_DIR, pinOf } from "./model-choice.ts";
import { readWorkers } from "./remote.ts";
import type { Terminal } from "./terminal.ts";

/** A version of a model. `labels`: how many. `servedBy`: workers, null where none were asked. */
type Listed = ModelPin & { labels: number; builtIn: boolean; servedBy: number | null };
/** A folder among the built-in ones that is no model. */
type Damaged = { id: string; error: { code: string; message: string } };

/**
 * `labelmill models`: the built-in models, and, with REDIS_URL, those that workers serve.
 * @returns the exit code: 1 where a built-in model is damaged
 */
export async function listModels({ config, terminal }: LabelWorld, builtInDir = BUILT_IN_DIR): Promise<number> {
  const workers = config.redisUrl ? await readWorkers({ url: config.redisUrl }) : undefined;
  const { here, damaged } = await readBuiltIn(builtInDir);
  const models = [...here, ...elsewhere(here, workers ?? [])].map((model) => ({
    ...model,
    servedBy: workers ? workers.filter((worker) => serves(worker, model)).length : null,
  }));
  if (terminal.json) terminal.printJson({ models, damaged });
  else show(models, damaged, terminal);
  return damaged.length === 0 ? EXIT.labeled : EXIT.failed;
}

async function readBuiltIn(dir: string): Promise<{ here: Omit<Listed, "servedBy">[]; damaged: Damaged[] }> {
  const here: Omit<Listed, "servedBy">[] = [];
  const damaged: Damaged[] = [];
  for (const id of await builtInModels(dir)) {
    try {
      const model = await loadModel(id, dir);
      here.push({ ...pinOf(model), labels: model.labels.length, builtIn: true });
    } catch (error) {
      const { code, message } = toLabelmillError(error);
      damaged.push({ id, error: { code, message } });
    }
  }
  return { here, damaged };
}

/** What workers serve and is not here, each version once. */
function elsewhere(here: readonly ModelPin[], workers: readonly WorkerInfo[]): Omit<Listed, "servedBy">[] {
  const served = workers.flatMap(({ models }) => models).filter((model) => !here.some((each) => isSame(each, model)));
  const unique = new Map(served.map((model) => [`${model.id}@${model.digest}`, model]));
  return [...unique.values()].map((model) => ({ ...pinOf(model), labels: model.labels, builtIn: false }));
}

function serves({ models }: WorkerInfo, model: ModelPin): boolean {
  return models.some((each) => isSame(each, model));
}

function isSame(a: ModelPin, b: ModelPin): boolean {
  return a.id === b.id && a.digest === b.digest;
}

function show(models: readonly Listed[], damaged: readonly Damaged[], terminal: Terminal): void {
  if (models.length + damaged.length === 0) terminal.print("No models");
  const width = Math.max(0, ...models.map(({ id }) => id.length));
  for (const { id, digest, task, dtype, labels, revision, builtIn, servedBy } of models) {
    const name = `${terminal.style("bold", id)}${" ".repeat(width - id.length)}@${digest.slice(0, 8)}`;
    const where = [builtIn ? "built in" : "", servedBy === null ? "" : servedBySome(servedBy)]
      .filter(Boolean)
      .join(", ");
    terminal.print(`${name}  ${task}  ${dtype}  ${labels} labels  revision ${revision}  ${where}`);
  }
  for (const { id, error } of damaged) terminal.print(terminal.style("red", `${id}  ${error.code}: ${error.message}`));
}

function servedBySome(count: number): string {
  if (count === 0) return "no worker serves it";
  return count === 1 ? "served by 1 worker" : `served by ${count} workers`;
}
