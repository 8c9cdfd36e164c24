import { randomUUID } from "node:crypto";
import { styleText } from "node:util";
import { printable, printableJson, printableLines } from "../../printable.ts";

type Style = Parameters<typeof styleText>[0];

/**
 * Where a command writes: results on standard output, what happens meanwhile on standard error. Colours only on a terminal. It is the one place
 * where text is cleaned for terminals: it may come from Redis, from inputs and their names, from S3 or the hub.
 */
export class Terminal {
  readonly json: boolean;
  readonly #out: NodeJS.WriteStream;
  readonly #err: NodeJS.WriteStream;
  /** Stands for ESC in what `style` returns. It is random for each process, so only our own styles pass. */
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

  /** A line of the result; nothing with --json, whose result is one value. */
  print(line = ""): void {
    if (this.json) return;
    this.clearProgress();
    this.#out.write(`${this.#clean(line)}\n`);
  }

  /** The value on one line. Hidden characters are escaped, on a terminal and elsewhere: a JSON parser returns them unchanged. */
  printJson(value: unknown): void {
    this.#out.write(`${printableJson(JSON.stringify(value))}\n`);
  }

  /** A line about what goes on, not part of the result. */
  say(line: string): void {
    this.clearProgress();
    this.#err.write(`${this.#clean(line)}\n`);
  }

  /** As `say`, of a text that may have several lines. Those after the first are indented, so that none passes for a line of ours. */
  sayLines(text: string): void {
    this.clearProgress();
    this.#err.write(`${printableLines(text).replaceAll("\n", "\n  ")}\n`);
  }

  /** For `print`. */
  style(style: Style, text: string): string {
    return styleText(style, printable(text), { stream: this.#out }).replaceAll("\u001b", this.#escape);
  }

  /** One line that is written over: on a terminal only. */
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
