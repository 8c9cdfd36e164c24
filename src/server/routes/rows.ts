import { Readable } from "node:stream";
import { z } from "zod";
import { RunIdSchema } from "../../schemas/job.ts";
import type { Row } from "../../schemas/row.ts";
import type { App, ServerDeps } from "../deps.ts";
import { RowsReader } from "../runs/rows-page.ts";
import { RunReader } from "../runs/run-reader.ts";
import { urlsOf } from "../runs/run-view.ts";

/** The header of the cursor of the next page, for clients that do not parse `Link`. */
const CURSOR_HEADER = "labelmill-next-cursor";

/** `GET /v1/runs/{run}/rows`: rows as JSON lines. */
export function rowRoutes(app: App, deps: ServerDeps): void {
  app.get(
    "/v1/runs/:run/rows",
    {
      config: { scope: "read" },
      schema: {
        summary: "The rows of a run, as JSON lines",
        description: `One row in each line, in the order of the items. A run in progress gives the rows before its first unfinished slice. \`Link\` (rel="next") and \`${CURSOR_HEADER}\` have the next page; without them the run has ended and has no more rows.`,
        tags: ["runs"],
        params: z.object({ run: RunIdSchema }),
        querystring: z.strictObject({
          cursor: z.string().max(100).optional(),
          limit: z.coerce.number().int().min(1).max(10_000).default(1_000),
        }),
        response: { 200: { description: "The rows.", content: { "application/jsonl": { schema: z.string() } } } },
      },
    },
    async (request, reply) => {
      const { cursor, limit } = request.query;
      const reader = new RunReader(deps);
      const known = await reader.find(request.params.run, request.caller);
      const { rows, next } = await new RowsReader(reader, deps).page(known, cursor, limit);
      if (next !== undefined)
        reply.headers({
          link: `<${urlsOf(known.run).rowsUrl}?cursor=${next}&limit=${limit}>; rel="next"`,
          [CURSOR_HEADER]: next,
        });
      reply.type("application/jsonl");
      // One part is read at a time, as fast as the client reads.
      return reply.send(Readable.from(lines(rows), { objectMode: false }) as never);
    },
  );
}

async function* lines(pages: AsyncIterable<readonly Row[]>): AsyncGenerator<Buffer> {
  for await (const rows of pages)
    if (rows.length > 0) yield Buffer.from(`${rows.map((row) => JSON.stringify(row)).join("\n")}\n`);
}
