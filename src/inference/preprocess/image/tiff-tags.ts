/** The tags of a TIFF's first page that determine how its samples are read. Absent tags have TIFF's defaults. */
export type TiffTags = {
  /** PhotometricInterpretation; undefined if the file has none. */
  photometric: number | undefined;
  compression: number;
  /** Bits of the first sample. */
  bitsPerSample: number;
  /** Horizontal and vertical subsampling of the chroma samples. */
  subsampling: readonly [number, number];
};

const TAGS = { bitsPerSample: 258, compression: 259, photometric: 262, subsampling: 530 } as const;
const SHORT = 3;

/** Reads the pages (IFDs) of a TIFF, classic or BigTIFF, in either byte order. */
export class TiffPages {
  readonly #view: DataView;
  readonly #little: boolean;
  readonly #big: boolean;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#little = bytes[0] === 0x49;
    this.#big = bytes[this.#little ? 2 : 3] === 43;
  }

  /** Each page's number of entries, in the order of the chain. Endless if the chain has a loop. */
  *entries(): Generator<number> {
    for (let at = this.#first(); at > 0; ) {
      const count = this.#count(at);
      if (count === undefined) return;
      yield count;
      at = this.#offset(this.#entry(at, count)) ?? 0;
    }
  }

  first(): TiffTags {
    const at = this.#first();
    const found = new Map<number, number[]>();
    const count = this.#count(at) ?? 0;
    for (let index = 0; index < count; index++) {
      const entry = this.#entry(at, index);
      const tag = this.#short(entry);
      if (tag !== undefined && Object.values<number>(TAGS).includes(tag)) found.set(tag, this.#shorts(entry));
    }
    const [horizontal = 2, vertical = 2] = found.get(TAGS.subsampling) ?? [];
    return {
      photometric: found.get(TAGS.photometric)?.[0],
      compression: found.get(TAGS.compression)?.[0] ?? 1,
      bitsPerSample: found.get(TAGS.bitsPerSample)?.[0] ?? 1,
      subsampling: [horizontal, vertical],
    };
  }

  #first(): number {
    return this.#offset(this.#big ? 8 : 4) ?? 0;
  }

  #count(page: number): number | undefined {
    return this.#big ? this.#offset(page) : this.#short(page);
  }

  /** The offset of the entry `index` of a page. For `index` = number of entries, the next page's offset is there. */
  #entry(page: number, index: number): number {
    return this.#big ? page + 8 + 20 * index : page + 2 + 12 * index;
  }

  /** The first two values of a SHORT entry. They are in the entry itself if they fit, else at the offset that it contains. */
  #shorts(entry: number): number[] {
    if (this.#short(entry + 2) !== SHORT) return [];
    const [countAt, valueAt, fits] = this.#big ? [entry + 4, entry + 12, 4] : [entry + 4, entry + 8, 2];
    const count = this.#offset(countAt) ?? 0;
    const at = count <= fits ? valueAt : (this.#offset(valueAt) ?? 0);
    return [this.#short(at), this.#short(at + 2)].slice(0, count).filter((value) => value !== undefined);
  }

  #short(at: number): number | undefined {
    return at + 2 <= this.#view.byteLength ? this.#view.getUint16(at, this.#little) : undefined;
  }

  #offset(at: number): number | undefined {
    if (!this.#big) return at + 4 <= this.#view.byteLength ? this.#view.getUint32(at, this.#little) : undefined;
    return at + 8 <= this.#view.byteLength ? Number(this.#view.getBigUint64(at, this.#little)) : undefined;
  }
}
