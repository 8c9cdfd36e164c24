import { LabelmillError } from "../../errors.ts";

/** An object or a key prefix. The key may be empty. */
export type S3Place = { bucket: string; key: string };

/** Whether a place is on S3, by its scheme. */
export function isS3(place: string): boolean {
  return /^s3:/i.test(place);
}

/**
 * Parses `s3://BUCKET/KEY`. The key is percent-encoded, as in any URI: `?`, `#` and `%` must be encoded. It may be missing.
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

/** The URI that `parseS3Uri` parses to the same place. */
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
