import type { Model } from "../../inference/model/model.ts";
import { pullAgain } from "../../models/resolve.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit.ts";
import { openModels } from "./open-models.ts";
import { PullBar } from "./pull-bar.ts";

/** `labelmill models pull`: downloads the version of each model that the hub has now. */
export async function pullModels(
  names: readonly string[],
  { config, terminal, interrupts }: CommandContext,
  signal: AbortSignal,
): Promise<number> {
  interrupts?.handle({ describe: () => "stopping: downloaded data is kept, and the same command continues" });
  const settings = await openModels(config);
  const pulled: ReturnType<typeof filesOf>[] = [];
  for (const name of names) {
    const model = await pullAgain(name, settings, new PullBar(terminal), signal);
    pulled.push(filesOf(model));
    terminal.print(`${model.id}@${model.digest.slice(0, 8)}  ${model.dtype}  commit ${model.revision}`);
  }
  if (terminal.json) terminal.printJson({ pulled });
  return EXIT.ok;
}

/** What --json prints of a model. */
export function filesOf({ id, task, revision, dtype, digest, dir, files }: Model) {
  return { id, task, revision, dtype, digest, dir, files };
}
