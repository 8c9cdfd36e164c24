import { Agent } from "undici";
import { guardedLookup, type Resolve } from "./guard.ts";

/**
 * The connections of a client whose URLs come from others. Every name is looked up through the guard, once a connection.
 * @param options.resolve the name resolver. Default: the system's
 */
export function guardedAgent(options: {
  allowPrivate: boolean;
  connectTimeoutMs: number;
  resolve?: Resolve | undefined;
}): Agent {
  return new Agent({
    allowH2: false,
    // The time limit of a try covers both. These two would only limit the silence between bytes.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: {
      lookup: guardedLookup(options.allowPrivate, options.resolve),
      timeout: options.connectTimeoutMs,
      // Set explicitly, because the environment (NODE_TLS_REJECT_UNAUTHORIZED) could turn it off.
      rejectUnauthorized: true,
    },
  });
}
