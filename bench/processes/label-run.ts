/** One run from its plan to its end, as src/cli/label/run-session.ts makes it, for any process that plans it. */
import type { Config } from "../../src/config.ts";
import type { Model } from "../../src/inference/model/model.ts";
import { openOutput } from "../../src/outputs/claim.ts";
import { newRunFile } from "../../src/outputs/run-file.ts";
import { planAndWatch } from "../../src/producers/planning/plan-and-watch.ts";
import { Planner } from "../../src/producers/planning/planner.ts";
import { RedisRoom } from "../../src/producers/planning/redis-room.ts";
import { slicesOf } from "../../src/producers/planning/run-slices.ts";
import { openRedis, type RedisAddress } from "../../src/redis/connect.ts";
import { Channels } from "../../src/runs/channels.ts";
import { RunLedger } from "../../src/runs/ledger/ledger.ts";
import { RunChanges } from "../../src/runs/watch.ts";
import { DEFAULT_SLICE_ITEMS } from "../../src/schemas/job.ts";
import type { RunFile } from "../../src/schemas/run.ts";
import type { Source } from "../../src/sources/source.ts";
import type { ObjectStore } from "../../src/storage/store.ts";

export type RunParts = {
  config: Config;
  model: Model;
  redis: RedisAddress;
  /** Leave when the last slice is queued. */
  detach?: boolean;
  /** The items travel in the jobs even where workers could read them. */
  inline?: boolean;
};

const TOP_K = 5;

/**
 * Resolves when the run has ended and its manifest exists, or when it is queued. Throws if slices failed permanently.
 * @returns the run's id
 */
export async function label(parts: RunParts, source: Source, store: ObjectStore): Promise<string> {
  const { config, redis, detach = false } = parts;
  await using open = new AsyncDisposableStack();
  const { runFile } = await openOutput(store, runFileOf(parts, source));
  const connection = await openRedis(redis, "producer");
  open.defer(() => connection.disconnect());
  const subscriber = await openRedis(redis, "worker");
  open.defer(() => subscriber.disconnect());
  const ledger = new RunLedger(connection);
  const { windowSlices } = config;
  const room = new RedisRoom(connection, config.fullMs, () => {});
  const options = { lane: "bulk", windowSlices, retries: config, room } as const;
  const planner = new Planner(connection, ledger, runFile, store.uri, options);
  open.defer(() => planner.close());
  const changes = await RunChanges.open(new Channels(subscriber), runFile.run);
  const slices = slicesOf(runFile, [source]);
  const drive = { run: runFile.run, ledger, planner, changes, slices, onProgress: () => {}, detach };
  const state = await planAndWatch(drive, new AbortController().signal);
  if (state === "failed") throw new Error(`the run ended as ${state}`);
  return runFile.run;
}

function runFileOf({ config, model, inline = false }: RunParts, source: Source): RunFile {
  const { id, revision, digest, dtype, task } = model;
  const { sliceItems = DEFAULT_SLICE_ITEMS, sliceBytes, events } = config;
  return newRunFile({
    spec: {
      model: { id, revision, digest, dtype, task },
      read: { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] },
      topK: Math.min(TOP_K, model.labels.length),
      sliceItems,
      sliceBytes,
      events,
    },
    inputs: [{ input: source.input, read: source.read, travels: source.splitter && !inline ? "split" : "inline" }],
  });
}
