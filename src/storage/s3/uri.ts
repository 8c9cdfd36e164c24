import { LabelmillError } from "../../errors.ts";

/** An object, or the beginning of keys; the key may be empty. */
export type S3Place = { bucket: string; key: string };

/**
 * `s3://BUCKET/KEY`, the key percent-encoded where need be, as in any URI: `?`, `#` and `%` have to be; the key may be missing.
 * @throws LabelmillError USAGE
 */
export function parseS3Uri(uri: string): S3Place {
  const [, bucket, key = ""] = /^s3:\/\/([A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9])(?:\/([^?#]*))?$/is.exec(uri) ?? [];
  const decoded = bucket === undefined ? undefined : decodeKey(key);
  if (decoded !== undefined) return { bucket: bucket!, key: decoded };
  const shown = JSON.stringify(
    uri
      .slice(0, 200)
      .replace(/\/\/[^/]*@/, "//***@")
      .replace(/\?.*/s, "?…"),
  );
  throw new LabelmillError(
    "USAGE",
    `expected s3://BUCKET/KEY, with %3F for ?, %23 for # and %25 for % in a key, got ${shown}`,
  );
}

/** The one URI of a place: `parseS3Uri` gives it back. */
export function s3Uri({ bucket, key }: S3Place): string {
  return `s3://${bucket}/${encodeURI(key).replaceAll("?", "%3F").replaceAll("#", "%23")}`;
}

function decodeKey(key: string): string | undefined {
  try {
    const decoded = decodeURIComponent(key);
    return decoded.isWellFormed() && !decoded.includes("\0") && Buffer.byteLength(decoded) <= 1024
      ? decoded
      : undefined;
  } catch {
    return undefined;
  }
}
