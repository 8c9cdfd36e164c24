import { realpath, stat } from "node:fs/promises";
import { join, posix, sep } from "node:path";
import { messageOf, systemCode } from "../../errors.ts";

/** The characters of a location: no control characters, and no backslash, which is a separator on other systems. */
const LOCATION = /^[^\p{C}\\]{1,255}$/u;

/**
 * The paths of the files with an ONNX file's external weights, relative to the model's folder, sorted and without duplicates.
 * Throws an Error for a location outside the ONNX file's folder.
 * @param onnx the ONNX file's path, relative to the model's folder, with `/`
 * @param locations as in the ONNX file: relative to its own folder
 */
export function externalPaths(onnx: string, locations: readonly string[]): string[] {
  return [...new Set(locations.map((location) => pathOf(onnx, location)))].sort();
}

function pathOf(onnx: string, location: string): string {
  const isWithin = LOCATION.test(location) && !posix.isAbsolute(location) && !location.split("/").includes("..");
  const path = posix.normalize(location);
  if (isWithin && path !== "." && !path.endsWith("/")) return posix.join(posix.dirname(onnx), path);
  const shown = JSON.stringify(location.slice(0, 200));
  throw new Error(
    `${onnx}: location of weights: expected a file in its folder or below, got ${shown}: save the model again, with its weights in its folder`,
  );
}

/**
 * Checks that a file of external weights is a regular file within the model's folder, after following links.
 * Throws an Error that says what was found.
 */
export async function checkExternal(dir: string, path: string): Promise<void> {
  try {
    const [root, real] = await Promise.all([realpath(dir), realpath(join(dir, path))]);
    if (!real.startsWith(root + sep))
      throw new Error(`expected a file in the model's folder, got a link out of it: copy the file there`);
    if (!(await stat(real)).isFile()) throw new Error("expected a regular file, got something else");
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    const got = systemCode(error) === "ENOENT" ? "it is missing" : `it cannot be read: ${messageOf(error)}`;
    throw new Error(`expected this file of weights, which the ONNX file names, but ${got}`, { cause: error });
  }
}
