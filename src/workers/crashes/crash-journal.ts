import { randomBytes } from "node:crypto";
import { closeSync, ftruncateSync, mkdirSync, readFileSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { LabelmillError } from "../../errors.ts";
import { checkOwnSync, IrregularFile, openOwnSync } from "../../regular-file.ts";
import { AttemptRecord } from "./attempt-record.ts";
import { type CrashRecord, parseAttempt, type SliceRef } from "./crash-record.ts";
import { type AttemptEntry, deviceLosses, evidenceOf, obsolete, unfinishedStarts } from "./evidence.ts";

/** The attempts of a slice, by their ids. */
type Attempts = Map<string, AttemptEntry>;
/** The file's descriptor, and its content when it was opened, by slice. */
type Opened = { file: number; slices: Map<number, Attempts> };

/**
 * The crash record of a command whose Redis server ends with it: a file beside the output. A line is appended when a
 * slice is taken, when the record of an attempt changes, and when a slice is done. The lock of the output lets one
 * process write at a time, so the processes that wrote before are dead. A line is one synchronous append: it must
 * survive a crash of the process, not of the machine.
 */
export class CrashJournal implements CrashRecord {
  readonly #path: string;
  readonly #start = randomBytes(8).toString("hex");
  #opened: Opened | undefined;
  #count = 0;

  /**
   * The file is opened when the first slice is taken: only then does the output folder belong to the run.
   * @throws LabelmillError OUTPUT_FOREIGN if something other than a regular file is at `path`
   */
  constructor(path: string) {
    this.#path = path;
    asOutputError(() => checkOwnSync(path));
  }

  async take({ slice }: SliceRef): Promise<AttemptRecord> {
    this.#opened ??= open(this.#path);
    const { file, slices } = this.#opened;
    const append = (line: string) => writeSync(file, `${line}\n`);
    const id = `${this.#start}.${++this.#count}`;
    const attempts: Attempts = slices.get(slice) ?? new Map();
    slices.set(slice, attempts);
    const save = async (entry: AttemptEntry) => {
      attempts.set(id, entry);
      append(lineOf(slice, id, entry));
    };
    const forget = async () => {
      slices.delete(slice);
      append(`end ${slice}`);
    };
    const evidence = evidenceOf(attempts, unfinishedStarts(attempts, this.#start));
    const record = new AttemptRecord(this.#start, { save, forget }, evidence, deviceLosses(attempts));
    await save(record.entry);
    const old = obsolete(attempts, record.evidence);
    for (const each of old) attempts.delete(each);
    if (old.length > 0) rewrite(file, slices);
    return record;
  }

  /** Deletes the file: the run is over. */
  forget(): void {
    rmSync(this.#path, { force: true });
  }

  close(): void {
    if (this.#opened) closeSync(this.#opened.file);
  }
}

function open(path: string): Opened {
  mkdirSync(dirname(path), { recursive: true });
  const file = asOutputError(() => openOwnSync(path));
  const slices = replay(readFileSync(file, "utf8"));
  // Ends a torn last line, so that the next one begins a new line.
  writeSync(file, "\n");
  return { file, slices };
}

/**
 * Writes the file again without deleted attempts: a slice that is delayed repeatedly must not make it grow without
 * bound.
 */
function rewrite(file: number, slices: Opened["slices"]): void {
  const lines = [...slices].flatMap(([slice, attempts]) =>
    [...attempts].map(([id, entry]) => lineOf(slice, id, entry)),
  );
  ftruncateSync(file);
  writeSync(file, `${lines.join("\n")}\n`);
}

function lineOf(slice: number, id: string, entry: AttemptEntry): string {
  return `try ${slice} ${id} ${JSON.stringify(entry)}`;
}

function replay(text: string): Map<number, Attempts> {
  const slices = new Map<number, Attempts>();
  for (const [number, line] of text.split("\n").entries()) {
    const [, slice, id, json] = /^try (\d+) (\S+) (.*)$/.exec(line) ?? [];
    const entry = json && parseAttempt(json);
    if (entry) attemptsOf(slices, Number(slice)).set(id!, entry);
    else if (/^end \d+$/.test(line)) slices.delete(Number(line.slice(4)));
    else replayOld(slices, line, `old-${number}`);
  }
  return slices;
}

/** Reads a line of a version before 1.0. There, `at` named one item, and each `take` was by another process. */
function replayOld(slices: Map<number, Attempts>, line: string, id: string): void {
  const [, verb, slice, index] = /^(take|at|back) (\d+)(?: (\d+))?$/.exec(line) ?? [];
  if (verb === undefined) return;
  const attempts = attemptsOf(slices, Number(slice));
  const last = [...attempts.values()].at(-1);
  if (verb === "take") attempts.set(id, { start: id, at: null, after: 0, through: [] });
  else if (last && verb === "back") last.end = "left";
  else if (last && index !== undefined) {
    if (last.at) last.through.push(last.at);
    last.at = [Number(index), Number(index) + 1];
  }
}

function attemptsOf(slices: Map<number, Attempts>, slice: number): Attempts {
  const attempts: Attempts = slices.get(slice) ?? new Map();
  slices.set(slice, attempts);
  return attempts;
}

/** Any process that can write to the output may have created a named pipe there. Opening it would wait forever. */
function asOutputError<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof IrregularFile)) throw error;
    throw new LabelmillError("OUTPUT_FOREIGN", `${error.message}: remove it, or choose another --out`, {
      cause: error,
    });
  }
}
