import { Command } from "commander";
import { CONFIG_KEYS } from "../../config.ts";
import type { ProgramContext } from "../context.ts";
import { withSettings } from "../options.ts";
import { serve } from "./serve.ts";

export function serveCommand({ contextOf, signal, exitWith }: ProgramContext): Command {
  const command = new Command("serve")
    .option(
      "--models <model...>",
      "the declared models: ids of the catalog, hf:OWNER/NAME@REVISION, or folders; the first is the default (default: the catalog's default for each task)",
    )
    .option("--with-worker", "label in this process too")
    .option(
      "--out <place>",
      "folder or s3://BUCKET/PREFIX/ for results (default without REDIS_URL: labelmill-data/output)",
    );
  return withSettings(command, CONFIG_KEYS)
    .description("Serve an HTTP API that labels texts and images, until stopped.")
    .addHelpText(
      "after",
      `
Examples:
  labelmill serve --with-worker --models tiny-sentiment
  REDIS_URL=redis://10.0.0.5 labelmill serve --models resnet50 --out s3://data/labels/ --state s3://data/state/`,
    )
    .action(async (options) => exitWith(await serve(options, await contextOf(options), signal)));
}
