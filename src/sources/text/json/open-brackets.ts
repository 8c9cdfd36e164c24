const OPEN_OBJECT = 0x7b;
/** A closing bracket's code is that of its opening one and this. */
const TO_CLOSING = 2;
/** A bound for the search of a bracket that fits, which is made for each one that does not. */
const KNOWN_LEVELS = 64;

/** The brackets, `{` and `[`, that are open in a text of JSON. Of those deeper than 64 levels only their number is known. */
export class OpenBrackets {
  depth = 0;
  readonly #bytes = Buffer.alloc(KNOWN_LEVELS);

  /** The innermost is known and that of an object. */
  get isInObject(): boolean {
    return this.depth > 0 && this.depth <= KNOWN_LEVELS && this.#bytes[this.depth - 1] === OPEN_OBJECT;
  }

  add(byte: number): void {
    if (this.depth < KNOWN_LEVELS) this.#bytes[this.depth] = byte;
    this.depth++;
  }

  /** Closes the innermost bracket that fits, with all that were left open in it; the innermost of all if none fits. At least one is open. */
  close(byte: number): void {
    const innermost = this.depth - 1;
    const fits = innermost >= KNOWN_LEVELS ? -1 : this.#bytes.lastIndexOf(byte - TO_CLOSING, innermost);
    this.depth = fits === -1 ? innermost : fits;
  }
}
