import { stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { LabelmillError } from "../errors.ts";
import { FsStore } from "../storage/fs/store.ts";
import type { OutputLock } from "../storage/lease/lock.ts";
import { lockOutput } from "../storage/lease/output-lock.ts";
import { lockS3Output } from "../storage/lease/s3-lock.ts";
import { openStore, openToRead } from "../storage/open.ts";
import type { S3 } from "../storage/s3/s3.ts";
import type { ObjectStore, ReadableStore } from "../storage/store.ts";
import { isS3 } from "./s3.ts";

/** The store of an output that a user named: a folder, which is made if it is not there, or an `s3://` prefix. */
export async function openOut(out: string, s3: S3): Promise<ObjectStore> {
  return isS3(out) ? openStore(out, s3) : FsStore.open(resolve(out));
}

/** The store of an output that has to be there, to be read. @throws LabelmillError INPUT_NOT_FOUND */
export async function openExistingOut(out: string, s3: S3): Promise<ReadableStore> {
  if (isS3(out)) return openToRead(out, s3);
  const found = await stat(resolve(out)).catch(() => undefined);
  if (found?.isDirectory()) return FsStore.openToRead(resolve(out));
  throw new LabelmillError("INPUT_NOT_FOUND", `${out}: expected the folder of an output, found none`);
}

/** Takes the output for this command alone. @throws LabelmillError OUTPUT_LOCKED, which names who has it */
export async function lockOut(out: string, store: ReadableStore, s3: S3): Promise<OutputLock> {
  return isS3(out) ? lockS3Output(s3, store.uri) : lockOutput(resolve(out));
}

/** `s3://bucket/labels` means what begins with `labels/`, in the store and in what workers are granted. */
export function asPrefix(out: string): string {
  return isS3(out) && !out.endsWith("/") ? `${out}/` : out;
}

/** `reviews.csv` → `reviews-labels` in the current folder. */
export function defaultOut(input: string): string {
  const name = input === "-" ? "stdin" : basename(input).replace(/(\.[A-Za-z0-9]{1,5}){1,2}$/, "");
  const clean = name.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-").replaceAll(/^[.-]+|-+$/g, "");
  return `${clean || "output"}-labels`;
}
