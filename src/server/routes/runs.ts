import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { controlRun, type RunAction } from "../../producers/runs/control.ts";
import { submitRetry } from "../../producers/runs/retry-errors.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { RunIdSchema } from "../../schemas/job.ts";
import type { App, ServerDeps } from "../deps.ts";
import { runIdOf, SubmitHeadersSchema } from "../label/idempotency-key.ts";
import { Problem } from "../problems.ts";
import { type KnownRun, RunReader } from "../runs/run-reader.ts";
import { RunViewSchema } from "../runs/run-view.ts";
import { RunBodySchema, submitSpecRoute } from "../runs/submit-spec-route.ts";

const params = z.object({ run: RunIdSchema });

/** The routes of runs, except their rows and events. */
export function runRoutes(app: App, deps: ServerDeps): void {
  submitRoute(app, deps);
  listRoute(app, deps);
  readRoute(app, deps);
  for (const action of ["cancel", "pause", "resume"] as const) controlRoute(app, deps, action);
  retryRoute(app, deps);
}

function submitRoute(app: App, deps: ServerDeps): void {
  app.post(
    "/v1/runs",
    {
      config: { scope: "submit" },
      schema: {
        summary: "Submit a run of a spec",
        description:
          "The spec is that of `labelmill run submit`, and may have `results`. Inputs and the output must be granted to the workers.",
        tags: ["runs"],
        headers: SubmitHeadersSchema,
        body: RunBodySchema,
        response: { 202: RunViewSchema.describe("The run is accepted, and is not lost.") },
      },
      // The submission checks the spec: it names a wrong key and the nearest one.
      validatorCompiler: () => (value) => ({ value }),
    },
    async (request, reply) => {
      const run = await runIdOf(request, deps, `runs:${JSON.stringify(request.body)}`);
      const view = await submitSpecRoute(request.body, run, request.caller, deps);
      reply.code(202).header("location", view.url);
      return view;
    },
  );
}

function listRoute(app: App, deps: ServerDeps): void {
  app.get(
    "/v1/runs",
    {
      config: { scope: "read" },
      schema: {
        summary: "The runs of the key, the newest first",
        description:
          "Singles of the last 2 days and runs of the last 30. A key with the scope `admin` gets those of all keys.",
        tags: ["runs"],
        querystring: z.strictObject({
          cursor: z.string().max(200).optional().describe("The `cursor` of the page before."),
          limit: z.coerce.number().int().min(1).max(500).default(100),
        }),
        response: {
          200: z.object({
            runs: z.array(RunViewSchema),
            cursor: z.string().optional().describe("Of the next page. Omitted on the last page."),
          }),
        },
      },
    },
    async (request) => {
      const { caller } = request;
      const owner = caller.scopes.has("admin") ? undefined : caller.owner;
      const { runs, cursor } = await deps.runIndex.list({ owner, ...request.query });
      const reader = new RunReader(deps);
      const views = await Promise.all(runs.map((run) => reader.view(run)));
      return { runs: views, ...(cursor === undefined ? {} : { cursor }) };
    },
  );
}

function readRoute(app: App, deps: ServerDeps): void {
  app.get(
    "/v1/runs/:run",
    {
      config: { scope: "read" },
      schema: { summary: "A run", tags: ["runs"], params, response: { 200: RunViewSchema } },
    },
    async (request) => {
      const reader = new RunReader(deps);
      return reader.view(await reader.find(request.params.run, request.caller));
    },
  );
}

const SUMMARIES: Record<RunAction, string> = {
  cancel: "End a run that is not finished. Its finished parts stay",
  pause: "Start no more slices of a run. Running slices finish",
  resume: "Continue a paused run",
};

function controlRoute(app: App, deps: ServerDeps, action: RunAction): void {
  app.post(
    `/v1/runs/:run/${action}`,
    {
      config: { scope: "submit" },
      preHandler: refuseBody,
      schema: {
        summary: SUMMARIES[action],
        tags: ["runs"],
        params,
        response: {
          200: RunViewSchema.extend({
            changed: z.boolean().describe("Whether the run was in a state that allows this."),
          }),
        },
      },
    },
    async (request) => {
      const reader = new RunReader(deps);
      const known = plannedOnly(await reader.find(request.params.run, request.caller));
      const { done } = await controlRun(action, known.run, new RunLedger(deps.redis));
      return { ...(await reader.view(known)), changed: done };
    },
  );
}

function retryRoute(app: App, deps: ServerDeps): void {
  app.post(
    "/v1/runs/:run/retry-errors",
    {
      config: { scope: "submit" },
      preHandler: refuseBody,
      schema: {
        summary: "Label the rows in error of a finished run again, as a new run",
        tags: ["runs"],
        params,
        response: { 202: RunViewSchema.describe("The new run. Its output is within that of the run.") },
      },
    },
    async (request, reply) => {
      const reader = new RunReader(deps);
      const { caller } = request;
      const known = plannedOnly(await reader.find(request.params.run, caller));
      const { owner = caller.owner } = known;
      const { run } = await submitRetry(known.output, known.run, {
        s3: deps.s3,
        queuePlan: (id, output) => deps.accepter.acceptPlan({ run: id, output, owner }),
      });
      const view = await reader.view(await reader.find(run, caller));
      reply.code(202).header("location", view.url);
      return view;
    },
  );
}

/** Refuses a body, whose content would have no effect. */
async function refuseBody({ body }: Pick<FastifyRequest, "body">): Promise<void> {
  const isEmpty = body === undefined || body === null || (typeof body === "object" && Object.keys(body).length === 0);
  if (!isEmpty) throw new Problem(400, "REQUEST_INVALID", "body: expected none, got one with fields");
}

/** @throws Problem for a submission of one slice, which is one job */
function plannedOnly(known: KnownRun): KnownRun {
  if (known.kind === "run") return known;
  throw new Problem(
    409,
    "RUN_FAILED",
    `expected a run of a spec, got ${known.run}, whose items are one job: it cannot be paused, cancelled or retried`,
  );
}
