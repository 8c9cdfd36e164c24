import { WorkerRegistry } from "../../fleet/registry.ts";
import { TASKS } from "../../producers/runs/request.ts";
import { submitSpec } from "../../producers/runs/submit-spec.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { type Caller, mayRead } from "../caller.ts";
import type { ServerDeps } from "../deps.ts";
import { hiddenStores } from "../label/references.ts";
import { findModel } from "../models/find-model.ts";
import { Problem } from "../problems.ts";
import { RunReader } from "./run-reader.ts";
import type { RunView } from "./run-view.ts";

/**
 * Submits a spec for a caller. @param run the id of the run. A run that was submitted with it is found again
 * @throws LabelmillError as `submitSpec`; OUTPUT_LOCKED for an output that has the run of another caller
 */
export async function submitSpecRoute(spec: unknown, run: string, caller: Caller, deps: ServerDeps): Promise<RunView> {
  const { config, redis, store, s3, accepter, runIndex, stopping } = deps;
  const { owner } = caller;
  const submitted = await submitSpec(
    spec,
    {
      ...{ run, s3, output: store.uri, hidden: hiddenStores(deps) },
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
