import { basename, dirname } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseS3Reference } from "../../fetch/s3-grants.ts";
import { sidecarName } from "../../schemas/enrichment/sidecar.ts";
import { type S3Place, s3Uri } from "../../storage/s3/s3.ts";

/** Where a labeled object is. */
export type ObjectPlace = {
  /** The object itself, if it is on S3. */
  s3: S3Place | undefined;
  /** The URI of its folder, as that of a store. */
  folder: string;
  /** The key of its sidecar in that store. */
  sidecar: string;
};

/** @param uri an `s3:` or `file:` URL @throws LabelmillError URL_REFUSED */
export function placeOf(uri: string): ObjectPlace {
  if (/^file:/i.test(uri)) {
    const path = fileURLToPath(uri);
    return { s3: undefined, folder: pathToFileURL(`${dirname(path)}/`).href, sidecar: sidecarName(basename(path)) };
  }
  const at = parseS3Reference(uri);
  const folder = at.key.slice(0, at.key.lastIndexOf("/") + 1);
  const name = at.key.slice(folder.length);
  return { s3: at, folder: s3Uri({ bucket: at.bucket, key: folder }), sidecar: sidecarName(name) };
}
