import pLimit from "p-limit";
import { LabelmillError } from "../errors.ts";
import { EmptyInput } from "./bytes/empty-input.ts";
import type { ExpandedInput } from "./discover/expand-inputs.ts";
import type { PassedOver } from "./discover/passed-over.ts";
import type { Source } from "./source.ts";

/** Inputs that are opened concurrently. */
const CONCURRENCY = 16;

/**
 * Opens inputs concurrently, up to 16 at a time. The sources are in the order of the inputs. After the first failure no more inputs are
 * opened; the error is that of the first input, in their order, that failed.
 */
export async function openInputs<T, S = Source>(inputs: readonly T[], open: (input: T) => Promise<S>): Promise<S[]> {
  const limit = pLimit({ concurrency: CONCURRENCY, rejectOnClear: true });
  const opening = inputs.map((input) =>
    limit(async () => {
      try {
        return await open(input);
      } catch (error) {
        limit.clearQueue();
        throw error;
      }
    }),
  );
  // Inputs are started in order, so those that were cleared from the queue are after the one that failed.
  const opened = await Promise.allSettled(opening);
  return opened.map((each) => {
    if (each.status === "rejected") throw each.reason;
    return each.value;
  });
}

/**
 * As openInputs, without inputs that have no records: they are passed over.
 * @throws LabelmillError INPUT_EMPTY if no input has records
 */
export async function openFullInputs<S>(
  inputs: readonly ExpandedInput[],
  open: (input: ExpandedInput) => Promise<S>,
  passedOver: PassedOver,
): Promise<S[]> {
  const all = await openInputs(inputs, async (input): Promise<{ source: S } | { empty: EmptyInput }> => {
    try {
      return { source: await open(input) };
    } catch (error) {
      if (error instanceof EmptyInput) return { empty: error };
      throw error;
    }
  });
  const empty = new Map(all.flatMap((each, at) => ("empty" in each ? [[inputs[at]!.name, each.empty] as const] : [])));
  for (const [name, { reason }] of empty) passedOver.add(reason, name);
  const sources = all.flatMap((each) => ("source" in each ? [each.source] : []));
  const [first] = empty.values();
  if (sources.length > 0 || first === undefined) return sources;
  if (empty.size === 1) throw first;
  throw new LabelmillError("INPUT_EMPTY", `none of the ${empty.size} inputs has records; the first: ${first.message}`);
}
