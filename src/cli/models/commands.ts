import { Command, InvalidArgumentError } from "commander";
import type { ProgramContext } from "../context.ts";
import { MODEL_SETTINGS, REDIS_SETTINGS, withJson, withSettings } from "../options.ts";
import { refuseUnknownCommand } from "../unknown-command.ts";
import { addFolder } from "./add.ts";
import { listModels } from "./list.ts";
import { lockModels } from "./lock.ts";
import { pullModels } from "./pull.ts";

/** `labelmill models`, which lists models, and its sub-commands, which change their files and the catalog. */
export function modelsCommand({ contextOf, signal, exitWith }: ProgramContext): Command {
  const command = withSettings(withJson(new Command("models")), [...new Set([...MODEL_SETTINGS, ...REDIS_SETTINGS])])
    .description("List the models of the catalog and, with REDIS_URL, the models that workers serve.")
    .action(async (options, self: Command) => {
      refuseUnknownCommand(self, self);
      exitWith(await listModels(await contextOf(options)));
    });
  command.addCommand(
    withSettings(withJson(new Command("pull")), MODEL_SETTINGS)
      .description("Download models from the hub (HF_ENDPOINT, HF_TOKEN), in the version that it has now.")
      .argument("<model...>", "ids of the catalog, or hf:OWNER/NAME@REVISION")
      .addHelpText(
        "after",
        "\nExamples:\n  labelmill models pull distilbert-sst2 --dtype q8\n  labelmill models pull hf:Xenova/resnet-50",
      )
      .action(async (names: string[], options) => exitWith(await pullModels(names, await contextOf(options), signal))),
  );
  command.addCommand(
    withSettings(withJson(new Command("lock")), MODEL_SETTINGS)
      .description("Pin pulled models in your catalog by commit and SHA-256. Other versions are refused from then on.")
      .argument(
        "[model...]",
        "ids of the catalog, or hf:OWNER/NAME@REVISION (default: all pulled models of the catalog)",
      )
      .action(async (names: string[], options) => exitWith(await lockModels(names, await contextOf(options)))),
  );
  command.addCommand(
    withSettings(
      withJson(new Command("add").requiredOption("--id <id>", "id of the model in your catalog", modelId)),
      MODEL_SETTINGS,
    )
      .description("Check the folder of a model, run the model once, and add it to your catalog with its hashes.")
      .argument("<folder>", "a folder in the Hugging Face layout, or the result of Optimum's ONNX export")
      .addHelpText("after", "\nExample:\n  labelmill models add siebert-onnx --id siebert-sentiment")
      .action(async (dir: string, options) => exitWith(await addFolder(dir, options.id, await contextOf(options)))),
  );
  return command;
}

function modelId(value: string): string {
  if (/^[A-Za-z0-9][\w.-]{0,63}$/.test(value)) return value;
  throw new InvalidArgumentError("Expected letters, digits, `_`, `.` and `-`, at most 64.");
}
