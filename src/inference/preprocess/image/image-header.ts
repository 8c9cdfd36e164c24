import sharp, { type Metadata } from "sharp";
import { LabelmillError } from "../../../errors.ts";
import { checkContainer } from "./container-limits.ts";
import { derivedPixels } from "./heif-items.ts";
import { TiffPages } from "./tiff-tags.ts";

/** The most pixels of an image, over all frames of an animation: 50 megapixels are 150 MB of RGB. */
export const MAX_PIXELS = 50_000_000;

/** The most pixels of an AVIF's tiles: an image and its alpha, each with tiles that exceed its borders. */
const MAX_TILE_PIXELS = 4 * MAX_PIXELS;

/** The longest side of an image, before and after the resize. libvips works in rows and columns: a longer side takes minutes. */
export const MAX_SIDE = 65_535;

/** Refuses truncated files (the level "truncated" does not for plain TIFFs), and ignores libjpeg's warnings. */
export const FAIL_ON = "error";

// libuv's pool provides the parallelism, one image for each thread. The cache would keep the pixels of images that are seen once.
sharp.concurrency(1);
sharp.cache(false);

/** The accepted formats, by sharp's names, with the beginning of their files. */
const FORMATS: Record<string, (head: string) => boolean> = {
  jpeg: (head) => head.startsWith("\xff\xd8\xff"),
  png: (head) => head.startsWith("\x89PNG\r\n\x1a\n"),
  gif: (head) => /^GIF8[79]a/.test(head),
  webp: (head) => /^RIFF.{4}WEBP/s.test(head),
  tiff: (head) => /^(II[*+]\0|MM\0[*+])/.test(head),
  heif: (head) => /^.{4}ftyp(avif|avis|mif1|msf1)/s.test(head),
};

const SAMPLE_BYTES: Partial<Record<string, number>> = { uchar: 1, ushort: 2 };
const SPACES: ReadonlySet<string> = new Set(["srgb", "rgb16", "b-w", "grey16", "cmyk"]);

const JPEG_COMPRESSION = 7;
const YCBCR = 6;
const PALETTE = 3;

/** Copies of metadata that libvips and libexif make, as if the whole file were metadata. */
const COPIES = 4;

export type Header = {
  /** Size of the upright image, in pixels. */
  width: number;
  height: number;
  alpha: boolean;
  cmyk: boolean;
  /** The most memory that decoding the image at its own size takes, in bytes, by measurement. */
  decodedBytes: number;
};

/**
 * Reads the size of the upright image and its kind, without decoding pixels. Files that do not begin like one of the formats never
 * reach a decoder.
 *
 * @throws LabelmillError IMAGE_TOO_LARGE; IMAGE_INVALID for another format, and for samples that would be decoded in wrong colors
 */
export async function readHeader(bytes: Uint8Array): Promise<Header> {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 64)).toString("latin1");
  const format = Object.keys(FORMATS).find((name) => FORMATS[name]!(head));
  if (format === undefined) throw notAPicture(describe(head));
  checkContainer(format, bytes);
  const tiles = format === "heif" ? derivedPixels(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)) : 0;
  if (tiles > MAX_TILE_PIXELS) {
    const got = Number.isFinite(tiles) ? `${Math.ceil(tiles / 1e6)}` : "too many to count";
    const most = `at most ${MAX_TILE_PIXELS / 1e6} megapixels of tiles, counting each as often as it is used`;
    throw new LabelmillError("IMAGE_TOO_LARGE", `expected ${most}, got ${got}`);
  }
  // No limit here: an image that is too large must be distinguished from a broken one.
  const meta = await sharp(bytes, { limitInputPixels: false, failOn: FAIL_ON }).metadata();
  if (meta.format !== format) throw notAPicture(`${meta.format}`);
  const { width, height } = meta.autoOrient;
  checkSize(width, height, meta.pages ?? 1);
  checkSamples(meta, bytes);
  return {
    ...{ width, height },
    alpha: meta.hasAlpha,
    cmyk: meta.space === "cmyk",
    decodedBytes: Math.max(width * height, tiles) * bytesPerPixel(meta) + COPIES * bytes.length,
  };
}

function checkSize(width: number, height: number, frames: number): void {
  const size = `${width} × ${height}${frames > 1 ? `, ${frames} frames` : ""}`;
  if (Math.max(width, height) > MAX_SIDE) {
    throw new LabelmillError("IMAGE_TOO_LARGE", `expected sides of at most ${MAX_SIDE} pixels, got ${size}`);
  }
  if (width * height * frames > MAX_PIXELS) {
    throw new LabelmillError("IMAGE_TOO_LARGE", `expected at most ${MAX_PIXELS / 1e6} megapixels, got ${size}`);
  }
}

/** Refuses samples that libvips reads in wrong colors or tones, or that have no standard range (floats, signed numbers). */
function checkSamples({ format, space, depth }: Metadata, bytes: Uint8Array): void {
  if (SAMPLE_BYTES[depth] === undefined) throw otherSamples(`samples of type ${depth}`);
  if (!SPACES.has(space)) throw otherSamples(`the color space ${space}`);
  if (format !== "tiff") return;
  const { photometric, compression, bitsPerSample, subsampling } = new TiffPages(bytes).first();
  // libvips interprets Y, Cb and Cr as red, green and blue, unless it has to undo subsampling.
  const raw = compression !== JPEG_COMPRESSION && Math.max(...subsampling) === 1;
  if (photometric === YCBCR && raw) throw otherSamples("YCbCr without JPEG compression and without subsampling");
  // libvips does not scale their 4 or 16 tones to 0 to 255.
  if (photometric !== PALETTE && (bitsPerSample === 2 || bitsPerSample === 4)) {
    throw otherSamples(`${bitsPerSample}-bit grey in a TIFF`);
  }
}

function otherSamples(got: string): LabelmillError {
  const expected = "grey, RGB, palette or CMYK of 8 or 16 bits";
  return new LabelmillError("IMAGE_INVALID", `expected ${expected}, got ${got}; convert the picture to 8-bit RGB`);
}

/**
 * Peak memory per pixel while a picture is decoded, measured with sharp 0.35.5 on pictures of 49 megapixels and rounded up.
 * Codecs that decode whole images at once (AVIF, WebP, GIF, progressive JPEG) keep several copies.
 */
function bytesPerPixel({ format, depth, channels, isProgressive }: Metadata): number {
  if (format === "heif") return depth === "uchar" ? 20 : 26;
  if (format === "webp") return 9;
  if (format === "gif") return 6;
  const coefficients = format === "jpeg" && isProgressive ? 2 * channels : 0;
  return Math.max(5, 1.5 * channels * (SAMPLE_BYTES[depth] ?? 1) + coefficients);
}

function notAPicture(got: string): LabelmillError {
  const formats = "a JPEG, PNG, WebP, GIF, TIFF or AVIF picture";
  return new LabelmillError("IMAGE_INVALID", `expected ${formats}, got ${got}`);
}

/** A description of a file that is not an image, for the error message. */
function describe(head: string): string {
  if (head === "") return "no bytes at all";
  if (head.startsWith("%PDF")) return "a PDF document";
  if (head.startsWith("BM")) return "a BMP picture";
  if (/^.{4}ftyp/s.test(head)) return `a file of kind ${JSON.stringify(head.slice(8, 12))}`;
  if (/^(\xef\xbb\xbf)?\s*</.test(head)) return "SVG, HTML or other markup";
  return `bytes that begin with ${JSON.stringify(head.slice(0, 16))}`;
}
