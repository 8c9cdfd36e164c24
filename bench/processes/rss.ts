import { type Measure, unmarked } from "../report/measure.ts";
import { summarize } from "../report/rounds.ts";

const RSS_SAMPLE_MS = 250;
const MEBIBYTE = 2 ** 20;

/** Samples the memory (RSS) of this process every RSS_SAMPLE_MS until it is disposed. */
export class RssWatch implements Disposable {
  #samples: number[] = [];
  readonly #timer = setInterval(() => this.#samples.push(process.memoryUsage.rss()), RSS_SAMPLE_MS);

  /** In bytes, since the last call. */
  taken(): number[] {
    const samples = this.#samples;
    this.#samples = [];
    return samples;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** Whether memory grows over a run. @param whose "" or a prefix that ends in a blank */
export function rssMeasures(whose: string, samples: readonly number[], figure: string): Measure[] {
  const quarter = Math.floor(samples.length / 4);
  if (quarter === 0)
    throw new Error(`expected a run of more than a second, got ${samples.length} samples of its memory`);
  const highest = (at: number) => Math.max(...samples.slice(at * quarter, (at + 1) * quarter));
  const one = (value: number) => summarize([value]);
  return [
    unmarked(`${whose}highest of the second quarter, MiB`, one(highest(1) / MEBIBYTE)),
    unmarked(`${whose}highest of the last quarter, MiB`, one(highest(3) / MEBIBYTE)),
    unmarked(`${whose}last quarter ÷ second`, one(highest(3) / highest(1)), figure),
  ];
}
