import { extensionOf } from "./detect.ts";

/** The extensions by which a file of a folder, pattern or prefix is an image. */
const IMAGE_EXTENSIONS = new Set(["jpg", "jpeg", "png", "webp", "gif", "tif", "tiff", "avif", "bmp"]);

/** Bytes that `beginsAsImage` looks at. */
export const IMAGE_MAGIC_BYTES = 12;

export function isImageName(name: string): boolean {
  return IMAGE_EXTENSIONS.has(extensionOf(name));
}

/** Whether a file that begins with these bytes begins as JPEG, PNG, GIF, TIFF, WebP, AVIF or BMP does. */
export function beginsAsImage(bytes: Buffer): boolean {
  return /^(?:ffd8ff|89504e47|47494638|49492a00|4d4d002a|52494646.{8}57454250|.{8}66747970617669|424d.{8}0{8})/.test(
    bytes.toString("hex", 0, IMAGE_MAGIC_BYTES),
  );
}
