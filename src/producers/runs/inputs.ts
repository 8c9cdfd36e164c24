import { resolve } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { LabelmillError } from "../../errors.ts";
import { FileGrants } from "../../fetch/grants.ts";
import { S3Grants } from "../../fetch/s3-grants.ts";
import type { OpenedInput } from "../../outputs/run-file.ts";
import type { PassedOverReport, ReadOptions } from "../../schemas/input.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";
import { type ExpandedInput, expandInputs } from "../../sources/discover/expand-inputs.ts";
import { listOf } from "../../sources/discover/input-list.ts";
import { PassedOver } from "../../sources/discover/passed-over.ts";
import { idNames } from "../../sources/item/id-names.ts";
import { grantsOf, openImageSource, s3GrantsOf } from "../../sources/open-images.ts";
import { openFullInputs } from "../../sources/open-inputs.ts";
import { openTextSource } from "../../sources/open-texts.ts";
import type { Source } from "../../sources/source.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { isS3 } from "../../storage/s3/uri.ts";
import { withoutLocalImages } from "./local-path.ts";
import type { LabelKind, RunRequest } from "./request.ts";

/** Files, folders and `s3://` prefixes that workers have to open. */
export type Roots = { files: string[]; s3: string[] };

/** A source, and the absolute name that opens it again. */
export type LabelInput = OpenedInput & Source & { path?: string };

/** The readers of the inputs: the workers of a Redis server, a worker in this process (`own`), or both. */
export type Readers = { workers: readonly WorkerInfo[]; own: boolean; sharedFiles: boolean };

/** How the inputs of a run are opened. */
export type OpenInputs = {
  /** Standard input, if it may be an input. */
  stdin?: Readable | undefined;
  s3: S3;
  /** The workers cannot open files of this machine. */
  remote: boolean;
  /** Folders that lists may name besides their own. */
  fileRoots: readonly string[];
  /** Rejects if an input may not be opened. Called before the inputs are opened: for each name, then for each input that a name covers. */
  checkName?: ((kind: LabelKind, name: string) => Promise<void>) | undefined;
};

type OpenContext = { read: ReadOptions; s3: S3; remote: boolean; passedOver: PassedOver };

const OPENERS: Record<LabelKind, (from: string | { stdin: Readable }, context: OpenContext) => Promise<Source>> = {
  text: (from, { read, s3 }) => openTextSource(from, read, s3),
  images: async (from, { read, s3, remote, passedOver }) => {
    const source = await openImageSource(from, read, s3, { passedOver });
    return remote && !source.onlySplits ? await withoutLocalImages(source) : source;
  },
};

/**
 * Opens the inputs of a command. An input that is named twice, as by two patterns, is opened once.
 * @returns the inputs; in `again` how many names repeat an input; in `passedOver` what the names cover but is skipped
 */
export async function openLabelInputs(
  { kind, inputs, read }: Pick<RunRequest, "kind" | "inputs" | "read">,
  { stdin, s3, remote, fileRoots, checkName = async () => {} }: OpenInputs,
): Promise<{ opened: LabelInput[]; again: number; passedOver: PassedOverReport }> {
  if (inputs.filter((input) => input === "-").length > 1)
    throw new LabelmillError("USAGE", "standard input (-) can be read once only");
  const passedOver = new PassedOver();
  const expansion = { s3, kind, format: read.format, passedOver, fileRoots };
  const opening: PassedOver[] = [];
  const open = async ({ name, path }: ExpandedInput): Promise<LabelInput> => {
    // Inputs are opened in parallel. The reports keep the order of the inputs.
    const own = new PassedOver();
    opening.push(own);
    await checkName(kind, name);
    const source = await OPENERS[kind](fromOf(name, stdin), { read, s3, remote, passedOver: own });
    return named(source, name, path);
  };
  const all = await openFullInputs(await expandInputs(inputs, expansion), open, passedOver);
  for (const { report } of opening) passedOver.include(report);
  const first = new Map<string, LabelInput>();
  for (const each of all) if (!first.has(each.input.uri)) first.set(each.input.uri, each);
  const opened = [...first.values()];
  for (const [at, idName] of idNames(opened).entries()) if (idName !== undefined) opened[at]!.idName = idName;
  return { opened, again: all.length - first.size, passedOver: passedOver.report };
}

function fromOf(name: string, stdin: Readable | undefined): string | { stdin: Readable } {
  if (name !== "-") return name;
  if (stdin) return { stdin };
  throw new LabelmillError("USAGE", "expected inputs that workers can read, got standard input (-)");
}

/** What workers have to open for the references in the inputs. Texts have no references. */
const REFERENCE_ROOTS: Record<LabelKind, (inputs: readonly string[]) => Promise<Roots>> = {
  text: async () => ({ files: [], s3: [] }),
  images: async (inputs) => {
    const files = await Promise.all(inputs.map((input) => (isS3(input) ? [] : grantsOf(input))));
    return { files: files.flat(), s3: inputs.flatMap(s3GrantsOf) };
  },
};

/** What workers have to open to fetch images. It is known before any input is opened. */
export function imageRoots({ kind, inputs }: Pick<RunRequest, "kind" | "inputs">): Promise<Roots> {
  return REFERENCE_ROOTS[kind](inputs);
}

/**
 * Decides for each input whether workers read it themselves. They do if it can be split and all of them may open it.
 * @returns `roots`: what the workers must be granted to read the inputs. `why`: each reason why items travel through Redis, once
 * @throws LabelmillError NOT_GRANTED if an input cannot travel through Redis and a worker may not open it
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
        `${uri} can be read only by workers, and not all of them may open it: start them with --s3-roots or --file-roots that include it (a local file also needs --shared-files)`,
      );
    else if (input.splitter)
      why.add("not all workers may open these inputs (grant them with --s3-roots, --file-roots and --shared-files)");
    else if (input.read.format !== "auto")
      why.add("these inputs cannot be split (compressed, UTF-16 or standard input)");
  }
  return { inputs, roots, why: [...why] };
}

/** The source with an absolute name: a worker that plans the run has another working folder. */
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
