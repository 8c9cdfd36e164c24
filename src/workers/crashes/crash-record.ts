import type { AttemptRecord } from "./attempt-record.ts";
import { type AttemptEntry, AttemptEntrySchema } from "./evidence.ts";

export type SliceRef = { run: string; slice: number };

/** A slice that lost its worker this often runs isolated. */
export const CRASHES_UNTIL_ISOLATED = 2;

/**
 * Evidence about slices whose worker crashed, by which an item that crashes workers is found. It must survive the
 * process: it is in Redis, or beside the output if Redis ends with the command.
 */
export interface CrashRecord {
  /**
   * Begins an attempt of a slice.
   * @param again whether the slice was taken before; if not, no evidence is looked up
   */
  take(slice: SliceRef, again: boolean, signal: AbortSignal): Promise<AttemptRecord>;
}

/** @returns undefined if the text is not an attempt: another version may have written it */
export function parseAttempt(text: string): AttemptEntry | undefined {
  try {
    return AttemptEntrySchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
