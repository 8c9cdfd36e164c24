import { Command } from "commander";
import type { ProgramContext } from "../context.ts";
import { withJson, withSettings } from "../options.ts";
import { doctor, doctorGpu } from "./doctor.ts";

export function doctorCommand({ contextOf, signal, exitWith }: ProgramContext): Command {
  const command = new Command("doctor")
    .option("--out <place>", "a folder or s3:// prefix to test by writing and reading")
    .option("--gpu", "check GPUs instead: the CUDA libraries, and the answers of models compared with the CPU")
    .option("--models <model...>", "with --gpu: the models to check (default: the built-in models)");
  return withSettings(withJson(command))
    .description(
      "Check what labelmill needs: Node, Redis, the store, execution providers and models. One line each, with the fix.",
    )
    .action(async (options) => {
      const context = await contextOf(options);
      exitWith(await (options.gpu ? doctorGpu(options.models, context, signal) : doctor(options.out, context)));
    });
}
