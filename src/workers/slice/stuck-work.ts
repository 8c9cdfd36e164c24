import { abortable } from "../../abortable.ts";

/** Work that has not ended this long after the abort is stuck, for example in a file system that hangs. */
const STUCK_AFTER_ABORT_MS = 2_000;

/**
 * Settles as `work` does. If `signal` aborts and `work` has not ended 2 s later, rejects with the signal's reason and
 * abandons the work. The slice may then be given back although a step of it is still running: whatever that step still
 * does is harmless, because the first part wins.
 */
export async function abandonIfStuck<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const stuck = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const startTimer = () => {
    timer = setTimeout(() => stuck.abort(signal.reason), STUCK_AFTER_ABORT_MS);
  };
  if (signal.aborted) startTimer();
  else signal.addEventListener("abort", startTimer);
  try {
    return await abortable(work, stuck.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", startTimer);
  }
}
