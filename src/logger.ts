import { Writable } from "node:stream";
import { styleText } from "node:util";
import { type LogFn, type Logger as PinoLogger, pino } from "pino";
import { withoutArguments } from "./errors.ts";
import { printable, printableJson } from "./printable.ts";

export type Logger = PinoLogger;

/**
 * The log: JSON lines on standard error, or short human lines where that is a terminal. Never secrets (addresses are
 * logged with their passwords hidden, by whoever writes them), never a text's content at info level or above. Of an error, only
 * what `describeError` takes.
 * @param destination where JSON lines go; none: standard error
 */
export function createLogger(level: string, terminal: boolean, destination?: Writable): Logger {
  const options = {
    level,
    base: null,
    redact: { paths: ["password", "*.password", "url"], remove: true },
    formatters: { log: describeErrors },
    hooks: {
      // An error that is logged alone gives the line its message, too.
      logMethod(args: Parameters<LogFn>, method: LogFn) {
        withoutArguments(args[0]);
        method.apply(this, args);
      },
    },
    // Pino has one of its own for this name, which takes all fields.
    serializers: { err: (error: unknown) => (error instanceof Error ? describeError(error) : error) },
  };
  if (terminal) return pino(options, humanLines());
  const lines = destination ?? pino.destination({ dest: 2, sync: true });
  return pino(options, { write: (line) => void lines.write(printableJson(line)) });
}

/** Errors among what is logged, under whatever name. */
function describeErrors(detail: Record<string, unknown>): Record<string, unknown> {
  const described = Object.entries(detail).map(([key, value]) => [
    key,
    value instanceof Error ? describeError(value) : value,
  ]);
  return Object.fromEntries(described);
}

/** How far causes of causes are followed. */
const DEEPEST_CAUSE = 5;

type DescribedError = { type: string; code?: string; message: string; stack?: string; cause?: DescribedError };

/**
 * What the log has of an error. Never all of its fields: those of others hold arguments of commands, requests, headers. A stack only of an error
 * that nobody foresaw: those that have a code say what there is to say.
 */
function describeError(error: Error, depth = 0): DescribedError {
  const { name, message, stack, cause } = withoutArguments(error);
  const code = (error as { code?: unknown }).code;
  const foreseen = (typeof code === "string" && code !== "INTERNAL") || name === "ReplyError";
  return {
    type: name,
    ...(typeof code === "string" ? { code } : {}),
    message,
    ...(foreseen || stack === undefined ? {} : { stack }),
    ...(cause instanceof Error && depth < DEEPEST_CAUSE ? { cause: describeError(cause, depth + 1) } : {}),
  };
}

const LEVELS: Record<number, string> = { 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal" };

function humanLines(): Writable {
  return new Writable({
    write(line, _encoding, done) {
      const { level, time: _time, msg, err, ...rest } = JSON.parse(String(line));
      const details = Object.entries(rest).map(
        ([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
      );
      const text = printable([LEVELS[level] ?? level, msg, ...details, err?.message].filter(Boolean).join(" "));
      process.stderr.write(
        `${styleText(level >= 50 ? "red" : level >= 40 ? "yellow" : "dim", text, { stream: process.stderr })}\n`,
        done,
      );
    },
  });
}
