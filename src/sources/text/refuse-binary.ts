import { isUtf8 } from "node:buffer";
import { LabelmillError } from "../../errors.ts";
import { COMPRESSIONS } from "../bytes/compressions.ts";
import { ARROW_FILE_BEGIN, FEATHER_V1_BEGIN, PARQUET_BEGIN } from "../columnar/formats.ts";
import { beginsAsImage, IMAGE_MAGIC_BYTES } from "../item/image-formats.ts";
import { beginsAsTar } from "../tar/members.ts";

const UNPACK = "unpack it";
const NAMES = COMPRESSIONS.map(({ name }) => name).join(" or ");
const RECOMPRESS = `decompress it, or compress it with ${NAMES}`;
const CONVERT = "convert it to Parquet, CSV or JSONL";
const AS_PARQUET = "decompress it, and name it as a separate file with --format parquet";
const AS_ARROW = "decompress it, and name it as a separate file with --format arrow";

/**
 * Kinds of files that are not text: a pattern of the first bytes in hexadecimal digits, the kind, and the fix. The first match counts. If a
 * kind begins with letters, as a text may, the pattern includes the bytes after them.
 */
const KINDS: readonly (readonly [RegExp, string, string])[] = [
  [ARROW_FILE_BEGIN, "an Arrow file", AS_ARROW],
  [/^f{8}.{4}0.00/, "an Arrow stream", AS_ARROW],
  [/^4f626a01/, "an Avro file", CONVERT],
  [/^53514c69746520666f726d6174203300/, "an SQLite database", "export a table of it as CSV (sqlite3 -header -csv)"],
  [/^894844460d0a1a0a/, "an HDF5 file", CONVERT],
  [/^934e554d5059/, "a NumPy array", CONVERT],
  [/^800[2-5](?:95|5d|7d|28)/, "a Python pickle", CONVERT],
  [/^255044462d/, "a PDF", "extract its text first (pdftotext)"],
  [/^504b(?:0304|0506|0708)/, "a zip archive (.zip, .xlsx, .docx, .npz)", "unpack it; save a spreadsheet as CSV"],
  [/^d0cf11e0a1b11ae1/, "an old Office document (.xls, .doc)", "save a spreadsheet as CSV"],
  ...COMPRESSIONS.map(({ name, magic }): [RegExp, string, string] => [
    new RegExp(`^${magic.toString("hex")}`),
    `${name} data in compressed data`,
    "decompress it once",
  ]),
  [/^425a68(?:3[1-9]314159265359|3[1-9]177245385090)/, "a bzip2 file", `${RECOMPRESS} (bunzip2)`],
  [/^fd377a585a00/, "an xz file", `${RECOMPRESS} (unxz)`],
  [/^377abcaf271c/, "a 7z archive", `${UNPACK} (7z x)`],
  [/^526172211a07/, "a RAR archive", `${UNPACK} (unrar x)`],
  [/^04224d18/, "an LZ4 file", `${RECOMPRESS} (unlz4)`],
  [/^ff060000734e61507059/, "a Snappy file", RECOMPRESS],
  [/^1f(?:9d|a0)/, "a compress file (.Z)", `${RECOMPRESS} (uncompress)`],
  [/^7f454c46/, "a program", "label a file of texts"],
  [PARQUET_BEGIN, "a Parquet file", AS_PARQUET],
  [/^50415245.{4}0000/, "an encrypted Parquet file", CONVERT],
  [FEATHER_V1_BEGIN, "a Feather V1 file", "write it again with pyarrow.feather.write_feather(…, version=2)"],
  [/^4f5243(?:..){0,7}(?:0[0-8ef]|1[0-9acdef])/, "an ORC file", CONVERT],
  [/^.{16}4455434b..0{14}/, "a DuckDB database", "export a table of it as Parquet (COPY … TO)"],
  [/^4c5a49500[01]/, "a lzip file", `${RECOMPRESS} (lunzip)`],
];

/** Kinds of documents that are text but not a list of texts, by their first characters. */
const DOCUMENTS: typeof KINDS = [
  [/^\s*<\?xml\s/, "an XML document", `${CONVERT}, or add --format lines if each line is a text`],
  [/^\s*<!doctype\s+html/i, "an HTML page", "extract its text first, or add --format lines if each line is a text"],
  [/^\{\\rtf/, "an RTF document", "save it as plain text"],
];

/** Bytes that are enough for all kinds. */
const MAGIC_BYTES = 512;
const CONTROL_BYTES = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte < 0x20 && !(byte >= 0x09 && byte <= 0x0d) && byte !== 0x1b ? 1 : 0,
);

/**
 * Refuses an input of a known kind that is not a list of texts. Only for inputs whose format is not given.
 * @param head the first bytes, decompressed and in UTF-8
 * @throws LabelmillError INPUT_UNREADABLE, with the kind and the fix
 */
export function refuseKnownBinary(label: string, head: Buffer): void {
  const text = head.toString("latin1", 0, MAGIC_BYTES);
  const kind = binaryKind(head) ?? kindIn(DOCUMENTS, text);
  if (kind) throw refused(label, kind.found, kind.fix);
}

/** The kind of a file that is not text, by its first bytes, and the fix. Undefined if it may be text. */
export function binaryKind(head: Buffer): { found: string; fix: string } | undefined {
  const kind = kindIn(KINDS, head.toString("hex", 0, MAGIC_BYTES));
  if (kind) return kind;
  if (beginsAsTar(head)) return { found: "a tar archive", fix: `${UNPACK}: texts in archives are not read` };
  const hasControls = head.subarray(0, IMAGE_MAGIC_BYTES).some((byte) => CONTROL_BYTES[byte] === 1);
  return hasControls && beginsAsImage(head) ? { found: "an image", fix: "label it with `label images`" } : undefined;
}

function kindIn(kinds: typeof KINDS, begin: string): { found: string; fix: string } | undefined {
  const kind = kinds.find(([begins]) => begins.test(begin));
  return kind && { found: kind[1], fix: kind[2] };
}

/**
 * Refuses an input that contains NUL characters and has no known text format.
 * @param isNamed its name is one of plain lines: then it is accepted if it is valid UTF-8
 * @throws LabelmillError INPUT_UNREADABLE
 */
export function refuseNuls(label: string, head: Buffer, isNamed: boolean): void {
  // In UTF-16 and UTF-32, every second byte of most characters is zero in most languages.
  const begin = head.subarray(0, 4096);
  const nulsAt: [number, number] = [0, 0];
  for (const [at, byte] of begin.entries()) if (byte === 0) nulsAt[at % 2 === 0 ? 0 : 1]++;
  const [least, most] = nulsAt.sort((left, right) => left - right);
  if (most > begin.length * 0.2 && (least < most * 0.1 || most > begin.length * 0.4))
    throw refused(
      label,
      "text that looks like UTF-16 or UTF-32 without a byte order mark",
      "convert it to UTF-8 (iconv)",
    );
  if (isNamed && isUtf8(wholeCharacters(head))) return;
  throw refused(label, "NUL bytes, which text does not contain", `${CONVERT}, or name its format with --format`);
}

/** The head without the bytes of an incomplete character at its end. */
function wholeCharacters(head: Buffer): Buffer {
  let end = head.length;
  while (end > 0 && end > head.length - 3 && (head[end - 1]! & 0xc0) === 0x80) end--;
  return end > 0 && head[end - 1]! >= 0xc0 ? head.subarray(0, end - 1) : head;
}

function refused(label: string, found: string, fix: string): LabelmillError {
  const expected = "expected CSV, JSONL, a JSON array, plain lines, Parquet or Arrow";
  return new LabelmillError("INPUT_UNREADABLE", `${label}: ${expected}, got ${found}: ${fix}`);
}
