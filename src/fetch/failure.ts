import { LabelmillError } from "../errors.ts";

/** @param what names the source in the message */
export function tooLarge(maxBytes: number, what: string): LabelmillError {
  return new LabelmillError("FETCH_TOO_LARGE", `${what}: expected at most ${maxBytes} bytes, got more`);
}

export function aborted(reason: unknown): LabelmillError {
  return new LabelmillError("ABORTED", "the fetch was cancelled", { cause: reason });
}
