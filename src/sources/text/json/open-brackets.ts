const OPEN_OBJECT = 0x7b;
/** The code of a closing bracket is that of the opening one plus this number. */
const TO_CLOSING = 2;
/** Limits the search for a matching bracket, which every mismatched bracket causes. */
const KNOWN_LEVELS = 64;

/** The brackets `{` and `[` that are open in a JSON text. Deeper than 64 levels, only their number is known. */
export class OpenBrackets {
  depth = 0;
  readonly #bytes = Buffer.alloc(KNOWN_LEVELS);

  /** Whether the innermost bracket is known and opens an object. */
  get isInObject(): boolean {
    return this.depth > 0 && this.depth <= KNOWN_LEVELS && this.#bytes[this.depth - 1] === OPEN_OBJECT;
  }

  add(byte: number): void {
    if (this.depth < KNOWN_LEVELS) this.#bytes[this.depth] = byte;
    this.depth++;
  }

  /** Closes the innermost matching bracket with all brackets in it. If none matches, closes the innermost one. At least one must be open. */
  close(byte: number): void {
    const innermost = this.depth - 1;
    const fits = innermost >= KNOWN_LEVELS ? -1 : this.#bytes.lastIndexOf(byte - TO_CLOSING, innermost);
    this.depth = fits === -1 ? innermost : fits;
  }
}
