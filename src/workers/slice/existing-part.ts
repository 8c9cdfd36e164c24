import { LabelmillError } from "../../errors.ts";
import { getIfExists } from "../../outputs/output.ts";
import { readPart } from "../../rows/part.ts";
import type { Job } from "../../schemas/job.ts";
import type { Row } from "../../schemas/row.ts";
import type { Split } from "../../schemas/split.ts";
import type { ObjectStore } from "../../storage/store.ts";
import type { StoredPart } from "./process-slice.ts";

/**
 * The part at the job's key, which an earlier attempt wrote. Undefined if no part exists.
 * @throws LabelmillError PART_MISMATCH if its rows are not those of this slice
 */
export async function existingPart(store: ObjectStore, job: Job): Promise<StoredPart | undefined> {
  const bytes = await getIfExists(store, job.key);
  if (!bytes) return undefined;
  const part = readPart(bytes);
  if (!(job.items ? isOfItems(part.rows, job) : isOfSplits(part.rows, job.splits!)))
    throw new LabelmillError(
      "PART_MISMATCH",
      `expected the records of this slice in ${job.output}${job.key}, got others: the output was changed, or its run was planned differently; choose another --out`,
    );
  return part;
}

function isOfItems(rows: readonly Row[], { items, sources }: Job): boolean {
  if (rows.length !== items!.length) return false;
  return rows.every(({ source }, i) => {
    const item = items![i]!;
    return source.record === item.record && source.uri === sources![item.source];
  });
}

/** If not all records of a split are items, only their number is known here, not which ones they are. */
function isOfSplits(rows: readonly Row[], splits: readonly Split[]): boolean {
  let at = 0;
  for (const { input, first, count, selected = count } of splits) {
    let next = first;
    for (const { source } of rows.slice(at, at + selected)) {
      if (source.uri !== input.uri || source.record < next || source.record >= first + count) return false;
      next = source.record + 1;
    }
    at += selected;
  }
  return at === rows.length;
}
