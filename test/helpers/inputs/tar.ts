import { randomInt } from "node:crypto";

export type Entry = {
  name: string;
  content?: Uint8Array | string;
  type?: string;
  /** How a name is written that does not fit into the header. */
  long?: "pax" | "gnu" | "ustar";
  /** The size in the header, independent of the content. */
  size?: string;
};

/** A tar archive, as common programs write it. The end mark is two empty blocks. @param encoding of the names in headers */
export function tarOf(entries: readonly Entry[], end = Buffer.alloc(1024), encoding: BufferEncoding = "utf8"): Buffer {
  return Buffer.concat([...entries.map((entry) => entryOf(entry, encoding)), end]);
}

function entryOf({ name, content = "", type = "0", long, size }: Entry, encoding: BufferEncoding): Buffer {
  const body = Buffer.from(content);
  if (long === "ustar") {
    const cut = name.lastIndexOf("/");
    return Buffer.concat([header(name.slice(cut + 1), body.length, type, name.slice(0, cut)), padded(body)]);
  }
  if (long === undefined) return Buffer.concat([header(name, size ?? body.length, type, "", encoding), padded(body)]);
  const extension =
    long === "gnu" ? Buffer.from(`${name}\0`) : pax({ path: name, size: String(body.length), mtime: "1.5" });
  return Buffer.concat([
    header("././@Extension", extension.length, long === "gnu" ? "L" : "x"),
    padded(extension),
    // A reader of the extension ignores the header.
    header(`cut-${randomInt(1e6)}`, long === "gnu" ? body.length : 0, type),
    padded(body),
  ]);
}

function header(
  name: string,
  size: number | string,
  type: string,
  prefix = "",
  encoding: BufferEncoding = "utf8",
): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0, 100, encoding);
  block.write("0000644\0", 100);
  if (typeof size === "number") block.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  else block.write(size, 124, 12, "latin1");
  block.write("00000000000\0", 136);
  block.write(type, 156, "latin1");
  block.write("ustar\0" + "00", 257);
  block.write(prefix, 345, 155);
  block.fill(" ", 148, 156);
  const sum = block.reduce((all, byte) => all + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

function pax(records: Record<string, string>): Buffer {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    let length = rest + 1;
    while (length !== rest + String(length).length) length++;
    return `${length} ${key}=${value}\n`;
  });
  return Buffer.from(lines.join(""));
}

function padded(body: Uint8Array): Buffer {
  return Buffer.concat([body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
}
