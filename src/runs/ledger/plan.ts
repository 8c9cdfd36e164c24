import type { Redis } from "ioredis";
import { type PassedOverReport, PassedOverSchema, sumPassedOver } from "../../schemas/input.ts";
import type { Range } from "../../schemas/manifest.ts";
import { type RunState, RunStateSchema } from "../../schemas/run.ts";
import type { Split } from "../../schemas/split.ts";
import { encodePlanned } from "./codec.ts";
import { runKeys } from "./keys.ts";

/** What is noted for a slice before it is queued. `passedOver`: reports on the inputs, by number, that begin in this slice. */
export type SlicePlan = {
  slice: number;
  ranges: readonly Range[];
  splits?: readonly Split[] | undefined;
  passedOver?: readonly { input: number; report: PassedOverReport }[] | undefined;
};

/**
 * Notes slices, and the place at which planning continues, in one transaction. The report on an input is a separate field. So a run that is
 * planned again from any place counts nothing twice and loses nothing.
 * @returns the run's state; undefined if Redis no longer knows the run
 */
export async function planSlices(
  redis: Redis,
  run: string,
  slices: readonly SlicePlan[],
  itemsSoFar: number,
  next: object | undefined,
): Promise<RunState | undefined> {
  const keys = runKeys(run);
  const fields = slices.flatMap(({ slice, ranges, splits }) => [
    String(slice),
    encodePlanned(splits ? { ranges, splits } : { ranges }),
  ]);
  const passedOver = slices.flatMap((slice) =>
    (slice.passedOver ?? []).flatMap(({ input, report }) => [String(input), JSON.stringify(report)]),
  );
  const transaction = redis
    .multi()
    .hset(keys.plan, ...fields)
    .hset(keys.run, "items", itemsSoFar, ...(next ? ["next", JSON.stringify(next)] : []));
  if (passedOver.length > 0) transaction.hset(keys.passedOver, ...passedOver);
  const answers = await transaction.hget(keys.run, "state").exec();
  return RunStateSchema.optional().parse(answers?.at(-1)?.[1] ?? undefined);
}

/** The sum of the reports on all inputs, in the order of the inputs. */
export async function readPassedOver(redis: Redis, run: string): Promise<PassedOverReport> {
  const found = Object.entries(await redis.hgetall(runKeys(run).passedOver));
  found.sort(([a], [b]) => Number(a) - Number(b));
  return sumPassedOver(found.map(([, report]) => PassedOverSchema.parse(JSON.parse(report))));
}
