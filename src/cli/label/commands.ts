import { Command } from "commander";
import type { LabelKind } from "../../producers/runs/request.ts";
import { requestOf } from "../../producers/runs/spec.ts";
import type { CommandContext, ProgramContext } from "../context.ts";
import { EXIT_CODES, withJson, withLabelOptions, withSettings } from "../options.ts";
import { runFlags, specOf } from "../run/spec.ts";
import { demo } from "./demo.ts";
import { label } from "./label.ts";
import type { LabelRequest } from "./request.ts";

export function labelCommand({ contextOf, signal, exitWith }: ProgramContext): Command {
  const command = new Command("label").description("Label the items of files, folders, lists or S3 objects.");
  const run = (kind: LabelKind) => async (inputs: string[], options: Options) =>
    exitWith(await runLabel(kind, inputs, options, await contextOf(options), signal));
  command.addCommand(
    withSettings(withLabelOptions(new Command("text")))
      .description(
        "Label texts in CSV, JSONL, JSON arrays or plain lines, with or without gzip or zstd, and in Parquet or Arrow.",
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
        "Label images: files, folders, globs, tar archives, s3:// and https:// addresses, or lists of them (one per line, or in a column).",
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

export function demoCommand({ contextOf, signal, exitWith }: ProgramContext): Command {
  const command = new Command("demo").option("--out <folder>", "output folder (default: a new folder in demo-output/)");
  return withSettings(withJson(command))
    .description("Label the examples that come with labelmill, on this machine.")
    .action(async (options) => exitWith(await demo(await contextOf(options), options.out, signal)));
}

type Options = Record<string, unknown> & { show: number };

async function runLabel(
  kind: LabelKind,
  inputs: string[],
  options: Options,
  context: CommandContext,
  signal: AbortSignal,
): Promise<number> {
  const isSet = (key: string) => options[key] === true;
  const spec = requestOf(specOf(undefined, runFlags(options), { kind, inputs }));
  const request: LabelRequest = {
    ...spec.request,
    show: options.show,
    overwrite: isSet("overwrite"),
    detach: isSet("detach"),
    withWorker: isSet("withWorker"),
    queueAnyway: isSet("queueAnyway"),
    sharedFiles: isSet("sharedFiles"),
  };
  const { code, summary } = await label(request, context, signal);
  if (context.terminal.json) context.terminal.printJson(summary);
  return code;
}
