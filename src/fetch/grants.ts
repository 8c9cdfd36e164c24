import { type FileHandle, lstat, readlink, realpath } from "node:fs/promises";
import { join, parse, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { LabelmillError, systemCode } from "../errors.ts";
import { IrregularFile, openReal, REPLACED } from "../regular-file.ts";
import { show, showUrl } from "./printable-url.ts";

/**
 * The real location of a path, with links resolved. `fault` is set if nothing can be reached there: a system error code, or
 * `link` for a link that leads nowhere. Then `real` is where the path would be without the fault.
 */
type Place = { real: string; fault?: string };

/**
 * The files and folders that `file:` URLs may open. Real paths are compared, so that neither a link nor `..` leads out of
 * them. Outside of the grants, the error is the same whether the path exists or not.
 */
export class FileGrants {
  /** Real paths, resolved once: a root that is replaced by a link later grants nothing new. */
  readonly #roots: Promise<string[]>;

  /**
   * @param roots paths, relative to the working directory: a file grants itself, a folder everything in it. A path that
   * does not exist yet grants what is created there.
   * @throws LabelmillError CONFIG_INVALID for a path that is empty (it would grant the working directory) or contains a NUL
   */
  constructor(roots: Iterable<string>) {
    const paths = [...roots];
    if (paths.some((path) => path === "" || path.includes("\0"))) {
      throw new LabelmillError(
        "CONFIG_INVALID",
        "expected paths in fileRoots (LABELMILL_FILE_ROOTS), got an empty one",
      );
    }
    this.#roots = Promise.all(paths.map(async (path) => (await locate(resolve(path))).real));
  }

  /**
   * The real path of an existing file or folder.
   *
   * @throws LabelmillError URL_REFUSED (not a `file:` URL of this machine), NOT_GRANTED, IMAGE_NOT_FOUND (granted, but
   * missing or not readable)
   */
  async resolve(uri: string): Promise<string> {
    const path = pathOf(uri);
    const { real, fault } = await this.#locateGranted(path);
    if (fault !== undefined) throw notFound(path, fault);
    return real;
  }

  /**
   * The real path of a folder that need not exist: the real path of its nearest existing ancestor, and the rest.
   *
   * @throws LabelmillError URL_REFUSED, NOT_GRANTED
   */
  async resolveOutput(uri: string): Promise<string> {
    return (await this.#locateGranted(pathOf(uri))).real;
  }

  /**
   * Opens a regular file for reading. The opened file is checked again, because a folder of its path may have been replaced
   * after the first check.
   *
   * @throws LabelmillError those of `resolve`, and IMAGE_INVALID for a folder, FIFO, socket or device
   */
  async open(uri: string): Promise<FileHandle> {
    const path = pathOf(uri);
    const real = await this.resolve(uri);
    let handle: FileHandle | undefined;
    try {
      handle = await openReal(real);
      if (!(await this.#covers(await openedPath(handle, real)))) throw notGranted(path);
      return handle;
    } catch (error) {
      await handle?.close();
      if (error instanceof LabelmillError) throw error;
      const code = systemCode(error);
      const isReplaced = error instanceof IrregularFile && error.kind === REPLACED;
      if (isReplaced || code === "EMFILE" || code === "ENFILE" || code === "EIO") {
        const why = code ?? "it is replaced repeatedly";
        throw new LabelmillError("FETCH_UNAVAILABLE", `${show(path)}: could not be opened (${why})`, { cause: error });
      }
      if (error instanceof IrregularFile) throw error.kind === "a link" ? notGranted(path) : notAFile(path);
      throw notFound(path, code ?? "unknown");
    }
  }

  async #locateGranted(path: string): Promise<Place> {
    const place = await locate(path);
    if (place.fault === "link" || !(await this.#covers(place.real))) throw notGranted(path);
    return place;
  }

  async #covers(real: string): Promise<boolean> {
    const roots = await this.#roots;
    return roots.some((root) => real === root || real.startsWith(root.endsWith(sep) ? root : root + sep));
  }
}

/** The path of a `file:` URL. The URL parser has removed `..`, in its encoded forms too. */
function pathOf(uri: string): string {
  const url = URL.parse(uri);
  if (url?.protocol !== "file:") throw new LabelmillError("URL_REFUSED", "expected a file: URL, got something else");
  try {
    const path = fileURLToPath(url);
    if (!path.includes("\0")) return path;
  } catch {
    // A host, or an encoded slash: the error below names both.
  }
  throw new LabelmillError("URL_REFUSED", `${showUrl(url)}: expected a file: URL without host, encoded "/" and NUL`);
}

/** Never throws: an obstacle becomes `fault`. The caller reports it only if the place is granted. */
async function locate(path: string): Promise<Place> {
  const there = await realpath(path).catch(() => undefined);
  if (there !== undefined) return { real: there };
  // From the root downwards, so that a path with thousands of missing folders costs no more than one.
  let { root: real } = parse(path);
  const names = path.slice(real.length).split(sep);
  for (const [index, name] of names.entries()) {
    const next = join(real, name);
    try {
      real = await realpath(next);
    } catch (error) {
      const isLink = await lstat(next).then(
        (stats) => stats.isSymbolicLink(),
        () => false,
      );
      const fault = isLink ? "link" : (systemCode(error) ?? "unknown");
      return { real: join(next, ...names.slice(index + 1)), fault };
    }
  }
  return { real };
}

/** The real path of an open file. Linux knows it. Elsewhere the path must still lead to this file, without links; else "". */
async function openedPath(handle: FileHandle, path: string): Promise<string> {
  if (process.platform === "linux") return await readlink(`/proc/self/fd/${handle.fd}`);
  const [held, there, real] = await Promise.all([handle.stat(), lstat(path), realpath(path)]);
  return held.ino === there.ino && held.dev === there.dev ? real : "";
}

function notGranted(path: string): LabelmillError {
  const fix = "add it or its folder to fileRoots (LABELMILL_FILE_ROOTS)";
  return new LabelmillError("NOT_GRANTED", `${show(path)}: expected a path inside the granted folders; ${fix}`);
}

function notFound(path: string, reason: string): LabelmillError {
  return new LabelmillError("IMAGE_NOT_FOUND", `${show(path)}: expected a readable file, got ${reason}`);
}

function notAFile(path: string): LabelmillError {
  return new LabelmillError("IMAGE_INVALID", `${show(path)}: expected a regular file, got a folder or special file`);
}
