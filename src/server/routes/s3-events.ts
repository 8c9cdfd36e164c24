import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { LabelmillError } from "../../errors.ts";
import { parseJson } from "../../events/parse/message.ts";
import { Access } from "../access.ts";
import type { App, ServerDeps } from "../deps.ts";
import { admit } from "../limits/admit.ts";
import { Problem } from "../problems.ts";

const PATH = "/v1/events/s3";
/** Senders put at most 1 MB into a message. A caller without a key may send that much. */
const MAX_BYTES = 1_000_000;
const JSON_TYPES = ["application/json", "application/cloudevents+json", "application/cloudevents-batch+json"];
/** Errors of the message itself. A sender that repeats it gets the same answer. */
const OF_MESSAGE: ReadonlySet<string> = new Set(["EVENT_INVALID", "EVENT_UNSIGNED", "EVENT_REPLAYED"]);

const HandledSchema = z.object({
  accepted: z.int().nonnegative().describe("Events whose objects are labeled, also if they were accepted before."),
  ignored: z.record(z.string(), z.int().positive()).describe("Other events: counts by reason."),
});

/** Events of buckets. */
export function s3EventRoutes(app: App, deps: ServerDeps): void {
  const access = new Access(deps.config.host, deps.keys);
  app.register(async (scoped) => {
    const routes = scoped as App;
    readBodies(routes);
    routes.post(
      PATH,
      {
        // The signature of SNS stands for a key: it cannot send one.
        config: { scope: null },
        bodyLimit: Math.min(deps.config.bodyLimit, MAX_BYTES),
        onRequest: async (request) => {
          if (!isOfSns(request)) request.caller = await access.callerOf(request, "submit");
        },
        schema: {
          summary: "Label the objects that events of a bucket name",
          description:
            "The body is a notification of S3, MinIO, RustFS or Ceph, an event of EventBridge or of a SeaweedFS filer, CloudEvents 1.0, or a message of SNS with one of these. Needs the scope submit; a message of SNS needs a signature instead.",
          tags: ["events"],
          consumes: JSON_TYPES,
          body: z.unknown(),
          response: { 200: HandledSchema },
        },
      },
      async (request) => {
        const { body, headers } = request;
        try {
          for (const model of deps.events.models) await admit(deps, model);
          return await (isOfSns(request) ? deps.events.receiveSns(body) : deps.events.receive(body, headers));
        } catch (error) {
          throw retryLater(error);
        }
      },
    );
    validationRoute(routes);
  });
}

/** Parses JSON in the types of the senders. SNS sends JSON as plain text. */
function readBodies(routes: App): void {
  routes.removeAllContentTypeParsers();
  routes.addContentTypeParser([...JSON_TYPES, "text/plain"], { parseAs: "string" }, (request, body, done) => {
    // A web page may send text/plain to another site without asking, but not this header.
    if (request.headers["content-type"]?.startsWith("text/plain") && !isOfSns(request)) {
      done(new Problem(415, "CONTENT_TYPE", `expected one of the content types ${JSON_TYPES.join(", ")}`));
      return;
    }
    try {
      done(null, parseJson(String(body)));
    } catch (error) {
      done(error as Error);
    }
  });
}

/** Whether a request says that it is of SNS, and signed. */
function isOfSns({ headers }: FastifyRequest): boolean {
  return headers["x-amz-sns-message-type"] !== undefined && headers["x-amz-sns-rawdelivery"] !== "true";
}

/** Senders repeat a message after a 503, and some do not after a status below 500. */
function retryLater(error: unknown): unknown {
  if (!(error instanceof LabelmillError) || error instanceof Problem || OF_MESSAGE.has(error.code)) return error;
  return error.code === "INTERNAL" ? error : new Problem(503, error.code, error.message, { "retry-after": "5" });
}

/** The handshake of CloudEvents webhooks, before a sender such as Azure Event Grid sends events. These need a key. */
function validationRoute(routes: App): void {
  routes.options(PATH, { config: { scope: null }, schema: { hide: true } }, async (request, reply) => {
    const origin = request.headers["webhook-request-origin"];
    if (typeof origin !== "string" || !/^[A-Za-z0-9.-]{1,253}$/.test(origin))
      throw new Problem(400, "EVENT_INVALID", "expected the host name of a sender in WebHook-Request-Origin");
    return reply
      .headers({ allow: "OPTIONS, POST", "webhook-allowed-origin": origin, "webhook-allowed-rate": "*" })
      .send();
  });
}
