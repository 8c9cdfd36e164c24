import { LabelmillError } from "../../errors.ts";
import { parseS3Reference } from "../../fetch/s3-grants.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { type S3Place, s3Uri } from "../../storage/s3/uri.ts";
import { describeListing, type Listed } from "../bytes/input-identity.ts";
import type { Origin } from "../bytes/origin.ts";
import { Peekable } from "../bytes/peekable.ts";
import { isPrefix, requireS3, s3Origin } from "../bytes/s3-origin.ts";
import { beginsAsImage, IMAGE_MAGIC_BYTES, isImageName } from "../item/image-formats.ts";
import { belowPrefix, objectReference, type Reference } from "../item/image-reference.ts";
import { quoted } from "../source.ts";
import { isTarName } from "../tar/archive-name.ts";
import type { FoundImages } from "./found-images.ts";
import { pathsOf } from "./local-images.ts";
import { byteOrder } from "./local-listing.ts";
import { imageRule } from "./name-rules.ts";
import type { PassedOver } from "./passed-over.ts";
import { s3Glob, s3Objects } from "./s3-listing.ts";

/** The images or the list that an `s3://` URI names: an image, a prefix, a pattern or a list. */
export async function findS3Images(from: string, s3: S3 | undefined, passedOver: PassedOver): Promise<FoundImages> {
  const pattern = s3Glob(from);
  const at = pattern?.at ?? parseS3Reference(from);
  if (!pattern && !isPrefix(at)) {
    const origin = await s3Origin(from, s3);
    if (!(await isImage(origin))) return { origin, base: belowPrefix(prefixOf(at)) };
    return {
      input: origin.input,
      references: () => [objectReference(from, s3Uri(at))],
      ids: pathsOf([{ path: from }]),
    };
  }
  const files = await listImages(pattern ?? { at }, requireS3(from, s3), passedOver);
  if (files.length === 0) {
    const what = pattern ? `no image matches ${quoted(from)}` : `there are no images below ${quoted(from)}`;
    const message = `${what}${passedOver.inWords}`;
    throw new LabelmillError(pattern ? "INPUT_NOT_FOUND" : "INPUT_EMPTY", message);
  }
  const input = describeListing(pattern ? from : s3Uri(at), files);
  return { input, references: () => references(at, files), ids: pathsOf(files) };
}

/** The URI that an `s3://` argument grants: a prefix, the prefix of a pattern, an image or archive, or, for a list, the prefix that contains it. */
export function s3Grant(from: string): string {
  const pattern = s3Glob(from);
  if (pattern) return s3Uri(pattern.at);
  const at = parseS3Reference(from);
  return s3Uri(isPrefix(at) || isImageName(at.key) || isTarName(at.key) ? at : prefixOf(at));
}

/** The prefix that contains an object, as a folder contains a file. */
function prefixOf({ bucket, key }: S3Place): S3Place {
  return { bucket, key: key.slice(0, key.lastIndexOf("/") + 1) };
}

async function isImage(origin: Origin): Promise<boolean> {
  if (isImageName(origin.name)) return true;
  const bytes = new Peekable(origin.bytes());
  try {
    return beginsAsImage(await bytes.peek(IMAGE_MAGIC_BYTES));
  } finally {
    await bytes.close();
  }
}

/** The images below a prefix, or those that match a pattern, in the byte order of their keys, with the rules of a folder. */
async function listImages(below: Parameters<typeof s3Objects>[0], s3: S3, passedOver: PassedOver): Promise<Listed[]> {
  const files = new Map<string, Listed>();
  for await (const { key, path, size, etag } of s3Objects(below, s3)) {
    const why = imageRule(path);
    if (why === undefined) files.set(path, { path, size, version: etag });
    else passedOver.add(why, s3Uri({ bucket: below.at.bucket, key }));
  }
  // Some servers list in another order.
  return byteOrder([...files.keys()]).map((path) => files.get(path)!);
}

function* references({ bucket, key }: S3Place, files: readonly Listed[]): Generator<Reference> {
  for (const { path } of files) yield objectReference(path, s3Uri({ bucket, key: key + path }));
}
