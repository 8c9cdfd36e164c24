import { delimiter } from "node:path";
import { z } from "zod";
import { DeviceSettingSchema } from "../schemas/device.ts";
import { DEFAULT_FULL_MS, EventsSchema, MAX_SLICE_ITEMS } from "../schemas/job.ts";
import { count, duration, flag, list, ms } from "./types.ts";

/** Settings of the work: slices, batches, devices, attempts, and what references may open. */
export const WORK_SETTINGS = {
  sliceItems: count
    .max(MAX_SLICE_ITEMS)
    .optional()
    .describe(
      "Items in a slice (one job, one part). If omitted, what the workers label in ten seconds, or 500 if their rate is unknown.",
    ),
  sliceBytes: count
    .min(1024)
    .max(64_000_000)
    .default(8_000_000)
    .describe("Most bytes in a slice. If its items travel through Redis, at most 1 MB."),
  redisShare: z.coerce
    .number()
    .gt(0)
    .max(1)
    .default(0.8)
    .describe(
      "Share of the `maxmemory` of Redis above which planners add no slices. No effect if `maxmemory` is not set.",
    ),
  windowSlices: count.max(10_000).default(32).describe("Most slices of one run that are queued or active at a time."),
  events: EventsSchema.default("none").describe(
    "Events on the results queue for each committed slice: `none`, `parts` (counts), `rows` (counts, and the rows of small slices).",
  ),
  resultsMaxWaiting: count
    .max(10_000_000)
    .default(10_000)
    .describe("Most unread events on the results queue. Beyond this, the oldest are dropped."),
  concurrency: count
    .max(1000)
    .default(256)
    .describe("Most slices that a worker processes at a time. It takes slices by their number of items."),
  device: DeviceSettingSchema.default("auto").describe(
    "Where models run: `cpu`, `cuda` (the first GPU), `cuda:N`, `cuda:all` (one thread for each GPU). `auto`: the first GPU if it works, else the CPU.",
  ),
  threads: count
    .max(64)
    .optional()
    .describe(
      "Inference threads of a model on the CPU. Each has a session with its own copy of the model. If omitted, tuned while running.",
    ),
  intraOpThreads: count.max(64).optional().describe("Threads of one session. If omitted, cores ÷ threads."),
  textBudget: count
    .max(1_000_000)
    .optional()
    .describe(
      "Most padded tokens in a batch of texts (longest text × number of texts). If omitted, tuned while running, for each length.",
    ),
  imageBudget: count.max(4096).optional().describe("Most images in a batch. If omitted, tuned while running."),
  imagesInFlight: count
    .max(4096)
    .optional()
    .describe(
      "Most images that are fetched, decoded or waiting for the model at a time. If omitted, 64, or more if the batches need it.",
    ),
  decodeBytes: count
    .min(64_000_000)
    .max(1_000_000_000_000)
    .default(1_000_000_000)
    .describe(
      "Memory for all images that are decoded at a time, estimated from their headers. An image above this is decoded alone.",
    ),
  decodeMs: ms.min(1_000).default(60_000).describe("Time limit for decoding one image."),
  lockMs: ms
    .default(10_000)
    .describe("Job lock duration. If a worker does not renew the lock in time, the job is retried by another worker."),
  stallCheckMs: ms.default(5_000).describe("How often workers look for jobs with an expired lock."),
  attempts: count.max(100).default(5).describe("Attempts at a slice if Redis, the store or the device fails."),
  backoffMs: ms.default(1_000).describe("Wait before the second attempt. It doubles before each further attempt."),
  outageLimit: duration
    .prefault("24h")
    .describe(
      "How long work waits for a store that is not available (refused, reset, time-out, 5xx, 429). Waiting uses no attempt.",
    ),
  refusedLimit: duration
    .prefault("10m")
    .describe(
      "How long work waits for a store that refuses access (401, 403, no such bucket, full or read-only disk) before its runs fail.",
    ),
  heldBytes: count
    .max(64_000_000_000)
    .default(256_000_000)
    .describe(
      "Bytes of labeled rows that a worker keeps in memory during an outage of a store. Further rows are labeled again later.",
    ),
  fullMs: ms
    .default(DEFAULT_FULL_MS)
    .describe(
      "How long a submission waits for room in a Redis that is out of memory. A request to `serve` waits for at most 2 s.",
    ),
  textTimeoutMs: ms
    .default(10_000)
    .describe(
      "Processor time limit for tokenizing one text. Above this, the text becomes a row in error (TEXT_TIMEOUT).",
    ),
  graceMs: ms.default(10_000).describe("How long running slices may continue after SIGINT or SIGTERM."),
  allowPrivate: flag.default(false).describe("Also fetch from private and loopback addresses."),
  fileRoots: list(delimiter)
    .default([])
    .describe(
      "Folders that `file:` references may open, besides the inputs and the output of the command (separated as in `PATH`).",
    ),
  outputRoots: list(",")
    .optional()
    .describe(
      "Folders and `s3://` prefixes that outputs may be in, besides the output of the command (separated by commas). If omitted, all of `fileRoots` and `s3Roots`, which are then writable. Sidecars and tags need it explicitly.",
    ),
};
