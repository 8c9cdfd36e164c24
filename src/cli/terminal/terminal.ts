import { randomUUID } from "node:crypto";
import { styleText } from "node:util";
import { printable, printableJson, printableLines } from "../../printable.ts";

type Style = Parameters<typeof styleText>[0];

/**
 * The output of a command: results on standard output, messages on standard error. Colours only on a terminal. This is the one place that
 * makes text safe for terminals: it may come from Redis, from inputs and their names, from S3 or from the hub.
 */
export class Terminal {
  readonly json: boolean;
  readonly #out: NodeJS.WriteStream;
  readonly #err: NodeJS.WriteStream;
  /** Replaces ESC in what `style` returns. It is random for each process, so no other text can contain styles. */
  readonly #escape = randomUUID();
  #progress = "";

  constructor(json: boolean, out: NodeJS.WriteStream = process.stdout, err: NodeJS.WriteStream = process.stderr) {
    this.json = json;
    this.#out = out;
    this.#err = err;
  }

  get width(): number {
    return Math.max(40, Math.min(this.#out.columns || 100, 140));
  }

  /** Prints a line of the result. Prints nothing with --json, since its result is one value. */
  print(line = ""): void {
    if (this.json) return;
    this.clearProgress();
    this.#out.write(`${this.#clean(line)}\n`);
  }

  /** Prints the value on one line. Hidden characters are always escaped; a JSON parser returns them unchanged. */
  printJson(value: unknown): void {
    this.#out.write(`${printableJson(JSON.stringify(value))}\n`);
  }

  /** Prints a message that is not part of the result. */
  say(line: string): void {
    this.clearProgress();
    this.#err.write(`${this.#clean(line)}\n`);
  }

  /** As `say`, for text of several lines. All lines but the first are indented, so that none looks like a separate message. */
  sayLines(text: string): void {
    this.clearProgress();
    this.#err.write(`${printableLines(text).replaceAll("\n", "\n  ")}\n`);
  }

  /** Styled text for `print`. */
  style(style: Style, text: string): string {
    return styleText(style, printable(text), { stream: this.#out }).replaceAll("\u001b", this.#escape);
  }

  /** Shows a line that the next output overwrites. Only on a terminal. */
  progress(line: string): void {
    if (!this.#err.isTTY) return;
    this.#err.write(`\r${printable(line).slice(0, (this.#err.columns || 80) - 1)}\u001b[K`);
    this.#progress = line;
  }

  get progressIsLive(): boolean {
    return this.#err.isTTY === true;
  }

  clearProgress(): void {
    if (this.#progress === "") return;
    this.#err.write("\r\u001b[K");
    this.#progress = "";
  }

  #clean(line: string): string {
    return printable(line).replaceAll(this.#escape, "\u001b");
  }
}
