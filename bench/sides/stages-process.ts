/** The stages of the pipeline alone, on the splits of an input: reader, tokenizer pool, row encoder and writer. */
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { performance } from "node:perf_hooks";
import { Fetcher } from "../../src/fetch/fetcher.ts";
import { FileGrants } from "../../src/fetch/grants.ts";
import { S3Grants } from "../../src/fetch/s3-grants.ts";
import type { Model } from "../../src/inference/model/model.ts";
import { PreparePool } from "../../src/inference/preprocess/prepare-pool.ts";
import { encodePart } from "../../src/rows/part.ts";
import type { Job } from "../../src/schemas/job.ts";
import { JOB_VERSION, partKey } from "../../src/schemas/names.ts";
import { cutSlices, type Slice } from "../../src/sources/slices.ts";
import { FsStore } from "../../src/storage/fs/store.ts";
import { S3 } from "../../src/storage/s3/s3.ts";
import { type LabelItems, labelTogether } from "../../src/workers/slice/label-items.ts";
import { itemLoader, type LoadItems } from "../../src/workers/slice/load-items.ts";
import { defaultConfig } from "../config.ts";
import { openInput } from "../inputs/inputs.ts";
import { openModel } from "../inputs/models.ts";
import { answerCalls } from "../processes/calls.ts";
import type { Rate } from "../report/rounds.ts";

/** `atATime`: concurrent slices. */
export type StagesOrder = { input: string; atATime: number; sliceItems: number };

/** Number of tokenizing threads, as in a worker on two cores. */
const PREPARE_THREADS = 2;
const TOP_K = 5;

const opened = new AsyncDisposableStack();
let started: { model: Model; load: LoadItems; label: LabelItems; topK: number } | undefined;

const calls = {
  /** @param folder holds all inputs and outputs */
  start: async ({ model: ref, folder }: { model: string; folder: string }): Promise<void> => {
    const model = await openModel(ref);
    const pool = await PreparePool.start({ modelDir: model.dir, threads: PREPARE_THREADS });
    opened.defer(() => pool.close());
    const s3 = new S3();
    opened.defer(() => s3.close());
    const grants = new FileGrants([folder]);
    const fetcher = new Fetcher({ grants, allowPrivate: false });
    opened.defer(() => fetcher.close());
    const load = itemLoader({ files: grants, s3: new S3Grants([]) }, s3, fetcher);
    const topK = Math.min(TOP_K, model.labels.length);
    const labels = model.labels.slice(0, topK).map((label) => ({ label, score: 1 / model.labels.length }));
    const label: LabelItems = async (items) => {
      await pool.tokenize(items.map(({ text }) => text!));
      return items.map(() => ({ labels }));
    };
    started = { model, load, label, topK };
  },

  /** The whole input, once. */
  run: async ({ input, atATime, sliceItems }: StagesOrder): Promise<Rate> => {
    const folder = join(dirname(input), `stages-${randomBytes(4).toString("hex")}`);
    const startedAt = performance.now();
    const source = await openInput("text", input);
    const size = { items: sliceItems, bytes: defaultConfig().sliceBytes };
    const slices = cutSlices([source], { size, travels: () => "split" });
    const store = await FsStore.open(folder);
    let items = 0;
    const lane = async () => {
      for (;;) {
        const { done, value } = await slices.next();
        if (done) return;
        const rows = await writeSlice(store, value);
        items += rows;
      }
    };
    await Promise.all(Array.from({ length: atATime }, lane));
    const seconds = (performance.now() - startedAt) / 1000;
    await rm(folder, { recursive: true });
    return { items, seconds };
  },
};
export type StagesCalls = typeof calls;

/** @returns its rows */
async function writeSlice(store: FsStore, { slice, splits }: Slice): Promise<number> {
  const { load, label } = started!;
  const { signal } = new AbortController();
  const job = jobOf(store.uri, slice, splits);
  const rows = await labelTogether(await load(job, signal), label, signal);
  await store.putIfAbsent(job.key, encodePart(rows).bytes);
  return rows.length;
}

function jobOf(output: string, slice: number, splits: Slice["splits"]): Job {
  const { model, topK } = started!;
  const { id, digest, task } = model;
  const run = "0".repeat(16);
  if (!splits) throw new Error("expected an input that is read in splits");
  return {
    v: JOB_VERSION,
    run,
    slice,
    model: { id, digest, task },
    output,
    key: partKey(run, slice),
    topK,
    events: "none",
    splits,
  };
}

answerCalls(calls, () => opened.disposeAsync());
