import { existsSync, openSync } from "node:fs";
import { join } from "node:path";
import type { ObjectStore } from "../../../src/storage/store.ts";
import type { WorkerOptions } from "../../../src/workers/worker.ts";

/** The steps of a slice, in order, at which a test can kill the process. */
export const KILL_STEPS = [
  "taken",
  "prepared",
  "labeled",
  "put",
  "committed",
  "published",
  "file",
  "parts",
  "manifest",
  "removed",
] as const;
/** `undelivered`: between the commit and the delivery of a single with results. The slices of a run have no such step. */
export type KillStep = (typeof KILL_STEPS)[number] | "undelivered";

/** Kill the process at `step` of slice `slice`, `times` times. Files keep the count across processes. */
export type KillPoint = { step: KillStep; slice: number; times: number };

/** Default number of items in a slice. */
export const SLICE_ITEMS = 500;

/**
 * Wraps the real steps of a worker with functions that kill the process (SIGKILL: without clean-up).
 * @param evidence a folder that gets a file for each kill
 * @param held the number of items in the batcher, which shows that a slice is prepared
 * @param sliceItems the number of items in a slice of the run's only input
 */
export function killAround(
  points: readonly KillPoint[],
  evidence: string,
  held: () => number,
  sliceItems = SLICE_ITEMS,
): NonNullable<WorkerOptions["around"]> {
  const dieAt = (step: KillStep, slice: number) => {
    for (const point of points)
      if (point.step === step && point.slice === slice)
        for (let time = 0; time < point.times; time++) {
          const mark = join(evidence, `${step}-${slice}-${time}`);
          if (existsSync(mark)) continue;
          openSync(mark, "wx");
          process.kill(process.pid, "SIGKILL");
        }
  };
  return ({ steps, label }) => {
    const wrapped: typeof steps = {
      ...steps,
      openOutput: async (uri) => killInPuts(await steps.openOutput(uri), dieAt),
      adopt: async (store, job) => {
        dieAt("taken", job.slice);
        if (points.some(({ step, slice }) => step === "prepared" && slice === job.slice))
          void dieWhenPrepared(job.slice);
        return steps.adopt(store, job);
      },
      encode: (rows) => {
        dieAt("labeled", sliceOf(rows[0]!.source.record));
        return steps.encode(rows);
      },
      commit: async (job, part) => {
        dieAt("put", job.slice);
        return steps.commit(job, part);
      },
      deliver: async (job, part, attempt) => {
        dieAt("undelivered", job.slice);
        return steps.deliver(job, part, attempt);
      },
      publish: async (job, part) => {
        dieAt("committed", job.slice);
        await steps.publish(job, part);
        dieAt("published", job.slice);
      },
    };
    return { steps: wrapped, label };
  };

  async function dieWhenPrepared(slice: number): Promise<void> {
    while (held() === 0) await new Promise((next) => setImmediate(next));
    dieAt("prepared", slice);
  }

  function sliceOf(record: number): number {
    return Math.floor(record / sliceItems);
  }
}

function killInPuts(store: ObjectStore, dieAt: (step: KillStep, slice: number) => void): ObjectStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === "put")
        return async (key: string, body: Parameters<ObjectStore["put"]>[1]) => {
          await target.put(key, body);
          if (key.startsWith("_parts")) dieAt("parts", 0);
          if (key.startsWith("_manifest")) dieAt("manifest", 0);
        };
      if (name === "putIfAbsent")
        return async (key: string, body: Uint8Array) => {
          const isFirst = await target.putIfAbsent(key, body);
          if (/(^|\/)data-/.test(key)) dieAt("file", 0);
          return isFirst;
        };
      if (name === "remove")
        return async (key: string) => {
          await target.remove(key);
          dieAt("removed", 0);
        };
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
