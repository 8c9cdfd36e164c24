import { realpath, stat } from "node:fs/promises";
import { join, posix, sep } from "node:path";
import { messageOf, systemCode } from "../../errors.ts";

/** What a location may hold besides separators: no control characters, and no backslash, which is a separator on other systems. */
const LOCATION = /^[^\p{C}\\]{1,255}$/u;

/**
 * The files in which an ONNX file keeps tensors' data, relative to the model's folder, each once and in order.
 * @param onnx the ONNX file's path, relative to the model's folder, with `/`
 * @param locations as the ONNX file has them: relative to its own folder
 * Throws an Error for a location that leads out of the ONNX file's folder.
 */
export function externalPaths(onnx: string, locations: readonly string[]): string[] {
  return [...new Set(locations.map((location) => placeOf(onnx, location)))].sort();
}

function placeOf(onnx: string, location: string): string {
  const isWithin = LOCATION.test(location) && !posix.isAbsolute(location) && !location.split("/").includes("..");
  const path = posix.normalize(location);
  if (isWithin && path !== "." && !path.endsWith("/")) return posix.join(posix.dirname(onnx), path);
  const shown = JSON.stringify(location.slice(0, 200));
  throw new Error(
    `${onnx}: places of weights: expected the names of files beside it or in folders below, got ${shown}: save the model with its weights beside it`,
  );
}

/**
 * Checks that a file of external weights is a regular file within the model's folder, links followed.
 * Throws an Error that says what it is instead.
 */
export async function checkExternal(dir: string, path: string): Promise<void> {
  try {
    const [root, real] = await Promise.all([realpath(dir), realpath(join(dir, path))]);
    if (!real.startsWith(root + sep))
      throw new Error(
        `expected a file in the model's folder, got a link that leads out of it: put a copy of the file there`,
      );
    if (!(await stat(real)).isFile()) throw new Error("expected a regular file, got something else");
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    const got = systemCode(error) === "ENOENT" ? "it is missing" : `it cannot be read: ${messageOf(error)}`;
    throw new Error(`expected this file of weights, which the ONNX file names, but ${got}`, { cause: error });
  }
}
