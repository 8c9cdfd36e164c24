import { Writable } from "node:stream";
import { type Logger, pino } from "pino";

type Line = { level: number; msg: string } & Record<string, unknown>;

/** A log in memory. */
export class LogLines {
  readonly lines: Line[] = [];
  readonly log: Logger;
  #heard: () => void = () => {};

  constructor() {
    const stream = new Writable({
      write: (line, _encoding, done) => {
        this.lines.push(JSON.parse(String(line)));
        this.#heard();
        done();
      },
    });
    this.log = pino({ level: "debug", base: null }, stream);
  }

  /** The messages that match, at warn or above. */
  warned(pattern: RegExp): string[] {
    return this.lines.filter(({ level, msg }) => level >= 40 && pattern.test(msg)).map(({ msg }) => msg);
  }

  /** Settles when a line at warn or above matches, `times` of them. */
  async until(pattern: RegExp, times = 1): Promise<void> {
    while (this.warned(pattern).length < times)
      await new Promise<void>((heard) => {
        this.#heard = heard;
      });
  }
}
