import { readFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { CONFIG_KEYS, type Config, ConfigSchema, type Environment, envName, flagName, loadConfig } from "../config.ts";
import { type ErrorCode, LabelmillError, messageOf, toLabelmillError } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { SOFTWARE } from "../software.ts";
import { demo } from "./demo.ts";
import { EXIT, type LabelKind, type LabelWorld, label } from "./label.ts";
import { Terminal } from "./terminal.ts";
import { verify } from "./verify.ts";

const EXIT_CODES = `
Exit codes: 0 all labeled · 1 failed · 2 wrong usage or input, nothing queued · 3 done, some items in error · 130 interrupted`;

/** Errors that a user mends by asking differently: nothing was queued. */
const USAGE_CODES: ReadonlySet<ErrorCode> = new Set([
  "USAGE",
  "CONFIG_INVALID",
  "INPUT_NOT_FOUND",
  "INPUT_UNREADABLE",
  "INPUT_EMPTY",
  "COLUMN_NOT_FOUND",
  "MODEL_NOT_FOUND",
  "MODEL_INVALID",
  "OUTPUT_FOREIGN",
  "OUTPUT_LOCKED",
  "OUTPUT_NOT_RESUMABLE",
  "SPEC_DIFFERS",
  "NOT_GRANTED",
]);

/** Runs one command line. @returns its exit code; errors are told on standard error (as JSON with --json) */
export async function runProgram(
  args: readonly string[],
  environment: Environment,
  stdin: Readable,
  signal: AbortSignal,
): Promise<number> {
  let code: number = EXIT.labeled;
  const program = buildProgram(environment, stdin, signal, (result) => {
    code = result;
  });
  try {
    await program.parseAsync([...args], { from: "user" });
    return code;
  } catch (error) {
    const json = args.includes("--json");
    if (!(error instanceof CommanderError)) return reportError(error, json, signal);
    if (error.exitCode === 0) return EXIT.labeled;
    // Commander told it on standard error already.
    if (json) printJsonError("USAGE", error.message.replace(/^error: /, ""));
    return EXIT.usage;
  }
}

function buildProgram(
  environment: Environment,
  stdin: Readable,
  signal: AbortSignal,
  done: (code: number) => void,
): Command {
  const program = new Command("labelmill")
    .description("Label texts and images at scale, without losing or doubling a row.")
    .version(SOFTWARE.split(" ")[1]!, "--version")
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText(
      "after",
      `
Examples:
  labelmill label text reviews.csv --column review --id-column id
  labelmill label images photos/ --model ./my-model --out photo-labels
  zcat comments.jsonl.gz | labelmill label text - --column body --json
  labelmill verify reviews-labels
${EXIT_CODES}`,
    );

  const world = async (options: Record<string, unknown>): Promise<LabelWorld> => {
    const config = await readConfig(options, environment);
    const terminal = new Terminal(options.json === true);
    const log = createLogger(config.logLevel, process.stderr.isTTY === true);
    return { config, environment, stdin, terminal, log };
  };

  const labelCommand = program.command("label").description("Label the items of files, folders or lists.");
  labelCommand.addCommand(
    withSettings(withLabelOptions(new Command("text")))
      .description("Label texts in CSV, JSONL or plain lines; gzip is recognised; - is standard input.")
      .argument("<file...>", "files, or - for standard input")
      .addHelpText(
        "after",
        `
Examples:
  labelmill label text reviews.csv --column review --keep product --out reviews-labels
  printf 'good\\nbad\\n' | labelmill label text - --format lines
${EXIT_CODES}`,
      )
      .action(async (inputs: string[], options) =>
        done(await runLabel("text", inputs, options, await world(options), signal)),
      ),
  );
  labelCommand.addCommand(
    withSettings(withLabelOptions(new Command("images")))
      .description(
        "Label images: files, folders, globs, https:// addresses, or lists of them (a line or a column each).",
      )
      .argument("<path...>", "files, folders, globs, addresses or lists; - for a list on standard input")
      .addHelpText(
        "after",
        `
Examples:
  labelmill label images photos/ --top-k 3
  labelmill label images products.csv --column image_url --id-column sku
${EXIT_CODES}`,
      )
      .action(async (inputs: string[], options) =>
        done(await runLabel("images", inputs, options, await world(options), signal)),
      ),
  );
  program
    .command("verify")
    .description(
      "Read all of an output again and prove it: each planned record once, every hash true, nothing unlisted.",
    )
    .argument("<out>", "the folder that --out named")
    .option("--json", "print one JSON value")
    .addHelpText(
      "after",
      "\nExample:\n  labelmill verify reviews-labels\n\nExit codes: 0 proved · 1 not proved, and the differences · 2 wrong usage",
    )
    .action(async (out: string, options) => done(await verify(out, new Terminal(options.json === true))));
  withSettings(program.command("demo"))
    .description("Label the examples that come with labelmill.")
    .option("--out <folder>", "where to (default: a new folder in demo-output/)")
    .option("--json", "print one JSON value")
    .action(async (options) => done(await demo(await world(options), options.out, signal)));
  inherit(program);
  return program;
}

/** Sub-commands made by `new Command` do not take over their parent's manners by themselves. */
function inherit(parent: Command): void {
  for (const command of parent.commands) {
    command.copyInheritedSettings(parent);
    inherit(command);
  }
}

function withLabelOptions(command: Command): Command {
  return command
    .option("--column <name>", "the column that holds the text or the image reference (default: found by its name)")
    .option(
      "--id-column <name>",
      "the column that holds the id (default: made from the file's name and the record's number)",
    )
    .option("--keep <column...>", "columns to copy into the rows")
    .addOption(
      new Option("--format <format>", "of the input").choices(["auto", "csv", "jsonl", "lines"]).default("auto"),
    )
    .option("--delimiter <character>", "of a CSV file, `tab` for tabulators (default: found by looking)", oneCharacter)
    .option(
      "--model <id|folder>",
      "a built-in model (tiny-sentiment, tiny-image) or a folder in the Hugging Face layout",
    )
    .option("--out <folder>", "where the results go (default: <input>-labels)")
    .option("--top-k <n>", "labels in a row, best first", wholeNumber(1, 1000), 5)
    .option("--sample <n>", "rows shown at the end", wholeNumber(0, 1000), 5)
    .option("--json", "print one JSON value");
}

/** Every setting is a flag too; the names come from the one table in config.ts. */
function withSettings(command: Command): Command {
  command.optionsGroup("Settings (flags go over the environment, the environment over --config):");
  command.option("--config <file>", "a JSON file of settings");
  for (const key of CONFIG_KEYS) {
    const description = `${ConfigSchema.shape[key].description} [${envName(key)}]`;
    command.option(key === "allowPrivate" ? flagName(key) : `${flagName(key)} <value>`, description);
  }
  return command;
}

async function runLabel(
  kind: LabelKind,
  inputs: string[],
  options: Record<string, unknown> & { topK: number; sample: number; keep?: string[] },
  world: LabelWorld,
  signal: AbortSignal,
): Promise<number> {
  const text = (key: string) => (options[key] as string | undefined) ?? null;
  const read = {
    format: options.format as "auto",
    delimiter: text("delimiter"),
    column: text("column"),
    idColumn: text("idColumn"),
    keep: options.keep ?? [],
  };
  const { topK, sample } = options;
  const [model, out] = [text("model"), text("out")];
  const { code, summary } = await label(
    { kind, inputs, read, topK, sample, ...(model ? { model } : {}), ...(out ? { out } : {}) },
    world,
    signal,
  );
  if (world.terminal.json) world.terminal.printJson(summary);
  return code;
}

async function readConfig(flags: Record<string, unknown>, environment: Environment): Promise<Config> {
  const name = flags.config as string | undefined;
  if (!name) return loadConfig({ flags, variables: environment.variables });
  let content: unknown;
  try {
    content = JSON.parse(await readFile(name, "utf8"));
  } catch (error) {
    throw new LabelmillError("CONFIG_INVALID", `--config ${name}: expected a JSON file: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return loadConfig({ flags, variables: environment.variables, file: { name, content } });
}

function reportError(error: unknown, json: boolean, signal: AbortSignal): number {
  const told = toLabelmillError(error);
  const { code, message } = told;
  if (json) printJsonError(code, message);
  else process.stderr.write(`labelmill: ${code}: ${message}\n`);
  // What nobody foresaw needs its stack to be mended.
  if (code === "INTERNAL" && !json) process.stderr.write(`${(told.cause as Error | undefined)?.stack ?? told.stack}\n`);
  if (signal.aborted) return EXIT.interrupted;
  return USAGE_CODES.has(code) ? EXIT.usage : EXIT.failed;
}

function printJsonError(code: ErrorCode, message: string): void {
  process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
}

function wholeNumber(min: number, max: number) {
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
