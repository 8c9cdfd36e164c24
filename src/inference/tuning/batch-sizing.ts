import type { Task } from "../../schemas/task.ts";
import { SIMILAR } from "../batching/batch.ts";
import type { PaddingSide } from "../model/tokenizer/config.ts";
import type { Shape } from "../sessions/model-session.ts";
import type { BudgetOptions } from "./batch-budgets.ts";
import { EXACT_SHAPES, FixedShapes, type Shapes } from "./batch-shapes.ts";

/** How the batches of a model are sized on a kind of device. */
export type Sizing = {
  shapes: Shapes;
  budgets: Omit<BudgetOptions, "from" | "trusted">;
  /** The least part that the shortest item of a batch is of the longest. */
  similar: number;
  /** What is run before the first item comes, the largest first. */
  warmUp: readonly Shape[];
};

export type SizingOptions = {
  task: Task;
  dtype: string;
  kind: "cpu" | "cuda";
  /** On which side short texts are filled up. */
  paddingSide?: PaddingSide;
  /** The most tokens that the model takes: it has no positions for padding beyond them. None: images, or it does not matter. */
  longest?: number | undefined;
  /** Padded tokens of a batch, or images; none: it is searched for. */
  budget?: number | undefined;
  /** Where the search begins. */
  start?: number | undefined;
};

/** Upper bounds of the lengths that share a budget, in tokens. */
const TEXT_BUCKETS = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192] as const;
/** Those above are run when they come: few models take such texts. */
const LONGEST_WARMED = 512;
/** Padded tokens: more of them take gigabytes and gain nothing. */
const MOST_TOKENS = 65_536;
/** Images of a CPU's batch: it runs for a second or two, in which nothing that is more urgent gets in between. */
const MOST_IMAGES = 32;
/** Rows of a CUDA batch of texts: few, as each is a shape of its own. */
const CUDA_ROWS = [1, 4, 16, 64, 256] as const;
const CUDA_IMAGES = [8, 64] as const;

/** On mixed lengths 512 tokens were the fastest on the CPU, and eight images are the least that keep a core as busy as it gets. */
const STARTS = {
  cpu: { "text-classification": 512, "image-classification": 8 },
  cuda: { "text-classification": 4096, "image-classification": 64 },
} as const satisfies Record<SizingOptions["kind"], Record<Task, number>>;

/** @throws RangeError if a budget is no positive number */
export function sizingOf(options: SizingOptions): Sizing {
  const { task, kind, dtype } = options;
  // A dynamically quantized model scales what an item gets by its whole batch: alone it gets the same each time.
  const budget = options.budget ?? (dtype === "q8" ? 1 : undefined);
  const start = budget ?? options.start ?? STARTS[kind][task];
  if (!(start >= 1)) throw new RangeError(`expected a budget of at least 1, got ${start}`);
  const text = task === "text-classification";
  const buckets = text ? textBuckets(options.longest) : [1];
  // Where batches are asked for all the same, at least padding is no part of what decides. On the left it moves a text's positions,
  // which the CPU, where any shape is as good as another, can do without.
  const unpadded = dtype === "q8" || (kind === "cpu" && options.paddingSide === "left");
  const similar = text && unpadded ? 1 : SIMILAR;
  if (kind === "cpu") {
    const most = text ? MOST_TOKENS : MOST_IMAGES;
    const sizesOf = (bucket: number) => (budget === undefined ? doubling(bucket, most) : [budget]);
    return { shapes: EXACT_SHAPES, budgets: { sizesOf, buckets, start }, similar, warmUp: [] };
  }
  const rows = text ? CUDA_ROWS : imageRows(budget);
  const most = budget ?? (text ? MOST_TOKENS : Number.POSITIVE_INFINITY);
  const sizesOf = (bucket: number) => {
    const warmed = rows.map((each) => each * bucket).filter((size, at) => at === 0 || size <= most);
    return budget === undefined ? warmed : warmed.slice(-1);
  };
  const warmUp = buckets
    .filter((length) => length <= LONGEST_WARMED)
    .flatMap((length) =>
      rows.filter((each, at) => at === 0 || each * length <= most).map((each) => ({ rows: each, length })),
    )
    .sort((a, b) => b.rows * b.length - a.rows * a.length);
  return { shapes: new FixedShapes(buckets, rows), budgets: { sizesOf, buckets, start }, similar, warmUp };
}

function textBuckets(longest: number | undefined): readonly number[] {
  return longest === undefined ? TEXT_BUCKETS : [...TEXT_BUCKETS.filter((bucket) => bucket < longest), longest];
}

/** At most two sizes: each new one costs a search for the fastest convolutions. */
function imageRows(budget: number | undefined): readonly number[] {
  if (budget === undefined) return CUDA_IMAGES;
  const [small] = CUDA_IMAGES;
  return budget > small ? [small, budget] : [budget];
}

function doubling(from: number, most: number): number[] {
  const sizes = [from];
  while (sizes.at(-1)! * 2 <= most) sizes.push(sizes.at(-1)! * 2);
  return sizes;
}
