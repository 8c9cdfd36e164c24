/** A tag of a TIFF page: its number and its values, as SHORTs. */
export type Tag = readonly [tag: number, ...values: number[]];

const SHORT = 3;
const LONG = 4;
const FIRST_PAGE = 8;

/** A classic little-endian TIFF of one strip. `tags`: in addition to those with the position of the strip. */
export function tiff(tags: readonly Tag[], strip: Uint8Array): Buffer {
  const count = tags.length + 2;
  const beyondAt = FIRST_PAGE + 2 + 12 * count + 4;
  const beyond: Buffer[] = [];
  let beyondBytes = 0;
  const entries = tags.map(([tag, ...values]) => {
    const value = Buffer.alloc(Math.max(4, values.length * 2));
    for (const [i, each] of values.entries()) value.writeUInt16LE(each, i * 2);
    if (value.length === 4) return entry(tag, SHORT, values.length, value);
    const place = long(beyondAt + beyondBytes);
    beyond.push(value);
    beyondBytes += value.length;
    return entry(tag, SHORT, values.length, place);
  });
  entries.push(entry(273, LONG, 1, long(beyondAt + beyondBytes)), entry(279, LONG, 1, long(strip.length)));
  entries.sort((a, b) => a.readUInt16LE() - b.readUInt16LE());
  return Buffer.concat([head(), short(count), ...entries, long(0), ...beyond, strip]);
}

/** The size, depth and kind of an image's samples, for `tiff`. */
export function samples(width: number, height: number, bits: readonly number[], photometric: number): Tag[] {
  return [
    ...([
      [256, width],
      [257, height],
      [258, ...bits],
      [259, 1],
    ] as const),
    ...([
      [262, photometric],
      [277, bits.length],
      [278, height],
    ] as const),
  ];
}

/** A TIFF of `count` pages that share one grey pixel. */
export function pages(count: number): Buffer {
  const tags = samples(1, 1, [8], 1).map(([tag, value]) => entry(tag, SHORT, 1, long(value!)));
  const page = [...tags.slice(0, 5), entry(273, LONG, 1, long(0)), ...tags.slice(5), entry(279, LONG, 1, long(1))];
  const bytes = 2 + 12 * page.length + 4;
  const all = Array.from({ length: count }, (_, i) => {
    const next = i === count - 1 ? 0 : FIRST_PAGE + (i + 1) * bytes;
    return Buffer.concat([short(page.length), ...page, long(next)]);
  });
  return Buffer.concat([head(), ...all]);
}

function head(): Buffer {
  return Buffer.concat([Buffer.from("II*\0", "latin1"), long(FIRST_PAGE)]);
}

function entry(tag: number, type: number, count: number, value: Buffer): Buffer {
  return Buffer.concat([short(tag), short(type), long(count), value]);
}

function short(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function long(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
