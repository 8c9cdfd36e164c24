import type { DeviceKind } from "../../schemas/device.ts";
import type { Task } from "../../schemas/task.ts";
import { SIMILAR } from "../batching/batch.ts";
import type { Model } from "../model/model.ts";
import { readTokenLimits } from "../model/token-limits.ts";
import type { PaddingSide } from "../model/tokenizer/config.ts";
import type { Shape } from "../sessions/model-session.ts";
import type { BudgetOptions } from "./batch-budgets.ts";
import { type BatchShapes, EXACT_SHAPES, FixedShapes } from "./batch-shapes.ts";

/** How the batches of a model are sized on a kind of device. */
export type Sizing = {
  shapes: BatchShapes;
  budgets: Omit<BudgetOptions, "from" | "trusted">;
  /** The least ratio (0..1) of the shortest to the longest item of a batch. */
  similar: number;
  /** Shapes to run before the first item, the largest first. */
  warmUp: readonly Shape[];
};

export type SizingOptions = {
  task: Task;
  dtype: string;
  kind: DeviceKind;
  /** The side on which short texts are padded. */
  paddingSide?: PaddingSide;
  /** The most tokens that the model takes: padding must not exceed its positions. Default: no limit. */
  longest?: number | undefined;
  /** Padded tokens of a batch, or images. Default: searched for. */
  budget?: number | undefined;
  /** Where the search begins. Default: a value for the task and the device. */
  start?: number | undefined;
};

/** The options with the budget and the start of the search determined. */
type Request = SizingOptions & { start: number };

/** Upper bounds, in tokens, of the lengths that share a budget. */
const TEXT_BUCKETS = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192] as const;
/** Longer buckets are not warmed up: few models take such texts. */
const LONGEST_WARMED = 512;
/** Padded tokens of a batch. Larger batches take gigabytes and gain nothing. */
const MAX_TOKENS = 65_536;
/** Images of a batch on the CPU. It runs for a second or two, and more urgent items wait meanwhile. */
const MAX_IMAGES = 32;
/** Rows of the text shapes on a GPU: few, since each shape takes a warm-up. */
const GPU_TEXT_ROWS = [1, 4, 16, 64, 256] as const;
const GPU_IMAGE_ROWS = [8, 64] as const;

/** How a task's batches are measured. Costs are padded tokens or images. */
type TaskSizing = {
  /** Upper bounds of the lengths that share a budget, in rising order. */
  buckets: (longest: number | undefined) => readonly number[];
  /** Whether items differ in length, so that a batch may contain padding. */
  hasPadding: boolean;
  /** Where the search for the budget begins. */
  start: Record<DeviceKind, number>;
  /** The largest budget. */
  most: Record<DeviceKind, number>;
  /** Rows of the fixed shapes. */
  rows: (budget: number | undefined) => readonly number[];
};

const TASKS: Record<Task, TaskSizing> = {
  "text-classification": {
    buckets: textBuckets,
    hasPadding: true,
    // 512 tokens were the fastest on the CPU for mixed lengths.
    start: { cpu: 512, cuda: 4096 },
    most: { cpu: MAX_TOKENS, cuda: MAX_TOKENS },
    rows: () => GPU_TEXT_ROWS,
  },
  "image-classification": {
    buckets: () => [1],
    hasPadding: false,
    // Eight images are the fewest that fully use a CPU core.
    start: { cpu: 8, cuda: 64 },
    most: { cpu: MAX_IMAGES, cuda: Number.POSITIVE_INFINITY },
    rows: imageRows,
  },
};

/** How each kind of device runs batches. */
type DeviceSizing = {
  /** Whether padding may exceed the longest item, so that the model's limit of tokens matters. */
  usesTokenLimit: boolean;
  size: (request: Request) => Sizing;
};

const DEVICES: Record<DeviceKind, DeviceSizing> = {
  cpu: { usesTokenLimit: false, size: sizeExactly },
  cuda: { usesTokenLimit: true, size: sizeByFixedShapes },
};

/** The longest item of a task's models; undefined if items have no length. */
const LONGEST: Record<Task, (dir: string) => Promise<number | undefined>> = {
  "text-classification": async (dir) => (await readTokenLimits(dir)).maxTokens,
  "image-classification": async () => undefined,
};

/** The sizing of a model's batches on a kind of device. Throws MODEL_INVALID for a broken tokenizer configuration. */
export async function sizeModel(
  { task, dtype, dir, paddingSide }: Model,
  kind: DeviceKind,
  limits: Pick<SizingOptions, "budget" | "start"> = {},
): Promise<Sizing> {
  const longest = DEVICES[kind].usesTokenLimit ? await LONGEST[task](dir) : undefined;
  return sizingOf({ task, dtype, kind, paddingSide, longest, ...limits });
}

/** @throws RangeError if the budget is not a positive number */
export function sizingOf(options: SizingOptions): Sizing {
  const { task, kind, dtype } = options;
  // A dynamically quantized model scales its activations by the whole batch. Alone, an item always gets the same answer.
  const budget = options.budget ?? (dtype === "q8" ? 1 : undefined);
  const start = budget ?? options.start ?? TASKS[task].start[kind];
  if (!(start >= 1)) throw new RangeError(`expected a budget of at least 1, got ${start}`);
  return DEVICES[kind].size({ ...options, budget, start });
}

/** Batches run in the shape that they have: there is nothing to warm up. */
function sizeExactly({ task, kind, dtype, paddingSide, longest, budget, start }: Request): Sizing {
  const { buckets, most } = TASKS[task];
  const sizesOf = (bucket: number) => (budget === undefined ? doubling(bucket, most[kind]) : [budget]);
  // Padding on the left moves a text's positions. Where every shape is equally fast, batches can do without padding.
  const similar = similarOf(task, dtype === "q8" || paddingSide === "left");
  return { shapes: EXACT_SHAPES, budgets: { sizesOf, buckets: buckets(longest), start }, similar, warmUp: [] };
}

/** Batches are padded to a small set of shapes, which are warmed up. */
function sizeByFixedShapes({ task, kind, dtype, longest, budget, start }: Request): Sizing {
  const sizing = TASKS[task];
  const buckets = sizing.buckets(longest);
  const rows = sizing.rows(budget);
  const most = budget ?? sizing.most[kind];
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
  const similar = similarOf(task, dtype === "q8");
  return {
    shapes: new FixedShapes(buckets, rows, LONGEST_WARMED),
    budgets: { sizesOf, buckets, start },
    similar,
    warmUp,
  };
}

/** @param unpadded whether padding would change answers: a batch then takes only items of one length */
function similarOf(task: Task, unpadded: boolean): number {
  return TASKS[task].hasPadding && unpadded ? 1 : SIMILAR;
}

function textBuckets(longest: number | undefined): readonly number[] {
  return longest === undefined ? TEXT_BUCKETS : [...TEXT_BUCKETS.filter((bucket) => bucket < longest), longest];
}

/** At most two sizes: for each new one the GPU searches for its fastest convolutions. */
function imageRows(budget: number | undefined): readonly number[] {
  if (budget === undefined) return GPU_IMAGE_ROWS;
  const [small] = GPU_IMAGE_ROWS;
  return budget > small ? [small, budget] : [budget];
}

function doubling(from: number, most: number): number[] {
  const sizes = [from];
  while (sizes.at(-1)! * 2 <= most) sizes.push(sizes.at(-1)! * 2);
  return sizes;
}
