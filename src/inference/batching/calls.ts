import type { LabelmillError } from "../../errors.ts";
import type { Lane } from "../../schemas/names.ts";
import type { Entry } from "./length-sorted-list.ts";

/** The outcome of one item: its answer or its error. */
export type Outcome<R> = R | LabelmillError;

/** Called with the number of a call's items in a batch, the number of the batch (from 1), and these items' share of its milliseconds. */
export type OnAnswers = (count: number, batch: number, ms: number) => void;

/** Items that were added together, and the promise of their outcomes. */
export type Call<R> = {
  lane: Lane;
  addedAt: number;
  outcomes: Outcome<R>[];
  missing: number;
  resolve: (outcomes: Outcome<R>[]) => void;
  reject: (error: unknown) => void;
  onAnswers: OnAnswers | undefined;
  /** Whether it was rejected: its items need no answer. */
  isRejected: boolean;
  /** Drops the items that still wait. */
  drop?: () => void;
};

/** An item of a call. */
export type Held<T, R> = { value: T; call: Call<R>; index: number };

/** Settles a batch's items and reports to each call its share of the batch. */
export function settleAll<T, R>(
  entries: readonly Entry<Held<T, R>>[],
  answers: readonly Outcome<R>[],
  { number, ms, realCost }: { number: number; ms: number; realCost: number },
): void {
  const shares = new Map<Call<R>, { count: number; cost: number }>();
  for (const [at, { length, value }] of entries.entries()) {
    settle(value, answers[at]!);
    const share = shares.get(value.call) ?? { count: 0, cost: 0 };
    if (share.count === 0) shares.set(value.call, share);
    share.count += 1;
    share.cost += length;
  }
  for (const [call, { count, cost }] of shares) call.onAnswers?.(count, number, (ms * cost) / realCost);
}

/** Has no effect on a call that was rejected. */
function settle<T, R>({ call, index }: Held<T, R>, outcome: Outcome<R>): void {
  call.outcomes[index] = outcome;
  if (--call.missing === 0) call.resolve(call.outcomes);
}
