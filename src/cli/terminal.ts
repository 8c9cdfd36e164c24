import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** Where a command writes: results on standard output, what happens meanwhile on standard error. Colours only on a terminal. */
export class Terminal {
  readonly json: boolean;
  readonly #out: NodeJS.WriteStream;
  readonly #err: NodeJS.WriteStream;
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
    this.#out.write(`${line}\n`);
  }

  printJson(value: unknown): void {
    this.#out.write(`${JSON.stringify(value)}\n`);
  }

  /** A line about what goes on, not part of the result. */
  say(line: string): void {
    this.clearProgress();
    this.#err.write(`${line}\n`);
  }

  style(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#out });
  }

  /** One line that is written over: on a terminal only. */
  progress(line: string): void {
    if (!this.#err.isTTY) return;
    this.#err.write(`\r${line.slice(0, (this.#err.columns || 80) - 1)}\u001b[K`);
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
}
