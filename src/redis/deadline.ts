/** The result of `work`. Rejects with an Error with the code ETIMEDOUT after `ms` milliseconds. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const error = Object.assign(new Error(`no answer within ${ms / 1000} s`), { code: "ETIMEDOUT" });
  const timer = setTimeout(() => reject(error), ms);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
