import type { FastifyReply, FastifyRequest } from "fastify";
import { LabelmillError } from "../../errors.ts";
import { newRunId } from "../../outputs/run-file.ts";
import type { Run, RunResult } from "../../producers/client/run.ts";
import type { ImageItem, TextItem } from "../../producers/client/submission.ts";
import type { RunModel } from "../../producers/runs/request.ts";
import type { Row } from "../../schemas/row.ts";
import type { ServerDeps } from "../deps.ts";
import { type RunView, urlsOf } from "../runs/run-view.ts";
import type { LabelOptions } from "./bodies.ts";
import { idempotencyKeyOf } from "./idempotency-key.ts";
import { parsePrefer } from "./prefer.ts";

/** Items of a request, with their model. */
export type ItemsToLabel = {
  items: { texts: readonly TextItem[] } | { images: readonly ImageItem[] };
  model: RunModel;
  options: LabelOptions;
  /** The id of the run. Default: a new one. */
  run?: string | undefined;
};

type Answer = { status: 200; body: RunView & { items: Row[] } } | { status: 202; body: RunView };

/**
 * Submits items. Without `Prefer: wait`, the run is accepted: nothing loses it after the 202. With it, the rows are the answer if they
 * are ready in time; else the run is accepted then.
 */
export async function labelItems(
  request: FastifyRequest,
  reply: FastifyReply,
  deps: Pick<ServerDeps, "accepter" | "store" | "stopping">,
  { items, model, options, run: id }: ItemsToLabel,
): Promise<Answer["body"]> {
  const { owner } = request.caller;
  const { pin, labels } = model;
  const { topK, lane, results } = options;
  const submission = { ...items, model: pin.id, pin, topK: Math.min(topK, labels), lane, results };
  // Without a key, no earlier request has this id.
  const given = { submission, owner, run: id ?? newRunId(), isNew: idempotencyKeyOf(request) === undefined };
  const { waitSeconds, applied } = parsePrefer(request.headers.prefer);
  if (applied !== undefined) reply.header("preference-applied", applied);
  const about = { model: { id: pin.id, digest: pin.digest }, lane };
  if (waitSeconds === 0) return accepted(reply, await deps.accepter.accept(given), about);
  const { run, keep } = await deps.accepter.start(given);
  const ended = await within(run, waitSeconds, deps.stopping);
  if (!ended) {
    await keep();
    return accepted(reply, run, about);
  }
  const { result, rows } = ended;
  const { state, output, errors, labels: counts, failed } = result;
  reply.code(200);
  return {
    ...{ run: run.run, kind: "single" as const, state, ...urlsOf(run.run), output, ...about },
    ...{ rows: result.rows, errors, labels: counts, ...(failed ? { failed } : {}), items: rows },
  };
}

function accepted(reply: FastifyReply, { run, output }: Run, about: Pick<RunView, "model" | "lane">): RunView {
  const urls = urlsOf(run);
  reply.code(202).header("location", urls.url);
  return { run, kind: "single", state: "queued", ...urls, output, ...about, rows: 0, errors: 0, labels: {} };
}

/** The end and the rows of a run, if it ends in time and before the server stops. */
async function within(
  run: Run,
  seconds: number,
  stopping: AbortSignal,
): Promise<{ result: RunResult; rows: Row[] } | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const giveUp = () => resolve(undefined);
  const timer = setTimeout(giveUp, seconds * 1000);
  stopping.addEventListener("abort", giveUp, { once: true });
  if (stopping.aborted) giveUp();
  try {
    return await Promise.race([endOf(run), late]);
  } finally {
    clearTimeout(timer);
    stopping.removeEventListener("abort", giveUp);
  }
}

async function endOf(run: Run): Promise<{ result: RunResult; rows: Row[] }> {
  const result = await run.wait().catch((error: unknown) => {
    // A job that failed without an event has no rows either.
    if (!(error instanceof LabelmillError) || error.code !== "RUN_FAILED") throw error;
    const failed = { code: error.code, message: error.message };
    const { run: id, output } = run;
    return { run: id, state: "failed" as const, output, rows: 0, errors: 0, labels: {}, failed };
  });
  return { result, rows: result.state === "failed" ? [] : await Array.fromAsync(run.rows()) };
}
