import { closeSync, constants, fstatSync, lstatSync, openSync, type Stats } from "node:fs";
import { type FileHandle, lstat, open, stat } from "node:fs/promises";
import { systemCode } from "./errors.ts";

/**
 * Opening must not wait for a FIFO's writer, or take over a terminal. Waiting for a writer takes a thread of libuv's pool for ever:
 * no time limit and no signal gets it back, and some of them freeze the process.
 */
const SAFE_FLAGS = constants.O_NONBLOCK | constants.O_NOCTTY;

const OWN_FLAGS = constants.O_NOFOLLOW | constants.O_RDWR | constants.O_CREAT | constants.O_APPEND;

/** A file may be replaced by another while it is opened, as when it is written anew. It does not happen this often by chance. */
const TRIES = 5;

/** Another file each time that it was looked at and opened. */
export const REPLACED = "replaced over and over";
export type IrregularKind = "a folder" | "a link" | "a pipe, socket or device" | typeof REPLACED;

/** What is at a path is no regular file. */
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
 * The one way to open a file that somebody else may have put there. Links are followed.
 *
 * @throws IrregularFile and what the system says (ENOENT, EACCES, …)
 */
export async function openRegular(path: string): Promise<FileHandle> {
  return await openChecked(path, stat, SAFE_FLAGS);
}

/**
 * The same without following a link at the path's end.
 *
 * @param real a path without links, as `realpath` gives it
 */
export async function openReal(real: string): Promise<FileHandle> {
  return await openChecked(real, lstat, SAFE_FLAGS | constants.O_NOFOLLOW);
}

async function openChecked(path: string, look: (path: string) => Promise<Stats>, flags: number): Promise<FileHandle> {
  for (let tried = 0; tried < TRIES; tried++) {
    // Opening a device can do something to it, so what is none of a file's kind is not opened at all.
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

/** The whole of a file; links are followed. Throws as `openRegular`. */
export async function readRegular(path: string): Promise<Buffer> {
  await using file = await openRegular(path);
  return await file.readFile();
}

/** The same as text in UTF-8. */
export async function readRegularText(path: string): Promise<string> {
  return (await readRegular(path)).toString("utf8");
}

/**
 * Opens a file of our own, made if it is not there, to read it and append to it; links are not followed.
 *
 * @returns its descriptor, the caller's to close
 * @throws IrregularFile and what the system says
 */
export function openOwnSync(path: string): number {
  checkOwnSync(path);
  const file = openSync(path, SAFE_FLAGS | OWN_FLAGS, 0o600);
  const openedKind = irregularKind(fstatSync(file));
  if (openedKind === undefined) return file;
  closeSync(file);
  throw new IrregularFile(path, openedKind);
}

/** Whether `openOwnSync` may open what is at a path now, or make it. @throws IrregularFile */
export function checkOwnSync(path: string): void {
  const there = lstatSync(path, { throwIfNoEntry: false });
  const kind = there && irregularKind(there);
  if (kind) throw new IrregularFile(path, kind);
}

type Kinds = { isFile(): boolean; isDirectory(): boolean; isSymbolicLink(): boolean };

function irregularKind(found: Kinds): IrregularKind | undefined {
  if (found.isFile()) return undefined;
  if (found.isDirectory()) return "a folder";
  return found.isSymbolicLink() ? "a link" : "a pipe, socket or device";
}
