import { isUtf8 } from "node:buffer";
import { DEFAULT_LIMITS } from "../../fetch/limits.ts";
import { LongValue, RepairedText } from "./cell-values.ts";
import { beginsAsImage } from "./image-formats.ts";
import { invalid, kindOf, type Row } from "./row.ts";

/** The largest image that is read from a table: the images of a slice are in memory together. */
const MAX_EMBEDDED_BYTES = DEFAULT_LIMITS.maxBytes;
/** The longest reference in a column of bytes. */
const MAX_REFERENCE_BYTES = 8192;

/**
 * The image in a value: bytes, or a struct of `bytes` and `path`, as data sets of the Hugging Face hub have them. Without bytes, the path is
 * a reference. Older writers do not mark texts, so short bytes that are a line of text are a reference too.
 * @param expected the beginning of an error message, which ends in "expected"
 * @param where the end of an error message, which names the column
 * @returns `data`, the image, with its path as `value`, if any; or `value`, a reference; or an error
 */
export function embeddedImage(value: unknown, expected: string, where: string): Row {
  if (value instanceof LongValue || value instanceof Uint8Array) return bytesOf(value, "", expected, where);
  if (typeof value === "object" && value !== null && !Array.isArray(value) && "bytes" in value) {
    const { bytes, path } = value as { bytes: unknown; path?: unknown };
    const name = textOf(path);
    if (!isBytes(bytes) && path instanceof RepairedText)
      return invalid(`${expected} an image's path in UTF-8 ${where}`);
    if (isBytes(bytes)) return bytesOf(bytes, name ?? "", expected, where, true);
    if (name !== undefined && name !== "") return { value: name };
    return invalid(`${expected} an image's bytes or path ${where}, got neither`);
  }
  return invalid(`${expected} an image's bytes ${where}, got ${kindOf(value)}`);
}

function isBytes(value: unknown): value is Uint8Array | LongValue {
  return value instanceof LongValue || (value instanceof Uint8Array && value.length > 0);
}

function bytesOf(
  bytes: Uint8Array | LongValue,
  name: string,
  expected: string,
  where: string,
  onlyImages = false,
): Row {
  const length = bytes instanceof LongValue ? bytes.bytes : bytes.length;
  if (bytes instanceof LongValue || length > MAX_EMBEDDED_BYTES) {
    const message = `${expected} an image of at most ${MAX_EMBEDDED_BYTES} bytes ${where}, got ${length}`;
    return { error: { code: "FETCH_TOO_LARGE", message } };
  }
  const reference = onlyImages ? undefined : lineOf(bytes);
  if (reference !== undefined) return { value: reference };
  return { value: name, data: copyOf(bytes) };
}

/** Rows that share one value, as in a dictionary, share its copy too. Otherwise a small file could fill the memory. */
const copies = new WeakMap<Uint8Array, Uint8Array>();

/** A copy. A view would keep everything that was read with it in memory. */
function copyOf(bytes: Uint8Array): Uint8Array {
  const made = copies.get(bytes) ?? Uint8Array.from(bytes);
  copies.set(bytes, made);
  return made;
}

/** The text of bytes that are one line of text and not an image. */
function lineOf(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0 || bytes.length > MAX_REFERENCE_BYTES || !isUtf8(bytes)) return undefined;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const text = buffer.toString("utf8");
  return beginsAsImage(buffer) || /\p{Cc}/u.test(text) ? undefined : text;
}

function textOf(path: unknown): string | undefined {
  if (path instanceof RepairedText) return path.text;
  if (typeof path === "string") return path;
  return path instanceof Uint8Array && isUtf8(path) ? Buffer.from(path).toString("utf8") : undefined;
}
