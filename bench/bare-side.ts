import type { LabelKind } from "../src/cli/model-choice.ts";
import type { BareCalls, BareWay } from "./bare-process.ts";
import type { CalledProcess } from "./calls.ts";

/** A way to ask onnxruntime-node, and its items/s. */
export type Tried = { way: BareWay; rate: number };

/** Padded tokens of a batch, or images. */
const BUDGETS = { text: [256, 512, 1024, 2048], images: [1, 4, 8, 16] } as const satisfies Record<
  LabelKind,
  readonly number[]
>;
/** Each session holds a copy of the model. */
const MOST_SESSIONS = 8;

/** One session a core with one thread each, and one session with a thread a core. */
export function waysOf(kind: LabelKind, cores: number): BareWay[] {
  const layouts = [{ sessions: Math.min(cores, MOST_SESSIONS), threads: 1 }];
  if (cores > 1) layouts.push({ sessions: 1, threads: cores });
  return layouts.flatMap((layout) => BUDGETS[kind].map((budget) => ({ ...layout, budget })));
}

/** Tries each way on what is loaded. */
export async function sweep(
  bare: CalledProcess<BareCalls>,
  ways: readonly BareWay[],
  warmUpMs: number,
): Promise<Tried[]> {
  const tried: Tried[] = [];
  for (const way of ways) {
    const { items, seconds } = await bare.call("run", { way, warmUpMs, passes: 1 });
    tried.push({ way, rate: items / seconds });
  }
  return tried;
}

export function bestOf(tried: readonly Tried[]): Tried {
  return tried.reduce((best, one) => (one.rate > best.rate ? one : best));
}
