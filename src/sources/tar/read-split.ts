import { LabelmillError } from "../../errors.ts";
import { DEFAULT_LIMITS } from "../../fetch/limits.ts";
import type { Input } from "../../schemas/input.ts";
import type { ItemError } from "../../schemas/item.ts";
import type { Split, TarPlace } from "../../schemas/split.ts";
import { checkUnchanged, describeFile } from "../bytes/input-identity.ts";
import type { InputPlace } from "../bytes/origin.ts";
import { boundedId } from "../item/bounded-id.ts";
import { DEEPEST_KEPT, isDeeper } from "../item/row.ts";
import { selection } from "../item/sample.ts";
import { MAX_ID_LENGTH, MAX_KEPT_BYTES, quoted, type SourceRecord } from "../source.ts";
import type { SplitContext } from "../split-context.ts";
import { parseJson } from "../text/json/parse.ts";
import { keyOf, shownMember, stemBefore, stemsOf } from "./member-name.ts";
import { type TarMember, tarMembers } from "./members.ts";
import { openTarBytes, type TarBytes } from "./tar-bytes.ts";
import { isImageMember } from "./tar-index.ts";

/** The largest image that is read from an archive: the images of a slice are in memory together. */
const MAX_IMAGE_BYTES = DEFAULT_LIMITS.maxBytes;

type TarSplit = Split & { at: TarPlace };

/** A member. `content`: only if it was loaded. */
type LoadedMember = { member: TarMember; content?: Uint8Array | undefined };

/** Kept members beside images, by stem and extension. */
type Sidecars = Map<string, LoadedMember>;

/**
 * The items of a split of an archive, each with the bytes of its image. Only the bytes of the items and the headers between them are read:
 * by position from a file, by ranged GETs with the planned ETag from an object.
 * @throws LabelmillError INPUT_CHANGED if the archive changed since it was planned
 */
export async function* readTarSplit(
  split: TarSplit,
  { place, signal }: Pick<SplitContext, "place" | "signal">,
): AsyncGenerator<SourceRecord> {
  const { at, input, first, idName, read } = split;
  if (at.images === undefined)
    throw new LabelmillError(
      "INPUT_CHANGED",
      `${input.uri} was planned by an older version, which read archives in another way: label it into another --out`,
    );
  const isSelected = selection(split);
  const isItem = (number: number) => isSelected(first + number);
  await checkPlanned(input, place);
  const { images, sidecars } = await loadMembers(split, place, isItem, signal);
  await checkPlanned(input, place);
  const byName = new Set((at.byName ?? []).flatMap(([from, many]) => Array.from({ length: many }, (_, i) => from + i)));
  for (const [number, image] of images.entries()) {
    if (!isItem(number)) continue;
    const id = memberId(image.member, byName.has(number), idName);
    yield recordOf(image, sidecars, first + number, read.keep, id);
  }
}

/** The id of a record: the key of its image, or its whole name. @param idName the prefix of the run's ids */
export function memberId({ name }: TarMember, byName: boolean, idName: string | undefined): string {
  const own = shownMember(byName ? name : keyOf(name)!);
  return boundedId(idName === undefined ? own : `${idName}#${own}`);
}

/** Reads the members of a split. Only those of items have their content. */
async function loadMembers(
  split: TarSplit,
  place: InputPlace,
  isItem: (number: number) => boolean,
  signal: AbortSignal,
): Promise<{ images: LoadedMember[]; sidecars: Sidecars }> {
  const { at, input, first, count, sample, only, read } = split;
  const areAllItems = only === undefined && sample === undefined;
  const isRecord = recordsOf(at);
  const images: LoadedMember[] = [];
  const sidecars: Sidecars = new Map();
  {
    await using bytes = await openTarBytes(input, place, { end: at.offset + at.bytes, signal });
    for await (const member of tarMembers(bytes, at.offset, input.uri, false)) {
      if (isRecord(member)) {
        const content = isItem(images.length) ? await load(bytes, member, MAX_IMAGE_BYTES) : undefined;
        images.push({ member, content });
      } else if (!isImageMember(member)) {
        const keys = sidecarKeys(member, read.keep);
        if (keys.length === 0) continue;
        const sidecar: LoadedMember = { member };
        if (areAllItems) sidecar.content = await load(bytes, member, MAX_KEPT_BYTES);
        for (const key of keys) sidecars.set(key, sidecar);
      }
    }
  }
  if (images.length !== count) {
    const message = `${input.uri}: expected ${count} images from number ${first} on, got ${images.length}`;
    throw new LabelmillError("INPUT_CHANGED", `${message}: the input was changed; label it into another --out`);
  }
  if (!areAllItems) {
    const items = images.filter((_image, number) => isItem(number));
    const wanted = items.flatMap(({ member }) =>
      read.keep.flatMap((extension) => sidecarOf(member, extension, sidecars) ?? []),
    );
    await loadSidecars([...new Set(wanted)], input, place, signal);
  }
  return { images, sidecars };
}

/** Whether a member is one of the images that are records of a split. */
function recordsOf({ images, replaced }: TarPlace): (member: TarMember) => boolean {
  const [from, to] = images!;
  const isReplaced = new Set(replaced);
  return (member) =>
    member.start >= from && member.start < to && isImageMember(member) && !isReplaced.has(member.start);
}

/** Each read of an object requires its ETag, so only a file is checked. */
async function checkPlanned(input: Input, place: InputPlace): Promise<void> {
  if ("path" in place) await checkUnchanged(input, () => describeFile(place));
}

/** A copy. A view would keep everything that was read with it in memory. */
async function load(bytes: TarBytes, { data, size }: TarMember, most: number): Promise<Uint8Array | undefined> {
  return size <= most ? new Uint8Array(await bytes.read(data, size)) : undefined;
}

/** Loads members in a second pass. Which of them belong to an item is known only after all images are. */
async function loadSidecars(
  sidecars: LoadedMember[],
  input: Input,
  place: InputPlace,
  signal: AbortSignal,
): Promise<void> {
  if (sidecars.length === 0) return;
  sidecars.sort((left, right) => left.member.start - right.member.start);
  await using bytes = await openTarBytes(input, place, { end: sidecars.at(-1)!.member.end, signal });
  for (const sidecar of sidecars) sidecar.content = await load(bytes, sidecar.member, MAX_KEPT_BYTES);
}

function sidecarKeys({ name }: TarMember, keep: readonly string[]): string[] {
  return keep.flatMap((extension) => {
    const stem = stemBefore(name, extension);
    return stem === undefined ? [] : [sidecarKey(stem, extension)];
  });
}

/** The member with an extension that belongs to an image: the one with the closest name. */
function sidecarOf({ name }: TarMember, extension: string, sidecars: Sidecars): LoadedMember | undefined {
  return stemsOf(name)
    .map((stem) => sidecars.get(sidecarKey(stem, extension)))
    .find(Boolean);
}

function sidecarKey(stem: string, extension: string): string {
  return `${stem}\0${extension.toLowerCase()}`;
}

function recordOf(
  image: LoadedMember,
  sidecars: Sidecars,
  record: number,
  keep: readonly string[],
  id: string,
): SourceRecord {
  const { name } = image.member;
  const kept = new Map<string, unknown>();
  const errors = [sizeError(image, MAX_IMAGE_BYTES, "FETCH_TOO_LARGE")];
  for (const extension of keep) {
    const sidecar = sidecarOf(image.member, extension, sidecars);
    kept.set(extension, extension === "json" ? jsonOf(sidecar?.content) : textOf(sidecar?.content));
    if (sidecar) errors.push(sizeError(sidecar, MAX_KEPT_BYTES, "RECORD_TOO_LARGE"));
  }
  const shown = shownMember(name).slice(0, MAX_ID_LENGTH).toWellFormed();
  // Object.fromEntries, not assignment: an extension may be called `__proto__`.
  const columns: Record<string, unknown> = Object.fromEntries(kept);
  const error = errors.find(Boolean) ?? keptError(columns);
  if (error) return { record, id, error, input: { image: shown } };
  return { record, id, data: image.content!, input: { ...columns, image: shown } };
}

function sizeError({ member }: LoadedMember, most: number, code: string): ItemError | undefined {
  if (member.size <= most) return undefined;
  const name = quoted(shownMember(member.name));
  return { code, message: `${name} in the archive: expected at most ${most} bytes, got ${member.size}` };
}

function textOf(content: Uint8Array | undefined): string | null {
  return content === undefined
    ? null
    : Buffer.from(content.buffer, content.byteOffset, content.length).toString("utf8");
}

/** Content that is not valid JSON is kept as text. */
function jsonOf(content: Uint8Array | undefined): unknown {
  const text = textOf(content);
  if (text === null) return null;
  const value = parseJson(text);
  return value === undefined ? text : value;
}

function keptError(kept: Record<string, unknown>): ItemError | undefined {
  if (Object.values(kept).some((value) => isDeeper(value, DEEPEST_KEPT)))
    return { code: "RECORD_INVALID", message: `"json" cannot be kept: it nests deeper than ${DEEPEST_KEPT} levels` };
  const bytes = Buffer.byteLength(JSON.stringify(kept));
  if (bytes <= MAX_KEPT_BYTES) return undefined;
  return {
    code: "RECORD_TOO_LARGE",
    message: `expected at most ${MAX_KEPT_BYTES} bytes of kept members, got ${bytes}`,
  };
}
