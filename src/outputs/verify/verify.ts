import { createHash } from "node:crypto";
import { LabelmillError, messageOf } from "../../errors.ts";
import { readPart } from "../../rows/part.ts";
import { type Manifest, type PartLine, type Range, selectedIn } from "../../schemas/manifest.ts";
import {
  isPartKey,
  MANIFEST_FILE,
  PARTS_FILE,
  PARTS_FOLDER,
  partKey,
  RUN_FILE,
  SUCCESS_FILE,
} from "../../schemas/names.ts";
import { isCompacted } from "../../schemas/output.ts";
import type { Row } from "../../schemas/row.ts";
import type { RunFile, RunInput } from "../../schemas/run.ts";
import type { ReadableStore } from "../../storage/store.ts";
import { orderedRows } from "../ordered-rows.ts";
import { exists, getIfThere, readManifest, readRunFile } from "../output.ts";
import { type OpenStore, retryUri } from "../retries.ts";
import { Check, type Verification } from "./check.ts";
import { FileChecks } from "./files.ts";
import { partLines } from "./lines.ts";

/** `inputs` counts the records of an input as it is now; `openStore` opens outputs within this one: without, retries are not looked at. */
export type VerifyOptions = { inputs?: (input: RunInput) => Promise<number>; openStore?: OpenStore };

/**
 * Reads all of an output again and proves it: the planned ranges tile each input from its first record to its last; each
 * (source, record) of the plan stands in the parts once and in order; labeled + in error = planned; every hash is true; no
 * part is there that the run does not list. Where files were made of the parts, the same of the files. Memory does not grow with the
 * number of parts or files: it is that of the largest part or file, and a bit for each record of a file's range.
 */
export async function verifyOutput(store: ReadableStore, options: VerifyOptions = {}): Promise<Verification> {
  const check = new Check();
  try {
    const runFile = await readRunFile(store);
    const manifest = runFile && (await readManifest(store));
    if (!runFile) check.problem(`${RUN_FILE} is missing: not an output of labelmill`);
    else if (!manifest) check.problem(`${MANIFEST_FILE} is missing: the run ${runFile.run} is not finished`);
    else {
      await checkRun(store, runFile, manifest, check);
      if (options.inputs) await recount(runFile, manifest, options.inputs, check);
      if (options.openStore) await checkRetries(store, manifest, options.openStore, check);
    }
    return check.result(runFile?.run, manifest?.state);
  } catch (error) {
    if (!(error instanceof LabelmillError) || error.code !== "OUTPUT_FOREIGN") throw error;
    check.problem(error.message);
    return check.result(undefined, undefined);
  }
}

async function checkRun(store: ReadableStore, runFile: RunFile, manifest: Manifest, check: Check): Promise<void> {
  const { run, inputs } = runFile;
  const uris = inputs.map(({ uri }) => uri);
  check.equal(`run in ${MANIFEST_FILE}`, manifest.run, run);
  check.equal(`model in ${MANIFEST_FILE}`, manifest.model.digest, runFile.spec.model.digest);

  const seen = new Set<string>();
  const twice = uris.find((uri) => seen.has(uri) || !seen.add(uri));
  if (twice) check.problem(`${RUN_FILE}: the input ${twice} is there twice`);
  const hash = createHash("sha256");
  const tiles = new Tiling(inputs.length);
  const listed = new ListedParts(store, check, isCompacted(runFile.spec.output) ? PARTS_FOLDER : "");
  const apart = isCompacted(runFile.spec.output);
  const files = manifest.filesSha256 === undefined ? undefined : await FileChecks.open(store, runFile, manifest, check);
  for await (const line of partLines(store, hash, check)) {
    check.equal(`${PARTS_FILE}: key of slice ${line.slice}`, line.key, partKey(run, line.slice, apart));
    tiles.add(line, check);
    if (files) await files.add(line);
    else {
      await listed.upTo(line.key);
      await checkPart(store, line, uris, check);
    }
  }
  if (files) await files.end();
  await listed.rest();
  check.equal(`hash of ${PARTS_FILE}`, hash.digest("hex"), manifest.partsSha256);

  if (manifest.failedSlices > 0)
    check.problem(`${manifest.failedSlices} slices failed for good: ask for the same again`);
  else
    manifest.inputs.forEach(({ uri, records }, i) => {
      check.equal(`records of ${uri} in the parts`, tiles.records(i), records);
    });
  const { totals } = manifest;
  check.equal("slices in the parts", check.totals.parts, totals.slices - manifest.failedSlices);
  check.equal("planned records in the parts", check.totals.planned, check.totals.labeled + check.totals.errors);
  if (manifest.failedSlices === 0) check.equal("planned records", totals.planned, totals.labeled + totals.errors);
  check.equal("labeled rows", check.totals.labeled, totals.labeled);
  check.equal("rows in error", check.totals.errors, totals.errors);
  // A map: a label may be named like a property that every object has.
  const expected = new Map(Object.entries(manifest.labels));
  for (const label of new Set([...check.labels.keys(), ...expected.keys()]))
    check.equal(`rows labeled ${label}`, check.labels.get(label) ?? 0, expected.get(label) ?? 0);
  check.equal(`${SUCCESS_FILE} there`, await exists(store, SUCCESS_FILE), manifest.state !== "failed");
}

/** The ranges of each input must follow one another, from record 0, without gap or overlap. */
class Tiling {
  readonly #next: number[];

  constructor(inputs: number) {
    this.#next = new Array(inputs).fill(0);
  }

  add({ slice, planned }: PartLine, check: Check): void {
    for (const { input, first, count } of planned) {
      if (input >= this.#next.length) check.problem(`slice ${slice}: input ${input} is not in ${RUN_FILE}`);
      else {
        check.equal(`slice ${slice}: first record of its range of input ${input}`, first, this.#next[input]);
        this.#next[input] = first + count;
      }
    }
  }

  records(input: number): number {
    return this.#next[input] ?? 0;
  }
}

/** The store's own listing, walked beside the part lines: both are in the order of the keys. */
class ListedParts {
  readonly #keys: AsyncIterator<{ key: string }>;
  readonly #check: Check;
  readonly #folder: string;
  #ahead: string | undefined;

  constructor(store: ReadableStore, check: Check, folder: string) {
    this.#folder = folder;
    this.#keys = store.list(`${folder}part-`)[Symbol.asyncIterator]();
    this.#check = check;
  }

  /** Whatever stands before `key` in the store is not listed in the run. */
  async upTo(key: string): Promise<void> {
    for (let found = await this.#peek(); found !== undefined && found <= key; found = await this.#peek()) {
      if (found !== key) this.#unlisted(found);
      this.#ahead = undefined;
    }
  }

  async rest(): Promise<void> {
    for (let found = await this.#peek(); found !== undefined; found = await this.#peek()) {
      this.#unlisted(found);
      this.#ahead = undefined;
    }
  }

  async #peek(): Promise<string | undefined> {
    if (this.#ahead === undefined) {
      const next = await this.#keys.next();
      this.#ahead = next.done ? undefined : next.value.key;
    }
    return this.#ahead;
  }

  #unlisted(key: string): void {
    if (isPartKey(key.slice(this.#folder.length)))
      this.#check.problem(`${key} is there, but ${PARTS_FILE} does not list it`);
  }
}

async function checkPart(store: ReadableStore, line: PartLine, uris: readonly string[], check: Check): Promise<void> {
  check.totals.parts += 1;
  check.totals.planned += selectedIn(line.planned);
  const bytes = await getIfThere(store, line.key);
  if (!bytes) return check.problem(`${line.key} is missing`);
  let part: ReturnType<typeof readPart>;
  try {
    part = readPart(bytes);
  } catch (error) {
    return check.problem(`${line.key}: ${messageOf(error)}`);
  }
  for (const key of ["rows", "errors", "bytes", "sha256"] as const)
    check.equal(`${line.key}: ${key}`, part.receipt[key], line[key]);
  check.totals.labeled += part.receipt.rows - part.receipt.errors;
  check.totals.errors += part.receipt.errors;
  for (const [label, count] of Object.entries(part.labels))
    check.labels.set(label, (check.labels.get(label) ?? 0) + count);
  const difference = rowsDiffer(part.rows, line.planned, uris);
  if (difference) check.problem(`${line.key}: ${difference}`);
}

/**
 * Whether rows are just those of the planned ranges, each (source, record) once and in order.
 * @param uris the run's inputs
 * @returns the first difference in words, or undefined
 */
export function rowsDiffer(
  rows: readonly Row[],
  planned: readonly Range[],
  uris: readonly string[],
): string | undefined {
  let place = 0;
  for (const { input, first, count, selected = count } of planned) {
    let least = first;
    for (let left = selected; left > 0; left--) {
      const source = rows[place++]?.source;
      // Which records are items is not in the plan where not all are: how many is.
      const most = selected === count ? least : first + count - left;
      if (source?.uri !== uris[input] || source!.record < least || source!.record > most)
        return `row ${place} is ${source ? `record ${source.record} of ${source.uri}` : "missing"}, expected record ${least}${most > least ? ` to ${most}` : ""} of ${uris[input]}`;
      least = source!.record + 1;
    }
  }
  return rows.length > place ? `${rows.length} rows, expected ${place}` : undefined;
}

async function recount(
  { inputs, spec }: RunFile,
  manifest: Manifest,
  count: NonNullable<VerifyOptions["inputs"]>,
  check: Check,
): Promise<void> {
  for (const [i, input] of inputs.entries()) {
    const now = await count(input);
    const planned = manifest.inputs[i]?.records ?? 0;
    // Where a limit ended the plan, the rest was not read.
    if (spec.limit === undefined || now < planned) check.equal(`records of ${input.uri} now`, now, planned);
  }
}

/** Each retry is an output that proves itself, and holds just the rows that were in error before it. */
async function checkRetries(
  store: ReadableStore,
  { retries = [] }: Manifest,
  openStore: OpenStore,
  check: Check,
): Promise<void> {
  let before = store;
  for (const { retry, run: id, superseded, labeled, errors, partsSha256 } of retries) {
    const name = `retry ${retry}`;
    const own = await openStore(retryUri(store.uri, retry));
    const { totals, problems } = await verifyOutput(own);
    for (const problem of problems) check.problem(`${name}: ${problem}`);
    check.equal(`${name}: run`, (await readRunFile(own))?.run, id);
    check.equal(`${name}: hash of ${PARTS_FILE}`, (await readManifest(own))?.partsSha256, partsSha256);
    check.equal(`${name}: rows`, totals.planned, superseded);
    check.equal(`${name}: labeled rows`, totals.labeled, labeled);
    check.equal(`${name}: rows in error`, totals.errors, errors);
    if (problems.length === 0) await checkPositions(name, positionsIn(before, true), positionsIn(own, false), check);
    before = own;
  }
}

async function checkPositions(
  name: string,
  wanted: AsyncGenerator<string>,
  found: AsyncGenerator<string>,
  check: Check,
): Promise<void> {
  for (;;) {
    const [error, row] = await Promise.all([wanted.next(), found.next()]);
    if (error.value !== row.value)
      return check.problem(`${name}: holds ${row.value ?? "no row"} where ${error.value ?? "no row"} was in error`);
    if (error.done) return;
  }
}

/** The rows of a run in order, by what they are of. @param inError only those */
async function* positionsIn(store: ReadableStore, inError: boolean): AsyncGenerator<string> {
  for await (const { rows } of orderedRows(store, inError))
    for (const { record, uri } of rows) yield `record ${record} of ${uri}`;
}
