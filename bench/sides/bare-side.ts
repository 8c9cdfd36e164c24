import { CORES } from "../../src/config.ts";
import type { LabelKind } from "../../src/producers/runs/request.ts";
import type { MadeInput } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { type CalledProcess, startProcess } from "../processes/calls.ts";
import { type Rate, rateOf } from "../report/rounds.ts";
import { number, type Table } from "../report/table.ts";
import type { BareCalls, BareInput, BareMode } from "./bare-process.ts";

/** Padded tokens of a batch, or images. */
const BUDGETS = { text: [256, 512, 1024, 2048], images: [1, 4, 8, 16] } as const satisfies Record<
  LabelKind,
  readonly number[]
>;
/** Each session holds a copy of the model. */
const MOST_SESSIONS = 8;
const WARM_UP_MS = 1000;
const QUICK_WARM_UP_MS = 250;
const PROCESS = new URL("./bare-process.ts", import.meta.url);

type BareOptions = { model: string; kind: LabelKind; warmUpMs: number };
type Tried = { mode: BareMode; rate: number };

/** onnxruntime-node alone in a separate process, at its fastest combination of sessions, threads and batch size. */
export class BareSide implements AsyncDisposable {
  readonly #process: CalledProcess<BareCalls>;
  readonly #options: BareOptions;
  readonly #tried: Tried[] = [];

  private constructor(process: CalledProcess<BareCalls>, options: BareOptions) {
    this.#process = process;
    this.#options = options;
  }

  /** Tries each mode on the items of `input`. */
  static async open(
    { model, kind, input }: { model: string; kind: LabelKind; input: MadeInput },
    { quick }: BenchOptions,
    signal: AbortSignal,
  ): Promise<BareSide> {
    return startProcess<BareCalls, BareSide>(PROCESS, signal, async (process) => {
      const side = new BareSide(process, { model, kind, warmUpMs: quick ? QUICK_WARM_UP_MS : WARM_UP_MS });
      await side.load(input);
      for (const mode of modesOf(kind, quick)) side.#tried.push({ mode, rate: rateOf(await side.#run(mode)) });
      return side;
    });
  }

  get best(): Tried {
    return this.#tried.reduce((best, one) => (one.rate > best.rate ? one : best));
  }

  async load({ path, count }: MadeInput): Promise<BareInput> {
    const input = await this.#process.call("load", { model: this.#options.model, input: path });
    if (input.items !== count) throw new Error(`expected ${count} items in ${path}, read ${input.items}`);
    return input;
  }

  /** Runs all loaded items, or the next `items` of them, in the best mode. */
  run(items?: number): Promise<Rate> {
    return this.#run(this.best.mode, items);
  }

  get about(): string {
    const { sessions, threads, budget } = this.best.mode;
    return `${sessions} × ${threads} and ${this.#options.kind === "text" ? `${budget} padded tokens` : `${budget} image${budget === 1 ? "" : "s"}`}`;
  }

  get details(): { about: string; table: Table } {
    const budgets = [...new Set(this.#tried.map(({ mode }) => mode.budget))];
    const layouts = Map.groupBy(this.#tried, ({ mode }) => `${mode.sessions} × ${mode.threads}`);
    const unit = this.#options.kind === "text" ? "padded tokens" : "images";
    return {
      about: `onnxruntime-node alone, items/s by ${unit} per batch:`,
      table: {
        head: ["sessions × threads", ...budgets.map(String)],
        rows: [...layouts].map(([layout, tried]) => [layout, ...tried.map(({ rate }) => number(rate))]),
      },
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }

  #run(mode: BareMode, items?: number): Promise<Rate> {
    return this.#process.call("run", {
      mode,
      warmUpMs: this.#options.warmUpMs,
      ...(items === undefined ? {} : { items }),
    });
  }
}

/** One session a core with one thread each, and one session with a thread a core; the sizes in the middle are enough to see that it runs. */
function modesOf(kind: LabelKind, quick: boolean): BareMode[] {
  const layouts = [{ sessions: Math.min(CORES, MOST_SESSIONS), threads: 1 }];
  if (CORES > 1) layouts.push({ sessions: 1, threads: CORES });
  const budgets = quick ? BUDGETS[kind].slice(1, 3) : BUDGETS[kind];
  return layouts.flatMap((layout) => budgets.map((budget) => ({ ...layout, budget })));
}
