import type { Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";

type Engine = Transform & { bytesWritten: number };

/** A compression of inputs. */
export type Compression = {
  name: string;
  /** The first bytes of compressed data. */
  magic: Buffer;
  /** Endings of file names, without the dot. The format is then that of the name before the ending. */
  endings: readonly string[];
  /** Endings of compressed tar archives, without the dot. */
  tarEndings: readonly string[];
  /** Compressed bytes that are passed at once. They bound the memory that hostile data can take: each piece may expand by the largest ratio. */
  inputBytes: number;
  /** A stream that decompresses. */
  open(): Engine;
};

/** The table of compressions. An input in a compression of this table is detected and read; nothing else has to be changed for a new one. */
export const COMPRESSIONS: readonly Compression[] = [
  {
    name: "gzip",
    magic: Buffer.of(0x1f, 0x8b),
    endings: ["gz"],
    tarEndings: ["tgz"],
    // Expands to 17 MB at most.
    inputBytes: 16 * 1024,
    // If the data is corrupt, the content of the last of these buffers is lost.
    open: () => createGunzip({ chunkSize: 4 * 1024 }),
  },
  {
    name: "zstd",
    magic: Buffer.of(0x28, 0xb5, 0x2f, 0xfd),
    endings: ["zst"],
    tarEndings: [],
    // Expands to 32 MB at most: blocks of 4 bytes that repeat one byte 128 Ki times. The window takes 128 MB at most, zlib's default.
    inputBytes: 1024,
    open: () => createZstdDecompress({ chunkSize: 64 * 1024 }),
  },
];

const ENDINGS = new RegExp(`\\.(?:${COMPRESSIONS.flatMap(({ endings }) => endings).join("|")})$`, "i");
const TAR_ENDINGS = COMPRESSIONS.flatMap(({ tarEndings }) => tarEndings);

/** The compression that the first bytes of an input indicate. */
export function compressionOf(head: Buffer): Compression | undefined {
  return COMPRESSIONS.find(({ magic }) => startsWith(head, magic));
}

/** The name of a file without the ending of its compression. */
export function withoutCompression(name: string): string {
  return name.replace(ENDINGS, "");
}

/** Whether a name has the ending of a compressed file or tar archive. */
export function isCompressedName(name: string): boolean {
  const extension = /\.([^.]+)$/.exec(name.toLowerCase())?.[1] ?? "";
  return withoutCompression(name) !== name || isCompressedTar(extension);
}

/** Whether the extension of a name, in lower case, is that of a compressed tar archive. */
export function isCompressedTar(extension: string): boolean {
  return TAR_ENDINGS.includes(extension);
}

export function startsWith(head: Buffer, magic: Uint8Array): boolean {
  return head.subarray(0, magic.length).equals(magic);
}

/** Compressed data that is cut off or corrupt. What was decompressed before the error is valid. */
export class BrokenInput extends Error {}

/** Decompresses the members or frames one after the other. Throws BrokenInput. */
export async function* decompress(input: AsyncIterable<Buffer>, compression: Compression): AsyncGenerator<Buffer> {
  const { name, inputBytes } = compression;
  const output = { bytes: 0 };
  let member = new Member(compression, output);
  try {
    for await (const chunk of input) {
      for (let at = 0; at < chunk.length; ) {
        const piece = chunk.subarray(at, at + inputBytes);
        const used = await member.write(piece);
        yield* member.take();
        at += used;
        if (used === piece.length) continue;
        // zlib reads all members of gzip as one, but ends after the first frame of zstd.
        if (used === 0 && member.isFresh) throw broken(name, output.bytes, "unknown data");
        member.close();
        member = new Member(compression, output);
      }
    }
    await member.end();
    yield* member.take();
  } finally {
    member.close();
  }
}

/**
 * One frame of zstd, or all members of gzip. The output of each piece is taken before the next piece is written: a stream that is
 * destroyed by its own error discards its buffer, and what was decompressed before the error must not be lost.
 */
class Member {
  readonly #name: string;
  readonly #engine: Engine;
  readonly #output: { bytes: number };
  #pieces: Buffer[] = [];
  #failure: Error | undefined;
  #wake = (): void => {};

  /** @param output counts the decompressed bytes of all members */
  constructor({ name, open }: Compression, output: { bytes: number }) {
    this.#name = name;
    this.#output = output;
    this.#engine = open()
      .on("data", (piece: Buffer) => this.#pieces.push(piece))
      .on("error", (error) => {
        this.#failure = error;
      })
      .on("close", () => this.#wake());
  }

  /** No byte was accepted yet. */
  get isFresh(): boolean {
    return this.#engine.bytesWritten === 0;
  }

  /** @returns the bytes of the piece that were used: fewer if the frame ends within it */
  async write(piece: Buffer): Promise<number> {
    const before = this.#engine.bytesWritten;
    await this.#done((done) => this.#engine.write(piece, done));
    return this.#failure ? piece.length : this.#engine.bytesWritten - before;
  }

  async end(): Promise<void> {
    if (!this.isFresh) await this.#done(() => this.#engine.end());
  }

  *take(): Generator<Buffer> {
    for (const piece of this.#pieces.splice(0)) {
      this.#output.bytes += piece.length;
      yield piece;
    }
    if (this.#failure) throw broken(this.#name, this.#output.bytes, this.#failure.message, this.#failure);
  }

  close(): void {
    this.#engine.destroy();
  }

  #done(start: (done: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      start(() => resolve());
    });
  }
}

function broken(name: string, bytes: number, why: string, cause?: Error): BrokenInput {
  return new BrokenInput(`the ${name} data is cut off or corrupt after ${bytes} decompressed bytes: ${why}`, { cause });
}
