import type { MadeInput } from "../inputs/inputs.ts";
import { type CalledProcess, startProcess } from "../processes/calls.ts";
import { type Rate, rateOf } from "../report/rounds.ts";
import { number, type Table } from "../report/table.ts";
import type { StagesCalls } from "./stages-process.ts";

/** Numbers of concurrent slices that are tried. */
const DEPTHS = [1, 2, 4, 8] as const;
const PROCESS = new URL("./stages-process.ts", import.meta.url);

/** The stages of the pipeline without what connects them, in a separate process, at the best concurrency. */
export class StagesSide implements AsyncDisposable {
  readonly #process: CalledProcess<StagesCalls>;
  readonly #sliceItems: number;
  readonly #tried: { atATime: number; rate: number }[] = [];

  private constructor(process: CalledProcess<StagesCalls>, sliceItems: number) {
    this.#process = process;
    this.#sliceItems = sliceItems;
  }

  /** Tries each concurrency on `sample`. */
  static async open(
    { model, folder, sliceItems, sample }: { model: string; folder: string; sliceItems: number; sample: MadeInput },
    signal: AbortSignal,
  ): Promise<StagesSide> {
    return startProcess<StagesCalls, StagesSide>(PROCESS, signal, async (process) => {
      const side = new StagesSide(process, sliceItems);
      await process.call("start", { model, folder });
      // Warm-up, so that the first measurement is as warm as the last.
      await side.#at(DEPTHS[0], sample);
      for (const atATime of DEPTHS) side.#tried.push({ atATime, rate: rateOf(await side.#at(atATime, sample)) });
      return side;
    });
  }

  /** At the best concurrency. */
  run(input: MadeInput): Promise<Rate> {
    return this.#at(this.#tried.reduce((best, one) => (one.rate > best.rate ? one : best)).atATime, input);
  }

  get details(): { about: string; table: Table } {
    return {
      about: "The stages alone, rows/s by number of concurrent slices:",
      table: {
        head: ["", ...this.#tried.map(({ atATime }) => String(atATime))],
        rows: [["rows/s", ...this.#tried.map(({ rate }) => number(rate))]],
      },
    };
  }

  async #at(atATime: number, { path, count }: MadeInput): Promise<Rate> {
    const run = await this.#process.call("run", { input: path, atATime, sliceItems: this.#sliceItems });
    if (run.items === count) return run;
    throw new Error(`expected ${count} rows of the stages, got ${run.items}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}
