import { STATUS_CODES } from "node:http";
import type { FastifyError } from "fastify";
import { z } from "zod";
import { type ErrorCode, LabelmillError } from "../errors.ts";

/** The statuses of errors. A code that only rows or commands have is listed too, since a route may throw it. */
const STATUSES: Record<ErrorCode, number> = {
  EMPTY_TEXT: 422,
  TEXT_TIMEOUT: 422,
  RECORD_INVALID: 422,
  RECORD_TOO_LARGE: 422,
  IMAGE_NOT_FOUND: 422,
  IMAGE_INVALID: 422,
  IMAGE_TOO_LARGE: 422,
  IMAGE_TIMEOUT: 422,
  URL_REFUSED: 422,
  FETCH_FAILED: 422,
  FETCH_UNAVAILABLE: 422,
  FETCH_TOO_LARGE: 422,
  NOT_GRANTED: 422,
  NOT_FINITE: 422,
  ITEM_FAILED: 422,
  ITEM_CRASHED_WORKER: 422,
  REQUEST_INVALID: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  ROUTE_NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  BODY_TOO_LARGE: 413,
  CONTENT_TYPE: 415,
  RATE_LIMITED: 429,
  BACKLOG_FULL: 429,
  WAIT_EXCEEDED: 503,
  STOPPING: 503,
  IDEMPOTENCY_CONFLICT: 422,
  ACCEPT_UNCONFIRMED: 503,
  USAGE: 400,
  CONFIG_INVALID: 500,
  INPUT_NOT_FOUND: 422,
  INPUT_UNREADABLE: 422,
  INPUT_EMPTY: 400,
  INPUT_CHANGED: 422,
  INPUT_CODEC: 422,
  COLUMN_NOT_FOUND: 422,
  COLUMN_AMBIGUOUS: 422,
  MODEL_NOT_FOUND: 404,
  MODEL_INVALID: 422,
  MODEL_HASH: 422,
  MODEL_FORBIDDEN: 422,
  MODEL_UNAVAILABLE: 503,
  DEVICE_UNAVAILABLE: 500,
  OUTPUT_FOREIGN: 409,
  OUTPUT_LOCKED: 409,
  STATE_LOCKED: 409,
  OUTPUT_NOT_RESUMABLE: 409,
  SPEC_DIFFERS: 409,
  NO_WORKER: 404,
  WEBHOOK_UNKNOWN: 400,
  WEBHOOK_UNSIGNED: 400,
  LOCAL_PATH_REMOTE_WORKER: 422,
  JOB_INVALID: 422,
  RUN_UNKNOWN: 404,
  RUN_FAILED: 409,
  SPEC_INVALID: 400,
  TOO_MANY_ERRORS: 409,
  TOO_MANY_FAILURES: 409,
  SLICE_TIMEOUT: 409,
  SLICE_CRASHED_WORKER: 409,
  PART_MISMATCH: 409,
  STORE_FAILED: 503,
  STORE_NOT_FOUND: 404,
  REDIS_UNREACHABLE: 503,
  REDIS_UNFIT: 503,
  REDIS_MISSING: 503,
  REDIS_FULL: 503,
  INFERENCE_FAILED: 503,
  ABORTED: 503,
  INTERNAL: 500,
  EVENT_INVALID: 400,
  EVENT_UNSIGNED: 403,
  EVENT_REPLAYED: 403,
  QUEUE_FAILED: 503,
};

/** Seconds after which a caller may try again, where nothing better is known. */
const RETRY_SECONDS = 5;

/** An error that is answered with a status and headers of its own. */
export class Problem extends LabelmillError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: ErrorCode, detail: string, headers: Record<string, string> = {}) {
    super(code, detail);
    this.status = status;
    this.headers = headers;
  }
}

/** The body of every error, as RFC 9457 describes it. */
export const ProblemSchema = z.object({
  type: z.literal("about:blank"),
  title: z.string().describe("The meaning of the status."),
  status: z.int().min(400).max(599),
  detail: z.string().describe("What was expected, what was got, and how to fix it."),
  code: z.string().describe("The stable error code."),
  error: z
    .string()
    .optional()
    .describe("The detail again, where clients of Hugging Face read it. Only on their routes."),
  estimated_time: z.number().optional().describe("Retry-After, in seconds, for the same clients."),
});

export type Answer = { status: number; headers: Record<string, string>; body: z.infer<typeof ProblemSchema> };

/** The answer for an error. An unexpected error is answered without its message, which may have content. */
export function answerOf(error: unknown): Answer {
  if (error instanceof Problem) return answer(error.status, error.code, error.message, error.headers);
  if (error instanceof LabelmillError && error.code !== "INTERNAL")
    return answer(STATUSES[error.code], error.code, error.message);
  return ofFastify(error) ?? answer(500, "INTERNAL", "an unexpected error: the log of the server has the details");
}

/** The same answer for clients of the Hugging Face protocol. */
export function forHuggingFace({ status, headers, body }: Answer): Answer {
  const wait = headers["retry-after"];
  const estimate = wait === undefined ? {} : { estimated_time: Number(wait) };
  return { status, headers, body: { ...body, error: body.detail, ...estimate } };
}

function answer(
  status: number,
  code: ErrorCode,
  detail: string,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  const wait: Record<string, string> = status === 503 ? { "retry-after": String(RETRY_SECONDS) } : {};
  return {
    status,
    headers: { ...wait, ...headers },
    body: { type: "about:blank", title: STATUS_CODES[status] ?? "Error", status, detail, code },
  };
}

/** The errors of Fastify and of its plugins that a request causes. Their own messages may repeat parts of the request. */
const DETAILS: Record<string, string> = {
  FST_ERR_CTP_INVALID_JSON_BODY: "expected JSON in the body, got something else",
  FST_ERR_CTP_EMPTY_JSON_BODY: "expected JSON in the body, got an empty body",
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: "the body does not have the length of content-length",
  FST_ERR_BAD_URL: "the path has an invalid escape",
};

function ofFastify(error: unknown): Answer | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code = "", statusCode: status = 500, validation, validationContext } = error as Partial<FastifyError> & Error;
  if (validation) return answer(400, "REQUEST_INVALID", invalid(validation[0], validationContext));
  if (error.name === "ReplyError") return ofRedis(error.message);
  if (status === 413)
    return answer(413, "BODY_TOO_LARGE", "the body is larger than the limit of this route: send fewer items at a time");
  if (status === 415 || status === 406)
    return answer(415, "CONTENT_TYPE", "expected a content type that this route accepts, such as application/json");
  if (status >= 400 && status < 500)
    return answer(status, "REQUEST_INVALID", DETAILS[code] ?? "the request is invalid");
  return undefined;
}

/** An error reply of a Redis that answers, but does no work at present. */
function ofRedis(reply: string): Answer | undefined {
  const word = reply.split(" ", 1)[0]!;
  if (word === "OOM") return answer(503, "REDIS_FULL", "Redis is out of memory: try again later");
  if (/^(LOADING|READONLY|MASTERDOWN|BUSY|MISCONF|NOREPLICAS|CLUSTERDOWN|TRYAGAIN)$/.test(word))
    return answer(503, "REDIS_UNREACHABLE", `Redis takes no commands at present (${word}): try again later`);
  return undefined;
}

/** Names the field and what was expected. The value is not repeated: it is content. */
function invalid(issue: { instancePath?: string; message?: string } | undefined, place: string | undefined): string {
  const path = (issue?.instancePath ?? "").replace(/^\//, "").replaceAll("/", ".");
  return `${[place === "body" ? "" : place, path].filter(Boolean).join(" ") || "body"}: ${issue?.message ?? "invalid"}`;
}
