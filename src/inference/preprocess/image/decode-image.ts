import sharp, { type OutputInfo, type Sharp } from "sharp";
import { LabelmillError, messageOf } from "../../../errors.ts";
import type { ImageRecipe } from "../../model/image-recipe.ts";
import { FAIL_ON, type Header, MAX_PIXELS, MAX_SIDE, readHeader } from "./image-header.ts";

const KERNELS = { nearest: "nearest", lanczos: "lanczos3", bilinear: "linear", bicubic: "cubic" } as const;

type Size = { width: number; height: number };
type Raw = { data: Uint8Array; info: OutputInfo };
/** The remaining seconds of a pass of libvips, 1 or more; 0: no limit. Called just before each pass. Throws if no time remains. */
export type TimeLimit = { secondsLeft: () => number };

/** An image with a valid header that is not decoded yet. */
export type Picture = {
  header: Header;
  /** The size after the resize, before the crop. */
  resized: Size;
  /** The peak memory of decoding, in bytes, estimated from the header. */
  peakBytes: number;
};

/**
 * Reads an image's header only.
 *
 * @throws LabelmillError IMAGE_TOO_LARGE (over 50 megapixels or a side over 65,535 pixels, before or after the resize; too many frames)
 * and IMAGE_INVALID (another format, broken, unsupported samples)
 */
export async function openPicture(bytes: Uint8Array, recipe: ImageRecipe): Promise<Picture> {
  try {
    const header = await readHeader(bytes);
    const resized = resizedSize(header, recipe);
    checkResized(resized, header);
    const resizing = 6 * resized.width * resized.height + 15 * recipe.width * recipe.height;
    return { header, resized, peakBytes: header.decodedBytes + resizing };
  } catch (error) {
    throw undecodable(error);
  }
}

/**
 * Decodes an image to `recipe.height` rows of `recipe.width` RGB pixels, 0 to 255, three bytes each, not yet rescaled: the first
 * frame, upright. Alpha is dropped, not blended. RGB values are used as stored, without the color profile, as in the training of the
 * models. Pixels differ from those of Pillow's filters by about one level.
 *
 * @param timeLimit each pass of libvips ends after this many seconds, if libvips can be stopped
 * @throws LabelmillError IMAGE_INVALID (truncated, broken), IMAGE_TIMEOUT
 */
export async function decodePicture(
  bytes: Uint8Array,
  { header, resized }: Picture,
  recipe: ImageRecipe,
  timeLimit: TimeLimit = { secondsLeft: () => 0 },
): Promise<Uint8Array> {
  try {
    return await resize(bytes, header, resized, recipe, timeLimit);
  } catch (error) {
    throw undecodable(error);
  }
}

/** `openPicture`, then `decodePicture`, without limits of time and memory. */
export async function decodeImage(bytes: Uint8Array, recipe: ImageRecipe): Promise<Uint8Array> {
  return await decodePicture(bytes, await openPicture(bytes, recipe), recipe);
}

function undecodable(error: unknown): LabelmillError {
  if (error instanceof LabelmillError) return error;
  const reason = messageOf(error).split("\n", 1)[0]!;
  if (/^timeout: /.test(reason)) return imageTimeout({ cause: error });
  return new LabelmillError("IMAGE_INVALID", `the picture cannot be decoded: ${reason}`, { cause: error });
}

export function imageTimeout(options: { cause?: unknown } = {}): LabelmillError {
  const message = "the picture took longer to decode than --decode-ms allows; make it smaller, or increase --decode-ms";
  return new LabelmillError("IMAGE_TIMEOUT", message, options);
}

function checkResized({ width, height }: Size, from: Size): void {
  if (Math.max(width, height) <= MAX_SIDE && width * height <= MAX_PIXELS) return;
  const most = `at most ${MAX_SIDE} pixels a side and ${MAX_PIXELS / 1e6} megapixels after the resize`;
  throw new LabelmillError(
    "IMAGE_TOO_LARGE",
    `expected ${most}, got ${width} × ${height} from ${from.width} × ${from.height}`,
  );
}

/** The image's size after the resize, before the crop. */
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
    `expected ${wanted}, since the model resizes nothing, got ${from.width} × ${from.height}`,
  );
}

/**
 * Resizes and crops in up to three passes:
 *
 * 1. An image with alpha is decoded first: libvips premultiplies alpha when it resizes, which is blending.
 * 2. Shrink. `fastShrinkOnLoad: false` leaves a factor of two or more to the filter. Otherwise small results are off by some levels. On
 *    JPEGs this takes no measurable time.
 * 3. Enlarge to twice the size (`oddPixels`). If one axis shrinks and the other grows, shrinking comes first.
 *
 * A pass must read the file to its last row, or a file that is truncated below the crop would pass. So libvips crops whole columns, which
 * saves work, and the rows are selected afterwards. (libvips reads an image that it rotates completely anyway.)
 */
async function resize(
  bytes: Uint8Array,
  from: Header,
  to: Size,
  recipe: ImageRecipe,
  limit: TimeLimit,
): Promise<Uint8Array> {
  // CMYK has no RGB values: its color profile defines them.
  let source = sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: FAIL_ON, ignoreIcc: !from.cmyk }).autoOrient();
  if (from.alpha) source = open(await decode(source.removeAlpha(), limit));
  const options = { fit: "fill", kernel: KERNELS[recipe.filter], fastShrinkOnLoad: false } as const;
  const shrunk = { width: Math.min(from.width, to.width), height: Math.min(from.height, to.height) };
  source = source.resize({ ...shrunk, ...options });
  const { width, height } = recipe;
  const left = Math.floor((to.width - width) / 2);
  const top = Math.floor((to.height - height) / 2);
  if (shrunk.width < to.width || shrunk.height < to.height) {
    const doubled = open(await decode(source, limit)).resize({
      width: 2 * to.width,
      height: 2 * to.height,
      ...options,
    });
    return oddPixels(
      await decode(doubled.extract({ left: 2 * left, top: 2 * top, width: 2 * width, height: 2 * height }), limit),
    );
  }
  const { data } = await decode(source.extract({ left, top: 0, width, height: to.height }), limit);
  return new Uint8Array(data.subarray(top * width * 3, (top + height) * width * 3));
}

function open({ data, info }: Raw): Sharp {
  return sharp(data, { raw: { width: info.width, height: info.height, channels: 3 } });
}

async function decode(picture: Sharp, { secondsLeft }: TimeLimit): Promise<Raw> {
  const limited = picture.timeout({ seconds: secondsLeft() });
  const raw = await limited.toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
  if (raw.info.channels === 3) return raw;
  throw new LabelmillError("IMAGE_INVALID", `expected 3 colour channels, got ${raw.info.channels}`);
}

/**
 * Every second pixel of every second row. libvips enlarges from the pixels' corners (output i is input i/s − 1/2), Pillow from their
 * centers ((i + 1/2)/s − 1/2). In an image of twice the size, the odd pixels are those of Pillow. Both axes are doubled, since libvips
 * would shift an axis that keeps its size by half a pixel.
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
