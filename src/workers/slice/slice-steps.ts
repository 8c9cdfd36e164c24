import type { Logger } from "../../logger.ts";
import { kindsIn } from "../../rows/kept-column-kinds.ts";
import { encodePart } from "../../rows/part.ts";
import type { Compactions } from "../../runs/compactions.ts";
import type { Devices, RowError, RunLedger } from "../../runs/ledger/ledger.ts";
import { MAX_FIRST_ERRORS } from "../../runs/ledger/scripts.ts";
import { LogThrottle } from "../../runs/queues/log-throttle.ts";
import type { SingleEnds } from "../../runs/single-results.ts";
import type { Job } from "../../schemas/job.ts";
import { PARTS_FOLDER } from "../../schemas/names.ts";
import type { Row } from "../../schemas/row.ts";
import type { Deliverer } from "../deliver/deliver.ts";
import { committedEvent, type ResultEvents } from "../result-events.ts";
import { existingPart } from "./existing-part.ts";
import type { OutputStores } from "./output-stores.ts";
import type { OutputSteps, StoredPart } from "./process-slice.ts";

/** Longer messages of a run's first errors are cut, in UTF-16 code units. */
const MAX_FIRST_ERROR_LENGTH = 300;

export type StepDeps = {
  outputs: OutputStores;
  ledger: RunLedger;
  singles: SingleEnds;
  compactions: Compactions;
  events: ResultEvents;
  deliverer: Pick<Deliverer, "deliver">;
  /** Queues the job that closes a run. All slices of the run must have ended. */
  finalize: (run: string, output: string) => Promise<void>;
  /** The devices on which this worker runs its models. */
  devices: Devices;
  log: Logger;
};

/** The steps of a slice as they run in production, without `label`. */
export function sliceSteps(deps: StepDeps): OutputSteps {
  const { outputs, ledger, singles, events } = deps;
  const strays = new LogThrottle();
  return {
    openOutput: (uri) => outputs.open(uri),
    adopt: existingPart,
    encode: encodePart,
    commit: (job, part) => commit(job, part, deps, strays),
    deliver: (job, part, attempt) => deps.deliverer.deliver(job, part, attempt),
    publish: async (job, part) => {
      const event = committedEvent(job, part);
      // The caller of a single waits: notify it before the results queue.
      if (job.single) await singles.set(event);
      else await ledger.announce(job.run);
      if (job.events !== "none") await events.publish(event);
    },
  };
}

async function commit(job: Job, part: StoredPart, deps: StepDeps, strays: LogThrottle): Promise<"done" | "stray"> {
  const { ledger, compactions, finalize, devices, log } = deps;
  // The part is the only record of a single.
  if (job.single) return "done";
  if (job.key.startsWith(PARTS_FOLDER)) await compactions.noteColumns(job.run, kindsIn(part.rows));
  const labeling = {
    devices: part.own ? devices : {},
    inferMs: part.inferMs ?? 0,
    firstErrors: firstErrors(part.rows),
  };
  const end = await ledger.commit(job.run, job.slice, part, labeling);
  if (end.complete) await finalize(job.run, job.output);
  if (end.outcome === "committed" || end.outcome === "again") return "done";
  strays.log(`${job.run} ${end.outcome}`, 1, (slices) =>
    log.warn(
      { run: job.run, slices, outcome: end.outcome },
      "Redis does not count these slices; their parts stay in the store",
    ),
  );
  return "stray";
}

function firstErrors(rows: readonly Row[]): RowError[] {
  const found: RowError[] = [];
  for (const row of rows) {
    if (found.length === MAX_FIRST_ERRORS) break;
    if (!("error" in row)) continue;
    const { code, message } = row.error;
    const { uri, record } = row.source;
    found.push({ uri, record, code, message: message.slice(0, MAX_FIRST_ERROR_LENGTH) });
  }
  return found;
}
