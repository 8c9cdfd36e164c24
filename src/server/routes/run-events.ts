import { z } from "zod";
import { RunIdSchema } from "../../schemas/job.ts";
import type { App, ServerDeps } from "../deps.ts";
import { EventStream } from "../runs/event-stream.ts";
import { RunReader } from "../runs/run-reader.ts";
import { eventOf, watchRun } from "../runs/watch-run.ts";

/** One event of the stream. */
const EventSchema = z.object({
  event: z.enum(["progress", "end", "stopping"]),
  data: z.string().describe("The run, as JSON. For `stopping`, its id alone."),
  id: z.string().optional(),
});

/** `GET /v1/runs/{run}/events`: the progress of a run as server-sent events. */
export function runEventRoutes(app: App, deps: ServerDeps): void {
  app.get(
    "/v1/runs/:run/events",
    {
      config: { scope: "read" },
      schema: {
        summary: "The progress of a run, as server-sent events",
        description:
          "The events `progress` and `end` have the run as their data. The stream ends after `end`, or after `stopping` when the server stops. A client that has read `end` gets 204.",
        tags: ["runs"],
        params: z.object({ run: RunIdSchema }),
        headers: z.object({ "last-event-id": z.string().max(100).optional() }),
        produces: ["text/event-stream"],
        response: {
          200: { description: "The events.", content: { "text/event-stream": { schema: EventSchema } } },
          204: z.null().describe("The client has read the end of the run."),
        },
      },
    },
    async (request, reply) => {
      const reader = new RunReader(deps);
      const known = await reader.find(request.params.run, request.caller);
      const lastId = request.headers["last-event-id"];
      const now = eventOf(await reader.view(known));
      if (now.event === "end" && now.id === lastId) return reply.code(204).send(null);
      reply.hijack();
      const headers = Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)]);
      const stream = new EventStream(reply.raw, Object.fromEntries(headers));
      await watchRun(known, reader, stream, lastId, deps).catch((error: unknown) => {
        // The answer has begun: the client connects again.
        deps.log.warn({ run: known.run, err: error }, "event stream ended by an error");
        reply.raw.destroy();
      });
    },
  );
}
