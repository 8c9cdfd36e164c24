import { glob, lstat, readdir, realpath, stat } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import type { Listed } from "../bytes/input-identity.ts";
import { inputError } from "../bytes/read-file.ts";
import type { NameRule } from "./name-rules.ts";
import type { PassOver } from "./passed-over.ts";

/**
 * The files in a folder and its subfolders that a rule takes, in the byte order of their paths. Hidden files and folders are passed
 * over. A link is taken if it leads to a file in the folder; links to folders are not followed.
 * @param passOver receives the path, relative to the folder, of each file that is passed over. A hidden folder is reported once, as `NAME/`
 */
export async function listFolder(folder: string, rule: NameRule, passOver: PassOver): Promise<Listed[]> {
  const paths: string[] = [];
  const pending = [""];
  for (let below = pending.pop(); below !== undefined; below = pending.pop()) {
    let entries: Awaited<ReturnType<typeof readEntries>>;
    try {
      entries = await readEntries(join(folder, below));
    } catch (error) {
      throw inputError(join(folder, below), error);
    }
    for (const entry of entries) {
      const path = below === "" ? entry.name : `${below}/${entry.name}`;
      const isFolder = entry.isDirectory();
      const why = entry.name.startsWith(".") ? "hidden" : isFolder ? undefined : rule(path);
      if (why !== undefined) passOver(why, isFolder ? `${path}/` : path);
      else if (isFolder) pending.push(path);
      else if (entry.isFile() || entry.isSymbolicLink()) paths.push(path);
      else passOver("link-or-device", path);
    }
  }
  return describe(folder, paths, passOver);
}

function readEntries(path: string) {
  return readdir(path, { withFileTypes: true });
}

/** The files that a pattern matches, relative to its base folder, in the same order and with the same rules as in a folder. */
export async function listGlob(pattern: string, rule: NameRule, passOver: PassOver): Promise<Listed[]> {
  const base = globBase(pattern);
  const paths: string[] = [];
  for await (const found of glob(pattern)) {
    const path = relative(base, resolve(found)).replaceAll(sep, "/");
    // A pattern selects files only.
    if (await isFolder(resolve(found))) continue;
    const why = path.split("/").some((part) => part.startsWith(".")) ? "hidden" : rule(path);
    if (why === undefined) paths.push(path);
    else passOver(why, path);
  }
  // `glob` follows links to folders. With a link to a parent folder, each file would occur twice.
  const direct = new Map<string, boolean>();
  for (const path of paths) {
    const parent = join(base, dirname(path));
    if (!direct.has(parent)) direct.set(parent, (await realpath(parent)) === join(await realpath(base), dirname(path)));
  }
  const isDirect = (path: string): boolean => direct.get(join(base, dirname(path)))!;
  for (const path of paths) if (!isDirect(path)) passOver("link-or-device", path);
  return describe(base, paths.filter(isDirect), passOver);
}

async function isFolder(path: string): Promise<boolean> {
  return await lstat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

export function isGlob(path: string): boolean {
  return /[*?[{]/.test(path);
}

/** The folder that contains all matches of a pattern: the segments before the first one with a wildcard. */
export function globBase(pattern: string): string {
  const segments = pattern.split(sep);
  const base = segments.slice(0, segments.findIndex(isGlob)).join(sep);
  return resolve(base === "" && isAbsolute(pattern) ? sep : base);
}

/** Sizes and times of the paths that are files inside the folder, in byte order. */
async function describe(folder: string, paths: readonly string[], passOver: PassOver): Promise<Listed[]> {
  if (paths.length === 0) return [];
  const root = await realpath(folder);
  const files: Listed[] = [];
  for (const path of byteOrder(paths)) {
    const found = await fileInside(root, join(folder, path));
    if (found === undefined) passOver("link-or-device", path);
    else files.push({ path, ...found });
  }
  return files;
}

/** Undefined if the path no longer exists, is not a file, or leads out of the root through a link. */
async function fileInside(root: string, path: string): Promise<Omit<Listed, "path"> | undefined> {
  try {
    const real = await realpath(path);
    if (!real.startsWith(root.endsWith(sep) ? root : root + sep)) return undefined;
    const found = await stat(real);
    return found.isFile() ? { size: found.size, version: found.mtimeMs } : undefined;
  } catch {
    // A name that is not UTF-8 cannot be opened by its decoded form. It is reported later; a dangling link is passed over.
    return path.includes("\uFFFD") ? { size: 0, version: 0 } : undefined;
  }
}

/** Sorted by their UTF-8 bytes. Each byte becomes one character: that is much faster than comparing buffers. */
export function byteOrder(paths: readonly string[]): string[] {
  const keys = paths.map((path) => Buffer.from(path).toString("latin1"));
  return keys.sort().map((key) => Buffer.from(key, "latin1").toString());
}
