import type { ReadOptions } from "../../schemas/input.ts";
import type { Lane } from "../../schemas/names.ts";
import type { OutputOptions } from "../../schemas/output.ts";
import type { LabelKind } from "./model-choice.ts";

/** What `labelmill label` was asked for. */
export type LabelRequest = {
  kind: LabelKind;
  inputs: readonly string[];
  read: ReadOptions;
  /** Of the catalog, `hf:…`, a folder, or what workers serve; none: the catalog's default for this kind. */
  model?: string;
  out?: string;
  topK: number;
  /** Rows shown at the end. */
  show: number;
  lane: Lane;
  /** The share of the records that are labeled, by a hash of each; none: all. */
  share?: number;
  /** Items to label at most: the first ones. */
  limit?: number;
  output?: OutputOptions;
  /** Rows in error that the run may have: a count, or a share such as `5%`. */
  maxErrors?: string;
  sliceTimeoutMs?: number;
  pricePerHour?: number;
  /** Replace what another run left in the output. */
  overwrite?: boolean;
  /** Leave when the last slice is queued. */
  detach?: boolean;
  /** With REDIS_URL: work in this process too. Without it, a worker of the command's own is the only one. */
  withWorker?: boolean;
  /** Queue though nobody serves the model. */
  queueAnyway?: boolean;
  /** All workers see the paths that this machine sees. */
  sharedFiles?: boolean;
};
