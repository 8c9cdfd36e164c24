import { LabelmillError, messageOf } from "../../errors.ts";
import { DeviceError } from "../devices/device-error.ts";
import type { Outcome } from "./calls.ts";
import type { Entry } from "./length-sorted-list.ts";

/** The answers to a batch, one for each item and in their order, and the milliseconds of the run. */
export type Answers<R> = { answers: (R | Error)[]; ms: number };

/**
 * Runs a batch. One that fails is halved until the failing items are alone. The halves run one after the other.
 * @param run runs entries; `longest` is the largest of their lengths
 * @param onDeviceError called when the device failed on `count` entries
 * @throws LabelmillError if it is retryable or ABORTED: no item is at fault; INFERENCE_FAILED if the device failed on a single item
 */
export async function runOrHalve<E extends Entry<unknown>, R>(
  entries: readonly E[],
  run: (entries: readonly E[], longest: number) => Promise<Answers<R>>,
  onDeviceError: (error: DeviceError, count: number, longest: number) => void,
): Promise<{ answers: Outcome<R>[]; ms: number }> {
  const longest = entries.reduce((most, { length }) => Math.max(most, length), 0);
  let ran: Answers<R>;
  try {
    ran = await run(entries, longest);
  } catch (error) {
    if (error instanceof LabelmillError && (error.retryable || error.code === "ABORTED")) throw error;
    if (error instanceof DeviceError) {
      onDeviceError(error, entries.length, longest);
      if (entries.length === 1) throw deviceFailed(error);
    }
    if (entries.length === 1) return { answers: [toItemError(error)], ms: 0 };
    const half = entries.length >>> 1;
    const first = await runOrHalve(entries.slice(0, half), run, onDeviceError);
    const second = await runOrHalve(entries.slice(half), run, onDeviceError);
    return { answers: [...first.answers, ...second.answers], ms: first.ms + second.ms };
  }
  const { answers, ms } = ran;
  if (answers.length !== entries.length) {
    throw new LabelmillError("INTERNAL", `expected ${entries.length} answers for a batch, got ${answers.length}`);
  }
  return { answers: answers.map((answer) => (answer instanceof Error ? toItemError(answer) : answer)), ms };
}

function deviceFailed(error: DeviceError): LabelmillError {
  return new LabelmillError("INFERENCE_FAILED", `the device failed on a single item: ${error.message}`, {
    cause: error,
  });
}

function toItemError(error: unknown): LabelmillError {
  if (error instanceof LabelmillError) return error;
  return new LabelmillError("ITEM_FAILED", `the model failed on this item: ${messageOf(error)}`, { cause: error });
}
