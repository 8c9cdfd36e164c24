import type { Redis } from "ioredis";
import { openOutput } from "../../outputs/claim.ts";
import { newRunFile } from "../../outputs/run-file.ts";
import type { Channels } from "../../runs/channels.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { RunChanges } from "../../runs/watch.ts";
import type { ModelPin } from "../../schemas/run.ts";
import { cutSlices, type Slice } from "../../sources/slices.ts";
import type { Source } from "../../sources/source.ts";
import { openStore } from "../../storage/open.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { planAndWatch } from "../planning/plan-and-watch.ts";
import { Planner } from "../planning/planner.ts";
import type { RedisRoom } from "../planning/redis-room.ts";
import { PlannedRun } from "./planned-run.ts";
import { RETRIES } from "./single.ts";
import type { ResolvedSubmission } from "./submission.ts";

const SLICE_BYTES = 1_000_000;
const WINDOW_SLICES = 32;

export type SubmitRunDeps = {
  redis: Redis;
  channels: Channels;
  s3: S3;
  room: RedisRoom;
  sliceItems: number;
  /** The error for the caller, if an error is of a lost connection. */
  asKnown: (error: unknown) => unknown;
};

export type RunToSubmit = Pick<ResolvedSubmission, "topK" | "lane" | "events"> & {
  run: string;
  /** The URI of the output of the run. */
  output: string;
  source: Source;
  pin: ModelPin;
};

/**
 * Queues a submission of several slices, as fast as Redis has room, until `signal` aborts.
 * @returns the run, and its end, which rejects if planning fails
 */
export async function submitRun(
  { run, output, source, pin, topK, lane = "bulk", events = "parts" }: RunToSubmit,
  { redis, channels, s3, room, sliceItems, asKnown }: SubmitRunDeps,
  signal: AbortSignal,
): Promise<{ planned: PlannedRun; ended: Promise<unknown> }> {
  const store = await openStore(output, s3);
  const wanted = newRunFile({
    run,
    spec: { model: pin, read: source.read, topK, sliceItems, sliceBytes: SLICE_BYTES, events },
    settings: { lane },
    inputs: [source],
  });
  const { runFile } = await openOutput(store, wanted);
  const ledger = new RunLedger(redis);
  const planner = new Planner(redis, ledger, runFile, store.uri, {
    ...{ lane, windowSlices: WINDOW_SLICES, retries: RETRIES, room },
  });
  const changes = await RunChanges.open(channels, run);
  const slices = () => cutSubmission(source, sliceItems);
  const watched = planAndWatch({ run, ledger, planner, changes, slices, onProgress: () => {} }, signal);
  const rethrow = (error: unknown) => {
    throw asKnown(error);
  };
  const ended = watched.catch(rethrow).finally(async () => {
    changes.close();
    await planner.close();
  });
  const progress = (id: string) => ledger.progress(id).catch(rethrow);
  return { planned: new PlannedRun(run, store, ended, { progress }), ended };
}

/** The slices of a submission, in order. */
export function cutSubmission(source: Source, sliceItems: number): AsyncGenerator<Slice> {
  return cutSlices([source], { size: { items: sliceItems, bytes: SLICE_BYTES } });
}
