import type { InputMaker, MadeInput } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { type CalledProcess, startProcess } from "../processes/calls.ts";
import { rateOf } from "../report/rounds.ts";
import type { PipelineCalls, PipelineMode, PipelineRun, PipelineStart } from "./pipeline-process.ts";

/** Items of the first run, which determines the size of the next. */
const FIRST_ITEMS = 64;
/** Runs of the warm-up, each about as long as a round: until the engine has found its budget, but no more than these. */
const MOST_WARM_UPS = { full: 10, quick: 1 } as const;
const PROCESS = new URL("./pipeline-process.ts", import.meta.url);

/** @param run whether the engine has settled after it */
export async function untilSettled(quick: boolean, run: () => Promise<boolean>): Promise<void> {
  const most = MOST_WARM_UPS[quick ? "quick" : "full"];
  for (let runs = 0, settled = false; runs < most && !settled; runs++) settled = await run();
}

/** The whole pipeline in a separate process. */
export class PipelineSide implements AsyncDisposable {
  readonly #process: CalledProcess<PipelineCalls>;
  #last: { mode: PipelineMode; settled: boolean } | undefined;

  private constructor(process: CalledProcess<PipelineCalls>) {
    this.#process = process;
  }

  static async open(start: PipelineStart, signal: AbortSignal): Promise<PipelineSide> {
    return startProcess<PipelineCalls, PipelineSide>(PROCESS, signal, async (process) => {
      await process.call("start", start);
      return new PipelineSide(process);
    });
  }

  /** @returns items/s at its end */
  async warmUp(maker: InputMaker, { seconds, quick }: BenchOptions): Promise<number> {
    let run = await this.run(await maker.make(FIRST_ITEMS));
    await untilSettled(quick, async () => {
      run = await this.run(await maker.make(Math.ceil(rateOf(run) * seconds)));
      return run.settled;
    });
    return rateOf(run);
  }

  async run({ path, count }: MadeInput): Promise<PipelineRun> {
    const run = await this.#process.call("run", { input: path });
    this.#last = run;
    if (run.items === count && run.errors === 0) return run;
    throw new Error(`expected ${count} labeled items, got ${run.items}, ${run.errors} of them in error`);
  }

  /** How it ran last, in words. */
  get about(): string {
    const { mode, settled } = this.#last!;
    const { threads, intraOpThreads } = mode.layout;
    const found = Object.entries(mode.budgets).map(([longest, budget]) =>
      longest === "1" ? String(budget) : `${budget} (up to ${longest} tokens)`,
    );
    const budgets = settled ? `found budgets of ${found.join(", ")}` : "had **not found its budgets** yet";
    return `ran ${threads} × ${intraOpThreads} and ${budgets}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}
