import { abortable } from "../abortable.ts";
import { LabelmillError } from "../errors.ts";
import { isCredentialsError } from "../storage/s3/error.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { aborted, type Expected, namesVersion, tooLarge, versionChanged } from "./failure.ts";
import { type S3Grants, showS3 } from "./s3-grants.ts";

/**
 * The bytes of a granted object.
 *
 * @param ref an `s3:` URI
 * @throws LabelmillError URL_REFUSED, NOT_GRANTED, IMAGE_INVALID (a prefix), IMAGE_NOT_FOUND, FETCH_TOO_LARGE (over `maxBytes`,
 * unread), FETCH_FAILED (refused by the server), FETCH_UNAVAILABLE (after all tries), ABORTED (by `signal`, at once),
 * STORE_FAILED (expired or unknown credentials), INPUT_CHANGED (it has no longer the expected version)
 */
export async function getObject(
  ref: string,
  { object }: Pick<Expected, "object">,
  { s3, grants, maxBytes, signal }: { s3: S3; grants: S3Grants; maxBytes: number; signal: AbortSignal },
): Promise<Uint8Array> {
  const at = grants.check(ref);
  const shown = showS3(ref);
  if (at.key === "" || at.key.endsWith("/")) {
    throw new LabelmillError("IMAGE_INVALID", `${shown}: expected an object, got a bucket or prefix`);
  }
  try {
    const { versionId, etag } = object ?? {};
    const version = versionId === undefined ? { etag } : { versionId };
    return await abortable(s3.get(at, { maxBytes, signal, item: true, ...version }), signal);
  } catch (error) {
    if (!signal.aborted && namesVersion(object) && isChanged(error)) throw versionChanged(shown, object);
    throw signal.aborted ? aborted(signal.reason) : translate(error, shown, maxBytes);
  }
}

function isChanged(error: unknown): boolean {
  return error instanceof LabelmillError && (error.code === "INPUT_CHANGED" || error.code === "STORE_NOT_FOUND");
}

/** The error of an image, from S3's error of its object. */
function translate(error: unknown, shown: string, maxBytes: number): unknown {
  if (!(error instanceof LabelmillError)) return error;
  // Expired keys are no error of the image: the slice waits until they are renewed.
  if (isCredentialsError(error)) return error;
  const { code, message, retryable } = error;
  if (code === "FETCH_TOO_LARGE") return tooLarge(maxBytes, shown);
  if (code === "STORE_NOT_FOUND") {
    return new LabelmillError("IMAGE_NOT_FOUND", `${shown}: expected an object, got none`, { cause: error });
  }
  // INPUT_CHANGED: replaced repeatedly while it was read. A later try may succeed.
  if (code === "INPUT_CHANGED" || (code === "STORE_FAILED" && retryable)) {
    return new LabelmillError("FETCH_UNAVAILABLE", message, { cause: error });
  }
  return code === "STORE_FAILED" ? new LabelmillError("FETCH_FAILED", message, { cause: error }) : error;
}
