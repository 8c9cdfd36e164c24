import { Writable } from "node:stream";
import { styleText } from "node:util";
import { type Logger as PinoLogger, pino } from "pino";

export type Logger = PinoLogger;

/**
 * The log: JSON lines on standard error, or short human lines where that is a terminal. Never secrets (addresses are
 * logged with their passwords hidden, by whoever writes them), never a text's content at info level or above.
 */
export function createLogger(level: string, terminal: boolean): Logger {
  const options = { level, base: null, redact: { paths: ["password", "*.password", "url"], remove: true } };
  return terminal ? pino(options, humanLines()) : pino(options, pino.destination({ dest: 2, sync: true }));
}

const LEVELS: Record<number, string> = { 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal" };

function humanLines(): Writable {
  return new Writable({
    write(line, _encoding, done) {
      const { level, time: _time, msg, err, ...rest } = JSON.parse(String(line));
      const details = Object.entries(rest).map(
        ([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
      );
      const text = [LEVELS[level] ?? level, msg, ...details, err?.message].filter(Boolean).join(" ");
      process.stderr.write(
        `${styleText(level >= 50 ? "red" : level >= 40 ? "yellow" : "dim", text, { stream: process.stderr })}\n`,
        done,
      );
    },
  });
}
