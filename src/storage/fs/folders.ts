import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { systemCode } from "../../errors.ts";

/**
 * Makes a folder and what is missing above it. Node's own `recursive` goes round for ever in a folder that takes none and says ENOENT,
 * as `/proc` does.
 * @returns the topmost folder that it made; undefined where all of them were there
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
