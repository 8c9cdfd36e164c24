import { realpath } from "node:fs/promises";
import { LabelmillError } from "../../errors.ts";
import type { ColumnType, ReadOptions } from "../../schemas/input.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { isCompressedName } from "../bytes/compressions.ts";
import { EmptyInput } from "../bytes/empty-input.ts";
import { openOrigin } from "../bytes/open.ts";
import type { InputPlace } from "../bytes/origin.ts";
import { namedFile } from "../bytes/read-file.ts";
import { isS3Uri, requireS3 } from "../bytes/s3-origin.ts";
import { PassedOver, type PassOver } from "../discover/passed-over.ts";
import { isImageName } from "../item/image-formats.ts";
import { quoted, type Source } from "../source.ts";
import { type TarMember, tarMembers } from "./members.ts";
import { memberId } from "./read-split.ts";
import { TarSplitter } from "./splitter.ts";
import { openTarBytes } from "./tar-bytes.ts";
import { isImageMember, TarIndex } from "./tar-index.ts";

/**
 * Opens a tar archive of images in WebDataset's layout, a file or an S3 object. The content of members with the same key (`json`, `cls`,
 * `txt`) can be kept by extension.
 * @throws LabelmillError INPUT_NOT_FOUND, INPUT_UNREADABLE (a compressed or damaged archive), INPUT_EMPTY (no images), COLUMN_NOT_FOUND (an
 * archive has no columns), STORE_FAILED
 */
export async function openTarSource(from: string, read: ReadOptions, s3?: S3): Promise<Source> {
  if (isCompressedName(from)) {
    const fix = "decompress it (gunzip): images are read by their position in the archive, so it cannot be compressed";
    throw new LabelmillError("INPUT_UNREADABLE", `expected a .tar archive, got ${quoted(from)}; ${fix}`);
  }
  const origin = await openOrigin(from, s3);
  const { input, label } = origin;
  checkColumns(read, label);
  const place: InputPlace = isS3Uri(from) ? { s3: requireS3(from, s3) } : namedFile(await realpath(from));
  const resolved: ReadOptions = { ...read, format: "tar", delimiter: null };
  async function* members(passOver?: PassOver): AsyncGenerator<TarMember> {
    await using bytes = await openTarBytes(input, place, { end: input.size! });
    yield* tarMembers(bytes, 0, label, true, passOver);
    await origin.checkUnchanged();
  }
  const index = async (): Promise<TarIndex> => {
    const passedOver = new PassedOver();
    const all = members(passedOver.below((member) => `${origin.name}:${member}`));
    return await TarIndex.of(all, { label, archive: origin.name, keep: read.keep }, passedOver);
  };
  if (!(await hasImage(members()))) throw new EmptyInput(`there are no images in ${label}`);
  return {
    input,
    read: resolved,
    columns: Object.fromEntries(read.keep.map((name): [string, ColumnType] => [name, columnType(name)])),
    onlySplits: true,
    ids: "members",
    async *records(idName) {
      const entries = new Map([...(await index()).entries()].map(({ image, byName }) => [image.start, byName]));
      let record = 0;
      for await (const member of members()) {
        const byName = entries.get(member.start);
        if (byName !== undefined) yield { record: record++, id: memberId(member, byName, idName) };
      }
    },
    splitter: new TarSplitter(input, resolved, index),
  };
}

async function hasImage(members: AsyncIterable<TarMember>): Promise<boolean> {
  for await (const member of members) if (isImageMember(member)) return true;
  return false;
}

function columnType(extension: string): ColumnType {
  return extension === "json" ? "json" : "string";
}

function checkColumns({ column, idColumn, where = [], keep }: ReadOptions, label: string): void {
  const requested = column ?? idColumn ?? where[0]?.column ?? keep.find((extension) => isImageName(`x.${extension}`));
  if (requested === undefined) return;
  const fix = "--keep takes the extension of members beside an image, such as json, cls or txt";
  const message = `${label} is an archive of images, which has no column ${quoted(requested)}; ${fix}`;
  throw new LabelmillError("COLUMN_NOT_FOUND", message);
}
