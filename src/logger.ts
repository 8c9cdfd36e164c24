import { Writable } from "node:stream";
import { styleText } from "node:util";
import { type LogFn, type Logger as PinoLogger, pino } from "pino";
import { withoutArguments } from "./errors.ts";
import { printable, printableJson } from "./printable.ts";

export type Logger = PinoLogger;

/**
 * Creates the log: JSON lines on standard error, or short readable lines on a terminal. It never contains secrets (callers hide the
 * passwords in addresses), and never the content of a text at level info or above. An error has only the fields of
 * `describeError`.
 * @param terminal whether standard error is a terminal
 * @param destination where JSON lines go. Default: standard error
 */
export function createLogger(level: string, terminal: boolean, destination?: Writable): Logger {
  const options = {
    level,
    base: null,
    redact: { paths: ["password", "*.password", "url"], remove: true },
    formatters: { log: describeErrors },
    hooks: {
      // If an error is logged alone, pino takes the message of the line from it.
      logMethod(args: Parameters<LogFn>, method: LogFn) {
        withoutArguments(args[0]);
        method.apply(this, args);
      },
    },
    // The default serializer of pino for this name takes all fields.
    serializers: { err: (error: unknown) => (error instanceof Error ? describeError(error) : error) },
  };
  if (terminal) return pino(options, humanLines());
  const lines = destination ?? pino.destination({ dest: 2, sync: true });
  return pino(options, { write: (line) => void lines.write(printableJson(line)) });
}

/** Replaces the errors in the details of a log line by their descriptions. */
function describeErrors(detail: Record<string, unknown>): Record<string, unknown> {
  const described = Object.entries(detail).map(([key, value]) => [
    key,
    value instanceof Error ? describeError(value) : value,
  ]);
  return Object.fromEntries(described);
}

/** The largest depth of nested causes. */
const DEEPEST_CAUSE = 5;

type DescribedError = { type: string; code?: string; message: string; stack?: string; cause?: DescribedError };

/**
 * The fields of an error that are logged. Other fields can contain arguments of commands, requests or headers. Only unexpected errors have a
 * stack: an error with a code is described by its message.
 */
function describeError(error: Error, depth = 0): DescribedError {
  const { name, message, stack, cause } = withoutArguments(error);
  const code = (error as { code?: unknown }).code;
  const expected = (typeof code === "string" && code !== "INTERNAL") || name === "ReplyError";
  return {
    type: name,
    ...(typeof code === "string" ? { code } : {}),
    message,
    ...(expected || stack === undefined ? {} : { stack }),
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
