import { LabelmillError } from "../../errors.ts";
import type { Task } from "../../schemas/task.ts";
import type { Model } from "../model/model.ts";
import type { Packable, Ranked } from "../sessions/batch-buffer.ts";
import type { Shape } from "../sessions/model-session.ts";
import { SessionPool } from "../sessions/session-pool.ts";
import { setupOf } from "../sessions/session-setup.ts";
import type { Device } from "./device.ts";

/** The scores and the speed of a model on a device, compared with the CPU. */
export type DeviceComparison = {
  /** Items that were labeled on both. */
  items: number;
  /** Items whose best label differs. */
  differ: number;
  /** The largest difference (0..1) between the two scores of one label of one item. */
  largest: number;
  /** The speed of each shape that fits into the device's memory. */
  rates: { shape: Shape; itemsPerSecond: number }[];
};

/** Timed runs of each shape. Their median counts. */
const RUNS = 5;

/** The length of an item in a shape. */
const LENGTH_OF: Record<Task, (item: Packable) => number> = {
  "text-classification": (tokens) => tokens.length,
  "image-classification": () => 1,
};

/**
 * Labels items on the CPU and on a device, and times the device's runs in each shape.
 * Throws MODEL_INVALID or INFERENCE_FAILED.
 * @param items as the model takes them: token ids or pixels
 * @param shapes the largest first
 * @param thread the module that the device's thread runs. Default: onnxruntime's
 */
export async function compareWithCpu(
  model: Model,
  device: Device,
  items: readonly Packable[],
  shapes: readonly Shape[],
  thread?: URL,
): Promise<DeviceComparison> {
  const all = model.labels.length;
  const lengthOf = LENGTH_OF[model.task];
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
    addItem(comparison, one.ranked[0]!, two.ranked[0]!);
  }
  for (const shape of shapes.filter(fits)) {
    const fitting = items.filter((item) => lengthOf(item) <= shape.length);
    const batch = Array.from({ length: shape.rows }, (_, at) => fitting[at % fitting.length]!);
    const times: number[] = [];
    for (let run = 0; run < RUNS; run++) times.push((await other.run(batch, shape, 1, 0)).ms);
    const ms = times.sort((a, b) => a - b)[RUNS >> 1]!;
    comparison.rates.push({ shape, itemsPerSecond: (shape.rows * 1000) / ms });
  }
  return comparison;
}

/** Items without scores (their logits are not finite) are equal if both have none, else they differ by 1. */
function addItem(comparison: DeviceComparison, one: Ranked[] | null, two: Ranked[] | null): void {
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
