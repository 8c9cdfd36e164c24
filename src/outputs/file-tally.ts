import { createHash } from "node:crypto";
import type { FileLine, Manifest } from "../schemas/manifest.ts";

/** Adds up the output files while the lines of `_files.jsonl` pass through. */
export class FileTally {
  readonly #hash = createHash("sha256");
  readonly #sums = { count: 0, rows: 0, bytes: 0 };

  async *lines(files: AsyncIterable<FileLine>): AsyncGenerator<Uint8Array> {
    for await (const file of files) {
      this.#sums.count += 1;
      this.#sums.rows += file.rows;
      this.#sums.bytes += file.bytes;
      const line = Buffer.from(`${JSON.stringify(file)}\n`);
      this.#hash.update(line);
      yield line;
    }
  }

  /** The sums, after the last line. */
  sums(): Required<Pick<Manifest, "files" | "filesSha256">> {
    return { files: this.#sums, filesSha256: this.#hash.digest("hex") };
  }
}
