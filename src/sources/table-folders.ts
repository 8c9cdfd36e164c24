import { opendir } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { systemCode } from "../errors.ts";
import type { S3 } from "../storage/s3.ts";
import { parseS3Uri } from "../storage/s3-uri.ts";
import { inputError } from "./bytes.ts";
import { dataRule, imageRule } from "./data-name.ts";
import { formatOfName } from "./detect.ts";
import { isRowFormat } from "./row-format.ts";
import { s3Glob, s3Objects } from "./s3-glob.ts";
import { isPrefix, isS3Uri } from "./s3-origin.ts";

/**
 * Whether an argument of images is a folder or prefix that holds tables of them: files of Parquet or Arrow, and no image, by their names. It is
 * looked at until the first image.
 */
export async function holdsTables(argument: string, s3: S3): Promise<boolean> {
  if (!isS3Uri(argument)) return await namesTables(pathsIn(argument));
  if (s3Glob(argument) !== undefined || !isPrefix(parseS3Uri(argument))) return false;
  return await namesTables(pathsBelow(argument, s3));
}

async function namesTables(paths: AsyncIterable<string>): Promise<boolean> {
  let found = false;
  for await (const path of paths) {
    if (imageRule(path) === undefined) return false;
    found ||= isRowFormat(formatOfName(path)) && dataRule(path) === undefined;
  }
  return found;
}

/** The files in a folder, relative to it; none where there is no folder. */
async function* pathsIn(folder: string): AsyncGenerator<string> {
  try {
    for await (const entry of await opendir(folder, { recursive: true }))
      if (!entry.isDirectory()) yield join(relative(folder, entry.parentPath), entry.name).replaceAll(sep, "/");
  } catch (error) {
    const code = systemCode(error);
    if (code !== "ENOENT" && code !== "ENOTDIR") throw inputError(folder, error);
  }
}

async function* pathsBelow(prefix: string, s3: S3): AsyncGenerator<string> {
  for await (const { path } of s3Objects({ at: parseS3Uri(prefix) }, s3)) yield path;
}
