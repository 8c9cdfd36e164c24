import { type FileHandle, lstat, readlink, realpath } from "node:fs/promises";
import { join, parse, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { LabelmillError, systemCode } from "../errors.ts";
import { IrregularFile, openReal, REPLACED } from "../regular-file.ts";
import { show, showUrl } from "./show.ts";

/**
 * Where a path really lies, its links followed. `fault` says why it is not there: a system error code, or `link` where
 * a link on the way leads to nothing that can be reached; then `real` is where it would lie but for the fault.
 */
type Place = { real: string; fault?: string };

/**
 * The files and folders that `file:` URLs may open. Only real paths count, so neither a link nor `..` leads out.
 * Outside of the grants the answer is the same whether something is there or not.
 */
export class FileGrants {
  /** Real paths, as they were when the grants were made: a root replaced by a link later on grants nothing new. */
  readonly #roots: Promise<string[]>;

  /**
   * @param roots paths, relative ones to the working directory: a file grants itself, a folder all that is in it.
   * One that is not there yet grants what will be made at its place.
   * @throws LabelmillError CONFIG_INVALID for a path that is empty (it would grant the working directory) or holds a NUL
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
   * The real path of a file or folder that is there.
   *
   * @throws LabelmillError URL_REFUSED (not a `file:` URL of this machine), NOT_GRANTED, IMAGE_NOT_FOUND (granted, but
   * missing or not readable)
   */
  async resolve(uri: string): Promise<string> {
    const asked = pathOf(uri);
    const { real, fault } = await this.#locateGranted(asked);
    if (fault !== undefined) throw notFound(asked, fault);
    return real;
  }

  /**
   * The real path of a folder that need not be there yet: that of its nearest ancestor which is, and the rest.
   *
   * @throws LabelmillError URL_REFUSED, NOT_GRANTED
   */
  async resolveOutput(uri: string): Promise<string> {
    return (await this.#locateGranted(pathOf(uri))).real;
  }

  /**
   * Opens a regular file for reading. What was opened is checked again by itself, because a folder on the way may have
   * been replaced since its path was checked.
   *
   * @throws LabelmillError those of `resolve`, and IMAGE_INVALID for a folder, FIFO, socket or device
   */
  async open(uri: string): Promise<FileHandle> {
    const asked = pathOf(uri);
    const real = await this.resolve(uri);
    let handle: FileHandle | undefined;
    try {
      handle = await openReal(real);
      if (!(await this.#covers(await openedPath(handle, real)))) throw notGranted(asked);
      return handle;
    } catch (error) {
      await handle?.close();
      if (error instanceof LabelmillError) throw error;
      const code = systemCode(error);
      const isReplaced = error instanceof IrregularFile && error.kind === REPLACED;
      if (isReplaced || code === "EMFILE" || code === "ENFILE" || code === "EIO") {
        const why = code ?? "it is replaced over and over";
        throw new LabelmillError("FETCH_UNAVAILABLE", `${show(asked)}: could not be opened (${why})`, { cause: error });
      }
      if (error instanceof IrregularFile) throw error.kind === "a link" ? notGranted(asked) : notAFile(asked);
      throw notFound(asked, code ?? "unknown");
    }
  }

  async #locateGranted(asked: string): Promise<Place> {
    const place = await locate(asked);
    if (place.fault === "link" || !(await this.#covers(place.real))) throw notGranted(asked);
    return place;
  }

  async #covers(real: string): Promise<boolean> {
    const roots = await this.#roots;
    return roots.some((root) => real === root || real.startsWith(root.endsWith(sep) ? root : root + sep));
  }
}

/** The path of a `file:` URL; the URL parser has taken `..` out by then, in its encoded forms too. */
function pathOf(uri: string): string {
  const url = URL.parse(uri);
  if (url?.protocol !== "file:") throw new LabelmillError("URL_REFUSED", "expected a file: URL, got something else");
  try {
    const path = fileURLToPath(url);
    if (!path.includes("\0")) return path;
  } catch {
    // A host, or an encoded slash: said below.
  }
  throw new LabelmillError("URL_REFUSED", `${showUrl(url)}: expected a file: URL without host, encoded "/" and NUL`);
}

/** Never fails: whatever hinders is the `fault`, and is told only once the place is known to be granted. */
async function locate(path: string): Promise<Place> {
  const there = await realpath(path).catch(() => undefined);
  if (there !== undefined) return { real: there };
  // Down from the root, so that a path with thousands of missing folders costs no more than one.
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

/** The path of what is open. Linux knows it; elsewhere the path has to lead to the very file still, and by no link. */
async function openedPath(handle: FileHandle, path: string): Promise<string> {
  if (process.platform === "linux") return await readlink(`/proc/self/fd/${handle.fd}`);
  const [held, there, real] = await Promise.all([handle.stat(), lstat(path), realpath(path)]);
  return held.ino === there.ino && held.dev === there.dev ? real : "";
}

function notGranted(asked: string): LabelmillError {
  const mend = "add it or its folder to fileRoots (LABELMILL_FILE_ROOTS)";
  return new LabelmillError("NOT_GRANTED", `${show(asked)}: expected a path inside the granted folders; ${mend}`);
}

function notFound(asked: string, reason: string): LabelmillError {
  return new LabelmillError("IMAGE_NOT_FOUND", `${show(asked)}: expected a readable file, got ${reason}`);
}

function notAFile(asked: string): LabelmillError {
  return new LabelmillError("IMAGE_INVALID", `${show(asked)}: expected a regular file, got a folder or special file`);
}
