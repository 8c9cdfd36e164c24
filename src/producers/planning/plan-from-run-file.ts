import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";
import type { Redis } from "ioredis";
import { LabelmillError } from "../../errors.ts";
import { readRunFile } from "../../outputs/output.ts";
import { errorPositions, retriedUris } from "../../outputs/retries.ts";
import type { Channels } from "../../runs/channels.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import type { Retries } from "../../runs/queues/job-retries.ts";
import { isEnded } from "../../runs/state.ts";
import { RunChanges } from "../../runs/watch.ts";
import { type Input, InputSchema } from "../../schemas/input.ts";
import type { RunFile, RunInput, RunState } from "../../schemas/run.ts";
import { grantsOf, s3GrantsOf } from "../../sources/open-images.ts";
import { openInputs } from "../../sources/open-inputs.ts";
import { OPEN_SOURCE } from "../../sources/open-source.ts";
import type { Slice } from "../../sources/slices.ts";
import type { Source } from "../../sources/source.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { ObjectStore } from "../../storage/store.ts";
import { planAndWatch } from "./plan-and-watch.ts";
import { Planner } from "./planner.ts";
import { RedisRoom } from "./redis-room.ts";
import { retrySlices } from "./retry-slices.ts";
import { slicesOf } from "./run-slices.ts";

/** What the planning of a run needs. */
export type PlanDeps = {
  redis: Redis;
  channels: Channels;
  /** The output of the run. */
  store: ObjectStore;
  s3: S3;
  /** Opens the output of the run that a retry retries. Rejects if access is not granted. */
  openStore: (uri: string) => Promise<ObjectStore>;
  config: Retries & { windowSlices: number; fullMs: number; redisShare?: number };
  /** Rejects with NOT_GRANTED if the inputs at a URI may not be opened. */
  granted: (uri: string) => Promise<void>;
  say: (line: string) => void;
};

/**
 * Plans a run from its `_run.json` alone, from the place that an earlier planner reached, and watches it until it ends.
 * @returns the end state of the run, immediately if it has ended already
 * @throws LabelmillError RUN_UNKNOWN, INPUT_CHANGED, NOT_GRANTED, and the errors of opening the inputs; the abort reason of `signal`
 */
export async function planFromRunFile(deps: PlanDeps, run: string, signal: AbortSignal): Promise<RunState> {
  const { redis, channels, store, config, say } = deps;
  const ledger = new RunLedger(redis);
  const before = await ledger.state(run);
  if (before && isEnded(before)) return before;
  const runFile = await readRunFile(store);
  if (runFile?.run !== run)
    throw new LabelmillError("RUN_UNKNOWN", `expected the run ${run} in ${store.uri}, got ${runFile?.run ?? "no run"}`);
  const sources = await reopen(runFile, deps);
  signal.throwIfAborted();
  const planner = new Planner(redis, ledger, runFile, store.uri, {
    lane: runFile.settings.lane,
    windowSlices: config.windowSlices,
    retries: config,
    room: new RedisRoom(redis, config.fullMs, say),
    ...(config.redisShare === undefined ? {} : { redisShare: config.redisShare }),
  });
  const changes = await RunChanges.open(channels, run);
  try {
    const slices = runFile.retryOf ? await retriedSlices(runFile, sources, deps) : slicesOf(runFile, sources);
    return await planAndWatch({ run, ledger, planner, changes, slices, onProgress: () => {} }, signal);
  } finally {
    changes.close();
    await planner.close();
  }
}

/** The slices of a retry: those of the retried run, with only its rows in error. The retried run may be a retry itself. */
async function retriedSlices(
  { retryOf }: RunFile,
  sources: readonly Source[],
  { store, openStore }: Pick<PlanDeps, "store" | "openStore">,
): Promise<() => AsyncIterable<Slice>> {
  const before = await openStore(retriedUris(store.uri, retryOf!.retry).before);
  const runFile = await readRunFile(before);
  if (runFile?.run !== retryOf!.run)
    throw new LabelmillError(
      "RUN_UNKNOWN",
      `expected the run ${retryOf!.run} in ${before.uri}, got ${runFile?.run ?? "no run"}`,
    );
  const slices = runFile.retryOf
    ? await retriedSlices(runFile, sources, { store: before, openStore })
    : slicesOf(runFile, sources);
  const uris = runFile.inputs.map(({ uri }) => uri);
  return () => retrySlices(slices(), uris, errorPositions(before));
}

/** Opens the inputs of a run in the same way as when the run was created. @throws LabelmillError INPUT_CHANGED */
async function reopen({ spec, inputs }: RunFile, { granted, s3 }: PlanDeps): Promise<Source[]> {
  const open = OPEN_SOURCE[spec.model.task];
  // By number: two inputs may have the same name.
  return openInputs(Object.keys(inputs), async (at) => {
    const input = inputs[Number(at)]!;
    if (input.read.format === "tar" && input.members === undefined)
      throw new LabelmillError(
        "INPUT_CHANGED",
        `${input.uri}: an older version, which read archives differently, created the run: choose another --out`,
      );
    const from = await grantedPlace(input, granted);
    const source = await open(from, { ...spec.read, ...input.read }, s3, { granted });
    checkSame(input, source.input);
    return source;
  });
}

/** Checks the grants: a user who can write to an output must not be able to choose its inputs. */
async function grantedPlace({ uri, from }: RunInput, granted: (uri: string) => Promise<void>): Promise<string> {
  if (from === undefined || from === "-")
    throw new LabelmillError(
      "INPUT_NOT_FOUND",
      `${uri} cannot be opened a second time: only the command that reads it can plan the run`,
    );
  await granted(uri);
  const files = (await grantsOf(from)).map((path) => pathToFileURL(path).href);
  // The list behind `@s3://…` too: it is opened before the input that the run file describes is known.
  const places = [...(from.startsWith("s3:") ? [from] : []), ...s3GrantsOf(from), ...files];
  for (const place of places) await granted(place);
  return from;
}

function checkSame(then: RunInput, now: Input): void {
  const before: Input = InputSchema.strip().parse(then);
  if (isDeepStrictEqual(before, { ...now })) return;
  throw new LabelmillError(
    "INPUT_CHANGED",
    `${before.uri} has changed since the run was created: expected ${before.size} bytes of ${before.modifiedAt}, got ${now.size} bytes of ${now.modifiedAt}. Choose another --out`,
  );
}
