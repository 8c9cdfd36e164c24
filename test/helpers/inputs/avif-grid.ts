import assert from "node:assert/strict";

type Size = { width: number; height: number };

/** An AVIF that repeats one tile, an AVIF of one image, in `rows` and `columns`. `size`: the size of the whole image in the header. */
export function avifGrid(tile: Buffer, tileSize: Size, rows: number, columns: number, size: Size): Buffer {
  const [av1C, pixi] = ["av1C", "pixi"].map((type) => boxIn(tile, type));
  const data = boxIn(tile, "mdat").subarray(8);
  const ispe = ({ width, height }: Size) => fullBox("ispe", u32(width), u32(height));
  const properties = box("ipco", ispe(tileSize), pixi!, av1C!, ispe(size));
  const associated = fullBox("ipma", u32(2), u16(1), [2, 4, 2], u16(2), [3, 1, 2, 0x83]);
  const grid = Buffer.from([0, 1, rows - 1, columns - 1, ...u32(size.width), ...u32(size.height)]);
  const tiles = Array.from({ length: rows * columns }, () => u16(2)).flat();
  const item = (id: number, type: string, flags: number) =>
    box("infe", [2, 0, 0, flags], u16(id), u16(0), Buffer.from(`${type}\0`));
  const type = box("ftyp", Buffer.from("avif\0\0\0\0avifmif1miaf"));
  const meta = (dataAt: number) =>
    fullBox(
      "meta",
      fullBox("hdlr", u32(0), Buffer.from("pict"), new Array(13).fill(0)),
      fullBox("pitm", u16(1)),
      // The bytes of the grid are in `idat`, those of the tile in `mdat`.
      box(
        "iloc",
        [1, 0, 0, 0, 0x44, 0],
        ...[u16(2), u16(1), u16(1), u16(0), u16(1), u32(0), u32(grid.length)],
        ...[u16(2), u16(0), u16(0), u16(1), u32(dataAt), u32(data.length)],
      ),
      fullBox("iinf", u16(2), item(1, "grid", 0), item(2, "av01", 1)),
      fullBox("iref", box("dimg", u16(1), u16(rows * columns), tiles)),
      box("iprp", properties, associated),
      box("idat", grid),
    );
  return Buffer.concat([type, meta(type.length + meta(0).length + 8), box("mdat", data)]);
}

/** The first box of a type, at any depth. */
function boxIn(file: Buffer, type: string): Buffer {
  const at = file.indexOf(type, 0, "latin1") - 4;
  assert.ok(at >= 0, `${type} is in the file`);
  return file.subarray(at, at + file.readUInt32BE(at));
}

function box(type: string, ...content: (Buffer | number[])[]): Buffer {
  const body = Buffer.concat(content.map((part) => Buffer.from(part)));
  return Buffer.concat([Buffer.from(u32(body.length + 8)), Buffer.from(type), body]);
}

function fullBox(type: string, ...content: (Buffer | number[])[]): Buffer {
  return box(type, u32(0), ...content);
}

function u16(value: number): number[] {
  return [value >> 8, value & 255];
}

function u32(value: number): number[] {
  return [...u16(value >>> 16), ...u16(value & 65_535)];
}
