import { Command } from "commander";
import type { CommandContext, LabelWorld } from "../context.ts";
import { EXIT_CODES, withLabelOptions, withSettings } from "../options.ts";
import { requestOf, runFlags, specOf } from "../run/spec.ts";
import { label } from "./label.ts";
import type { LabelKind } from "./model-choice.ts";
import type { LabelRequest } from "./request.ts";

export function labelCommand(context: CommandContext): Command {
  const command = new Command("label").description("Label the items of files, folders, lists or S3 objects.");
  const run = (kind: LabelKind) => async (inputs: string[], options: Options) =>
    context.done(await runLabel(kind, inputs, options, await context.world(options), context.signal));
  command.addCommand(
    withSettings(withLabelOptions(new Command("text")))
      .description(
        "Label texts in CSV, JSONL, JSON arrays or plain lines, packed with gzip or zstd or not, and in Parquet.",
      )
      .argument("<input...>", "files, folders, globs, s3:// objects, prefixes or globs, @LISTs; - for standard input")
      .addHelpText(
        "after",
        `
Examples:
  labelmill label text reviews.csv --column review --keep product --out reviews-labels
  printf 'good\\nbad\\n' | labelmill label text - --format lines
  labelmill label text s3://data/reviews/ --out s3://data/labels/reviews/ --detach
${EXIT_CODES}`,
      )
      .action(run("text")),
  );
  command.addCommand(
    withSettings(withLabelOptions(new Command("images")))
      .description(
        "Label images: files, folders, globs, s3:// and https:// addresses, or lists of them (a line or a column each).",
      )
      .argument(
        "<path...>",
        "files, folders, globs, addresses, s3:// prefixes or lists; - for a list on standard input",
      )
      .addHelpText(
        "after",
        `
Examples:
  labelmill label images photos/ --top-k 3
  labelmill label images products.csv --column image_url --id-column sku
${EXIT_CODES}`,
      )
      .action(run("images")),
  );
  return command;
}

type Options = Record<string, unknown> & { show: number };

async function runLabel(
  kind: LabelKind,
  inputs: string[],
  options: Options,
  world: LabelWorld,
  signal: AbortSignal,
): Promise<number> {
  const given = (key: string) => options[key] === true;
  const { request } = requestOf(specOf(undefined, runFlags(options), { kind, inputs }));
  const asked: LabelRequest = {
    ...request,
    show: options.show,
    overwrite: given("overwrite"),
    detach: given("detach"),
    withWorker: given("withWorker"),
    queueAnyway: given("queueAnyway"),
    sharedFiles: given("sharedFiles"),
  };
  const { code, summary } = await label(asked, world, signal);
  if (world.terminal.json) world.terminal.printJson(summary);
  return code;
}
