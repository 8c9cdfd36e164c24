import { statfs, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { LabelmillError } from "../../errors.ts";
import { asidePath, remove } from "../fs/atomic-write.ts";
import { storeError } from "../fs/error.ts";
import { s3Trouble } from "../s3/error.ts";
import { parseS3Uri, type S3 } from "../s3/s3.ts";

/** A reserved name, so that no object has it. It differs from S3Store's probe of conditional writes: both may run at once. */
const PROBE_KEY = ".probe.0000000000000001.aside";

/** Large enough for a full disk to refuse them. */
const PROBE_BYTES = new Uint8Array(65_536);

/** Space for one or two parts. On a small disk, a tenth of its size is enough. */
const ROOM_BYTES = 16_000_000;

/**
 * Checks whether a store accepts writes now: writes an object below it and removes it.
 * @param s3 with limits for a probe: one try
 * @throws LabelmillError as the store's own writes do
 */
export async function probeWrites(uri: string, s3: S3): Promise<void> {
  if (uri.startsWith("s3:")) {
    const { bucket, key } = parseS3Uri(uri);
    const at = { bucket, key: `${key === "" || key.endsWith("/") ? key : `${key}/`}${PROBE_KEY}` };
    await s3.put(at, new Uint8Array());
    return s3.delete(at);
  }
  if (!uri.startsWith("file:")) return;
  const folder = fileURLToPath(uri);
  const aside = asidePath(folder, "probe");
  try {
    const { bavail, bsize, blocks } = await statfs(folder);
    // Some file systems do not report their size.
    if (blocks > 0 && bavail * bsize < Math.min(ROOM_BYTES, (blocks * bsize) / 10))
      throw Object.assign(new Error("ENOSPC: little space is left"), { code: "ENOSPC" });
    await writeFile(aside, PROBE_BYTES, { flag: "wx", flush: true });
  } catch (error) {
    throw storeError(error, "write", folder);
  } finally {
    await remove(aside);
  }
}

/** Checks whether a bucket answers. A missing or forbidden object is an answer. @throws LabelmillError */
export async function probeReads(place: string, s3: S3): Promise<void> {
  if (!place.startsWith("s3:")) return;
  try {
    await s3.head({ bucket: parseS3Uri(place).bucket, key: PROBE_KEY });
  } catch (error) {
    const isCertain = s3Trouble(error)?.certain === true;
    if (error instanceof LabelmillError && (error.retryable || isCertain)) throw error;
  }
}

export async function fails(probe: () => Promise<void>): Promise<boolean> {
  try {
    await probe();
    return false;
  } catch {
    return true;
  }
}
