import { LabelmillError } from "../../../errors.ts";
import { TiffPages } from "./tiff-tags.ts";

/**
 * The most frames, pages, chunks or segments of a file. libvips and its codecs visit all of them even to read the size: 100,000 frames
 * of a WebP took 10 s, 800,000 pages of a TIFF took 10 s, and 5,000,000 segments of a JPEG took 2.4 GB.
 */
const MAX_PARTS = 10_000;

/** The most scans of a progressive JPEG. Each scan visits all pixels: 882 of them, in 162 kB, took 22 s. */
const MAX_SCANS = 100;

/** The most steps of a scan of a file: sub-blocks of a GIF, entries of a TIFF, bytes 0xFF in a JPEG. */
const MAX_STEPS = 1_000_000;

const SOS = 0xda;
const EOI = 0xd9;

/**
 * Refuses files with so many parts that they would take much time or memory before a decoder can be stopped. It takes some microseconds
 * for ordinary files. Broken files pass: the decoder reports them.
 *
 * @param format as sharp names it
 * @throws LabelmillError IMAGE_TOO_LARGE
 */
export function checkContainer(format: string, bytes: Uint8Array): void {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (format === "jpeg") checkJpeg(file);
  if (format === "gif") checkGif(file);
  if (format === "webp") checkWebp(file);
  if (format === "tiff") checkTiff(file);
}

/** A counter with a limit. */
class Count {
  readonly #most: number;
  readonly #noun: string;
  #counted = 0;

  constructor(most: number, noun: string) {
    this.#most = most;
    this.#noun = noun;
  }

  /** @throws LabelmillError IMAGE_TOO_LARGE */
  add(more = 1): void {
    this.#counted += more;
    if (this.#counted <= this.#most) return;
    const most = this.#most.toLocaleString("en");
    throw new LabelmillError("IMAGE_TOO_LARGE", `expected at most ${most} ${this.#noun} in the file, got more`);
  }
}

function checkJpeg(file: Buffer): void {
  const segments = new Count(MAX_PARTS, "segments");
  const scans = new Count(MAX_SCANS, "scans");
  const steps = new Count(MAX_STEPS, "markers");
  let isProgressive = false;
  let components: number | undefined;
  for (let at = file.indexOf(0xff, 2); at >= 0; at = file.indexOf(0xff, at)) {
    steps.add();
    const marker = file[at + 1];
    if (marker === EOI) return;
    // Fill bytes, pixel data, and markers without a length.
    if (marker === undefined || marker === 0xff || marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += marker === 0xff ? 1 : 2;
      continue;
    }
    segments.add();
    if (isFrame(marker)) {
      isProgressive ||= (marker & 3) === 2;
      components = file[at + 9];
    }
    if (marker === SOS) {
      scans.add();
      // Most files end here: libjpeg reads nothing after the one scan of a frame that is not progressive.
      if (!isProgressive && file[at + 4] === components) return;
    }
    at += 2 + (at + 4 <= file.length ? Math.max(2, file.readUInt16BE(at + 2)) : 2);
  }
}

/** Whether a marker begins a frame: SOF0 to SOF15, except the markers of tables (DHT, DAC) and a reserved one between them. */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
}

function checkGif(file: Buffer): void {
  const frames = new Count(MAX_PARTS, "frames");
  const blocks = new Count(MAX_STEPS, "blocks");
  const tableBytes = (flags: number) => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  const skipSubBlocks = (from: number): number => {
    let at = from;
    for (let length = file[at]; length !== undefined && length > 0; length = file[at]) {
      blocks.add();
      at += 1 + length;
    }
    return at + 1;
  };
  for (let at = 13 + tableBytes(file[10] ?? 0); at < file.length; ) {
    blocks.add();
    const kind = file[at];
    if (kind === 0x2c) {
      frames.add();
      // Ten bytes of header, the color table, the code size, the pixels.
      at = skipSubBlocks(at + 11 + tableBytes(file[at + 9] ?? 0));
    } else if (kind === 0x21) at = skipSubBlocks(at + 2);
    // The end, or a block that the codec refuses: it reads nothing after either.
    else return;
  }
}

function checkWebp(file: Buffer): void {
  const chunks = new Count(MAX_PARTS, "chunks");
  const end = Math.min(file.length, 8 + file.readUInt32LE(4));
  for (let at = 12; at + 8 <= end; ) {
    chunks.add();
    const length = file.readUInt32LE(at + 4);
    at += 8 + length + (length & 1);
  }
}

function checkTiff(file: Buffer): void {
  const pages = new Count(MAX_PARTS, "pages");
  const entries = new Count(MAX_STEPS, "entries of pages");
  for (const count of new TiffPages(file).entries()) {
    pages.add();
    entries.add(count);
  }
}
