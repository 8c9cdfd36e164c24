import rateLimit from "@fastify/rate-limit";
import { KEY_PREFIX } from "../../schemas/names.ts";
import type { App, ServerDeps } from "../deps.ts";
import { Problem } from "../problems.ts";

const WINDOW_MS = 60_000;

/** Counts the requests of each key in Redis, for all servers together. Register it before the routes. */
export function limitRate(app: App, { config, redis }: ServerDeps): void {
  app.register(rateLimit, {
    max: config.rateLimit,
    timeWindow: WINDOW_MS,
    redis,
    nameSpace: `${KEY_PREFIX}:rate:`,
    keyGenerator: ({ caller }) => caller.key ?? caller.owner,
    // Where no key is needed, all callers are one user of this machine.
    allowList: ({ caller }) => caller.key === undefined,
    errorResponseBuilder: (_request, { max }) =>
      new Problem(429, "RATE_LIMITED", `expected at most ${max} requests of a key in a minute: wait for Retry-After`),
  });
}
