import { LabelmillError } from "../errors.ts";
import type { ObjectVersion } from "../schemas/enrichment/object.ts";
import { show } from "./printable-url.ts";

/** What a reference has to lead to. */
export type Expected = {
  /** For messages: `an image`. */
  what: string;
  /** The version to fetch. Default: the current one. */
  object?: ObjectVersion | undefined;
  /** The longest body, in bytes, if that is less than the limit of the fetcher. */
  maxBytes?: number;
};

/** @param what names the source in the message */
export function tooLarge(maxBytes: number, what: string): LabelmillError {
  return new LabelmillError("FETCH_TOO_LARGE", `${what}: expected at most ${maxBytes} bytes, got more`);
}

/** @param shown the reference, for the message */
export function versionChanged(shown: string, { versionId, etag }: ObjectVersion): LabelmillError {
  const wanted = versionId === undefined ? `ETag ${show(etag ?? "")}` : `version ${show(versionId)}`;
  const message = `${shown}: expected the object with ${wanted}, but it was replaced or deleted since: submit its new version`;
  return new LabelmillError("INPUT_CHANGED", message);
}

/** Whether an object version names what can be read: a sequencer alone only orders events. */
export function namesVersion(object: ObjectVersion | undefined): object is ObjectVersion {
  return object?.versionId !== undefined || object?.etag !== undefined;
}

export function aborted(reason: unknown): LabelmillError {
  return new LabelmillError("ABORTED", "the fetch was cancelled", { cause: reason });
}
