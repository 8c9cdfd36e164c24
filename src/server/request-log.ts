import type { App, ServerDeps } from "./deps.ts";

/**
 * Logs each request when it is answered or aborted: no path, query, header or body, which may have keys, signatures or content. The route is
 * its pattern.
 */
export function logRequests(app: App, { log }: ServerDeps): void {
  app.addHook("onRequest", (request, reply, next) => {
    if (log.isLevelEnabled("info")) {
      const startedAt = performance.now();
      reply.raw.once("close", () => {
        const { method, routeOptions, caller } = request;
        const detail = {
          ...{ method, route: routeOptions.url ?? "unknown", status: reply.raw.statusCode },
          ms: Math.round((performance.now() - startedAt) * 10) / 10,
          ...(caller?.key === undefined ? {} : { key: caller.key }),
        };
        if (reply.raw.writableFinished) log.info(detail, "request");
        else log.info(detail, "request aborted by the client");
      });
    }
    next();
  });
}

/** The details of an unexpected error for the log. The messages of parsers repeat what they parse, so they are omitted. */
export function describeUnexpected(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { thrown: typeof error };
  if (error.name !== "SyntaxError" && error.name !== "ZodError") return { err: error };
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return { type: error.name, stack: frames.join("\n") };
}
