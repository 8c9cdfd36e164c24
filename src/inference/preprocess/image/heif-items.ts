/** More of them are taken for endless: boxes in a box, images that a file's derived images are made of, and items with properties. */
const MOST_BOXES = 10_000;
const MOST_PARTS = 1_000_000;
const MOST_ITEMS = 65_536;

type Box = { type: string; start: number; end: number };

/** Before the boxes in a box: version and flags, and of `meta` nothing more. */
const FULL_BOX_BYTES = 4;

/**
 * The pixels that a HEIF file's derived images (grids of tiles, overlays) are put together from, each image as often as it is used. A file
 * may use one tile hundreds of times, and its header tells only the size of the result.
 *
 * @returns 0 for a file without derived images, or one that makes no sense; infinity for images made of themselves, or of too many
 */
export function derivedPixels(file: Buffer): number {
  const metas = boxesOf(file, 0, file.length).filter(({ type }) => type === "meta");
  return metas.reduce((sum, meta) => sum + derivedIn(file, meta), 0);
}

function derivedIn(file: Buffer, meta: Box): number {
  const boxes = boxesOf(file, meta.start + FULL_BOX_BYTES, meta.end);
  const parts = partsOf(file, boxes);
  if (parts === undefined) return Number.POSITIVE_INFINITY;
  if (parts.size === 0) return 0;
  const sizes = sizesOf(file, boxes);
  const known = new Map<number, number>();
  const pixelsOf = (item: number): number => {
    const found = known.get(item);
    if (found !== undefined) return found;
    // What it is while it is being summed up: an image that is in itself never ends.
    known.set(item, Number.POSITIVE_INFINITY);
    const used = parts.get(item);
    const pixels = used ? used.reduce((sum, part) => sum + pixelsOf(part), 0) : (sizes.get(item) ?? 0);
    known.set(item, pixels);
    return pixels;
  };
  let sum = 0;
  for (const item of parts.keys()) sum += pixelsOf(item);
  return sum;
}

/** The items that each derived item is made of: `dimg` references. Undefined where there are too many. */
function partsOf(file: Buffer, boxes: readonly Box[]): Map<number, number[]> | undefined {
  const parts = new Map<number, number[]>();
  let left = MOST_PARTS;
  for (const { start, end } of boxes.filter(({ type }) => type === "iref")) {
    const idBytes = byteAt(file, start) === 0 ? 2 : 4;
    for (const box of boxesOf(file, start + FULL_BOX_BYTES, end)) {
      if (box.type !== "dimg") continue;
      const countAt = box.start + idBytes;
      const item = uint(file, box.start, idBytes);
      const used = parts.get(item) ?? [];
      parts.set(item, used);
      for (let count = uint(file, countAt, 2), at = countAt + 2; count > 0 && at < box.end; count--, at += idBytes) {
        left -= 1;
        if (left < 0) return undefined;
        used.push(uint(file, at, idBytes));
      }
    }
  }
  return parts;
}

/** The pixels of each item: the largest `ispe` property that is associated with it. */
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
    for (let items = Math.min(MOST_ITEMS, uint(file, start + 4, 4)); items > 0 && at < end; items--) {
      const item = uint(file, at, idBytes);
      const count = byteAt(file, at + idBytes);
      at += idBytes + 1;
      for (let i = 0; i < count; i++, at += indexBytes) {
        // The highest bit says whether the property is essential.
        const index = uint(file, at, indexBytes) & (indexBytes === 1 ? 0x7f : 0x7fff);
        sizes.set(item, Math.max(sizes.get(item) ?? 0, properties[index - 1] ?? 0));
      }
    }
  }
  return sizes;
}

function boxesOf(file: Buffer, from: number, to: number): Box[] {
  const boxes: Box[] = [];
  for (let at = from; at + 8 <= to && boxes.length < MOST_BOXES; ) {
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
