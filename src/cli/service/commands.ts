import { Command } from "commander";
import type { ProgramContext } from "../context.ts";
import { HEALTH_SETTINGS, REDIS_SETTINGS, WORK_SETTINGS, withJson, withSettings } from "../options.ts";
import { cancel } from "../run/cancel.ts";
import { results } from "./results.ts";
import { status } from "./status.ts";
import { serve } from "./worker.ts";

/** The commands for producers and workers in separate processes. */
export function serviceCommands({ contextOf, signal, exitWith }: ProgramContext): Command[] {
  const worker = new Command("worker").option(
    "--models <model...>",
    "ids of the catalog, hf:OWNER/NAME@REVISION, or folders; missing models are pulled (default: the catalog's default for each task)",
  );
  const follower = new Command("results")
    .option("--follow", "then show each new event")
    .option("--json", "print each event as a line of JSON");
  return [
    withSettings(worker, [...WORK_SETTINGS, ...HEALTH_SETTINGS])
      .description("Serve the queues of models until stopped. Any number of workers can run, on any machine.")
      .addHelpText(
        "after",
        `
Example:
  REDIS_URL=redis://10.0.0.5 LABELMILL_S3_ROOTS=s3://data/ labelmill worker --models tiny-sentiment`,
      )
      .action(async (options) => exitWith(await serve(options.models, await contextOf(options), signal))),
    withSettings(withJson(new Command("status")), REDIS_SETTINGS)
      .description("Show queues, workers and runs, or one run with its labels and errors.")
      .argument("[run]", "the id of a run")
      .action(async (run: string | undefined, options) => exitWith(await status(run, await contextOf(options)))),
    withSettings(withJson(new Command("cancel")), REDIS_SETTINGS)
      .description("End a run that is not finished. Its finished parts stay; the rest is not labeled.")
      .argument("<run>", "the id of a run")
      .action(async (run: string, options) => exitWith(await cancel(run, await contextOf(options)))),
    withSettings(follower, REDIS_SETTINGS)
      .description("Show the events on the results queue without removing them.")
      .action(async (options) => exitWith(await results(options.follow === true, await contextOf(options), signal))),
  ];
}
