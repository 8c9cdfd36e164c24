/** Extensions of images that can be decoded. */
const DECODABLE = [
  ...["jpg", "jpeg", "jpe", "jfif", "pjpeg", "pjp"],
  ...["png", "apng", "webp", "gif", "tif", "tiff", "avif"],
];

/** Extensions of images that cannot be decoded. */
const NOT_DECODABLE = [
  ...["heic", "heif", "heics", "heifs", "hif", "jp2", "j2k", "j2c", "jpc", "jpf", "jpx", "jpm", "jxl", "jxr", "wdp"],
  ...["bmp", "dib", "svg", "svgz", "ico", "cur", "psd", "tga", "pcx", "dds", "exr", "hdr", "qoi", "xcf"],
  ...["ppm", "pgm", "pbm", "pnm", "pam", "cr2", "cr3", "crw", "nef", "arw", "dng", "orf", "rw2", "raf", "pef", "srw"],
];

/** All image extensions. Value: whether the image can be decoded. */
const IMAGES: ReadonlyMap<string, boolean> = new Map([
  ...DECODABLE.map((extension): [string, boolean] => [extension, true]),
  ...NOT_DECODABLE.map((extension): [string, boolean] => [extension, false]),
]);

/** Bytes that `beginsAsImage` needs. */
export const IMAGE_MAGIC_BYTES = 12;

/** Whether a file is an image by its last extension, decodable or not. */
export function isImageName(name: string): boolean {
  return IMAGES.has(lastExtension(name));
}

/** Whether a file is a decodable image by its last extension. */
export function isDecodableName(name: string): boolean {
  return IMAGES.get(lastExtension(name)) === true;
}

/**
 * Whether the first bytes of a file are those of an image: JPEG, PNG, GIF, TIFF, WebP, AVIF, and the formats BMP, HEIC, JPEG 2000 and
 * JPEG XL, which cannot be decoded.
 */
export function beginsAsImage(bytes: Buffer): boolean {
  return /^(?:ffd8ff|89504e47|47494638|49492a00|4d4d002a|52494646.{8}57454250|.{8}66747970(?:617669|686569|686576|6d696631|6d736631)|0000000c(?:6a502020|4a584c20)|424d.{8}0{8})/.test(
    bytes.toString("hex", 0, IMAGE_MAGIC_BYTES),
  );
}

/** In lower case, without its dot. "" if the name has none, or nothing before it. */
function lastExtension(name: string): string {
  return /[^/\\]\.([^./\\]+)$/.exec(name.toLowerCase())?.[1] ?? "";
}
