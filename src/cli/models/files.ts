import type { Model } from "../../inference/model/model.ts";
import { addModel } from "../../models/add.ts";
import { pinPulled } from "../../models/pin.ts";
import { pullAnew } from "../../models/resolve.ts";
import type { LabelWorld } from "../context.ts";
import { EXIT } from "../exit.ts";
import { showPath } from "../terminal/report.ts";
import { PullBar } from "./pull-bar.ts";
import { openModels } from "./settings.ts";

/** `labelmill models pull`: what the hub has of a model now. */
export async function pullModels(
  names: readonly string[],
  { config, terminal, interrupts }: LabelWorld,
  signal: AbortSignal,
): Promise<number> {
  interrupts?.handle({ tell: () => "stopping: what is downloaded is kept, and the same command goes on" });
  const settings = await openModels(config);
  const pulled: ReturnType<typeof filesOf>[] = [];
  for (const name of names) {
    const model = await pullAnew(name, settings, new PullBar(terminal), signal);
    pulled.push(filesOf(model));
    terminal.print(`${model.id}@${model.digest.slice(0, 8)}  ${model.dtype}  commit ${model.revision}`);
  }
  if (terminal.json) terminal.printJson({ pulled });
  return EXIT.labeled;
}

/** `labelmill models lock`: pins in the user's catalog what is pulled. */
export async function lockModels(names: readonly string[], { config, terminal }: LabelWorld): Promise<number> {
  const pinned = await pinPulled(names, await openModels(config, { makesCatalog: true }), config.catalog);
  for (const { name, dtype, commit, files } of pinned)
    terminal.print(`${name}  ${dtype}  pinned to commit ${commit}, ${files} files`);
  terminal.print(`Written to ${showPath(config.catalog)}`);
  if (terminal.json) terminal.printJson({ catalog: config.catalog, pinned });
  return EXIT.labeled;
}

/** `labelmill models add`: gives a folder a name, if all of it is right. */
export async function addFolder(dir: string, id: string, { config, terminal }: LabelWorld): Promise<number> {
  // One that does not parse is told before a trial of minutes.
  await openModels(config, { makesCatalog: true });
  const models = await addModel({ dir, id, file: config.catalog });
  for (const { task, dtype, labels, digest } of models)
    terminal.print(`${id}@${digest.slice(0, 8)}  ${task}  ${dtype}  ${labels.length} labels: ran`);
  terminal.print(`Written to ${showPath(config.catalog)}`);
  if (terminal.json) terminal.printJson({ catalog: config.catalog, added: models.map(filesOf) });
  return EXIT.labeled;
}

function filesOf({ id, task, revision, dtype, digest, dir, files }: Model) {
  return { id, task, revision, dtype, digest, dir, files };
}
