import { closeSync, constants, fstatSync, lstatSync, openSync, type Stats } from "node:fs";
import { type FileHandle, lstat, open, stat } from "node:fs/promises";
import { systemCode } from "./errors.ts";

/**
 * Opening must not wait for the writer of a FIFO, or take control of a terminal. Waiting for a writer blocks a thread of libuv's pool
 * forever: no time limit and no signal frees it, and a few such threads block the process.
 */
const SAFE_FLAGS = constants.O_NONBLOCK | constants.O_NOCTTY;

const OWN_FLAGS = constants.O_NOFOLLOW | constants.O_RDWR | constants.O_CREAT | constants.O_APPEND;

/** Attempts to open a file. Another process may replace it meanwhile, but not this often by chance. */
const TRIES = 5;

/** The file was replaced during every attempt. */
export const REPLACED = "replaced repeatedly";
export type IrregularKind = "a folder" | "a link" | "a pipe, socket or device" | typeof REPLACED;

/** The path is not a regular file. */
export class IrregularFile extends Error {
  override readonly name = "IrregularFile";
  readonly kind: IrregularKind;

  constructor(path: string, kind: IrregularKind) {
    super(`${path}: expected a regular file, but it is ${kind}`);
    this.kind = kind;
  }
}

/** Opens a file for reading. */
export type OpenFile = () => Promise<FileHandle>;

/**
 * Opens a file for reading. Every file that another user may have put there is opened in this way. Links are followed.
 *
 * @throws IrregularFile, or an error of the system (ENOENT, EACCES, …)
 */
export async function openRegular(path: string): Promise<FileHandle> {
  return await openChecked(path, stat, SAFE_FLAGS);
}

/**
 * As `openRegular`, but does not follow a link at the end of the path.
 *
 * @param real a path without links, from `realpath`
 */
export async function openReal(real: string): Promise<FileHandle> {
  return await openChecked(real, lstat, SAFE_FLAGS | constants.O_NOFOLLOW);
}

async function openChecked(path: string, look: (path: string) => Promise<Stats>, flags: number): Promise<FileHandle> {
  for (let tried = 0; tried < TRIES; tried++) {
    // Opening a device can change its state, so a path that is not a regular file is not opened at all.
    const seen = await look(path);
    const kind = irregularKind(seen);
    if (kind) throw new IrregularFile(path, kind);
    const handle = await open(path, constants.O_RDONLY | flags).catch((error: unknown) => {
      const code = systemCode(error);
      if (code === "ELOOP") throw new IrregularFile(path, "a link");
      if (code === "ENXIO") throw new IrregularFile(path, "a pipe, socket or device");
      throw error;
    });
    try {
      const opened = await handle.stat();
      const openedKind = irregularKind(opened);
      if (openedKind) throw new IrregularFile(path, openedKind);
      if (opened.ino === seen.ino && opened.dev === seen.dev) return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
    await handle.close();
  }
  throw new IrregularFile(path, REPLACED);
}

/** Reads a whole file. Links are followed. @throws as `openRegular` */
export async function readRegular(path: string): Promise<Buffer> {
  await using file = await openRegular(path);
  return await file.readFile();
}

/** Reads a whole file as UTF-8 text. @throws as `openRegular` */
export async function readRegularText(path: string): Promise<string> {
  return (await readRegular(path)).toString("utf8");
}

/**
 * Opens a file of this program for reading and appending, and creates it if it does not exist. Links are not followed.
 *
 * @returns its descriptor, which the caller closes
 * @throws IrregularFile, or an error of the system
 */
export function openOwnSync(path: string): number {
  checkOwnSync(path);
  const file = openSync(path, SAFE_FLAGS | OWN_FLAGS, 0o600);
  const openedKind = irregularKind(fstatSync(file));
  if (openedKind === undefined) return file;
  closeSync(file);
  throw new IrregularFile(path, openedKind);
}

/** Checks that `openOwnSync` may open or create the path. @throws IrregularFile */
export function checkOwnSync(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  const kind = found && irregularKind(found);
  if (kind) throw new IrregularFile(path, kind);
}

type Kinds = { isFile(): boolean; isDirectory(): boolean; isSymbolicLink(): boolean };

function irregularKind(found: Kinds): IrregularKind | undefined {
  if (found.isFile()) return undefined;
  if (found.isDirectory()) return "a folder";
  return found.isSymbolicLink() ? "a link" : "a pipe, socket or device";
}
