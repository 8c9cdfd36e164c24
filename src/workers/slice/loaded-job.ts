import type { Item } from "../../schemas/item.ts";
import type { Job } from "../../schemas/job.ts";
import type { SourceRecord } from "../../sources/source.ts";

/** An item at hand: what a job carries, or what was read from its splits, with the image itself where it lay there. */
export type LoadedItem = Item & Pick<SourceRecord, "data">;

/** A job whose items are at hand. */
export type LoadedJob = Omit<Job, "sources" | "items"> & { sources: readonly string[]; items: readonly LoadedItem[] };
