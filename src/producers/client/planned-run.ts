import { LabelmillError } from "../../errors.ts";
import { readManifest } from "../../outputs/output.ts";
import { readPart } from "../../rows/part.ts";
import type { RunLedger } from "../../runs/ledger/ledger.ts";
import { partKey } from "../../schemas/names.ts";
import type { Row } from "../../schemas/row.ts";
import type { RunState } from "../../schemas/run.ts";
import type { ReadableStore } from "../../storage/store.ts";
import type { Run, RunResult } from "./run.ts";

/** A submission of several slices: a run with a manifest, which `labelmill verify` checks. */
export class PlannedRun implements Run {
  readonly run: string;
  readonly output: string;
  readonly #store: ReadableStore;
  readonly #ended: Promise<RunState>;
  readonly #ledger: Pick<RunLedger, "progress">;

  /** @param ended settles at the end of the run */
  constructor(run: string, store: ReadableStore, ended: Promise<RunState>, ledger: Pick<RunLedger, "progress">) {
    this.run = run;
    this.#ledger = ledger;
    this.output = store.uri;
    this.#store = store;
    this.#ended = ended;
    // A caller that does not wait need not handle the failure.
    ended.catch(() => {});
  }

  async wait(): Promise<RunResult> {
    const state = await this.#ended;
    const { run, output } = this;
    if (state === "cancelled") return { run, state, output, rows: 0, errors: 0, labels: {} };
    const stopped = state === "failed" ? await this.#ledger.progress(run) : undefined;
    // A run that was stopped has no manifest.
    if (stopped?.reason) {
      const { rows, errors, failed: failedSlices, failure: failed } = stopped;
      return { run, state: "failed", output, rows, errors, labels: {}, ...(failed ? { failed } : {}), failedSlices };
    }
    const manifest = await readManifest(this.#store);
    if (!manifest) throw new LabelmillError("INTERNAL", `run ${run} ended as ${state} without a manifest`);
    const { totals, labels, failed, failedSlices } = manifest;
    return {
      run,
      state: manifest.state as RunResult["state"],
      output,
      rows: totals.labeled + totals.errors,
      errors: totals.errors,
      labels,
      ...(failed[0] ? { failed: { code: failed[0].code, message: failed[0].message }, failedSlices } : {}),
    };
  }

  async *rows(): AsyncGenerator<Row> {
    const { state, failed } = await this.wait();
    if (state === "failed" || state === "cancelled")
      throw new LabelmillError(
        "RUN_FAILED",
        `the run ${this.run} is ${state}${failed ? `: ${failed.code}: ${failed.message}` : ""}`,
      );
    const { totals } = (await readManifest(this.#store))!;
    for (let slice = 0; slice < totals.slices; slice++)
      yield* readPart(await this.#store.get(partKey(this.run, slice))).rows;
  }
}
