import { Command, InvalidArgumentError } from "commander";
import type { CommandContext } from "../context.ts";
import { MODEL_SETTINGS, REDIS_SETTINGS, withSettings } from "../options.ts";
import { refuseUnknownCommand } from "../unknown-command.ts";
import { addFolder, lockModels, pullModels } from "./files.ts";
import { listModels } from "./list.ts";

/** `labelmill models`, which lists them, and what is done with their files. */
export function modelsCommand({ world, signal, done }: CommandContext): Command {
  const json = (command: Command) => command.option("--json", "print one JSON value");
  const command = json(withSettings(new Command("models"), [...new Set([...MODEL_SETTINGS, ...REDIS_SETTINGS])]))
    .description("List the models of the catalog, and, with REDIS_URL, those that workers serve.")
    .action(async (options, self: Command) => {
      refuseUnknownCommand(self, self);
      done(await listModels(await world(options)));
    });
  command.addCommand(
    json(withSettings(new Command("pull"), MODEL_SETTINGS))
      .description("Download models from the hub (HF_ENDPOINT, HF_TOKEN), as it has them now.")
      .argument("<model...>", "ids of the catalog, or hf:OWNER/NAME@REVISION")
      .addHelpText(
        "after",
        "\nExamples:\n  labelmill models pull distilbert-sst2 --dtype q8\n  labelmill models pull hf:Xenova/resnet-50",
      )
      .action(async (names: string[], options) => done(await pullModels(names, await world(options), signal))),
  );
  command.addCommand(
    json(withSettings(new Command("lock"), MODEL_SETTINGS))
      .description("Pin in your catalog what is pulled: commit and SHA-256. Nothing else is taken from then on.")
      .argument(
        "[model...]",
        "ids of the catalog, or hf:OWNER/NAME@REVISION (default: all of the catalog that are pulled)",
      )
      .action(async (names: string[], options) => done(await lockModels(names, await world(options)))),
  );
  command.addCommand(
    json(withSettings(new Command("add"), MODEL_SETTINGS))
      .description("Check a model's folder, run it once, and give it a name in your catalog, with its files' hashes.")
      .argument("<folder>", "in the Hugging Face layout, or as Optimum's ONNX export leaves it")
      .requiredOption("--id <id>", "what to call it", modelId)
      .addHelpText("after", "\nExample:\n  labelmill models add siebert-onnx --id siebert-sentiment")
      .action(async (dir: string, options) => done(await addFolder(dir, options.id, await world(options)))),
  );
  return command;
}

function modelId(value: string): string {
  if (/^[A-Za-z0-9][\w.-]{0,63}$/.test(value)) return value;
  throw new InvalidArgumentError("Expected letters, digits, `_`, `.` and `-`, 64 at most.");
}
