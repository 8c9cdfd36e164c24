import { type Command, InvalidArgumentError, Option } from "commander";
import { CONFIG_KEYS, type ConfigKey, ConfigSchema, envName, flagName, isFlag, SERVER_KEYS } from "../config.ts";
import { LANES } from "../schemas/names.ts";
import { COMPRESSIONS, OUTPUT_FORMATS } from "../schemas/output.ts";
import { RunSpecSchema } from "../schemas/spec.ts";

/** Settings of commands that only read and change state in Redis. */
export const REDIS_SETTINGS: readonly ConfigKey[] = ["redisUrl", "redisPasswordFile", "logLevel"];
/** Settings of commands that find and pull models. */
export const MODEL_SETTINGS: readonly ConfigKey[] = [
  "catalog",
  "cacheDir",
  "dtype",
  "offline",
  "hfEndpoint",
  "logLevel",
];
/** Settings of the health port. */
export const HEALTH_SETTINGS: readonly ConfigKey[] = ["healthHost", "healthPort"];
/** Settings of commands that only read and write objects. */
export const S3_SETTINGS: readonly ConfigKey[] = ["s3Endpoint", "s3Region", "s3PathStyle"];
/** Settings of commands that label. */
export const WORK_SETTINGS: readonly ConfigKey[] = CONFIG_KEYS.filter((key) => !SERVER_KEYS.includes(key));

export const EXIT_CODES = `
Exit codes: 0 all rows labeled · 1 failed · 2 wrong usage or input, nothing queued · 3 finished, some rows in error · 130 interrupted`;

/** Defaults of a run, for help texts. Only the schema sets them. */
export const RUN_DEFAULTS = RunSpecSchema.parse({ kind: "text", inputs: ["-"] });
/** Rows that `label` prints at the end. */
const DEFAULT_SHOW = 5;

const SWITCHES: ReadonlySet<ConfigKey> = new Set(["allowPrivate", "s3PathStyle", "offline", "sharedFiles"]);

/** Adds settings as flags, as the last group of the help. Names and descriptions come from config.ts. */
export function withSettings(command: Command, keys: readonly ConfigKey[] = WORK_SETTINGS): Command {
  command.optionsGroup("Settings (flags override environment variables, which override --config):");
  command.option("--config <file>", "a JSON file of settings");
  for (const key of keys.filter(isFlag)) {
    const description = `${ConfigSchema.shape[key].description} [${envName(key)}]`;
    command.option(SWITCHES.has(key) ? flagName(key) : `${flagName(key)} <value>`, description);
  }
  return command;
}

/** Adds `--json`. */
export function withJson(command: Command): Command {
  return command.option("--json", "print one JSON value");
}

/** Adds the options of a run. Their names are the keys of a spec, and RunSpecSchema has their bounds and defaults. */
export function withRunOptions(command: Command): Command {
  withInputOptions(command)
    .option(
      "--model <name>",
      "an id of the catalog, hf:OWNER/NAME@REVISION, a folder, or an id that workers serve (default: the catalog's default for the task)",
    )
    .option("--out <place>", "output folder or s3://BUCKET/PREFIX/ (default: <input>-labels)")
    .option("--overwrite", "replace the output of an earlier run")
    .option(
      "--top-k <n>",
      `number of labels in a row, best first (default: ${RUN_DEFAULTS.topK})`,
      wholeNumber(1, 1000),
    )
    .option("--max-errors <n|P%>", "stop the run if more rows than this are in error")
    .option("--slice-timeout <seconds>", "time limit for one attempt at a slice", Number)
    .option("--price-per-hour <price>", "price of one worker; the manifest then shows the cost of the run", Number);
  withOutputOptions(command);
  return command
    .optionsGroup("With REDIS_URL (separate workers do the labeling):")
    .addOption(
      new Option(
        "--lane <lane>",
        `interactive goes first; bulk gets at least a fifth of the work (default: ${RUN_DEFAULTS.lane})`,
      ).choices(LANES),
    )
    .option("--queue-anyway", "queue the run even if no worker serves the model")
    .option("--shared-files", "local paths are the same on all workers");
}

function withInputOptions(command: Command): Command {
  return command
    .option("--column <name>", "column with the text or the image reference (default: detected by its name)")
    .option("--id-column <name>", "column with the id (default: ids are made from the file name and the record number)")
    .option("--keep <column...>", "columns to copy into the rows")
    .option("--where <column=value...>", "label only records whose columns have these values")
    .option("--sample <share>", "label this share of the records, such as 0.01; the same records each time", Number)
    .option("--limit <n>", "label at most this many records, the first ones", Number)
    .addOption(
      new Option("--format <format>", "format of the input (default: detected)").choices(
        RunSpecSchema.shape.format.unwrap().options,
      ),
    )
    .option("--delimiter <character>", "delimiter of a CSV file, `tab` for tabs (default: detected)", oneCharacter);
}

function withOutputOptions(command: Command): Command {
  const { format, compression, errors } = RUN_DEFAULTS.output;
  return command
    .optionsGroup("Output format:")
    .addOption(
      new Option("--output-format <format>", `format of the rows (default: ${format})`).choices(OUTPUT_FORMATS),
    )
    .addOption(
      new Option("--compression <method>", `compression of JSONL (default: ${compression})`).choices(COMPRESSIONS),
    )
    .option("--target-size <MB>", "combine parts into files of at least this size", megabytes)
    .addOption(new Option("--partition-by <column>", "write folders such as label=POSITIVE/").choices(["label"]))
    .addOption(
      new Option("--errors <place>", `rows in error: inline, or apart in _errors/ (default: ${errors})`).choices([
        "inline",
        "apart",
      ]),
    );
}

export function withLabelOptions(command: Command): Command {
  withRunOptions(command)
    .option("--detach", "exit when the last slice is queued")
    .option("--with-worker", "label in this process too")
    .optionsGroup("What is printed:")
    .option("--show <n>", "rows to print at the end", wholeNumber(0, 1000), DEFAULT_SHOW);
  return withJson(command);
}

function megabytes(value: string): number {
  return wholeNumber(1, 2000)(value) * 1_000_000;
}

export function wholeNumber(min: number, max: number) {
  return (value: string): number => {
    const number = Number(value);
    if (!Number.isInteger(number) || number < min || number > max)
      throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
    return number;
  };
}

function oneCharacter(value: string): string {
  const character = value === "tab" || value === "\\t" ? "\t" : value;
  if (character.length !== 1) throw new InvalidArgumentError("Expected one character, or `tab`.");
  return character;
}
