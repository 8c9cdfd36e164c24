import { LabelmillError } from "../../errors.ts";
import { getIfExists, readManifest, readRunFile } from "../../outputs/output.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { failedReason, singleStates } from "../../runs/queues/job-states.ts";
import type { IndexedRun } from "../../runs/run-index.ts";
import { partEnd, type SingleEnd, SingleEnds } from "../../runs/single-results.ts";
import { AcceptedSchema } from "../../schemas/enrichment/accepted.ts";
import { ACCEPTED_FOLDER, jobId, queueName, singleKey } from "../../schemas/names.ts";
import { openToRead } from "../../storage/open.ts";
import type { ReadableStore } from "../../storage/store.ts";
import { type Caller, mayRead } from "../caller.ts";
import type { ServerDeps } from "../deps.ts";
import { type ApiState, type RunView, urlsOf } from "./run-view.ts";

/** What the server knows of a run. Without an owner, only `admin` may read it. */
export type KnownRun = Pick<IndexedRun, "run" | "kind" | "output" | "key"> &
  Partial<Pick<IndexedRun, "owner" | "model" | "lane" | "submittedAt">>;

type ReaderDeps = Pick<ServerDeps, "redis" | "store" | "s3" | "runIndex">;

/** Finds runs and reads their state: from Redis, else from the store, which is the record of what is done. */
export class RunReader {
  readonly #deps: ReaderDeps;
  readonly #ledger: RunLedger;
  readonly #ends: SingleEnds;

  constructor(deps: ReaderDeps) {
    this.#deps = deps;
    this.#ledger = new RunLedger(deps.redis);
    this.#ends = new SingleEnds(deps.redis);
  }

  /** @throws LabelmillError RUN_UNKNOWN if no such run exists, and if the caller may not know of it */
  async find(run: string, caller: Caller): Promise<KnownRun> {
    const known = await this.#find(run);
    if (known && (known.owner === undefined ? caller.scopes.has("admin") : mayRead(caller, known.owner))) return known;
    throw new LabelmillError(
      "RUN_UNKNOWN",
      `expected the id of a run of this key, got ${run}: GET /v1/runs lists them`,
    );
  }

  /** Opens the output of a run. @throws LabelmillError STORE_NOT_FOUND for a folder that no longer exists */
  open({ output }: Pick<KnownRun, "output">): Promise<ReadableStore> {
    return openToRead(output, this.#deps.s3);
  }

  /** The state and the counts of a run. */
  async view(known: KnownRun): Promise<RunView> {
    const { run, kind, model, lane, submittedAt } = known;
    // The rows of a single are one object.
    const output = kind === "single" ? known.output + (known.key ?? singleKey(run)) : known.output;
    const about = {
      ...{ run, kind, ...urlsOf(run), output },
      ...(model ? { model } : {}),
      ...(lane ? { lane } : {}),
      ...(submittedAt ? { submittedAt } : {}),
    };
    return { ...about, ...(kind === "single" ? await this.#single(known) : await this.#planned(known)) };
  }

  /** The end of a single. Undefined if it has not ended. A job that failed without an end has one made of its reason. */
  async endOf(known: KnownRun): Promise<SingleEnd | undefined> {
    const { run, output, key = singleKey(run), model, lane } = known;
    const end = await this.#ends.get(run);
    if (end) return end;
    const part = await getIfExists(await this.open(known), key);
    if (part) return partEnd({ run, output, key, model: { task: "text-classification", ...modelOf(model) } }, part);
    if (!model || !lane) return undefined;
    const queue = queueName(model, lane);
    const [state] = await singleStates(this.#deps.redis, [{ run, queue }]);
    if (state?.job !== "failed") return undefined;
    const message = (await failedReason(this.#deps.redis, queue, jobId(run, 0))) ?? "its job failed";
    const address = { run, slice: 0, output, part: key, model: modelOf(model) };
    return {
      ...{ v: 1, id: jobId(run, 0), ...address, rows: 0, errors: 0, labels: {} },
      failed: { code: "RUN_FAILED", message },
    };
  }

  async #find(run: string): Promise<KnownRun | undefined> {
    const indexed = await this.#deps.runIndex.get(run);
    if (indexed) return indexed;
    const accepted = await this.#accepted(run);
    if (accepted) return accepted;
    // The runs of commands, and those that Redis has lost.
    const progress = await this.#ledger.progress(run);
    if (progress) return { run, kind: "run", output: progress.output, model: progress.model, lane: progress.lane };
    const { store, s3 } = this.#deps;
    const key = singleKey(run);
    if (await getIfExists(store, key)) return { run, kind: "single", output: store.uri, key };
    const output = `${store.uri}${run}/`;
    const found = await openToRead(output, s3).catch(unlessMissing);
    const runFile = found && (await readRunFile(found));
    if (runFile?.run !== run) return undefined;
    const { id, digest } = runFile.spec.model;
    return { run, kind: "run", output, model: { id, digest }, lane: runFile.settings.lane };
  }

  /** A run that is in the journal: after Redis was lost, its record names its owner. */
  async #accepted(run: string): Promise<KnownRun | undefined> {
    const bytes = await getIfExists(this.#deps.store, `${ACCEPTED_FOLDER}${run}.json`);
    const parsed = bytes && AcceptedSchema.safeParse(JSON.parse(Buffer.from(bytes).toString("utf8")));
    if (!parsed?.success) return undefined;
    const { data } = parsed;
    const { owner, kind, acceptedAt: submittedAt } = data;
    if (data.kind === "run") return { run, owner, kind, output: data.output, submittedAt };
    const { output, key, model } = data.job;
    return { run, owner, kind, output, key, model: modelOf(model), lane: data.lane, submittedAt };
  }

  async #single(known: KnownRun): Promise<Pick<RunView, "state" | "rows" | "errors" | "labels" | "failed">> {
    const end = await this.endOf(known);
    if (!end) return { state: "queued", rows: 0, errors: 0, labels: {} };
    const { rows, errors, labels, failed } = end;
    return { state: stateOf(end), rows, errors, labels, ...(failed ? { failed } : {}) };
  }

  async #planned({
    run,
    output,
  }: KnownRun): Promise<Pick<RunView, "state" | "planned" | "rows" | "errors" | "labels" | "failed">> {
    const [progress, { labels }] = await Promise.all([this.#ledger.progress(run), this.#ledger.counts(run)]);
    if (progress) {
      const { state, items: planned, rows, errors, failure: failed } = progress;
      return { state, planned, rows, errors, labels, ...(failed ? { failed } : {}) };
    }
    const store = await openToRead(output, this.#deps.s3).catch(unlessMissing);
    const manifest = store && (await readManifest(store));
    if (manifest?.run !== run) return { state: "planning", rows: 0, errors: 0, labels: {} };
    const { state, totals, failed, labels: counted } = manifest;
    const [first] = failed;
    return {
      ...{
        state,
        planned: totals.planned,
        rows: totals.labeled + totals.errors,
        errors: totals.errors,
        labels: counted,
      },
      ...(first ? { failed: { code: first.code, message: first.message } } : {}),
    };
  }
}

/** The state of a single that has ended. */
export function stateOf({ failed, errors }: Pick<SingleEnd, "failed" | "errors">): ApiState {
  if (failed) return "failed";
  return errors > 0 ? "finished_with_errors" : "succeeded";
}

function modelOf(model: KnownRun["model"]): { id: string; digest: string } {
  return { id: model?.id ?? "", digest: model?.digest ?? "0".repeat(64) };
}

function unlessMissing(error: unknown): undefined {
  if (!(error instanceof LabelmillError) || error.code !== "STORE_NOT_FOUND") throw error;
}
