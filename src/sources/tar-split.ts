import { LabelmillError } from "../errors.ts";
import { DEFAULT_LIMITS } from "../fetch/limits.ts";
import type { Input } from "../schemas/input.ts";
import type { ItemError } from "../schemas/item.ts";
import type { Split } from "../schemas/split.ts";
import { checkUnchanged, describeFile } from "./identity.ts";
import { isImageName } from "./image-file.ts";
import { parseJson } from "./json.ts";
import type { SplitPlace } from "./read-split.ts";
import { DEEPEST_KEPT, isDeeper } from "./rows.ts";
import { isSampled } from "./sample.ts";
import { MAX_ID_LENGTH, MAX_KEPT_BYTES, quoted, type SourceRecord } from "./source.ts";
import type { TarMember } from "./tar.ts";
import { openTarBytes } from "./tar-bytes.ts";
import { type TarPart, type TarRecord, tarRecords } from "./tar-records.ts";

/** The largest image that is read from an archive: its slice's images lie in memory together. */
const MAX_IMAGE_BYTES = DEFAULT_LIMITS.maxBytes;

/**
 * The items of a split of an archive, each with its image's bytes. Only their own bytes, and the headers of what lies between them, are
 * read: of a file by position, of an object by ranged GETs of the ETag that was planned.
 * @throws LabelmillError INPUT_CHANGED where the archive is not what it was when it was planned
 */
export async function* readTarSplit(
  split: Split,
  place: SplitPlace,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  const { at, input, first, count, sample, idName } = split;
  if (at.kind !== "tar") throw new LabelmillError("INTERNAL", `expected a split of a tar archive, came ${at.kind}`);
  const only = split.only && new Set(split.only);
  const { keep } = split.read;
  const isItem = (record: number) =>
    only?.has(record) ?? (sample === undefined || isSampled(input.uri, record, sample));
  await checkPlanned(input, place);
  let record = first;
  {
    await using bytes = await openTarBytes(input, place, { end: at.offset + at.bytes, signal });
    const load = async (member: TarMember, index: number) =>
      isItem(first + index) && member.size <= mostOf(member) ? await bytes.read(member.data, member.size) : undefined;
    for await (const found of tarRecords(bytes, at.offset, input.uri, { wanted: keep, load })) {
      if (isItem(record)) yield recordOf(found, record, keep, idName);
      record++;
    }
  }
  if (record !== first + count) {
    const message = `${input.uri}: expected ${count} images from number ${first} on, came ${record - first}`;
    throw new LabelmillError("INPUT_CHANGED", `${message}: the input is not what it was; label it into another --out`);
  }
  await checkPlanned(input, place);
}

/** An object's ETag holds for each read. */
async function checkPlanned(input: Input, place: SplitPlace): Promise<void> {
  if ("path" in place) await checkUnchanged(input, () => describeFile(place.path));
}

/** The id of a record by its key in the archive. @param idName what the run's ids begin with */
export function memberId(key: string, idName: string | undefined): string {
  return (idName === undefined ? key : `${idName}#${key}`).slice(0, MAX_ID_LENGTH).toWellFormed();
}

function recordOf(
  { key, image, beside }: TarRecord,
  record: number,
  keep: readonly string[],
  idName: string | undefined,
): SourceRecord {
  const id = memberId(key, idName);
  const name = image.member.name.slice(0, MAX_ID_LENGTH).toWellFormed();
  const kept: Record<string, unknown> = {};
  for (const extension of keep) {
    const content = beside.get(extension)?.content;
    kept[extension] = extension === "json" ? jsonOf(content) : (content?.toString("utf8") ?? null);
  }
  const error = [image, ...beside.values()].map(sizeError).find(Boolean) ?? keptError(kept);
  if (error) return { record, id, error, input: { image: name } };
  // A copy: what was read with it would stay in memory.
  return { record, id, data: Uint8Array.from(image.content!), input: { ...kept, image: name } };
}

function mostOf({ name }: TarMember): number {
  return isImageName(name) ? MAX_IMAGE_BYTES : MAX_KEPT_BYTES;
}

function sizeError({ member }: TarPart): ItemError | undefined {
  const most = mostOf(member);
  if (member.size <= most) return undefined;
  const message = `${quoted(member.name)} in the archive: expected at most ${most} bytes, it has ${member.size}`;
  return { code: most === MAX_IMAGE_BYTES ? "FETCH_TOO_LARGE" : "RECORD_TOO_LARGE", message };
}

/** What cannot be read as JSON is kept as the text that it is. */
function jsonOf(content: Buffer | undefined): unknown {
  if (content === undefined) return null;
  const text = content.toString("utf8");
  const value = parseJson(text);
  return value === undefined ? text : value;
}

function keptError(kept: Record<string, unknown>): ItemError | undefined {
  if (Object.values(kept).some((value) => isDeeper(value, DEEPEST_KEPT)))
    return { code: "RECORD_INVALID", message: `"json" cannot be kept: it nests deeper than ${DEEPEST_KEPT}` };
  const bytes = Buffer.byteLength(JSON.stringify(kept));
  if (bytes <= MAX_KEPT_BYTES) return undefined;
  return { code: "RECORD_TOO_LARGE", message: `expected at most ${MAX_KEPT_BYTES} bytes that are kept, came ${bytes}` };
}
