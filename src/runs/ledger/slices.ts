import type { Redis } from "ioredis";
import { LabelmillError } from "../../errors.ts";
import type { Receipt } from "../../schemas/manifest.ts";
import { decodePlanned, decodeReceipt, type PlannedSlice } from "./codec.ts";
import { runKeys } from "./keys.ts";

/** The plan of a slice, and its end if it has ended. */
export type SliceRecord = PlannedSlice & {
  slice: number;
  receipt?: Receipt;
  failed?: { code: string; message: string };
};

/** The slices of a run from `from` to below `count`, in order. Reads `chunk` slices at a time. */
export async function* readSlices(
  redis: Redis,
  run: string,
  count: number,
  chunk: number,
  from = 0,
): AsyncGenerator<SliceRecord> {
  const { plan, receipts, failed } = runKeys(run);
  for (let first = from; first < count; first += chunk) {
    const fields = Array.from({ length: Math.min(chunk, count - first) }, (_, i) => String(first + i));
    const [planned, done, lost] = await Promise.all([plan, receipts, failed].map((key) => redis.hmget(key, ...fields)));
    for (let i = 0; i < fields.length; i++) {
      const entry = planned![i];
      if (!entry) throw new LabelmillError("INTERNAL", `run ${run}: slice ${first + i} of ${count} is not in the plan`);
      yield {
        slice: first + i,
        ...decodePlanned(entry),
        ...(done![i] ? { receipt: decodeReceipt(done![i]!) } : {}),
        ...(lost![i] ? { failed: JSON.parse(lost![i]!) } : {}),
      };
    }
  }
}
