// The command `worker` in its own process, with a scripted session. The first argument is a ServeMainOptions as JSON.
import type { CommandContext } from "../../../src/cli/context.ts";
import { serve } from "../../../src/cli/service/worker.ts";
import { Terminal } from "../../../src/cli/terminal/terminal.ts";
import { loadConfig, prepareProcess, readEnvironment } from "../../../src/config.ts";
import { createLogger } from "../../../src/logger.ts";
import { SCRIPTED_THREAD } from "../threads/scripted-session.ts";

export type ServeMainOptions = { model: string; settings: Record<string, unknown> };

const { model, settings } = JSON.parse(process.argv[2]!) as ServeMainOptions;
prepareProcess();
const config = loadConfig({ flags: settings });
const context: CommandContext = {
  config,
  environment: readEnvironment(),
  stdin: process.stdin,
  terminal: new Terminal(false),
  log: createLogger(config.logLevel, false),
  thread: SCRIPTED_THREAD,
};
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
process.exitCode = await serve([model], context, stop.signal);
process.stdin.destroy();
