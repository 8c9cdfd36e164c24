import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { LabelmillError } from "../../errors.ts";
import { FsStore } from "../../storage/fs/store.ts";
import type { OutputLock } from "../../storage/lease/lock.ts";
import { lockOutput } from "../../storage/lease/output-lock.ts";
import { lockS3Output } from "../../storage/lease/s3-lock.ts";
import { openStore, openToRead } from "../../storage/open.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { isS3 } from "../../storage/s3/uri.ts";
import type { ObjectStore, ReadableStore } from "../../storage/store.ts";

/** Opens the store of an output: a folder, which is created if it does not exist, or an `s3://` prefix. */
export async function openOut(out: string, s3: S3): Promise<ObjectStore> {
  return isS3(out) ? openStore(out, s3) : FsStore.open(resolve(out));
}

/** Opens the store of an existing output for reading. @throws LabelmillError INPUT_NOT_FOUND */
export async function openExistingOut(out: string, s3: S3): Promise<ReadableStore> {
  if (isS3(out)) return openToRead(out, s3);
  const found = await stat(resolve(out)).catch(() => undefined);
  if (found?.isDirectory()) return FsStore.openToRead(resolve(out));
  throw new LabelmillError("INPUT_NOT_FOUND", `${out}: expected the folder of an output, but no folder exists there`);
}

/** Locks the output for this command. @throws LabelmillError OUTPUT_LOCKED, which names the holder */
export async function lockOut(out: string, store: ReadableStore, s3: S3): Promise<OutputLock> {
  return isS3(out) ? lockS3Output(s3, store.uri) : lockOutput(resolve(out));
}

/** `s3://bucket/labels` means the prefix `labels/`, in the store and in the grants of workers. */
export function asPrefix(out: string): string {
  return isS3(out) && !out.endsWith("/") ? `${out}/` : out;
}
