/** Limits against endless files: boxes in a box, source images of derived images, and items with properties. */
const MAX_BOXES = 10_000;
const MAX_SOURCES = 1_000_000;
const MAX_ITEMS = 65_536;

type Box = { type: string; start: number; end: number };

/** Version and flags, which precede the inner boxes of `meta` and `iref`. */
const FULL_BOX_BYTES = 4;

/**
 * The number of pixels of the source images of a HEIF file's derived images (grids of tiles, overlays). Each source counts as often as it
 * is used: a file may use one tile hundreds of times, and its header contains only the size of the result.
 *
 * @returns 0 if the file has no derived images or is invalid; infinity if an image contains itself, or has too many sources
 */
export function derivedPixels(file: Buffer): number {
  const metas = boxesOf(file, 0, file.length).filter(({ type }) => type === "meta");
  return metas.reduce((sum, meta) => sum + derivedIn(file, meta), 0);
}

function derivedIn(file: Buffer, meta: Box): number {
  const boxes = boxesOf(file, meta.start + FULL_BOX_BYTES, meta.end);
  const sources = sourcesOf(file, boxes);
  if (sources === undefined) return Number.POSITIVE_INFINITY;
  if (sources.size === 0) return 0;
  const sizes = sizesOf(file, boxes);
  const known = new Map<number, number>();
  const pixelsOf = (item: number): number => {
    const found = known.get(item);
    if (found !== undefined) return found;
    // The value during the sum: an image that contains itself is endless.
    known.set(item, Number.POSITIVE_INFINITY);
    const used = sources.get(item);
    const pixels = used ? used.reduce((sum, source) => sum + pixelsOf(source), 0) : (sizes.get(item) ?? 0);
    known.set(item, pixels);
    return pixels;
  };
  let sum = 0;
  for (const item of sources.keys()) sum += pixelsOf(item);
  return sum;
}

/** The source items of each derived item: its `dimg` references. Undefined if there are too many. */
function sourcesOf(file: Buffer, boxes: readonly Box[]): Map<number, number[]> | undefined {
  const sources = new Map<number, number[]>();
  let left = MAX_SOURCES;
  for (const { start, end } of boxes.filter(({ type }) => type === "iref")) {
    const idBytes = byteAt(file, start) === 0 ? 2 : 4;
    for (const box of boxesOf(file, start + FULL_BOX_BYTES, end)) {
      if (box.type !== "dimg") continue;
      const countAt = box.start + idBytes;
      const item = uint(file, box.start, idBytes);
      const used = sources.get(item) ?? [];
      sources.set(item, used);
      for (let count = uint(file, countAt, 2), at = countAt + 2; count > 0 && at < box.end; count--, at += idBytes) {
        left -= 1;
        if (left < 0) return undefined;
        used.push(uint(file, at, idBytes));
      }
    }
  }
  return sources;
}

/** The number of pixels of each item: that of its largest `ispe` property. */
function sizesOf(file: Buffer, boxes: readonly Box[]): Map<number, number> {
  const sizes = new Map<number, number>();
  const iprp = boxes.find(({ type }) => type === "iprp");
  const inside = iprp ? boxesOf(file, iprp.start, iprp.end) : [];
  const ipco = inside.find(({ type }) => type === "ipco");
  const properties = (ipco ? boxesOf(file, ipco.start, ipco.end) : []).map(({ type, start }) =>
    type === "ispe" ? uint(file, start + 4, 4) * uint(file, start + 8, 4) : 0,
  );
  for (const { start, end } of inside.filter(({ type }) => type === "ipma")) {
    const idBytes = byteAt(file, start) === 0 ? 2 : 4;
    const indexBytes = (byteAt(file, start + 3) & 1) + 1;
    let at = start + 8;
    for (let items = Math.min(MAX_ITEMS, uint(file, start + 4, 4)); items > 0 && at < end; items--) {
      const item = uint(file, at, idBytes);
      const count = byteAt(file, at + idBytes);
      at += idBytes + 1;
      for (let i = 0; i < count; i++, at += indexBytes) {
        // The highest bit marks essential properties.
        const index = uint(file, at, indexBytes) & (indexBytes === 1 ? 0x7f : 0x7fff);
        sizes.set(item, Math.max(sizes.get(item) ?? 0, properties[index - 1] ?? 0));
      }
    }
  }
  return sizes;
}

function boxesOf(file: Buffer, from: number, to: number): Box[] {
  const boxes: Box[] = [];
  for (let at = from; at + 8 <= to && boxes.length < MAX_BOXES; ) {
    const short = uint(file, at, 4);
    const head = short === 1 ? 16 : 8;
    const length = short === 1 ? uint(file, at + 8, 4) * 2 ** 32 + uint(file, at + 12, 4) : short;
    const end = short === 0 ? to : at + length;
    if (end < at + head || end > to) break;
    boxes.push({ type: file.toString("latin1", at + 4, at + 8), start: at + head, end });
    at = end;
  }
  return boxes;
}

function byteAt(file: Buffer, at: number): number {
  return file[at] ?? 0;
}

/** 0 beyond the end of the file. */
function uint(file: Buffer, at: number, bytes: number): number {
  return at >= 0 && at + bytes <= file.length ? file.readUIntBE(at, bytes) : 0;
}
