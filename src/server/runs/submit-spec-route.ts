import { z } from "zod";
import { WorkerRegistry } from "../../fleet/registry.ts";
import { TASKS } from "../../producers/runs/request.ts";
import { submitSpec } from "../../producers/runs/submit-spec.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { type WebhookTarget, WebhookTargetSchema } from "../../schemas/enrichment/target.ts";
import { RunSpecSchema } from "../../schemas/spec.ts";
import { checkTargets } from "../../webhooks/endpoints.ts";
import { type Caller, mayRead } from "../caller.ts";
import type { ServerDeps } from "../deps.ts";
import { hiddenStores } from "../label/references.ts";
import { findModel } from "../models/find-model.ts";
import { Problem } from "../problems.ts";
import { RunReader } from "./run-reader.ts";
import type { RunView } from "./run-view.ts";

/** The body of `POST /v1/runs`: a spec, and the webhooks that get the end of the run. */
export const RunBodySchema = RunSpecSchema.extend({
  results: z
    .array(WebhookTargetSchema)
    .max(10)
    .optional()
    .describe("The webhooks that get the end of the run: a declared endpoint, or a URL."),
});

/**
 * Submits a run for a caller. @param run the id of the run. A run that was submitted with it is found again
 * @throws LabelmillError as `submitSpec` and `checkTargets`; OUTPUT_LOCKED for an output that has the run of another caller
 */
export async function submitSpecRoute(body: unknown, run: string, caller: Caller, deps: ServerDeps): Promise<RunView> {
  const { spec, results } = withoutResults(body);
  checkTargets(results, deps.config);
  const { config, redis, store, s3, accepter, runIndex, stopping } = deps;
  const { owner } = caller;
  const submitted = await submitSpec(
    spec,
    {
      ...{ run, s3, results, output: store.uri, hidden: hiddenStores(deps) },
      workers: await new WorkerRegistry(redis).workers(),
      granted: config,
      sharedFiles: config.sharedFiles,
      choose: (kind, name) => findModel(deps, name, TASKS[kind]),
      settings: config,
      runs: new RunLedger(redis),
      queuePlan: (id, output) => accepter.acceptPlan({ run: id, output, owner }),
      checkFormer: async (former) => {
        const indexed = await runIndex.get(former.run);
        if (indexed ? mayRead(caller, indexed.owner) : caller.scopes.has("admin")) return;
        throw new Problem(
          409,
          "OUTPUT_LOCKED",
          "expected an output without the run of another caller: choose another one",
        );
      },
    },
    stopping,
  );
  const reader = new RunReader(deps);
  return reader.view(await reader.find(submitted.run, caller));
}

/** The spec checks all keys but `results`, which it does not have. */
function withoutResults(body: unknown): { spec: unknown; results: WebhookTarget[] } {
  if (typeof body !== "object" || body === null || !("results" in body)) return { spec: body, results: [] };
  const { results, ...spec } = body;
  const parsed = RunBodySchema.shape.results.safeParse(results);
  if (parsed.success) return { spec, results: parsed.data ?? [] };
  const { path, message } = parsed.error.issues[0]!;
  throw new Problem(400, "REQUEST_INVALID", `${["results", ...path].join(".")}: ${message}`);
}
