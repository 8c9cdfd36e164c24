/**
 * SentencePiece's table of a Precompiled normalizer: a double-array trie (in the layout of Darts-clone: 32-bit units, little-endian)
 * from UTF-8 bytes to offsets in a list of null-terminated texts.
 */
export class Charsmap {
  readonly #trie: DataView;
  readonly #texts: Buffer;

  /** @param base64 as in tokenizer.json. Throws an Error if it is not such a table. */
  constructor(base64: string) {
    const bytes = Buffer.from(base64, "base64");
    const size = bytes.length < 4 ? 0 : bytes.readUInt32LE(0);
    if (size < 4 || size % 4 !== 0 || 4 + size > bytes.length)
      throw new Error("expected a table of SentencePiece, got other data");
    this.#trie = new DataView(bytes.buffer, bytes.byteOffset + 4, size);
    this.#texts = bytes.subarray(4 + size);
  }

  /** The replacement of a character; undefined if it stays the same. */
  get(character: string): string | undefined {
    let at = offsetOf(this.#unit(0));
    for (const byte of Buffer.from(character)) {
      at ^= byte;
      const unit = this.#unit(at);
      if ((unit & 0x800000ff) >>> 0 !== byte) return undefined;
      at ^= offsetOf(unit);
      if (((unit >>> 8) & 1) === 1) return this.#text(this.#unit(at) & 0x7fffffff);
    }
    return undefined;
  }

  #unit(at: number): number {
    const byte = at * 4;
    return byte >= 0 && byte + 4 <= this.#trie.byteLength ? this.#trie.getUint32(byte, true) : 0;
  }

  #text(start: number): string {
    const end = this.#texts.indexOf(0, start);
    return this.#texts.toString("utf8", start, end < 0 ? undefined : end);
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & (1 << 9)) >>> 6);
}

/** Letters that NFKC does not change, and characters that it changes. */
const KEPT = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcxyzÀÖÉàéΑΣБЯ";
const CHANGED = "Ａｚﬁ①ｱ";

/** Compares a table with NFKC, which the tokenizer library uses instead. @returns the first of some characters that differs, or undefined */
export function differenceToNfkc(base64: string): string | undefined {
  const map = new Charsmap(base64);
  return [...KEPT, ...CHANGED].find((character) => (map.get(character) ?? character) !== character.normalize("NFKC"));
}
