import { realpath, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { LabelmillError, systemCode } from "../../errors.ts";
import { openRegular } from "../../regular-file.ts";
import { fileOrigin } from "../bytes/file-origin.ts";
import { describeFile, describeListing, type Listed } from "../bytes/input-identity.ts";
import { checkFile, inputError, namedFile } from "../bytes/read-file.ts";
import { beginsAsImage, IMAGE_MAGIC_BYTES, isImageName } from "../item/image-formats.ts";
import { fileReference, inFolder, type Reference } from "../item/image-reference.ts";
import { quoted } from "../source.ts";
import { isTarName } from "../tar/archive-name.ts";
import type { FoundImages } from "./found-images.ts";
import { globBase, isGlob, listFolder, listGlob } from "./local-listing.ts";
import { imageRule } from "./name-rules.ts";
import type { PassedOver } from "./passed-over.ts";

/** The images or the list that a path names: an image, a folder, a pattern or a list. */
export async function findLocalImages(from: string, passedOver: PassedOver): Promise<FoundImages> {
  const path = resolve(from);
  switch (await kindOf(from)) {
    case "image":
      await checkFile(from);
      return {
        input: await describeFile(namedFile(from)),
        references: () => [fileReference(from, path)],
        ids: pathsOf([{ path: from }]),
      };
    case "folder": {
      const files = await listFolder(
        path,
        imageRule,
        passedOver.below((below) => join(from, below)),
      );
      if (files.length === 0)
        throw new LabelmillError("INPUT_EMPTY", `there are no images in ${quoted(from)}${passedOver.inWords}`);
      const uri = pathToFileURL(await realpath(path)).href;
      return { input: describeListing(uri, files), references: () => references(path, files), ids: pathsOf(files) };
    }
    case "glob": {
      const files = await listGlob(
        from,
        imageRule,
        passedOver.below((below) => join(globBase(from), below)),
      );
      if (files.length === 0)
        throw new LabelmillError("INPUT_NOT_FOUND", `no image matches ${quoted(from)}${passedOver.inWords}`);
      const input = describeListing(pathToFileURL(path).href, files);
      return { input, references: () => references(globBase(from), files), ids: pathsOf(files) };
    }
    case "list":
      return { origin: await fileOrigin(from), base: inFolder(dirname(path)) };
  }
}

/** The real path that an argument grants: an image or archive, a folder, the base folder of a pattern, the folder of a list. */
export async function localGrant(from: string): Promise<string> {
  switch (await kindOf(from)) {
    case "glob":
      return await realpath(globBase(from)).catch((error: unknown) => Promise.reject(inputError(from, error)));
    case "list":
      return await realpath(isTarName(from) ? from : dirname(resolve(from)));
    default:
      return await realpath(from);
  }
}

/** The kind of a path. A file that is not an image is assumed to be a list. */
async function kindOf(from: string): Promise<"folder" | "glob" | "image" | "list"> {
  try {
    const found = await stat(from);
    if (found.isDirectory()) return "folder";
    return found.isFile() && (isImageName(from) || beginsAsImage(await firstBytes(from))) ? "image" : "list";
  } catch (error) {
    if (systemCode(error) === "ENOENT" && isGlob(from)) return "glob";
    throw inputError(from, error);
  }
}

async function firstBytes(path: string): Promise<Buffer> {
  await using file = await openRegular(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(IMAGE_MAGIC_BYTES), 0, IMAGE_MAGIC_BYTES, 0);
  return buffer.subarray(0, bytesRead);
}

function* references(folder: string, files: readonly Listed[]): Generator<Reference> {
  for (const { path } of files) yield fileReference(path, join(folder, path));
}

/** The ids of images are their paths. */
export function pathsOf(files: readonly Pick<Listed, "path">[]): { paths(): Iterable<string> } {
  return {
    *paths() {
      for (const { path } of files) yield path;
    },
  };
}
