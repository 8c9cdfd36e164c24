import { pinPulled } from "../../models/pin.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit.ts";
import { showPath } from "../terminal/report.ts";
import { openModels } from "./open-models.ts";

/** `labelmill models lock`: pins pulled models in the catalog of the user. */
export async function lockModels(names: readonly string[], { config, terminal }: CommandContext): Promise<number> {
  const pinned = await pinPulled(names, await openModels(config, { makesCatalog: true }), config.catalog);
  for (const { name, dtype, commit, files } of pinned)
    terminal.print(`${name}  ${dtype}  pinned to commit ${commit}, ${files} files`);
  terminal.print(`Written to ${showPath(config.catalog)}`);
  if (terminal.json) terminal.printJson({ catalog: config.catalog, pinned });
  return EXIT.ok;
}
