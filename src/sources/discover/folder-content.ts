import { opendir } from "node:fs/promises";
import { join } from "node:path";
import { LabelmillError, systemCode } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { parseS3Uri } from "../../storage/s3/uri.ts";
import { inputError } from "../bytes/read.ts";
import { isPrefix, isS3Uri } from "../bytes/s3-origin.ts";
import { isRowFormat } from "../columnar/formats.ts";
import { quoted } from "../source.ts";
import { isTarName } from "../tar/archive-name.ts";
import { formatOfName } from "../text/detect-format.ts";
import { dataRule, imageRule } from "./name-rules.ts";
import { s3Glob, s3Objects } from "./s3-listing.ts";

/**
 * What a folder or prefix of images holds in their place, by the names of its files: tables (Parquet, Arrow) or tar archives of images. Undefined
 * where it holds an image, or neither. It is looked at until the first image.
 * @param format as it was told: of a folder that holds both it says which are meant
 * @throws LabelmillError USAGE where it holds both and no format was told
 */
export async function heldBy(argument: string, format: ReadOptions["format"], s3: S3): Promise<Held | undefined> {
  if (!isS3Uri(argument)) return await heldAmong(pathsIn(argument), argument, format);
  if (s3Glob(argument) !== undefined || !isPrefix(parseS3Uri(argument))) return undefined;
  return await heldAmong(pathsBelow(argument, s3), argument, format);
}

export type Held = "tables" | "archives";

async function heldAmong(
  paths: AsyncIterable<string>,
  argument: string,
  format: ReadOptions["format"],
): Promise<Held | undefined> {
  let [table, archive]: (string | undefined)[] = [];
  for await (const path of paths) {
    if (imageRule(path) === undefined) return undefined;
    if (dataRule(path) !== undefined) continue;
    if (format !== "tar" && isRowFormat(formatOfName(path))) table ??= path;
    if (!isRowFormat(format) && isTarName(path)) archive ??= path;
  }
  if (table !== undefined && archive !== undefined) {
    const fix = `name those of one kind with a pattern such as ${quoted(`${argument.replace(/\/?$/, "/")}**/*.tar`)}`;
    throw new LabelmillError(
      "USAGE",
      `expected tables or archives of images in ${quoted(argument)}, got both (${quoted(table)}, ${quoted(archive)}); ${fix}`,
    );
  }
  if (table !== undefined) return "tables";
  return archive === undefined ? undefined : "archives";
}

/** The files in a folder, relative to it, without what is hidden; none where there is no folder. */
async function* pathsIn(folder: string): AsyncGenerator<string> {
  const pending = [""];
  try {
    for (let below = pending.pop(); below !== undefined; below = pending.pop())
      for await (const entry of await opendir(join(folder, below))) {
        // As in listFolder: a hidden folder may be large, or closed to us.
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
