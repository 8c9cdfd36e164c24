import { printableLines } from "./printable.ts";

/**
 * The stable codes of all errors that a user or a caller can get. `retryable` says whether the same work may succeed later with nothing
 * changed (an outage), or will always fail in the same way (bad input).
 */
const CODES = {
  // Errors of an item. It becomes a row in error, and no other item is affected.
  EMPTY_TEXT: { retryable: false },
  TEXT_TIMEOUT: { retryable: false },
  RECORD_INVALID: { retryable: false },
  RECORD_TOO_LARGE: { retryable: false },
  IMAGE_NOT_FOUND: { retryable: false },
  IMAGE_INVALID: { retryable: false },
  IMAGE_TOO_LARGE: { retryable: false },
  IMAGE_TIMEOUT: { retryable: true },
  URL_REFUSED: { retryable: false },
  FETCH_FAILED: { retryable: false },
  FETCH_UNAVAILABLE: { retryable: true },
  FETCH_TOO_LARGE: { retryable: false },
  NOT_GRANTED: { retryable: false },
  INPUT_CHANGED: { retryable: false },
  NOT_FINITE: { retryable: false },
  ITEM_FAILED: { retryable: false },
  ITEM_CRASHED_WORKER: { retryable: true },
  // Errors of a request to the HTTP server that no command has.
  REQUEST_INVALID: { retryable: false },
  UNAUTHORIZED: { retryable: false },
  FORBIDDEN: { retryable: false },
  ROUTE_NOT_FOUND: { retryable: false },
  METHOD_NOT_ALLOWED: { retryable: false },
  CONTENT_TYPE: { retryable: false },
  BODY_TOO_LARGE: { retryable: false },
  RATE_LIMITED: { retryable: true },
  BACKLOG_FULL: { retryable: true },
  WAIT_EXCEEDED: { retryable: true },
  STOPPING: { retryable: true },
  IDEMPOTENCY_CONFLICT: { retryable: false },
  ACCEPT_UNCONFIRMED: { retryable: true },
  // Errors that stop a command before anything is queued.
  USAGE: { retryable: false },
  CONFIG_INVALID: { retryable: false },
  INPUT_NOT_FOUND: { retryable: false },
  INPUT_UNREADABLE: { retryable: false },
  INPUT_EMPTY: { retryable: false },
  INPUT_CODEC: { retryable: false },
  COLUMN_NOT_FOUND: { retryable: false },
  COLUMN_AMBIGUOUS: { retryable: false },
  MODEL_NOT_FOUND: { retryable: false },
  MODEL_INVALID: { retryable: false },
  MODEL_HASH: { retryable: false },
  MODEL_FORBIDDEN: { retryable: false },
  MODEL_UNAVAILABLE: { retryable: true },
  DEVICE_UNAVAILABLE: { retryable: false },
  OUTPUT_FOREIGN: { retryable: false },
  OUTPUT_LOCKED: { retryable: false },
  STATE_LOCKED: { retryable: false },
  OUTPUT_NOT_RESUMABLE: { retryable: false },
  SPEC_DIFFERS: { retryable: false },
  NO_WORKER: { retryable: false },
  WEBHOOK_UNKNOWN: { retryable: false },
  WEBHOOK_UNSIGNED: { retryable: false },
  LOCAL_PATH_REMOTE_WORKER: { retryable: false },
  // Errors that fail a job and, after the last attempt, its slice.
  JOB_INVALID: { retryable: false },
  RUN_UNKNOWN: { retryable: false },
  RUN_FAILED: { retryable: false },
  SPEC_INVALID: { retryable: false },
  TOO_MANY_ERRORS: { retryable: false },
  TOO_MANY_FAILURES: { retryable: false },
  SLICE_TIMEOUT: { retryable: true },
  SLICE_CRASHED_WORKER: { retryable: false },
  PART_MISMATCH: { retryable: false },
  STORE_FAILED: { retryable: true },
  STORE_NOT_FOUND: { retryable: false },
  REDIS_UNREACHABLE: { retryable: true },
  REDIS_UNFIT: { retryable: false },
  REDIS_MISSING: { retryable: false },
  REDIS_FULL: { retryable: true },
  INFERENCE_FAILED: { retryable: true },
  ABORTED: { retryable: true },
  INTERNAL: { retryable: false },
  // Errors of a message with bucket events.
  EVENT_INVALID: { retryable: false },
  EVENT_UNSIGNED: { retryable: false },
  EVENT_REPLAYED: { retryable: false },
  QUEUE_FAILED: { retryable: true },
} as const satisfies Record<string, { retryable: boolean }>;

/**
 * A stable error code. docs/errors.md says what each one means and how to fix it.
 *
 * @useDeclaredType
 */
export type ErrorCode = keyof typeof CODES;

/** Every error code, in the order of their groups in docs/errors.md. */
export const ERROR_CODES = Object.keys(CODES) as readonly ErrorCode[];

/**
 * Every error that labelmill throws for a known reason. `message` says what was expected, what was
 * got and how to fix it. Control characters in it are replaced, so it is safe to print. `cause` is
 * the error behind it, if there is one.
 *
 * @hideconstructor
 */
export class LabelmillError extends Error {
  /** Always `LabelmillError`. */
  override readonly name = "LabelmillError";
  /** The error code. */
  readonly code: ErrorCode;
  /** Whether the same call may succeed later with nothing changed, as after an outage. */
  readonly retryable: boolean;

  /** @param options `cause`: the error behind it. `retryable`: a value other than the code's own */
  constructor(code: ErrorCode, message: string, options: { cause?: unknown; retryable?: boolean } = {}) {
    super(
      printableLines(message),
      options.cause === undefined ? undefined : { cause: withoutArguments(options.cause) },
    );
    this.code = code;
    this.retryable = options.retryable ?? CODES[code].retryable;
  }
}

/** Redis repeats the arguments of an unknown command in its reply. */
const REPEATED_ARGUMENTS = /,? with args beginning with:.*$/s;

/**
 * Removes the arguments of the Redis command from an error, and returns the error. ioredis adds them, and they can be texts, jobs or a
 * password. Used for the causes of our errors and for the log.
 */
export function withoutArguments<T>(error: T): T {
  if (!(error instanceof Error)) return error;
  const replied = error as Error & { command?: { name?: unknown; args?: unknown } };
  if (typeof replied.command !== "object" || replied.command === null) return error;
  replied.command = { name: replied.command.name };
  const message = replied.message.replace(REPEATED_ARGUMENTS, "");
  if (message !== replied.message) {
    replied.stack = replied.stack?.replace(replied.message, message) ?? "";
    replied.message = message;
  }
  return error;
}

/** The error itself if it is a LabelmillError, otherwise a LabelmillError with `code` and the error as its cause. */
export function toLabelmillError(error: unknown, code: ErrorCode = "INTERNAL"): LabelmillError {
  return error instanceof LabelmillError ? error : new LabelmillError(code, messageOf(error), { cause: error });
}

/** The message of any thrown value. For an AggregateError without a message, the messages of its errors. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "") return error.errors.map(messageOf).join("; ");
  return error instanceof Error ? withoutArguments(error).message : String(error);
}

/** The system's error code (`ENOENT`, `ECONNRESET`, …) of a thrown value, if it has one. */
export function systemCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === "string" ? code : undefined;
}
