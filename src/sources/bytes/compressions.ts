import type { Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";

/** The archive breaks off or is corrupt: what came before stands. */
export class BrokenInput extends Error {}

type Engine = Transform & { bytesWritten: number };

type Packing = {
  name: string;
  magic: Uint8Array;
  /** Compressed bytes given at once: what they unpack to at the very most bounds what an archive made to harm can take. */
  inputBytes: number;
  open(): Engine;
};

export const PACKINGS: readonly Packing[] = [
  {
    name: "gzip",
    magic: Buffer.of(0x1f, 0x8b),
    // 17 MB.
    inputBytes: 16 * 1024,
    // Where an archive is corrupt, what was unpacked into the last of these buffers is lost with it.
    open: () => createGunzip({ chunkSize: 4 * 1024 }),
  },
  {
    name: "zstd",
    magic: Buffer.of(0x28, 0xb5, 0x2f, 0xfd),
    // 32 MB: blocks of 4 bytes that repeat one byte 128 Ki times. The window before them takes 128 MB at most, zlib's default.
    inputBytes: 1024,
    open: () => createZstdDecompress({ chunkSize: 64 * 1024 }),
  },
];

/** What is packed, one member or frame after the other. Throws BrokenInput. */
export async function* unpack(packed: AsyncIterable<Buffer>, packing: Packing): AsyncGenerator<Buffer> {
  const { name, inputBytes } = packing;
  const told = { length: 0 };
  let member = new Member(packing, told);
  try {
    for await (const chunk of packed) {
      for (let at = 0; at < chunk.length; ) {
        const piece = chunk.subarray(at, at + inputBytes);
        const used = await member.write(piece);
        yield* member.taken();
        at += used;
        if (used === piece.length) continue;
        // zlib reads gzip's members as one, but ends with the first frame of zstd.
        if (used === 0 && member.isFresh) throw broken(name, told.length, "unknown data");
        member.close();
        member = new Member(packing, told);
      }
    }
    await member.end();
    yield* member.taken();
  } finally {
    member.close();
  }
}

/**
 * One frame, or all members. Each piece is taken before the next is given: a stream that is destroyed by its own error forgets what it
 * holds, and what was unpacked before the error must stand.
 */
class Member {
  readonly #name: string;
  readonly #engine: Engine;
  readonly #told: { length: number };
  #unpacked: Buffer[] = [];
  #failure: Error | undefined;
  #wake = (): void => {};

  /** @param told bytes that were unpacked in all */
  constructor({ name, open }: Packing, told: { length: number }) {
    this.#name = name;
    this.#told = told;
    this.#engine = open()
      .on("data", (piece: Buffer) => this.#unpacked.push(piece))
      .on("error", (error) => {
        this.#failure = error;
      })
      .on("close", () => this.#wake());
  }

  /** Nothing of it was understood yet. */
  get isFresh(): boolean {
    return this.#engine.bytesWritten === 0;
  }

  /** Bytes that were taken of the piece: fewer where the frame ends within it. */
  async write(piece: Buffer): Promise<number> {
    const before = this.#engine.bytesWritten;
    await this.#done((done) => this.#engine.write(piece, done));
    return this.#failure ? piece.length : this.#engine.bytesWritten - before;
  }

  async end(): Promise<void> {
    if (!this.isFresh) await this.#done(() => this.#engine.end());
  }

  *taken(): Generator<Buffer> {
    for (const piece of this.#unpacked.splice(0)) {
      this.#told.length += piece.length;
      yield piece;
    }
    if (this.#failure) throw broken(this.#name, this.#told.length, this.#failure.message, this.#failure);
  }

  close(): void {
    this.#engine.destroy();
  }

  #done(give: (done: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      give(() => resolve());
    });
  }
}

function broken(name: string, length: number, why: string, cause?: Error): BrokenInput {
  return new BrokenInput(`the ${name} data breaks after ${length} unpacked bytes: ${why}`, { cause });
}
