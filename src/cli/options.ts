import { type Command, InvalidArgumentError, Option } from "commander";
import { CONFIG_KEYS, type ConfigKey, ConfigSchema, envName, flagName, isFlag } from "../config.ts";
import { LANES } from "../schemas/names.ts";
import { OUTPUT_FORMATS } from "../schemas/output.ts";
import { RunSpecSchema } from "../schemas/spec.ts";

/** Settings of commands that only look into Redis. */
export const REDIS_SETTINGS: readonly ConfigKey[] = ["redisUrl", "redisPasswordFile", "logLevel"];
/** Settings of commands that look for models, and pull them. */
export const MODEL_SETTINGS: readonly ConfigKey[] = [
  "catalog",
  "cacheDir",
  "dtype",
  "offline",
  "hfEndpoint",
  "logLevel",
];
/** Settings of commands that only read and write objects. */
export const S3_SETTINGS: readonly ConfigKey[] = ["s3Endpoint", "s3Region", "s3PathStyle"];

export const EXIT_CODES = `
Exit codes: 0 all labeled · 1 failed · 2 wrong usage or input, nothing queued · 3 done, some items in error · 130 interrupted`;

const SWITCHES: ReadonlySet<ConfigKey> = new Set(["allowPrivate", "s3PathStyle", "offline"]);

/** Settings are flags too; the names come from the one table in config.ts. */
export function withSettings(command: Command, keys: readonly ConfigKey[] = CONFIG_KEYS): Command {
  command.optionsGroup("Settings (flags go over the environment, the environment over --config):");
  command.option("--config <file>", "a JSON file of settings");
  for (const key of keys.filter(isFlag)) {
    const description = `${ConfigSchema.shape[key].description} [${envName(key)}]`;
    command.option(SWITCHES.has(key) ? flagName(key) : `${flagName(key)} <value>`, description);
  }
  return command;
}

/** What a run is asked for, by the names of a spec's keys: defaults and bounds stand in RunSpecSchema. */
export function withRunOptions(command: Command): Command {
  return command
    .option("--column <name>", "the column that holds the text or the image reference (default: found by its name)")
    .option(
      "--id-column <name>",
      "the column that holds the id (default: made from the file's name and the record's number)",
    )
    .option("--keep <column...>", "columns to copy into the rows")
    .option("--where <column=value...>", "only rows whose columns hold these values")
    .option(
      "--sample <share>",
      "label this share of the rows (0.01 is one in a hundred), the same ones each time",
      Number,
    )
    .option("--limit <n>", "label this many rows at most, the first ones", Number)
    .addOption(
      new Option("--format <format>", "of the input (default: found by looking)").choices(
        RunSpecSchema.shape.format.unwrap().options,
      ),
    )
    .option("--delimiter <character>", "of a CSV file, `tab` for tabulators (default: found by looking)", oneCharacter)
    .option(
      "--model <name>",
      "a model of the catalog, hf:OWNER/NAME@REVISION, a folder, or what the workers serve (default: the catalog's)",
    )
    .option("--out <place>", "a folder or s3://BUCKET/PREFIX/ for the results (default: <input>-labels)")
    .option("--overwrite", "replace what another run left there")
    .option("--top-k <n>", "labels in a row, best first (default: 5)", wholeNumber(1, 1000))
    .option("--max-errors <n|P%>", "stop the run when more rows are in error")
    .option("--slice-timeout <seconds>", "the longest that one try of a slice may take", Number)
    .option("--price-per-hour <price>", "of a worker: the manifest then says what the run cost", Number)
    .optionsGroup("The form of the results:")
    .addOption(new Option("--output-format <format>", "of the rows (default: jsonl)").choices(OUTPUT_FORMATS))
    .addOption(new Option("--compression <how>", "of JSONL (default: none)").choices(["none", "gzip", "zstd"]))
    .option("--target-size <MB>", "of the parts that a file is made of, at least", megabytes)
    .addOption(new Option("--partition-by <column>", "folders such as label=POSITIVE/").choices(["label"]))
    .addOption(
      new Option("--errors <where>", "rows in error: inline, or apart in _errors/").choices(["inline", "apart"]),
    )
    .optionsGroup("With REDIS_URL, whose workers then do the work:")
    .addOption(
      new Option("--lane <lane>", "interactive goes first, bulk keeps at least a fifth (default: bulk)").choices(LANES),
    )
    .option("--queue-anyway", "queue though no worker is there that serves the model")
    .option("--shared-files", "local paths are the same on all workers");
}

export function withLabelOptions(command: Command): Command {
  return withRunOptions(command)
    .option("--detach", "leave when the last slice is queued")
    .option("--with-worker", "work in this process too")
    .optionsGroup("What is shown:")
    .option("--show <n>", "rows at the end", wholeNumber(0, 1000), 5)
    .option("--json", "print one JSON value");
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
