import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { HubFile } from "./hub.ts";

const HEADER_BYTES = 32;
const COUNT_BYTES = 8;

/**
 * A file that is being downloaded, in ranges of `rangeBytes`, each filled from its start. A second file has the progress of each
 * range. It is written after the bytes, so that after a kill all counted bytes are in the file. After a crash of the machine
 * they may be wrong; the hash of the whole file detects that.
 */
export class PartialFile implements AsyncDisposable {
  readonly file: HubFile;
  readonly #data: FileHandle;
  readonly #counts: FileHandle;
  readonly #rangeBytes: number;
  /** The bytes downloaded of each range. */
  readonly #done: number[];
  #doneBytes = 0;

  private constructor(file: HubFile, data: FileHandle, counts: FileHandle, rangeBytes: number) {
    this.file = file;
    this.#data = data;
    this.#counts = counts;
    this.#rangeBytes = rangeBytes;
    this.#done = new Array<number>(Math.ceil(file.size / rangeBytes)).fill(0);
  }

  /** Continues an earlier download of the same content, or starts one. @param dir the folder with `model/` and `counts/` */
  static async open(dir: string, file: HubFile, rangeBytes: number): Promise<PartialFile> {
    const path = join(dir, "model", file.path);
    const counts = join(dir, "counts", encodeURIComponent(file.path));
    await mkdir(dirname(path), { recursive: true });
    await mkdir(dirname(counts), { recursive: true });
    const handles: FileHandle[] = [];
    try {
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
      for (const each of [path, counts]) handles.push(await open(each, flags));
      const partial = new PartialFile(file, handles[0]!, handles[1]!, rangeBytes);
      if (!(await partial.#read())) await partial.restart();
      return partial;
    } catch (error) {
      for (const handle of handles) await handle.close();
      throw error;
    }
  }

  get doneBytes(): number {
    return this.#doneBytes;
  }

  /** The indexes of the incomplete ranges. */
  missing(): number[] {
    return [...this.#done.keys()].filter((range) => !this.isFull(range));
  }

  isFull(range: number): boolean {
    return this.#done[range] === this.#end(range) - range * this.#rangeBytes;
  }

  /** The missing bytes of a range: from the first (included) to the last (excluded). */
  rest(range: number): { from: number; to: number } {
    return { from: range * this.#rangeBytes + this.#done[range]!, to: this.#end(range) };
  }

  /** Writes bytes that begin at `at`. Bytes that are present already, or would leave a gap, are skipped. */
  async write(at: number, bytes: Uint8Array): Promise<void> {
    for (let taken = 0; taken < bytes.length; ) {
      const range = Math.floor((at + taken) / this.#rangeBytes);
      const piece = bytes.subarray(taken, Math.min(bytes.length, this.#end(range) - at));
      const { from } = this.rest(range);
      const known = from - (at + taken);
      if (known >= 0 && known < piece.length) await this.#append(range, from, piece.subarray(known));
      taken += piece.length;
    }
  }

  /** Discards all bytes. */
  async restart(): Promise<void> {
    // In this order, so that the counts never exceed the data.
    await this.#counts.truncate(0);
    await this.#data.truncate(0);
    await this.#data.truncate(this.file.size);
    this.#done.fill(0);
    this.#doneBytes = 0;
    const zeros = Buffer.alloc(this.#done.length * COUNT_BYTES);
    await writeAll(this.#counts, Buffer.concat([this.#identity(), zeros]), 0);
  }

  /** Syncs the bytes to the disk. */
  async sync(): Promise<void> {
    await this.#data.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#data.close();
    await this.#counts.close();
  }

  async #append(range: number, from: number, bytes: Uint8Array): Promise<void> {
    await writeAll(this.#data, bytes, from);
    const before = this.#done[range]!;
    const done = Math.max(before, from + bytes.length - range * this.#rangeBytes);
    const count = Buffer.alloc(COUNT_BYTES);
    count.writeDoubleLE(done);
    await writeAll(this.#counts, count, HEADER_BYTES + range * COUNT_BYTES);
    this.#done[range] = done;
    this.#doneBytes += done - before;
  }

  /** @returns false if the files are of another content or incomplete */
  async #read(): Promise<boolean> {
    const counts = await this.#counts.readFile();
    const isOurs = counts.subarray(0, HEADER_BYTES).equals(this.#identity());
    if (!isOurs || counts.length !== HEADER_BYTES + this.#done.length * COUNT_BYTES) return false;
    if ((await this.#data.stat()).size !== this.file.size) return false;
    for (const range of this.#done.keys()) {
      const done = counts.readDoubleLE(HEADER_BYTES + range * COUNT_BYTES);
      if (!Number.isInteger(done) || done < 0 || done > this.#end(range) - range * this.#rangeBytes) return false;
      this.#done[range] = done;
    }
    this.#doneBytes = this.#done.reduce((sum, done) => sum + done, 0);
    return true;
  }

  #end(range: number): number {
    return Math.min(this.file.size, (range + 1) * this.#rangeBytes);
  }

  #identity(): Buffer {
    const { size, hash } = this.file;
    return createHash("sha256").update(`${hash.algorithm} ${hash.hex} ${size} ${this.#rangeBytes}`).digest();
  }
}

/** On a disk that becomes full, a write may write only some bytes, and the next one fails. */
async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, at + written);
    written += bytesWritten;
  }
}
