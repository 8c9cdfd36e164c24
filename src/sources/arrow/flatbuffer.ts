/** The most tables that are read in one buffer, counting each reference, and the most levels of nesting. */
const MAX_TABLES = 100_000;
const MAX_DEPTH = 64;

type Vector = { at: number; length: number };

/**
 * A table of an untrusted flatbuffer. Each read checks that offsets are within the bytes; the readers of the flatbuffers library do
 * not. Slots are numbered from 0 in the order of the table's declaration.
 * @throws Error if an offset is out of the bytes, a buffer has more than 100,000 tables, or tables nest deeper than 64 levels
 */
export class FlatTable {
  readonly #bytes: Buffer;
  readonly #at: number;
  readonly #depth: number;
  readonly #seen: { tables: number };
  readonly #slots: number;
  readonly #slotsLength: number;
  readonly #length: number;

  private constructor(bytes: Buffer, at: number, depth: number, seen: { tables: number }) {
    if (++seen.tables > MAX_TABLES) throw new Error(`expected at most ${MAX_TABLES} tables`);
    if (depth > MAX_DEPTH) throw new Error(`tables nest deeper than ${MAX_DEPTH} levels`);
    this.#bytes = bytes;
    this.#at = at;
    this.#depth = depth;
    this.#seen = seen;
    within(bytes, at, 4);
    this.#slots = at - bytes.readInt32LE(at);
    within(bytes, this.#slots, 4);
    this.#slotsLength = bytes.readUInt16LE(this.#slots);
    this.#length = bytes.readUInt16LE(this.#slots + 2);
    within(bytes, this.#slots, this.#slotsLength);
    within(bytes, at, this.#length);
  }

  /** The root table of a buffer. */
  static root(bytes: Buffer): FlatTable {
    within(bytes, 0, 4);
    return new FlatTable(bytes, bytes.readUInt32LE(0), 0, { tables: 0 });
  }

  uint8(slot: number): number {
    const at = this.#field(slot, 1);
    return at === undefined ? 0 : this.#bytes[at]!;
  }

  int16(slot: number): number {
    const at = this.#field(slot, 2);
    return at === undefined ? 0 : this.#bytes.readInt16LE(at);
  }

  /** @throws Error if a field of `width` bytes does not fit into its table */
  checkScalar(slot: number, width: number): void {
    this.#field(slot, width);
  }

  table(slot: number): FlatTable | undefined {
    const at = this.#field(slot, 4);
    return at === undefined ? undefined : this.#tableAt(at);
  }

  tables(slot: number): FlatTable[] {
    const { at, length } = this.vector(slot, 4);
    return Array.from({ length }, (_, index) => this.#tableAt(at + 4 * index));
  }

  string(slot: number): string {
    const { at, length } = this.vector(slot, 1);
    return this.#bytes.toString("utf8", at, at + length);
  }

  /** The offset and number of elements, each of `width` bytes. Without the field, the number is 0. */
  vector(slot: number, width: number): Vector {
    const field = this.#field(slot, 4);
    if (field === undefined) return { at: 0, length: 0 };
    const start = field + this.#bytes.readUInt32LE(field);
    within(this.#bytes, start, 4);
    const length = this.#bytes.readUInt32LE(start);
    within(this.#bytes, start + 4, length * width);
    return { at: start + 4, length };
  }

  #tableAt(at: number): FlatTable {
    return new FlatTable(this.#bytes, at + this.#bytes.readUInt32LE(at), this.#depth + 1, this.#seen);
  }

  /** The offset of a field. Undefined if the table does not have it. */
  #field(slot: number, width: number): number | undefined {
    const entry = 4 + 2 * slot;
    const offset = entry + 2 <= this.#slotsLength ? this.#bytes.readUInt16LE(this.#slots + entry) : 0;
    if (offset === 0) return undefined;
    if (offset + width > this.#length)
      throw new Error(`a field at byte ${offset} does not fit into a table of ${this.#length} bytes`);
    return this.#at + offset;
  }
}

function within(bytes: Buffer, at: number, length: number): void {
  if (at >= 0 && at + length <= bytes.length) return;
  throw new Error(`an offset leads to byte ${at + length} of ${bytes.length} bytes`);
}
