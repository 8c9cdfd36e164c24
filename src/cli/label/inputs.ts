import { resolve } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { LabelmillError } from "../../errors.ts";
import { FileGrants } from "../../fetch/grants.ts";
import { S3Grants } from "../../fetch/s3-grants.ts";
import type { OpenedInput } from "../../outputs/run-file.ts";
import type { PassedOverReport } from "../../schemas/input.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";
import { type ExpandedInput, expandInputs, openFullInputs } from "../../sources/discover/expand-inputs.ts";
import { listOf } from "../../sources/discover/input-list.ts";
import { PassedOver } from "../../sources/discover/passed-over.ts";
import { idNames } from "../../sources/item/id-names.ts";
import { grantsOf, openImageSource, s3GrantsOf } from "../../sources/open-images.ts";
import { openTextSource } from "../../sources/open-texts.ts";
import type { Source } from "../../sources/source.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { withoutLocalImages } from "../remote.ts";
import { isS3 } from "../s3.ts";
import type { LabelRequest } from "./request.ts";

/** Files and folders, and `s3://` prefixes, that workers have to open. */
export type Roots = { files: string[]; s3: string[] };

/** A source, and the absolute name by which it can be opened again. */
export type LabelInput = OpenedInput & Source & { path?: string };

/** Who is to read the inputs: the workers of a Redis, a worker of this process, or both. */
export type Readers = { workers: readonly WorkerInfo[]; own: boolean; sharedFiles: boolean };

/**
 * Opens the inputs of a command. One that is named twice, as two patterns easily do, is one.
 * @param world `remote`: its workers see nothing of this machine; `fileRoots`: what lists may name besides what lies beside them
 * @returns how many were named again, too, and what the inputs cover and was passed over
 */
export async function openLabelInputs(
  { kind, inputs, read }: Pick<LabelRequest, "kind" | "inputs" | "read">,
  { stdin, s3, remote, fileRoots }: { stdin: Readable; s3: S3; remote: boolean; fileRoots: readonly string[] },
): Promise<{ opened: LabelInput[]; again: number; passedOver: PassedOverReport }> {
  if (inputs.filter((input) => input === "-").length > 1)
    throw new LabelmillError("USAGE", "standard input (-) can be read once only");
  const passedOver = new PassedOver();
  const expansion = { s3, kind, format: read.format, passedOver, fileRoots };
  const opening: PassedOver[] = [];
  const open = async ({ name, path }: ExpandedInput): Promise<LabelInput> => {
    // In the inputs' order, in which they are begun to be opened.
    const own = new PassedOver();
    opening.push(own);
    const from = name === "-" ? { stdin } : name;
    if (kind === "text") return named(await openTextSource(from, read, s3), name, path);
    const source = await openImageSource(from, read, s3, { passedOver: own });
    return named(remote && !source.onlySplits ? await withoutLocalImages(source) : source, name, path);
  };
  const all = await openFullInputs(await expandInputs(inputs, expansion), open, passedOver);
  for (const { report } of opening) passedOver.include(report);
  const first = new Map<string, LabelInput>();
  for (const each of all) if (!first.has(each.input.uri)) first.set(each.input.uri, each);
  const opened = [...first.values()];
  for (const [at, idName] of idNames(opened).entries()) if (idName !== undefined) opened[at]!.idName = idName;
  return { opened, again: all.length - first.size, passedOver: passedOver.report };
}

/** What the workers have to open of images, before any input is opened: of texts nothing but what they read themselves. */
export async function imageRoots({ kind, inputs }: Pick<LabelRequest, "kind" | "inputs">): Promise<Roots> {
  if (kind === "text") return { files: [], s3: [] };
  const files = await Promise.all(inputs.map((input) => (isS3(input) ? [] : grantsOf(input))));
  return { files: files.flat(), s3: inputs.flatMap(s3GrantsOf) };
}

/**
 * Decides for each input whether workers read it themselves: where it can be read in pieces, and all of them may open it.
 * @returns what they have to be granted for that, and why items of others travel through Redis (once each)
 * @throws LabelmillError NOT_GRANTED where an input cannot travel and somebody may not open it
 */
export async function decideTravel(
  inputs: LabelInput[],
  { workers, own, sharedFiles }: Readers,
): Promise<{ inputs: LabelInput[]; roots: Roots; why: string[] }> {
  const roots: Roots = { files: [], s3: [] };
  const why = new Set<string>();
  const grants = workers.map((worker) => ({
    files: new FileGrants(worker.fileRoots),
    s3: new S3Grants(worker.s3Roots),
  }));
  const mayAll = async (uri: string): Promise<boolean> => {
    if (!isS3(uri) && workers.length > 0 && !sharedFiles) return false;
    for (const { files, s3 } of grants) {
      const open = isS3(uri) ? async () => s3.check(uri) : () => files.resolve(uri);
      if (
        !(await open().then(
          () => true,
          () => false,
        ))
      )
        return false;
    }
    return own || workers.length > 0;
  };
  for (const input of inputs) {
    const { uri } = input.input;
    const can = input.splitter && /^(s3|file):/.test(uri) && (await mayAll(uri));
    input.travels = can ? "split" : "inline";
    if (can) (isS3(uri) ? roots.s3 : roots.files).push(isS3(uri) ? uri : fileURLToPath(uri));
    else if (input.onlySplits)
      throw new LabelmillError(
        "NOT_GRANTED",
        `${uri} is read by the workers alone, and not all of them may open it: start them with --s3-roots or --file-roots that cover it (a local file needs --shared-files too)`,
      );
    else if (input.splitter)
      why.add("the workers were not granted them (--s3-roots, --file-roots and --shared-files do that)");
    else if (input.read.format !== "auto")
      why.add("they cannot be read from the middle (packed, UTF-16 or standard input)");
  }
  return { inputs, roots, why: [...why] };
}

/** The source with its name made absolute: whoever plans the run elsewhere has another working folder. */
function named(source: Source, name: string, path: string | undefined): LabelInput {
  const list = listOf(name);
  const absolute = list === undefined ? absoluteOf(name) : `@${absoluteOf(list)}`;
  const { input, read, columns, splitter, onlySplits, ids } = source;
  return {
    ...{ input, read, from: absolute, records: (idName) => source.records(idName) },
    ...(ids ? { ids } : {}),
    ...(path === undefined ? {} : { path }),
    ...(columns ? { columns: { ...columns } } : {}),
    ...(splitter ? { splitter } : {}),
    ...(onlySplits ? { onlySplits } : {}),
  };
}

function absoluteOf(name: string): string {
  return name === "-" || /^[a-z][a-z0-9+.-]*:\/\//i.test(name) ? name : resolve(name);
}
