import { LabelmillError } from "../../errors.ts";
import { DEFAULT_LIMITS } from "../../fetch/limits.ts";
import type { Input } from "../../schemas/input.ts";
import type { ItemError } from "../../schemas/item.ts";
import type { Split, TarPlace } from "../../schemas/split.ts";
import { checkUnchanged, describeFile } from "../bytes/input-identity.ts";
import type { InputPlace } from "../bytes/origin.ts";
import { boundedId } from "../item/bounded-id.ts";
import { DEEPEST_KEPT, isDeeper } from "../item/row.ts";
import { isSampled } from "../item/sample.ts";
import { MAX_ID_LENGTH, MAX_KEPT_BYTES, quoted, type SourceRecord } from "../source.ts";
import { parseJson } from "../text/json/parse.ts";
import { keyOf, shownMember, stemBefore, stemsOf } from "./member-name.ts";
import { type TarMember, tarMembers } from "./members.ts";
import { openTarBytes, type TarBytes } from "./tar-bytes.ts";
import { isImageMember } from "./tar-index.ts";

/** The largest image that is read from an archive: its slice's images lie in memory together. */
const MAX_IMAGE_BYTES = DEFAULT_LIMITS.maxBytes;

/** `content` is there where it was loaded. */
type Part = { member: TarMember; content?: Uint8Array | undefined };

/** What lies beside images, by stem and extension. */
type Beside = Map<string, Part>;

/**
 * The items of a split of an archive, each with its image's bytes. Only their own bytes, those of what is kept, and the headers of what lies
 * between them, are read: of a file by position, of an object by ranged GETs of the ETag that was planned.
 * @throws LabelmillError INPUT_CHANGED where the archive is not what it was when it was planned
 */
export async function* readTarSplit(
  split: Split & { at: TarPlace },
  place: InputPlace,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  const { at, input, first, count, sample, idName, only } = split;
  if (at.images === undefined)
    throw new LabelmillError(
      "INPUT_CHANGED",
      `${input.uri} was planned by an older version, which read archives in another way: label it into another --out`,
    );
  const { keep } = split.read;
  const numbers = only && new Set(only);
  const isItem = (number: number) =>
    numbers?.has(first + number) ?? (sample === undefined || isSampled(input.uri, first + number, sample));
  await checkPlanned(input, place);
  const images: Part[] = [];
  const isRecord = recordsOf(at);
  const beside: Beside = new Map();
  const areAllItems = numbers === undefined && sample === undefined;
  {
    await using bytes = await openTarBytes(input, place, { end: at.offset + at.bytes, signal });
    for await (const member of tarMembers(bytes, at.offset, input.uri, false)) {
      if (isRecord(member)) {
        images.push({
          member,
          content: isItem(images.length) ? await load(bytes, member, MAX_IMAGE_BYTES) : undefined,
        });
      } else if (!isImageMember(member)) {
        const keys = besideKeys(member, keep);
        if (keys.length === 0) continue;
        const part: Part = { member };
        if (areAllItems) part.content = await load(bytes, member, MAX_KEPT_BYTES);
        for (const key of keys) beside.set(key, part);
      }
    }
  }
  if (images.length !== count) {
    const message = `${input.uri}: expected ${count} images from number ${first} on, came ${images.length}`;
    throw new LabelmillError("INPUT_CHANGED", `${message}: the input is not what it was; label it into another --out`);
  }
  if (!areAllItems) {
    const items = images.filter((_image, number) => isItem(number));
    const wanted = new Set(
      items.flatMap(({ member }) => keep.flatMap((extension) => partOf(member, extension, beside) ?? [])),
    );
    await loadParts([...wanted], input, place, signal);
  }
  await checkPlanned(input, place);
  const byName = new Set((at.byName ?? []).flatMap(([from, many]) => Array.from({ length: many }, (_, i) => from + i)));
  for (const [number, image] of images.entries()) {
    if (!isItem(number)) continue;
    const id = memberId(image.member, byName.has(number), idName);
    yield recordOf(image, beside, first + number, keep, id);
  }
}

/** Tells of a member whether it is one of the images that are records of a split. */
function recordsOf({ images, replaced }: TarPlace): (member: TarMember) => boolean {
  const [from, to] = images!;
  const gone = new Set(replaced);
  return (member) => member.start >= from && member.start < to && isImageMember(member) && !gone.has(member.start);
}

/** The id of a record: the key of its image, or its whole name. @param idName what the run's ids begin with */
export function memberId({ name }: TarMember, byName: boolean, idName: string | undefined): string {
  const own = shownMember(byName ? name : keyOf(name)!);
  return boundedId(idName === undefined ? own : `${idName}#${own}`);
}

/** An object's ETag holds for each read. */
async function checkPlanned(input: Input, place: InputPlace): Promise<void> {
  if ("path" in place) await checkUnchanged(input, () => describeFile(place));
}

/** A copy: what was read with it would stay in memory. */
async function load(bytes: TarBytes, { data, size }: TarMember, most: number): Promise<Uint8Array | undefined> {
  return size <= most ? new Uint8Array(await bytes.read(data, size)) : undefined;
}

/** Loads parts that were passed by: whether an item has them is known only once all images are. */
async function loadParts(parts: Part[], input: Input, place: InputPlace, signal: AbortSignal): Promise<void> {
  if (parts.length === 0) return;
  parts.sort((left, right) => left.member.start - right.member.start);
  await using bytes = await openTarBytes(input, place, { end: parts.at(-1)!.member.end, signal });
  for (const part of parts) part.content = await load(bytes, part.member, MAX_KEPT_BYTES);
}

function besideKeys({ name }: TarMember, keep: readonly string[]): string[] {
  return keep.flatMap((extension) => {
    const stem = stemBefore(name, extension);
    return stem === undefined ? [] : [besideKey(stem, extension)];
  });
}

/** What lies beside an image with an extension: the one of the closest name. */
function partOf({ name }: TarMember, extension: string, beside: Beside): Part | undefined {
  return stemsOf(name)
    .map((stem) => beside.get(besideKey(stem, extension)))
    .find(Boolean);
}

function besideKey(stem: string, extension: string): string {
  return `${stem}\0${extension.toLowerCase()}`;
}

function recordOf(image: Part, beside: Beside, record: number, keep: readonly string[], id: string): SourceRecord {
  const { name } = image.member;
  const kept = new Map<string, unknown>();
  const errors = [sizeError(image, MAX_IMAGE_BYTES, "FETCH_TOO_LARGE")];
  for (const extension of keep) {
    const part = partOf(image.member, extension, beside);
    kept.set(extension, extension === "json" ? jsonOf(part?.content) : textOf(part?.content));
    if (part) errors.push(sizeError(part, MAX_KEPT_BYTES, "RECORD_TOO_LARGE"));
  }
  const shown = shownMember(name).slice(0, MAX_ID_LENGTH).toWellFormed();
  // Not by assignment: an extension may be called `__proto__`.
  const columns: Record<string, unknown> = Object.fromEntries(kept);
  const error = errors.find(Boolean) ?? keptError(columns);
  if (error) return { record, id, error, input: { image: shown } };
  return { record, id, data: image.content!, input: { ...columns, image: shown } };
}

function sizeError({ member }: Part, most: number, code: string): ItemError | undefined {
  if (member.size <= most) return undefined;
  const name = quoted(shownMember(member.name));
  return { code, message: `${name} in the archive: expected at most ${most} bytes, it has ${member.size}` };
}

function textOf(content: Uint8Array | undefined): string | null {
  return content === undefined
    ? null
    : Buffer.from(content.buffer, content.byteOffset, content.length).toString("utf8");
}

/** What cannot be read as JSON is kept as the text that it is. */
function jsonOf(content: Uint8Array | undefined): unknown {
  const text = textOf(content);
  if (text === null) return null;
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
