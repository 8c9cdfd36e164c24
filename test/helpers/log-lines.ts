import { Writable } from "node:stream";
import { type Logger, pino } from "pino";

type Line = { level: number; msg: string } & Record<string, unknown>;

/** A log that keeps its lines in memory. */
export class LogLines {
  readonly lines: Line[] = [];
  readonly log: Logger;
  #onLine: () => void = () => {};

  constructor() {
    const stream = new Writable({
      write: (line, _encoding, done) => {
        this.lines.push(JSON.parse(String(line)));
        this.#onLine();
        done();
      },
    });
    this.log = pino({ level: "debug", base: null }, stream);
  }

  /** The matching messages of level warn or above. */
  warned(pattern: RegExp): string[] {
    return this.lines.filter(({ level, msg }) => level >= 40 && pattern.test(msg)).map(({ msg }) => msg);
  }

  /** Waits for `times` matching lines of level warn or above. */
  async until(pattern: RegExp, times = 1): Promise<void> {
    while (this.warned(pattern).length < times)
      await new Promise<void>((resolve) => {
        this.#onLine = resolve;
      });
  }
}
