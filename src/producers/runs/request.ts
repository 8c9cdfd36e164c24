import type { ReadOptions } from "../../schemas/input.ts";
import type { Lane } from "../../schemas/names.ts";
import type { OutputOptions } from "../../schemas/output.ts";
import type { ModelPin } from "../../schemas/run.ts";
import type { Task } from "../../schemas/task.ts";

export type LabelKind = "text" | "images";

/** The task of the models that label each kind of inputs. */
export const TASKS: Record<LabelKind, Task> = { text: "text-classification", images: "image-classification" };

/** A run that is to be made: its inputs, and how they are labeled. */
export type RunRequest = {
  kind: LabelKind;
  inputs: readonly string[];
  read: ReadOptions;
  /** An id of the catalog, `hf:…`, a folder, or an id that workers serve. Default: the default model for the kind. */
  model?: string;
  out?: string;
  topK: number;
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
  /** Queue the run even if no worker serves the model. */
  queueAnyway?: boolean;
  /** Local paths are the same on all workers. */
  sharedFiles?: boolean;
};

/** The model of a run, and the number of its labels. */
export type RunModel = { pin: ModelPin; labels: number };
