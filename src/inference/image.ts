import sharp, { type OutputInfo, type Sharp } from "sharp";
import { LabelmillError, messageOf } from "../errors.ts";
import type { ImageRecipe } from "./image-recipe.ts";

/** The most pixels of a picture, all frames of an animation counted: 50 megapixels are 150 MB of RGB. */
const MAX_PIXELS = 50_000_000;

/** Refuses truncated files (of plain TIFFs "truncated" would not) and lets libjpeg's mere warnings pass. */
const FAIL_ON = "error";

// libuv's pool gives the parallelism: one picture a thread. The cache would keep decoded pixels of pictures seen once.
sharp.concurrency(1);
sharp.cache(false);

/** As sharp names the formats that may come in, with what their files begin with. */
const FORMATS: Record<string, (head: string) => boolean> = {
  jpeg: (head) => head.startsWith("\xff\xd8\xff"),
  png: (head) => head.startsWith("\x89PNG\r\n\x1a\n"),
  gif: (head) => /^GIF8[79]a/.test(head),
  webp: (head) => /^RIFF.{4}WEBP/s.test(head),
  tiff: (head) => /^(II[*+]\0|MM\0[*+])/.test(head),
  heif: (head) => /^.{4}ftyp(avif|avis|mif1|msf1)/s.test(head),
};
const KERNELS = { nearest: "nearest", lanczos: "lanczos3", bilinear: "linear", bicubic: "cubic" } as const;

type Size = { width: number; height: number };
type Raw = { data: Uint8Array; info: OutputInfo };

/**
 * A picture's bytes as `recipe.height` rows of `recipe.width` RGB pixels, 0 to 255, three bytes each, not yet rescaled:
 * first frame, upright; alpha is dropped, not blended; an RGB picture's numbers are taken as they are stored, whatever its
 * colour profile says, as the models' own training did. Pixels agree with Pillow's filters to about one level.
 * Throws IMAGE_TOO_LARGE (over 50 megapixels, said by the header) and IMAGE_INVALID (truncated, of another kind, broken).
 */
export async function decodeImage(bytes: Uint8Array, recipe: ImageRecipe): Promise<Uint8Array> {
  try {
    const header = await readHeader(bytes);
    const target = resizedSize(header, recipe);
    return await resize(bytes, header, target, recipe);
  } catch (error) {
    if (error instanceof LabelmillError) throw error;
    throw new LabelmillError("IMAGE_INVALID", `the picture cannot be decoded: ${messageOf(error).split("\n", 1)[0]}`, {
      cause: error,
    });
  }
}

type Header = Size & { alpha: boolean; cmyk: boolean };

/** Size of the upright picture and kind, without decoding pixels. No decoder sees what does not begin like one of the formats. */
async function readHeader(bytes: Uint8Array): Promise<Header> {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 64)).toString("latin1");
  const format = Object.keys(FORMATS).find((name) => FORMATS[name]!(head));
  if (format === undefined) throw notAPicture(describe(head));
  // Without a limit here: a picture that is too large must be told from a broken one.
  const meta = await sharp(bytes, { limitInputPixels: false, failOn: FAIL_ON }).metadata();
  if (meta.format !== format) throw notAPicture(`${meta.format}`);
  const { width, height } = meta.autoOrient;
  const frames = meta.pages ?? 1;
  if (width * height * frames > MAX_PIXELS) {
    const size = `${width} × ${height}${frames > 1 ? `, ${frames} frames` : ""}`;
    throw new LabelmillError("IMAGE_TOO_LARGE", `expected at most ${MAX_PIXELS / 1e6} megapixels, got ${size}`);
  }
  return { width, height, alpha: meta.hasAlpha, cmyk: meta.space === "cmyk" };
}

function notAPicture(came: string): LabelmillError {
  const formats = "a JPEG, PNG, WebP, GIF, TIFF or AVIF picture";
  return new LabelmillError("IMAGE_INVALID", `expected ${formats}, got ${came}`);
}

/** What a file that is no picture seems to be, for the message. */
function describe(head: string): string {
  if (head === "") return "no bytes at all";
  if (head.startsWith("%PDF")) return "a PDF document";
  if (head.startsWith("BM")) return "a BMP picture";
  if (/^.{4}ftyp/s.test(head)) return `a file of kind ${JSON.stringify(head.slice(8, 12))}`;
  if (/^(\xef\xbb\xbf)?\s*</.test(head)) return "SVG, HTML or other markup";
  return `bytes that begin with ${JSON.stringify(head.slice(0, 16))}`;
}

/** The picture's size after the resize, before the crop. */
function resizedSize(from: Size, recipe: ImageRecipe): Size {
  if (recipe.resize?.kind === "exact") return recipe.resize;
  if (recipe.resize) {
    const { edge } = recipe.resize;
    const long = Math.trunc((edge * Math.max(from.width, from.height)) / Math.min(from.width, from.height));
    return from.width <= from.height ? { width: edge, height: long } : { width: long, height: edge };
  }
  const fits = recipe.crop
    ? from.width >= recipe.width && from.height >= recipe.height
    : from.width === recipe.width && from.height === recipe.height;
  if (fits) return from;
  const wanted = `${recipe.crop ? "at least " : ""}${recipe.width} × ${recipe.height}`;
  throw new LabelmillError(
    "IMAGE_INVALID",
    `expected ${wanted}, as the model resizes nothing; got ${from.width} × ${from.height}`,
  );
}

/**
 * 1. With alpha, decode alone: libvips resizes pictures with alpha premultiplied, which is blending.
 * 2. Shrink. `fastShrinkOnLoad: false` leaves a factor of two or more to the filter, without which small targets are off
 *    by some levels; on JPEGs it costs no time that can be measured.
 * 3. Enlarge, by twice too much (`oddPixels`). Shrinking comes first where one axis shrinks and the other grows.
 * A pass over the file must read it to its last row, or one truncated below the crop would pass: so libvips cuts out
 * whole columns, which spares it work, and the rows are chosen after. (A picture to be turned it reads whole anyway.)
 */
async function resize(bytes: Uint8Array, from: Header, to: Size, recipe: ImageRecipe): Promise<Uint8Array> {
  // CMYK has no RGB numbers of its own: its profile says what they are.
  let source = sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: FAIL_ON, ignoreIcc: !from.cmyk }).autoOrient();
  if (from.alpha) source = open(await decode(source.removeAlpha()));
  const options = { fit: "fill", kernel: KERNELS[recipe.filter], fastShrinkOnLoad: false } as const;
  const shrunk = { width: Math.min(from.width, to.width), height: Math.min(from.height, to.height) };
  source = source.resize({ ...shrunk, ...options });
  const { width, height } = recipe;
  const left = Math.floor((to.width - width) / 2);
  const top = Math.floor((to.height - height) / 2);
  if (shrunk.width < to.width || shrunk.height < to.height) {
    const doubled = open(await decode(source)).resize({ width: 2 * to.width, height: 2 * to.height, ...options });
    return oddPixels(
      await decode(doubled.extract({ left: 2 * left, top: 2 * top, width: 2 * width, height: 2 * height })),
    );
  }
  const { data } = await decode(source.extract({ left, top: 0, width, height: to.height }));
  return new Uint8Array(data.subarray(top * width * 3, (top + height) * width * 3));
}

function open({ data, info }: Raw): Sharp {
  return sharp(data, { raw: { width: info.width, height: info.height, channels: 3 } });
}

async function decode(picture: Sharp): Promise<Raw> {
  const raw = await picture.toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
  if (raw.info.channels === 3) return raw;
  throw new LabelmillError("IMAGE_INVALID", `expected 3 colour channels, got ${raw.info.channels}`);
}

/**
 * Every second pixel of every second row. libvips enlarges from the pixels' corners (output i is input i/s − 1/2), Pillow
 * from their centres ((i + 1/2)/s − 1/2): enlarged to twice the size, these are the odd pixels. Both axes are doubled,
 * for libvips would move one that keeps its size by half a pixel.
 */
function oddPixels({ data, info }: Raw): Uint8Array {
  const out = new Uint8Array((info.width / 2) * (info.height / 2) * 3);
  let to = 0;
  for (let y = 1; y < info.height; y += 2) {
    for (let at = (y * info.width + 1) * 3; at < (y + 1) * info.width * 3; at += 6) {
      out[to++] = data[at]!;
      out[to++] = data[at + 1]!;
      out[to++] = data[at + 2]!;
    }
  }
  return out;
}
