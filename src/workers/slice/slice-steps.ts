import { LabelmillError } from "../../errors.ts";
import type { OutputGrants } from "../../fetch/output-grants.ts";
import type { Logger } from "../../logger.ts";
import { getIfThere } from "../../outputs/output.ts";
import { kindsIn } from "../../rows/kept-kinds.ts";
import { encodePart, readPart } from "../../rows/part.ts";
import type { Compactions } from "../../runs/compactions.ts";
import type { Devices, RowError, RunLedger } from "../../runs/ledger/ledger.ts";
import { MAX_FIRST_ERRORS } from "../../runs/ledger/scripts.ts";
import type { SingleEnds } from "../../runs/singles.ts";
import type { Job } from "../../schemas/job.ts";
import { PARTS_FOLDER } from "../../schemas/names.ts";
import type { Row } from "../../schemas/row.ts";
import type { Split } from "../../schemas/split.ts";
import { openStore } from "../../storage/open.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { ObjectStore } from "../../storage/store.ts";
import { LogThrottle } from "../queue/log-throttle.ts";
import { committedEvent, type ResultEvents } from "../result-events.ts";
import type { SliceSteps, StoredPart } from "./process-slice.ts";

export type StepDeps = {
  outputs: OutputStores;
  ledger: RunLedger;
  singles: SingleEnds;
  compactions: Compactions;
  events: ResultEvents;
  finalize: (run: string, output: string) => Promise<void>;
  /** Where the models of this worker run. */
  devices: Devices;
  log: Logger;
};

/** The real steps of a slice, all but the labeling. */
export function sliceSteps(parts: StepDeps): Omit<SliceSteps, "label"> {
  const { outputs, ledger, singles, compactions, events, finalize, devices, log } = parts;
  const strays = new LogThrottle();
  return {
    openOutput: (uri) => outputs.open(uri),
    adopt: async (store, job) => {
      const bytes = await getIfThere(store, job.key);
      return bytes && adoptPart(bytes, job);
    },
    encode: encodePart,
    commit: async (job, part) => {
      // Its part is all the record it has.
      if (job.single) return "done";
      if (job.key.startsWith(PARTS_FOLDER)) await compactions.noteColumns(job.run, kindsIn(part.rows));
      const labeling = {
        devices: part.own ? devices : {},
        inferMs: part.inferMs ?? 0,
        firstErrors: firstErrors(part.rows),
      };
      const end = await ledger.commit(job.run, job.slice, part, labeling);
      if (end.complete) await finalize(job.run, job.output);
      if (end.outcome === "committed" || end.outcome === "again") return "done";
      strays.tell(`${job.run} ${end.outcome}`, 1, (slices) =>
        log.warn(
          { run: job.run, slices, outcome: end.outcome },
          "Redis does not count these slices: their parts stand",
        ),
      );
      return "stray";
    },
    publish: async (job, part) => {
      const event = committedEvent(job, part);
      // Whoever waits for a single hears of it first.
      if (job.single) await singles.set(event);
      else await ledger.announce(job.run);
      if (job.events !== "none") await events.publish(event);
    },
  };
}

function firstErrors(rows: readonly Row[]): RowError[] {
  const found: RowError[] = [];
  for (const row of rows) {
    if (found.length === MAX_FIRST_ERRORS) break;
    if (!("error" in row)) continue;
    const { code, message } = row.error;
    found.push({ ...{ uri: row.source.uri, record: row.source.record, code }, message: message.slice(0, 300) });
  }
  return found;
}

const MOST_OPEN = 100;

/** Stores by their URI, opened once: whoever can write to Redis must not be able to name a path of their choice. */
export class OutputStores {
  readonly #grants: OutputGrants;
  readonly #s3: S3;
  readonly #open = new Map<string, Promise<ObjectStore>>();

  constructor(grants: OutputGrants, s3: S3) {
    this.#grants = grants;
    this.#s3 = s3;
  }

  /** @throws LabelmillError NOT_GRANTED */
  async open(uri: string): Promise<ObjectStore> {
    await this.#grants.check(uri);
    const known = this.#open.get(uri);
    if (known) return known;
    const opening = openStore(uri, this.#s3);
    this.#open.set(uri, opening);
    opening.catch(() => this.#open.delete(uri));
    const oldest = this.#open.keys().next().value!;
    if (this.#open.size > MOST_OPEN) this.#open.delete(oldest);
    return opening;
  }
}

/** @throws LabelmillError PART_MISMATCH where the bytes are not a part of this slice */
function adoptPart(bytes: Uint8Array, job: Job): StoredPart {
  const part = readPart(bytes);
  if (!(job.items ? isOfItems(part.rows, job) : isOfSplits(part.rows, job.splits!)))
    throw new LabelmillError(
      "PART_MISMATCH",
      `${job.output}${job.key} stands, but its rows are not the records of this slice: the output was changed, or its run planned otherwise`,
    );
  return part;
}

function isOfItems(rows: readonly Row[], { items, sources }: Job): boolean {
  if (rows.length !== items!.length) return false;
  return rows.every(({ source }, i) => {
    const item = items![i]!;
    return source.record === item.record && source.uri === sources![item.source];
  });
}

/** Which records of a split are items is not known here where not all are: how many is. */
function isOfSplits(rows: readonly Row[], splits: readonly Split[]): boolean {
  let at = 0;
  for (const { input, first, count, selected = count } of splits) {
    let next = first;
    for (const { source } of rows.slice(at, at + selected)) {
      if (source.uri !== input.uri || source.record < next || source.record >= first + count) return false;
      next = source.record + 1;
    }
    at += selected;
  }
  return at === rows.length;
}
