import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";
import type { Redis } from "ioredis";
import { LabelmillError } from "../../errors.ts";
import { readRunFile } from "../../outputs/output.ts";
import { errorPositions, retriedUris } from "../../outputs/retries.ts";
import type { Channels } from "../../runs/channels.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import type { Retries } from "../../runs/queues/finalizer-queue.ts";
import { isEnded } from "../../runs/state.ts";
import { RunChanges } from "../../runs/watch.ts";
import { type Input, InputSchema } from "../../schemas/input.ts";
import type { RunFile, RunInput, RunState } from "../../schemas/run.ts";
import { openInputs } from "../../sources/discover/expand-inputs.ts";
import { grantsOf, openImageSource, s3GrantsOf } from "../../sources/open-images.ts";
import { openTextSource } from "../../sources/open-texts.ts";
import type { Slice } from "../../sources/slices.ts";
import type { Source } from "../../sources/source.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { ObjectStore } from "../../storage/store.ts";
import { driveRun } from "./drive.ts";
import { Planner } from "./planner.ts";
import { Room } from "./redis-room.ts";
import { retrySlices } from "./retry-slices.ts";
import { slicesOf } from "./run-slices.ts";

/** Where a run is planned. */
export type PlanParts = {
  redis: Redis;
  channels: Channels;
  /** The run's output. */
  store: ObjectStore;
  s3: S3;
  /** Another output, if it may be opened: of the run that a retry is of. */
  openStore: (uri: string) => Promise<ObjectStore>;
  config: Retries & { windowSlices: number; fullMs: number; redisShare?: number };
  /** Rejects with NOT_GRANTED where the inputs at a URI may not be opened. */
  granted: (uri: string) => Promise<void>;
  say: (line: string) => void;
};

/**
 * Plans a run from its `_run.json` alone, on from the place up to which it was planned, and stays with it to its end.
 * @returns its end state, at once where it has ended already
 * @throws LabelmillError RUN_UNKNOWN, INPUT_CHANGED, NOT_GRANTED, what opening the inputs throws; whatever `signal` was aborted with
 */
export async function planRun(parts: PlanParts, run: string, signal: AbortSignal): Promise<RunState> {
  const { redis, channels, store, config, say } = parts;
  const ledger = new RunLedger(redis);
  const before = await ledger.state(run);
  if (before && isEnded(before)) return before;
  const runFile = await readRunFile(store);
  if (runFile?.run !== run)
    throw new LabelmillError(
      "RUN_UNKNOWN",
      `${store.uri} was to hold the run ${run}, but holds ${runFile?.run ?? "none"}`,
    );
  const sources = await reopen(runFile, parts);
  signal.throwIfAborted();
  const planner = new Planner(redis, ledger, runFile, store.uri, {
    lane: runFile.settings.lane,
    windowSlices: config.windowSlices,
    retries: config,
    room: new Room(redis, config.fullMs, say),
    ...(config.redisShare === undefined ? {} : { redisShare: config.redisShare }),
  });
  const changes = await RunChanges.open(channels, run);
  try {
    const slices = runFile.retryOf ? await retriedSlices(runFile, sources, parts) : slicesOf(runFile, sources);
    return await driveRun({ run, ledger, planner, changes, slices, onProgress: () => {} }, signal);
  } finally {
    changes.close();
    await planner.close();
  }
}

/** The slices of a retry: those of the run before it, with nothing but their rows in error. That run may be a retry itself. */
async function retriedSlices(
  { retryOf }: RunFile,
  sources: readonly Source[],
  { store, openStore }: Pick<PlanParts, "store" | "openStore">,
): Promise<() => AsyncIterable<Slice>> {
  const before = await openStore(retriedUris(store.uri, retryOf!.retry).before);
  const runFile = await readRunFile(before);
  if (runFile?.run !== retryOf!.run)
    throw new LabelmillError(
      "RUN_UNKNOWN",
      `${before.uri} was to hold the run ${retryOf!.run}, but holds ${runFile?.run ?? "none"}`,
    );
  const slices = runFile.retryOf
    ? await retriedSlices(runFile, sources, { store: before, openStore })
    : slicesOf(runFile, sources);
  const uris = runFile.inputs.map(({ uri }) => uri);
  return () => retrySlices(slices(), uris, errorPositions(before));
}

/** Opens the inputs of a run as they were opened when it was made. @throws LabelmillError INPUT_CHANGED */
async function reopen({ spec, inputs }: RunFile, { granted, s3 }: PlanParts): Promise<Source[]> {
  const open = spec.model.task === "text-classification" ? openTextSource : openImageSource;
  // By their numbers: two inputs may have come by the same name.
  return openInputs(Object.keys(inputs), async (at) => {
    const input = inputs[Number(at)]!;
    if (input.read.format === "tar" && input.members === undefined)
      throw new LabelmillError(
        "INPUT_CHANGED",
        `${input.uri}: an older version began the run, which read archives in another way: label it into another --out`,
      );
    const from = await grantedPlace(input, granted);
    const source = await open(from, { ...spec.read, ...input.read }, s3, { granted });
    checkSame(input, source.input);
    return source;
  });
}

/** Whoever can write to an output must not be able to name an input of their choice. */
async function grantedPlace({ uri, from }: RunInput, granted: (uri: string) => Promise<void>): Promise<string> {
  if (from === undefined || from === "-")
    throw new LabelmillError(
      "INPUT_NOT_FOUND",
      `${uri} cannot be opened again: only the command that read it can plan its run`,
    );
  await granted(uri);
  const files = (await grantsOf(from)).map((path) => pathToFileURL(path).href);
  // Of `@s3://…` too: a list is opened before it can be told from the input that the run file describes.
  const places = [...(from.startsWith("s3:") ? [from] : []), ...s3GrantsOf(from), ...files];
  for (const place of places) await granted(place);
  return from;
}

function checkSame(then: RunInput, now: Input): void {
  const before: Input = InputSchema.strip().parse(then);
  if (isDeepStrictEqual(before, { ...now })) return;
  throw new LabelmillError(
    "INPUT_CHANGED",
    `${before.uri} is not what it was when the run was made (${before.size} bytes of ${before.modifiedAt} then, ${now.size} of ${now.modifiedAt} now): label it into another --out`,
  );
}
