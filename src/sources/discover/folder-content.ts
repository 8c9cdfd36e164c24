import { opendir } from "node:fs/promises";
import { join } from "node:path";
import { LabelmillError, systemCode } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { parseS3Uri } from "../../storage/s3/uri.ts";
import { inputError } from "../bytes/read-file.ts";
import { isPrefix, isS3Uri } from "../bytes/s3-origin.ts";
import { isColumnar } from "../columnar/formats.ts";
import { quoted } from "../source.ts";
import { isTarName } from "../tar/archive-name.ts";
import { formatOfName } from "../text/detect-format.ts";
import { dataRule, imageRule } from "./name-rules.ts";
import { s3Glob, s3Objects } from "./s3-listing.ts";

/**
 * Whether a folder or prefix contains tables (Parquet, Arrow) or tar archives of images, by the names of its files. Undefined if it contains an
 * image, or neither. Listing stops at the first image.
 * @param format the format of the options: it selects one kind in a folder with both
 * @throws LabelmillError USAGE if it contains both and the format is auto
 */
export async function folderContent(
  argument: string,
  format: ReadOptions["format"],
  s3: S3,
): Promise<FolderContent | undefined> {
  if (!isS3Uri(argument)) return await contentOf(pathsIn(argument), argument, format);
  if (s3Glob(argument) !== undefined || !isPrefix(parseS3Uri(argument))) return undefined;
  return await contentOf(pathsBelow(argument, s3), argument, format);
}

export type FolderContent = "tables" | "archives";

async function contentOf(
  paths: AsyncIterable<string>,
  argument: string,
  format: ReadOptions["format"],
): Promise<FolderContent | undefined> {
  let [table, archive]: (string | undefined)[] = [];
  for await (const path of paths) {
    if (imageRule(path) === undefined) return undefined;
    if (dataRule(path) !== undefined) continue;
    if (format !== "tar" && isColumnar(formatOfName(path))) table ??= path;
    if (!isColumnar(format) && isTarName(path)) archive ??= path;
  }
  if (table !== undefined && archive !== undefined) {
    const fix = `select one kind with a pattern such as ${quoted(`${argument.replace(/\/?$/, "/")}**/*.tar`)}`;
    throw new LabelmillError(
      "USAGE",
      `expected tables or archives of images in ${quoted(argument)}, got both (${quoted(table)}, ${quoted(archive)}); ${fix}`,
    );
  }
  if (table !== undefined) return "tables";
  return archive === undefined ? undefined : "archives";
}

/** The paths of the files in a folder, relative to it, without hidden ones. None if the folder does not exist. */
async function* pathsIn(folder: string): AsyncGenerator<string> {
  const pending = [""];
  try {
    for (let below = pending.pop(); below !== undefined; below = pending.pop())
      for await (const entry of await opendir(join(folder, below))) {
        // As in listFolder. A hidden folder may be large, or unreadable.
        if (entry.name.startsWith(".")) continue;
        const path = below === "" ? entry.name : `${below}/${entry.name}`;
        if (entry.isDirectory()) pending.push(path);
        else yield path;
      }
  } catch (error) {
    const code = systemCode(error);
    if (code !== "ENOENT" && code !== "ENOTDIR") throw inputError(folder, error);
  }
}

async function* pathsBelow(prefix: string, s3: S3): AsyncGenerator<string> {
  for await (const { path } of s3Objects({ at: parseS3Uri(prefix) }, s3)) yield path;
}
