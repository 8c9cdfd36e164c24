/** A try failed for a reason that the next try may not meet. The message says what was got instead of an answer. */
export class TransientError extends Error {
  /** The shortest wait before the next try that the server asked for, in milliseconds. */
  readonly retryAfterMs: number;

  constructor(message: string, options: { retryAfterMs?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }
}
