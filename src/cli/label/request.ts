import type { ReadOptions } from "../../schemas/input.ts";
import type { Lane } from "../../schemas/names.ts";
import type { OutputOptions } from "../../schemas/output.ts";
import type { LabelKind } from "./model-choice.ts";

/** What `labelmill label` should do: its arguments and options. */
export type LabelRequest = {
  kind: LabelKind;
  inputs: readonly string[];
  read: ReadOptions;
  /** An id of the catalog, `hf:…`, a folder, or an id that workers serve. Default: the catalog's default for the kind. */
  model?: string;
  out?: string;
  topK: number;
  /** Rows to print at the end. */
  show: number;
  lane: Lane;
  /** The share of the records to label, chosen by a hash of each record. Default: all. */
  share?: number;
  /** The largest number of items to label, from the first one. Default: all. */
  limit?: number;
  output?: OutputOptions;
  /** The largest number of rows in error: a count, or a share such as `5%`. Default: no limit. */
  maxErrors?: string;
  sliceTimeoutMs?: number;
  pricePerHour?: number;
  /** Replace the output of an earlier run. */
  overwrite?: boolean;
  /** Exit when the last slice is queued. */
  detach?: boolean;
  /** With REDIS_URL: label in this process too. Without it, this process always has the only worker. */
  withWorker?: boolean;
  /** Queue the run even if no worker serves the model. */
  queueAnyway?: boolean;
  /** Local paths are the same on all workers. */
  sharedFiles?: boolean;
};
