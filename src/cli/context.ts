import type { Readable } from "node:stream";
import type { Config } from "../config.ts";
import { LabelmillError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { RedisAddress } from "../redis/connect.ts";
import type { WorkerOptions } from "../workers/worker.ts";
import type { Interrupts } from "./terminal/interrupts.ts";
import type { Terminal } from "./terminal/terminal.ts";

/** What a command needs: its settings, where it reads and writes, and how it is interrupted. */
export type CommandContext = {
  config: Config;
  environment: { path: string };
  stdin: Readable;
  terminal: Terminal;
  log: Logger;
  /** If omitted, the command is not interrupted, or its caller handles interrupts. */
  interrupts?: Pick<Interrupts, "handle" | "lastly" | "endStuck">;
  around?: WorkerOptions["around"];
  thread?: WorkerOptions["thread"];
};

/** What the program gives the commands that it registers. */
export type ProgramContext = {
  /** Makes the context of a command from the values of its flags. */
  contextOf(options: Record<string, unknown>): Promise<CommandContext>;
  /** Aborts at the first interrupt if the command handles it (`interrupts.handle`). Otherwise the interrupt ends the process. */
  signal: AbortSignal;
  /** Sets the exit code. */
  exitWith(code: number): void;
};

/** The Redis server of a command that cannot start its own. @throws LabelmillError USAGE */
export function lastingRedis({ redisUrl }: Config): RedisAddress {
  if (redisUrl) return { url: redisUrl };
  throw new LabelmillError(
    "USAGE",
    "this command needs the Redis server that producers and workers share: set REDIS_URL or --redis-url",
  );
}
