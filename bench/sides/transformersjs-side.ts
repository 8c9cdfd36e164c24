import { type MadeInput, wholePasses } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { type CalledProcess, startProcess } from "../processes/calls.ts";
import { MARGIN, type Rate, rateOf } from "../report/rounds.ts";
import { number, type Table } from "../report/table.ts";
import type { TransformersjsCalls } from "./transformersjs-process.ts";

/** Concurrent jobs: transformers.js runs one after the other, so only their messages to Redis can overlap. */
const CONCURRENCIES = [1, 4, 16] as const;
const PROCESS = new URL("./transformersjs-process.ts", import.meta.url);

/** A BullMQ processor around transformers.js in a separate process, at the best concurrency. */
export class TransformersjsSide implements AsyncDisposable {
  readonly #process: CalledProcess<TransformersjsCalls>;
  readonly #perJob: number;
  readonly #tried: { concurrency: number; rate: number }[] = [];

  private constructor(process: CalledProcess<TransformersjsCalls>, perJob: number) {
    this.#process = process;
    this.#perJob = perJob;
  }

  /** @param input texts to try it on; `block` is that of its maker */
  static async open(
    start: { packages: string; model: string; perJob: number; input: MadeInput; block: number },
    { quick, sweepSeconds }: BenchOptions,
    signal: AbortSignal,
  ): Promise<TransformersjsSide> {
    const { packages, model, perJob, input, block } = start;
    return startProcess<TransformersjsCalls, TransformersjsSide>(PROCESS, signal, async (process) => {
      const side = new TransformersjsSide(process, perJob);
      await process.call("start", { packages, model });
      const first = await process.call("run", { input: input.path, items: perJob, perJob, concurrency: 1 });
      const items = wholePasses(Math.max(perJob, Math.ceil(rateOf(first) * sweepSeconds)), block);
      for (const concurrency of quick ? CONCURRENCIES.slice(1, 2) : CONCURRENCIES) {
        const rate = rateOf(await process.call("run", { input: input.path, items, perJob, concurrency }));
        side.#tried.push({ concurrency, rate });
      }
      return side;
    });
  }

  /** Runs as many of the items as take about `seconds`. */
  run({ path, count }: MadeInput, block: number, seconds: number): Promise<Rate> {
    const { concurrency, rate } = this.#tried.reduce((best, one) => (one.rate > best.rate ? one : best));
    const items = Math.min(count, wholePasses(Math.ceil(rate * seconds * MARGIN), block));
    return this.#process.call("run", { input: path, items, perJob: this.#perJob, concurrency });
  }

  get details(): { about: string; table: Table } {
    return {
      about: "transformers.js behind BullMQ, items/s by number of concurrent jobs:",
      table: {
        head: ["", ...this.#tried.map(({ concurrency }) => String(concurrency))],
        rows: [["items/s", ...this.#tried.map(({ rate }) => number(rate))]],
      },
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}
