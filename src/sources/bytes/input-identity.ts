import { createHash } from "node:crypto";
import { realpath } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { LabelmillError } from "../../errors.ts";
import { IrregularFile } from "../../regular-file.ts";
import type { Input } from "../../schemas/input.ts";
import type { S3Found } from "../../storage/s3/s3.ts";
import type { FilePlace } from "./read-file.ts";

const END_BYTES = 64 * 1024;

/**
 * A file or object of a listing: `path` relative to the listed folder or prefix, with `/` between its segments, `size` in bytes,
 * `version` the modification time in ms or the ETag.
 */
export type Listed = { path: string; size: number; version: number | string };

/**
 * A file's identity: the URL of its real path, size, modification time, and the SHA-256 (hex) over its first and last 64 KiB and
 * its size in decimal. A change in the middle that keeps size and time is not detected: to read the whole file would take too long.
 */
export async function describeFile({ path, open }: FilePlace): Promise<Input> {
  await using file = await open();
  const { size, mtime } = await file.stat();
  const hash = createHash("sha256");
  for (const position of [0, Math.max(0, size - END_BYTES)]) {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(END_BYTES), 0, END_BYTES, position);
    hash.update(buffer.subarray(0, bytesRead));
  }
  const uri = pathToFileURL(await realpath(path)).href;
  return { uri, size, modifiedAt: mtime.toISOString(), hash: hash.update(String(size)).digest("hex") };
}

/** An object's identity: its URI, size, modification time and, as the hash, `etag:` with its ETag. */
export function describeObject(uri: string, { size, etag, modifiedAt }: S3Found): Input {
  return { uri, size, modifiedAt: modifiedAt.toISOString(), hash: `etag:${etag}` };
}

/** The identity of a listing (of a folder, pattern or prefix): the number of files, and the SHA-256 (hex) over all of them in order. */
export function describeListing(uri: string, files: readonly Listed[]): Input {
  const hash = createHash("sha256");
  for (const { path, size, version } of files) hash.update(`${JSON.stringify([path, size, version])}\n`);
  return { uri, size: files.length, modifiedAt: null, hash: hash.digest("hex") };
}

/** The identity of an input that cannot be examined in advance: a URL, or `stdin:`. */
export function describeUrl(uri: string): Input {
  return { uri, size: null, modifiedAt: null, hash: null };
}

/** @throws LabelmillError INPUT_CHANGED if the input differs from what it was before it was read */
export async function checkUnchanged(before: Input, describe: () => Promise<Input>): Promise<void> {
  const now = await describe().catch(absence);
  if (isDeepStrictEqual(now, before)) return;
  const found = typeof now === "string" ? now : `${now.size} of ${now.modifiedAt} now`;
  throw new LabelmillError(
    "INPUT_CHANGED",
    `${before.uri} changed while it was read (${before.size} bytes of ${before.modifiedAt} then, ${found}): label it into another --out`,
  );
}

/** Why an input can no longer be examined, in words. */
function absence(error: unknown): string {
  const isThere =
    error instanceof IrregularFile || (error instanceof LabelmillError && error.code === "INPUT_UNREADABLE");
  return isThere ? "it is no longer a readable regular file" : "it no longer exists";
}
