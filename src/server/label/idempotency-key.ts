import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { newRunId } from "../../outputs/run-file.ts";
import type { ServerDeps } from "../deps.ts";
import { Problem } from "../problems.ts";

/** The headers of routes that submit, for the OpenAPI document. */
export const SubmitHeadersSchema = z.object({
  "idempotency-key": z
    .string()
    .optional()
    .describe("1 to 255 characters. A request with the same key and body within 24 hours gives the same run."),
});
/** The headers of routes whose rows can be waited for. */
export const LabelHeadersSchema = SubmitHeadersSchema.extend({
  prefer: z.string().optional().describe("`wait=5`: answer with the rows if they are ready in 5 seconds (RFC 7240)."),
});

/** The `Idempotency-Key` of a request. @throws Problem if it is invalid */
export function idempotencyKeyOf({ headers }: Pick<FastifyRequest, "headers">): string | undefined {
  const key = headers["idempotency-key"];
  if (key === undefined) return undefined;
  if (typeof key === "string" && /^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$/.test(key)) return key;
  throw new Problem(400, "REQUEST_INVALID", "idempotency-key: expected 1 to 255 printable characters of ASCII");
}

/**
 * The id of the run of a request: that of the first request with the same key, or a new one.
 * @param body the route and what was submitted, or its hash
 * @throws LabelmillError IDEMPOTENCY_CONFLICT if the first request with the key had another body
 */
export async function runIdOf(
  request: Pick<FastifyRequest, "headers" | "caller">,
  { idempotency }: Pick<ServerDeps, "idempotency">,
  body: string,
): Promise<string> {
  const key = idempotencyKeyOf(request);
  return key === undefined ? newRunId() : await idempotency.runOf({ owner: request.caller.owner, key, body });
}
