import { createHash } from "node:crypto";
import { LabelmillError, messageOf } from "../errors.ts";
import { type Manifest, type PartLine, PartLineSchema, type Range } from "../schemas/manifest.ts";
import { isPartKey, MANIFEST_FILE, PARTS_FILE, partKey, RUN_FILE, SUCCESS_FILE } from "../schemas/names.ts";
import type { Row } from "../schemas/row.ts";
import type { RunFile } from "../schemas/run.ts";
import { readPart } from "../storage/part.ts";
import type { ObjectStore } from "../storage/store.ts";
import { exists, getIfThere, readManifest, readRunFile } from "./output.ts";

export type Verification = {
  ok: boolean;
  run: string | undefined;
  state: string | undefined;
  /** As counted now, from the parts themselves. */
  totals: { parts: number; planned: number; labeled: number; errors: number };
  /** What is not as it should be, the first hundred. */
  problems: string[];
};

const MAX_PROBLEMS = 100;

/**
 * Reads all of an output again and proves it: the planned ranges tile each input from its first record to its last; each
 * (source, record) of the plan stands in the parts once and in order; labeled + in error = planned; every hash is true; no
 * part is there that the run does not list. Memory does not grow with the number of parts.
 */
export async function verifyOutput(store: ObjectStore): Promise<Verification> {
  const check = new Check();
  try {
    const runFile = await readRunFile(store);
    const manifest = runFile && (await readManifest(store));
    if (!runFile) check.problem(`${RUN_FILE} is missing: not an output of labelmill`);
    else if (!manifest) check.problem(`${MANIFEST_FILE} is missing: the run ${runFile.run} is not finished`);
    else await checkRun(store, runFile, manifest, check);
    return check.result(runFile?.run, manifest?.state);
  } catch (error) {
    if (!(error instanceof LabelmillError) || error.code !== "OUTPUT_FOREIGN") throw error;
    check.problem(error.message);
    return check.result(undefined, undefined);
  }
}

class Check {
  readonly totals = { parts: 0, planned: 0, labeled: 0, errors: 0 };
  readonly labels = new Map<string, number>();
  readonly #problems: string[] = [];
  #count = 0;

  problem(text: string): void {
    this.#count += 1;
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(text);
  }

  equal(what: string, came: unknown, expected: unknown): void {
    if (came !== expected) this.problem(`${what}: ${came}, expected ${expected}`);
  }

  result(run: string | undefined, state: string | undefined): Verification {
    const more = this.#count - this.#problems.length;
    const problems = more > 0 ? [...this.#problems, `and ${more} more`] : this.#problems;
    return { ok: this.#count === 0, run, state, totals: this.totals, problems };
  }
}

async function checkRun(store: ObjectStore, runFile: RunFile, manifest: Manifest, check: Check): Promise<void> {
  const { run, inputs } = runFile;
  const uris = inputs.map(({ uri }) => uri);
  check.equal(`run in ${MANIFEST_FILE}`, manifest.run, run);
  check.equal(`model in ${MANIFEST_FILE}`, manifest.model.digest, runFile.spec.model.digest);

  const hash = createHash("sha256");
  const tiles = new Tiling(inputs.length);
  const listed = new ListedParts(store, check);
  for await (const line of partLines(store, hash, check)) {
    check.equal(`${PARTS_FILE}: key of slice ${line.slice}`, line.key, partKey(run, line.slice));
    tiles.add(line, check);
    await listed.upTo(line.key);
    await checkPart(store, line, uris, check);
  }
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
  #ahead: string | undefined;

  constructor(store: ObjectStore, check: Check) {
    this.#keys = store.list("part-")[Symbol.asyncIterator]();
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
    if (isPartKey(key)) this.#check.problem(`${key} is there, but ${PARTS_FILE} does not list it`);
  }
}

async function* partLines(
  store: ObjectStore,
  hash: ReturnType<typeof createHash>,
  check: Check,
): AsyncGenerator<PartLine> {
  const decoder = new TextDecoder();
  let rest = "";
  let number = 0;
  let last = -1;
  for await (const chunk of store.stream(PARTS_FILE)) {
    hash.update(chunk);
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const text of lines) {
      number += 1;
      const line = parsePartLine(text);
      if (!line) check.problem(`${PARTS_FILE} line ${number} is not a part line`);
      else if (line.slice <= last)
        check.problem(`${PARTS_FILE} line ${number}: slice ${line.slice} after slice ${last}`);
      else {
        last = line.slice;
        yield line;
      }
    }
  }
  if (rest !== "") check.problem(`${PARTS_FILE} ends within a line`);
}

function parsePartLine(text: string): PartLine | undefined {
  try {
    return PartLineSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

async function checkPart(store: ObjectStore, line: PartLine, uris: readonly string[], check: Check): Promise<void> {
  check.totals.parts += 1;
  check.totals.planned += line.planned.reduce((sum, range) => sum + range.count, 0);
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
  for (const { input, first, count } of planned)
    for (let record = first; record < first + count; record++) {
      const source = rows[place++]?.source;
      if (source?.uri !== uris[input] || source?.record !== record)
        return `row ${place} is ${source ? `record ${source.record} of ${source.uri}` : "missing"}, expected record ${record} of ${uris[input]}`;
    }
  return rows.length > place ? `${rows.length} rows, expected ${place}` : undefined;
}
