import { CORES } from "../../src/config.ts";
import type { LabelKind } from "../../src/producers/runs/request.ts";
import type { MadeInput } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { type CalledProcess, startProcess } from "../processes/calls.ts";
import { type Rate, rateOf } from "../report/rounds.ts";
import { number, type Table } from "../report/table.ts";
import type { PrepareCalls, PrepareMode } from "./prepare-process.ts";

/** Pieces at a time for each thread (tokenizer) or core (sharp). */
const DEPTHS = [1, 2, 4] as const;
const PROCESS = new URL("./prepare-process.ts", import.meta.url);
const NAMES = { text: "tokenizer pool", images: "sharp" } as const satisfies Record<LabelKind, string>;

/** The bare tokenizer pool or bare sharp in a separate process, at the best concurrency. */
export class PrepareSide implements AsyncDisposable {
  readonly #process: CalledProcess<PrepareCalls>;
  readonly #kind: LabelKind;
  readonly #tried: { mode: PrepareMode; rate: number }[] = [];

  private constructor(process: CalledProcess<PrepareCalls>, kind: LabelKind) {
    this.#process = process;
    this.#kind = kind;
  }

  /** Tries each concurrency on the items of `input`. */
  static async open(
    { model, kind, input }: { model: string; kind: LabelKind; input: MadeInput },
    { sweepSeconds }: BenchOptions,
    signal: AbortSignal,
  ): Promise<PrepareSide> {
    return startProcess<PrepareCalls, PrepareSide>(PROCESS, signal, async (process) => {
      const side = new PrepareSide(process, kind);
      await process.call("load", { model, input: input.path });
      for (const mode of modesOf(kind))
        side.#tried.push({ mode, rate: rateOf(await process.call("run", { mode, seconds: sweepSeconds / 2 })) });
      return side;
    });
  }

  /** At the best concurrency. */
  run(seconds: number): Promise<Rate> {
    const { mode } = this.#tried.reduce((best, one) => (one.rate > best.rate ? one : best));
    return this.#process.call("run", { mode, seconds });
  }

  get details(): { about: string; table: Table } {
    const pieces = this.#kind === "text" ? "slices of texts" : "pictures";
    const nameOf = ({ threads, atATime }: PrepareMode) =>
      this.#kind === "text" ? `${threads} × ${atATime}` : `${atATime}`;
    return {
      about: `Bare ${NAMES[this.#kind]}, items/s by ${this.#kind === "text" ? "threads × " : ""}number of concurrent ${pieces}:`,
      table: {
        head: ["", ...this.#tried.map(({ mode }) => nameOf(mode))],
        rows: [["items/s", ...this.#tried.map(({ rate }) => number(rate))]],
      },
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}

function modesOf(kind: LabelKind): PrepareMode[] {
  if (kind === "images")
    return [...new Set([1, CORES, 2 * CORES, 4 * CORES])].map((atATime) => ({ threads: 0, atATime }));
  const threads = [...new Set([Math.max(1, CORES - 1), CORES])];
  return threads.flatMap((each) => DEPTHS.map((depth) => ({ threads: each, atATime: depth * each })));
}
