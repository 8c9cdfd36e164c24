import { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { doctor, doctorGpu } from "../doctor/doctor.ts";
import { modelsCommand } from "../models/commands.ts";
import { REDIS_SETTINGS, withSettings } from "../options.ts";
import { cancel } from "../run/cancel.ts";
import { results } from "./results.ts";
import { status } from "./status.ts";
import { serve } from "./worker.ts";

/** The commands of a system whose producers and workers are different processes. */
export function serviceCommands(context: CommandContext): Command[] {
  const { world, signal, done } = context;
  const json = (command: Command) => command.option("--json", "print one JSON value");
  return [
    withSettings(new Command("worker"))
      .description("Serve the queues of models until told to stop; as many as you like may run, anywhere.")
      .option(
        "--models <model...>",
        "of the catalog, hf:OWNER/NAME@REVISION, or folders; pulled if need be (default: the catalog's for each task)",
      )
      .addHelpText(
        "after",
        `
Example:
  REDIS_URL=redis://10.0.0.5 LABELMILL_S3_ROOTS=s3://data/ labelmill worker --models tiny-sentiment`,
      )
      .action(async (options) => done(await serve(options.models, await world(options), signal))),
    json(withSettings(new Command("status"), REDIS_SETTINGS))
      .description("Show queues, workers and runs; or one run, with its labels and errors.")
      .argument("[run]", "a run's id")
      .action(async (run: string | undefined, options) => done(await status(run, await world(options)))),
    json(withSettings(new Command("cancel"), REDIS_SETTINGS))
      .description("End a run that is under way: its finished parts stand, the rest is not done.")
      .argument("<run>", "a run's id")
      .action(async (run: string, options) => done(await cancel(run, await world(options)))),
    withSettings(new Command("results"), REDIS_SETTINGS)
      .description("Read the results queue without taking anything from it.")
      .option("--follow", "then tell of each event as it comes")
      .option("--json", "print each event as a line of JSON")
      .action(async (options) => done(await results(options.follow === true, await world(options), signal))),
    modelsCommand(context),
    json(withSettings(new Command("doctor")))
      .description(
        "Check what labelmill needs: Node, Redis, the store, execution providers, models. A line each, with the mend.",
      )
      .option("--out <place>", "a folder or s3:// prefix in which to try reading and writing")
      .option("--gpu", "instead: what GPUs need, and models on each of them, beside the CPU")
      .option("--models <model...>", "with --gpu: which (default: the built-in ones)")
      .action(async (options) => {
        const of = await world(options);
        done(await (options.gpu ? doctorGpu(options.models, of, signal) : doctor(options.out, of)));
      }),
  ];
}
