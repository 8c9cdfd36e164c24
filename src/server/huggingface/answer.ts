import { ERROR_CODES, type ErrorCode, LabelmillError } from "../../errors.ts";
import type { Failure } from "../../schemas/event.ts";
import type { LabelScore, Row } from "../../schemas/row.ts";
import { Problem } from "../problems.ts";

/**
 * The labels of each item. The protocol has no place for the error of one item, so the first row in error refuses the request.
 * @throws LabelmillError with the code of the row
 */
export function labelsOfRows(rows: readonly Row[]): LabelScore[][] {
  return rows.map((row, at) => {
    if (!("error" in row)) return row.labels;
    const { code, message } = row.error;
    throw new LabelmillError(known(code) ?? "ITEM_FAILED", rows.length > 1 ? `inputs[${at}]: ${message}` : message);
  });
}

/** The error of a job that failed permanently. */
export function problemOfFailure({ code, message }: Failure): Problem {
  const error = new LabelmillError(known(code) ?? "RUN_FAILED", message);
  return new Problem(error.retryable ? 503 : 500, error.code, error.message);
}

/** A worker of another version may have other codes. */
function known(code: string): ErrorCode | undefined {
  return ERROR_CODES.find((each) => each === code);
}
