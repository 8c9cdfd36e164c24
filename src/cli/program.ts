import { readFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import { Command, CommanderError } from "commander";
import { type Config, type Environment, loadConfig } from "../config.ts";
import { type ErrorCode, LabelmillError, messageOf, toLabelmillError } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { printableLines } from "../printable.ts";
import { SOFTWARE } from "../software.ts";
import type { CommandContext, LabelWorld } from "./context.ts";
import { EXIT } from "./exit.ts";
import { labelCommand } from "./label/commands.ts";
import { demo } from "./label/demo.ts";
import { EXIT_CODES, S3_SETTINGS, withSettings } from "./options.ts";
import { flagWarning, withRedisPassword } from "./redis-password.ts";
import { runCommand } from "./run/commands.ts";
import { serviceCommands } from "./service/commands.ts";
import type { Interrupts } from "./terminal/interrupts.ts";
import { Terminal } from "./terminal/terminal.ts";
import { refuseUnknownCommand } from "./unknown-command.ts";
import { verify } from "./verify/verify.ts";

/** Errors that a user mends by asking differently: nothing was queued. */
const USAGE_CODES: ReadonlySet<ErrorCode> = new Set([
  "USAGE",
  "CONFIG_INVALID",
  "INPUT_NOT_FOUND",
  "INPUT_UNREADABLE",
  "INPUT_EMPTY",
  "COLUMN_NOT_FOUND",
  "COLUMN_AMBIGUOUS",
  "MODEL_NOT_FOUND",
  "MODEL_INVALID",
  "MODEL_HASH",
  "MODEL_FORBIDDEN",
  "DEVICE_UNAVAILABLE",
  "OUTPUT_FOREIGN",
  "OUTPUT_LOCKED",
  "OUTPUT_NOT_RESUMABLE",
  "SPEC_DIFFERS",
  "SPEC_INVALID",
  "INPUT_CODEC",
  "NOT_GRANTED",
  "NO_WORKER",
  "LOCAL_PATH_REMOTE_WORKER",
]);

/** Runs one command line. @returns its exit code; errors are told on standard error (as JSON with --json) */
export async function runProgram(
  args: readonly string[],
  environment: Environment,
  stdin: Readable,
  interrupts: Interrupts,
): Promise<number> {
  const { signal } = interrupts;
  let code: number = EXIT.labeled;
  const program = buildProgram({
    signal,
    world: (options) => openWorld(options, environment, stdin, interrupts),
    done: (result) => {
      code = result;
    },
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

function buildProgram(context: CommandContext): Command {
  const program: Command = new Command("labelmill");
  program
    .description("Label texts and images at scale, without losing or doubling a row.")
    .version(SOFTWARE.split(" ")[1]!, "--version")
    .exitOverride()
    // What it says repeats arguments, which a shell may have made of file names.
    .configureOutput({ writeErr: (text) => process.stderr.write(printableLines(text)) })
    .showSuggestionAfterError()
    // `models pull --json`: the option is that of `pull`, though `models` has one too.
    .enablePositionalOptions()
    .addHelpText("beforeAll", ({ command }) => refuseUnknownCommand(program, command))
    .addHelpText(
      "after",
      `
Examples:
  labelmill label text reviews.csv --column review --id-column id
  labelmill label images photos/ --top-k 3 --out photo-labels
  zcat comments.jsonl.gz | labelmill label text - --column body --json
  labelmill verify reviews-labels
  REDIS_URL=redis://10.0.0.5 labelmill worker
${EXIT_CODES}`,
    );
  program.addCommand(labelCommand(context));
  withSettings(program.command("verify"), S3_SETTINGS)
    .description(
      "Read all of an output again and prove it: each planned record once, every hash true, nothing unlisted.",
    )
    .argument("<out>", "the folder or s3:// prefix that --out named")
    .option("--inputs", "count the records of the inputs too, as they are now")
    .option("--json", "print one JSON value")
    .addHelpText(
      "after",
      "\nExample:\n  labelmill verify reviews-labels\n\nExit codes: 0 proved · 1 not proved, and the differences · 2 wrong usage",
    )
    .action(async (out: string, options) =>
      context.done(await verify(out, options.inputs === true, await context.world(options))),
    );
  withSettings(program.command("demo"))
    .description("Label the examples that come with labelmill, on this machine.")
    .option("--out <folder>", "where to (default: a new folder in demo-output/)")
    .option("--json", "print one JSON value")
    .action(async (options) => context.done(await demo(await context.world(options), options.out, context.signal)));
  program.addCommand(runCommand(context));
  for (const command of serviceCommands(context)) program.addCommand(command);
  inherit(program);
  return program;
}

/** Sub-commands made by `new Command` do not take over their parent's manners by themselves. */
function inherit(parent: Command): void {
  for (const command of parent.commands) {
    command.copyInheritedSettings(parent);
    // Behind the name of a group, a word is a mistyped command, which `refuseUnknownCommand` tells, not an argument too many.
    command.allowExcessArguments(command.commands.length > 0);
    inherit(command);
  }
}

async function openWorld(
  options: Record<string, unknown>,
  environment: Environment,
  stdin: Readable,
  interrupts: Interrupts,
): Promise<LabelWorld> {
  const config = await withRedisPassword(await readConfig(options, environment));
  const terminal = new Terminal(options.json === true);
  const warning = flagWarning(options.redisUrl);
  if (warning !== "") terminal.say(warning);
  const log = createLogger(config.logLevel, process.stderr.isTTY === true);
  return { config, environment, stdin, terminal, log, interrupts };
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
  const terminal = new Terminal(json);
  if (json) printJsonError(code, message);
  else terminal.sayLines(`labelmill: ${code}: ${message}`);
  // What nobody foresaw needs its stack to be mended.
  if (code === "INTERNAL" && !json) terminal.sayLines((told.cause as Error | undefined)?.stack ?? told.stack ?? "");
  if (signal.aborted) return EXIT.interrupted;
  return USAGE_CODES.has(code) ? EXIT.usage : EXIT.failed;
}

function printJsonError(code: ErrorCode, message: string): void {
  new Terminal(true).printJson({ error: { code, message } });
}
