import { LabelmillError } from "../../errors.ts";
import type { Packable, Ranked } from "../batching/packing.ts";
import type { Model } from "../model/model.ts";
import type { Device, Shape } from "../sessions/model-session.ts";
import { SessionPool } from "../sessions/session-pool.ts";
import { setupOf } from "../sessions/session-setup.ts";

/** How a model does on a device, beside the CPU. */
export type DeviceComparison = {
  /** Items that were labeled on both. */
  items: number;
  /** Of them, those whose best label is another. */
  differ: number;
  /** The largest difference of a score (0..1) of one label of one item. */
  largest: number;
  /** Of those shapes that found memory. */
  rates: { shape: Shape; itemsPerSecond: number }[];
};

/** Runs of each shape that are timed: the middle one counts. */
const RUNS = 5;

/**
 * Labels items on the CPU and on a device, and times the device's runs in each of its shapes, of which the largest comes first.
 * Throws MODEL_INVALID or INFERENCE_FAILED.
 * @param items that the model takes: token ids or pixels
 * @param thread the file that the device's thread runs, if it is not onnxruntime's
 */
export async function compareWithCpu(
  model: Model,
  device: Device,
  items: readonly Packable[],
  shapes: readonly Shape[],
  thread?: URL,
): Promise<DeviceComparison> {
  const all = model.labels.length;
  const lengthOf = (item: Packable) => (model.recipe ? 1 : item.length);
  await using open = new AsyncDisposableStack();
  const cpu = await SessionPool.start([setupOf(model, { device: "cpu", intraOpThreads: 0, warmUp: [] })]);
  open.defer(() => cpu.close());
  const other = await SessionPool.start([setupOf(model, { device, intraOpThreads: 0, warmUp: shapes })], thread);
  open.defer(() => other.close());
  const comparison: DeviceComparison = { items: items.length, differ: 0, largest: 0, rates: [] };
  const fits = ({ rows, length }: Shape) => rows * length < other.tooLarge;
  for (const item of items) {
    const shape = shapes.findLast((each) => fits(each) && each.length >= lengthOf(item));
    if (!shape) throw new LabelmillError("INFERENCE_FAILED", `${device} has no memory for ${lengthOf(item)} tokens`);
    const one = await cpu.run([item], { rows: 1, length: lengthOf(item) }, all, 0);
    const two = await other.run([item], shape, all, 0);
    add(comparison, one.ranked[0]!, two.ranked[0]!);
  }
  for (const shape of shapes.filter(fits)) {
    const longest = items.filter((item) => lengthOf(item) <= shape.length);
    const batch = Array.from({ length: shape.rows }, (_, at) => longest[at % longest.length]!);
    const times: number[] = [];
    for (let run = 0; run < RUNS; run++) times.push((await other.run(batch, shape, 1, 0)).ms);
    const ms = times.sort((a, b) => a - b)[RUNS >> 1]!;
    comparison.rates.push({ shape, itemsPerSecond: (shape.rows * 1000) / ms });
  }
  return comparison;
}

/** Logits that are not finite have no scores: on both devices alike, or as far apart as can be. */
function add(comparison: DeviceComparison, one: Ranked[] | null, two: Ranked[] | null): void {
  if (!one || !two) {
    if (one === two) return;
    comparison.differ++;
    comparison.largest = 1;
    return;
  }
  if (one[0]!.index !== two[0]!.index) comparison.differ++;
  const scores = new Map(one.map(({ index, score }) => [index, score]));
  for (const { index, score } of two)
    comparison.largest = Math.max(comparison.largest, Math.abs(score - scores.get(index)!));
}
