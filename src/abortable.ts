/** Settles as `work` does, or rejects with the signal's reason when it aborts first: the outcome of `work` is then dropped. */
export async function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  // After an abort the outcome of the work is dropped, a failure too.
  work.catch(() => {});
  try {
    signal.throwIfAborted();
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
