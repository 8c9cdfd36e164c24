import { z } from "zod";
import { LabelmillError } from "../../errors.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { parseS3Uri, s3Uri } from "../../storage/s3/uri.ts";
import type { Origin } from "../bytes/origin.ts";
import { isS3Uri, s3Origin } from "../bytes/s3-origin.ts";
import { utf8Bytes } from "../bytes/utf8.ts";
import { quoted } from "../source.ts";
import { type CsvRecord, CsvScanner } from "../text/csv-scanner.ts";
import type { PassOver } from "./passed-over.ts";

/** An object that an inventory names. `where`: its line, for messages. */
export type InventoryObject = { bucket: string; key: string; where: string };

/** The `manifest.json` that S3 writes with an inventory. */
const ManifestSchema = z.object({
  destinationBucket: z.string(),
  fileFormat: z.string(),
  fileSchema: z.string(),
  files: z.array(z.object({ key: z.string() })),
});

const MAX_MANIFEST_BYTES = 16 << 20;

/**
 * The objects of an S3 inventory, given by its `manifest.json`, in the order of its data files, which are read where S3 wrote them. Objects without
 * content are passed over: empty objects, folder markers, old versions and delete markers.
 * @param passOver receives the URI of each
 * @param granted rejects if a data file may not be opened
 * @throws LabelmillError INPUT_UNREADABLE, INPUT_NOT_FOUND, STORE_FAILED
 */
export async function* inventoryObjects(
  manifest: Origin,
  s3: S3 | undefined,
  passOver: PassOver,
  granted: (uri: string) => Promise<void> = async () => {},
): AsyncGenerator<InventoryObject> {
  const { destinationBucket, fileFormat, fileSchema, files } = await readManifest(manifest);
  if (fileFormat !== "CSV") {
    const fix = "configure S3 to write the inventory as CSV";
    throw unreadable(`${manifest.label}: expected an inventory in CSV, got ${quoted(fileFormat)}; ${fix}`);
  }
  const bucket = destinationBucket.replace(/^arn:[^/]*:::/, "");
  // S3 writes the manifest and the data files to one bucket. Another bucket could make us read files that its author may not read.
  const { uri: at } = manifest.input;
  if (isS3Uri(at) && parseS3Uri(at).bucket !== bucket)
    throw unreadable(`${manifest.label}: expected data files in its own bucket, got ${quoted(bucket)}`);
  const columns = fileSchema.split(",").map(nameOf);
  for (const { key } of files) {
    const uri = s3Uri({ bucket, key });
    await granted(uri);
    yield* inventoryFile(await s3Origin(uri, s3), passOver, columns);
  }
}

/**
 * The objects of one CSV file of an S3 inventory, compressed or not. It has no header; bucket and key (URL-encoded) are the first columns.
 * @param columns names of the columns, if a manifest gives them
 * @throws LabelmillError INPUT_UNREADABLE, naming the line
 */
export async function* inventoryFile(
  file: Origin,
  passOver: PassOver,
  columns?: readonly string[],
): AsyncGenerator<InventoryObject> {
  const scanner = new CsvScanner(",");
  let names = columns;
  const take = (record: CsvRecord): InventoryObject | undefined => {
    const where = `${file.label}, line ${record.line}`;
    if ("error" in record) throw unreadable(`${file.label}: ${record.error.message}`);
    names ??= columnsOf(record.fields);
    const row = new Map(names.map((name, index) => [name, record.fields[index]]));
    const [bucket, written] = [row.get("bucket"), row.get("key")];
    const key = written === undefined ? undefined : decoded(written);
    if (!bucket || !key || !/^[\w.-]{3,63}$/.test(bucket))
      throw unreadable(`${where}: expected "BUCKET","KEY" as S3 writes them, with a URL-encoded key`);
    const isOld = row.get("islatest") === "false" || row.get("isdeletemarker") === "true";
    const isEmpty = row.get("size") === "0";
    const why = isOld ? "old-version" : key.endsWith("/") ? "folder-marker" : isEmpty ? "empty" : undefined;
    if (why === undefined) return { bucket, key, where };
    passOver(why, s3Uri({ bucket, key }));
    return undefined;
  };
  for await (const chunk of utf8Bytes(file.bytes())) yield* taken(scanner.push(chunk));
  yield* taken(scanner.end());
  await file.checkUnchanged();

  function* taken(records: Iterable<CsvRecord>): Generator<InventoryObject> {
    for (const record of records) {
      const found = take(record);
      if (found) yield found;
    }
  }
}

async function readManifest(manifest: Origin): Promise<z.infer<typeof ManifestSchema>> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of manifest.bytes()) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_MANIFEST_BYTES) throw unreadable(`${manifest.label}: expected at most ${MAX_MANIFEST_BYTES} bytes`);
  }
  try {
    return ManifestSchema.parse(JSON.parse(Buffer.concat(chunks).toString()));
  } catch (cause) {
    const expected = "expected the manifest.json of an S3 inventory: destinationBucket, fileFormat, fileSchema, files";
    throw new LabelmillError("INPUT_UNREADABLE", `${manifest.label}: ${expected}`, { cause });
  }
}

/** The columns by the first row: an inventory of versions has three more columns after the key, and the size is the first optional column. */
function columnsOf(fields: readonly string[]): string[] {
  const isFlag = (field: string | undefined) => /^(true|false)$/i.test(field ?? "");
  const isVersioned = isFlag(fields[3]) && isFlag(fields[4]);
  const size = /^\d+$/.test(fields[isVersioned ? 5 : 2] ?? "") ? ["size"] : [];
  return ["bucket", "key", ...(isVersioned ? ["versionid", "islatest", "isdeletemarker"] : []), ...size];
}

function nameOf(column: string): string {
  return column.trim().toLowerCase();
}

function decoded(key: string): string | undefined {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}

function unreadable(message: string): LabelmillError {
  return new LabelmillError("INPUT_UNREADABLE", message);
}
