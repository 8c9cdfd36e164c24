import { addModel } from "../../models/add.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit.ts";
import { showPath } from "../terminal/report.ts";
import { openModels } from "./open-models.ts";
import { filesOf } from "./pull.ts";

/** `labelmill models add`: checks the folder of a model and adds it to the catalog of the user. */
export async function addFolder(dir: string, id: string, { config, terminal }: CommandContext): Promise<number> {
  // Reports a catalog that does not parse before a check that takes minutes.
  await openModels(config, { makesCatalog: true });
  const models = await addModel({ dir, id, file: config.catalog });
  for (const { task, dtype, labels, digest } of models)
    terminal.print(`${id}@${digest.slice(0, 8)}  ${task}  ${dtype}  ${labels.length} labels: ran`);
  terminal.print(`Written to ${showPath(config.catalog)}`);
  if (terminal.json) terminal.printJson({ catalog: config.catalog, added: models.map(filesOf) });
  return EXIT.ok;
}
