import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { systemCode } from "../../errors.ts";

/**
 * Makes a folder and the missing folders above it. Node's own `recursive` loops without end where `mkdir` always fails with
 * ENOENT, as in `/proc`.
 * @returns the topmost folder that was made; undefined if all of them existed
 */
export async function makeFolders(folder: string): Promise<string | undefined> {
  try {
    await mkdir(folder);
    return folder;
  } catch (error) {
    const code = systemCode(error);
    if (code === "EEXIST" && (await stat(folder)).isDirectory()) return undefined;
    if (code !== "ENOENT" || dirname(folder) === folder) throw error;
  }
  const made = await makeFolders(dirname(folder));
  try {
    await mkdir(folder);
  } catch (error) {
    // Another process was first.
    if (systemCode(error) !== "EEXIST") throw error;
  }
  return made ?? folder;
}
