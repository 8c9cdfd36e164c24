import { readFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import { Command, CommanderError } from "commander";
import { type Config, type Environment, loadConfig } from "../config.ts";
import { type ErrorCode, LabelmillError, messageOf, toLabelmillError } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { printableLines } from "../printable.ts";
import { SOFTWARE } from "../software.ts";
import { consumeCommand } from "./consume/commands.ts";
import type { CommandContext, ProgramContext } from "./context.ts";
import { doctorCommand } from "./doctor/commands.ts";
import { EXIT } from "./exit.ts";
import { keysCommand } from "./keys/commands.ts";
import { demoCommand, labelCommand } from "./label/commands.ts";
import { modelsCommand } from "./models/commands.ts";
import { EXIT_CODES } from "./options.ts";
import { flagWarning, withRedisPassword } from "./redis-password.ts";
import { runCommand } from "./run/commands.ts";
import { serveCommand } from "./serve/commands.ts";
import { serviceCommands } from "./service/commands.ts";
import type { Interrupts } from "./terminal/interrupts.ts";
import { Terminal } from "./terminal/terminal.ts";
import { refuseUnknownCommand } from "./unknown-command.ts";
import { verifyCommand } from "./verify/commands.ts";
import { webhooksCommand } from "./webhooks/commands.ts";

/** Errors that a user fixes by changing the command, the settings or the inputs. Nothing was queued. */
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
  "WEBHOOK_UNKNOWN",
  "WEBHOOK_UNSIGNED",
  "LOCAL_PATH_REMOTE_WORKER",
]);

/** Runs one command line. Errors are printed on standard error, with --json as JSON on standard output. @returns the exit code */
export async function runProgram(
  args: readonly string[],
  environment: Environment,
  stdin: Readable,
  interrupts: Interrupts,
): Promise<number> {
  const { signal } = interrupts;
  let code: number = EXIT.ok;
  const program = buildProgram({
    signal,
    contextOf: (options) => openContext(options, environment, stdin, interrupts),
    exitWith: (result) => {
      code = result;
    },
  });
  try {
    await program.parseAsync([...args], { from: "user" });
    return code;
  } catch (error) {
    const json = args.includes("--json");
    if (!(error instanceof CommanderError)) return reportError(error, json, signal);
    if (error.exitCode === 0) return EXIT.ok;
    // Commander has printed the error on standard error already.
    if (json) printJsonError("USAGE", error.message.replace(/^error: /, ""));
    return EXIT.usage;
  }
}

function buildProgram(context: ProgramContext): Command {
  const program: Command = new Command("labelmill");
  program
    .description("Label texts and images at scale, without losing or duplicating a row.")
    .version(SOFTWARE.split(" ")[1]!, "--version")
    .exitOverride()
    // Error messages repeat arguments. A shell may have made them from file names.
    .configureOutput({ writeErr: (text) => process.stderr.write(printableLines(text)) })
    .showSuggestionAfterError()
    // In `models pull --json`, the option belongs to `pull`. `models` has the same option.
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
  for (const command of [
    labelCommand(context),
    verifyCommand(context),
    demoCommand(context),
    runCommand(context),
    serveCommand(context),
    ...serviceCommands(context),
    keysCommand(context),
    webhooksCommand(context),
    consumeCommand(context),
    modelsCommand(context),
    doctorCommand(context),
  ])
    program.addCommand(command);
  inherit(program);
  return program;
}

/** Copies the settings of a command to its sub-commands: commander does not do this for `new Command`. */
function inherit(parent: Command): void {
  for (const command of parent.commands) {
    command.copyInheritedSettings(parent);
    // A word after the name of a group is a mistyped command, reported by `refuseUnknownCommand`, not an excess argument.
    command.allowExcessArguments(command.commands.length > 0);
    inherit(command);
  }
}

async function openContext(
  options: Record<string, unknown>,
  environment: Environment,
  stdin: Readable,
  interrupts: Interrupts,
): Promise<CommandContext> {
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
  const { code, message, cause, stack } = toLabelmillError(error);
  const terminal = new Terminal(json);
  if (json) printJsonError(code, message);
  else terminal.sayLines(`labelmill: ${code}: ${message}`);
  // An unexpected error cannot be fixed without its stack.
  if (code === "INTERNAL" && !json) terminal.sayLines((cause as Error | undefined)?.stack ?? stack ?? "");
  if (signal.aborted) return EXIT.interrupted;
  return USAGE_CODES.has(code) ? EXIT.usage : EXIT.failed;
}

function printJsonError(code: ErrorCode, message: string): void {
  new Terminal(true).printJson({ error: { code, message } });
}
