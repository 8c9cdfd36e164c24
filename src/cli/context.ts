import type { Readable } from "node:stream";
import type { Config } from "../config.ts";
import { LabelmillError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { RedisAddress } from "../redis/connect.ts";
import type { WorkerOptions } from "../workers/worker.ts";
import type { Interrupts } from "./terminal/interrupts.ts";
import type { Terminal } from "./terminal/terminal.ts";

export type LabelWorld = {
  config: Config;
  environment: { path: string };
  stdin: Readable;
  terminal: Terminal;
  log: Logger;
  /** None: the command is not interrupted, or its caller handles that. */
  interrupts?: Pick<Interrupts, "handle" | "lastly" | "endStuck">;
  around?: WorkerOptions["around"];
  thread?: WorkerOptions["thread"];
};

/** What a command line gives its commands. */
export type CommandContext = {
  /** The settings, resolved from a command's flags, and where it reads and writes. */
  world(options: Record<string, unknown>): Promise<LabelWorld>;
  /** Aborts at the first interrupt, if the command handles it (`interrupts.handle`): else the interrupt ends the process. */
  signal: AbortSignal;
  /** The exit code. */
  done(code: number): void;
};

/** The server of a command that can do nothing with one of its own. @throws LabelmillError USAGE */
export function lastingRedis({ redisUrl }: Config): RedisAddress {
  if (redisUrl) return { url: redisUrl };
  throw new LabelmillError(
    "USAGE",
    "this command needs the Redis server that producers and workers share: set REDIS_URL, or say --redis-url",
  );
}
