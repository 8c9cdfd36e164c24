import type { Manifest } from "../../schemas/manifest.ts";
import { PARTS_FILE } from "../../schemas/names.ts";
import type { ReadableStore } from "../../storage/store.ts";
import { orderedRows } from "../ordered-rows.ts";
import { readManifest, readRunFile } from "../output.ts";
import { type OpenStore, retryUri } from "../retries.ts";
import type { Findings, Verification } from "./verification.ts";

/**
 * Checks each retry of a run. A retry is a complete output with exactly the rows that were in error before it.
 * @param verify checks one output
 */
export async function checkRetries(
  store: ReadableStore,
  { retries = [] }: Manifest,
  openStore: OpenStore,
  verify: (store: ReadableStore) => Promise<Verification>,
  findings: Findings,
): Promise<void> {
  let before = store;
  for (const { retry, run: id, superseded, labeled, errors, partsSha256 } of retries) {
    const name = `retry ${retry}`;
    const own = await openStore(retryUri(store.uri, retry));
    const { totals, problems } = await verify(own);
    for (const problem of problems) findings.problem(`${name}: ${problem}`);
    findings.equal(`${name}: run`, (await readRunFile(own))?.run, id);
    findings.equal(`${name}: hash of ${PARTS_FILE}`, (await readManifest(own))?.partsSha256, partsSha256);
    findings.equal(`${name}: rows`, totals.planned, superseded);
    findings.equal(`${name}: labeled rows`, totals.labeled, labeled);
    findings.equal(`${name}: rows in error`, totals.errors, errors);
    if (problems.length === 0) await checkRecords(name, recordsOf(before, true), recordsOf(own, false), findings);
    before = own;
  }
}

async function checkRecords(
  name: string,
  inError: AsyncGenerator<string>,
  retried: AsyncGenerator<string>,
  findings: Findings,
): Promise<void> {
  for (;;) {
    const [expected, got] = await Promise.all([inError.next(), retried.next()]);
    if (expected.value !== got.value)
      return findings.problem(
        `${name}: expected the rows that were in error before: ${expected.value ?? "no more"}, got ${got.value ?? "no more"}`,
      );
    if (expected.done) return;
  }
}

/** The records of the rows of a run, in order. */
async function* recordsOf(store: ReadableStore, onlyErrors: boolean): AsyncGenerator<string> {
  for await (const { rows } of orderedRows(store, onlyErrors))
    for (const { record, uri } of rows) yield `record ${record} of ${uri}`;
}
