import { abortable } from "../../abortable.ts";

/** In which a step is to hear that it is to stop. One that waits for a file system that hangs never does. */
const HEARING_MS = 2_000;

/**
 * What `work` comes to; if `signal` aborts and `work` has not ended 2 s later, its reason, and nobody waits for `work` any more. A slice
 * may then be given back though a step of it is under way: what that step does still is harmless, since the first part stands.
 */
export async function abandonIfStuck<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const deaf = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const listen = () => {
    timer = setTimeout(() => deaf.abort(signal.reason), HEARING_MS);
  };
  if (signal.aborted) listen();
  else signal.addEventListener("abort", listen);
  try {
    return await abortable(work, deaf.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", listen);
  }
}
