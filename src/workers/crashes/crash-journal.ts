import { randomBytes } from "node:crypto";
import { closeSync, ftruncateSync, mkdirSync, readFileSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { LabelmillError } from "../../errors.ts";
import { checkOwnSync, IrregularFile, openOwnSync } from "../../regular-file.ts";
import { AttemptRecord } from "./attempt-record.ts";
import { type CrashRecord, parseAttempt, type SliceRef } from "./crash-record.ts";
import { type Attempt, deviceLosses, evidenceOf, obsolete, unfinishedStarts } from "./evidence.ts";

/** The tries of a slice, by their ids. */
type Attempts = Map<string, Attempt>;
/** The file's descriptor, and what stood in it. */
type Opened = { file: number; slices: Map<number, Attempts> };

/**
 * The loss record of a command whose Redis server dies with it: a file to which a line is added when a slice is taken, when what is known of
 * the try changes, and when the slice is done. The output's lock lets one process write it at a time, so whoever wrote before is dead. A line
 * is one synchronous append: it survives the process, not the machine, and that is what it is for.
 */
export class CrashJournal implements CrashRecord {
  readonly #path: string;
  readonly #start = randomBytes(8).toString("hex");
  #opened: Opened | undefined;
  #count = 0;

  /**
   * The file is opened when the first slice is taken: the output that it lies in is the run's by then.
   * @throws LabelmillError OUTPUT_FOREIGN for what is no file of ours
   */
  constructor(path: string) {
    this.#path = path;
    asOutput(() => checkOwnSync(path));
  }

  async take({ slice }: SliceRef): Promise<AttemptRecord> {
    this.#opened ??= open(this.#path);
    const { file, slices } = this.#opened;
    const append = (line: string) => writeSync(file, `${line}\n`);
    const id = `${this.#start}.${++this.#count}`;
    const tries: Attempts = slices.get(slice) ?? new Map();
    slices.set(slice, tries);
    const save = async (entry: Attempt) => {
      tries.set(id, entry);
      append(lineOf(slice, id, entry));
    };
    const forget = async () => {
      slices.delete(slice);
      append(`end ${slice}`);
    };
    const evidence = evidenceOf(tries, unfinishedStarts(tries, this.#start));
    const trial = new AttemptRecord(this.#start, { save, forget }, evidence, deviceLosses(tries));
    await save(trial.entry);
    const old = obsolete(tries, trial.evidence);
    for (const each of old) tries.delete(each);
    if (old.length > 0) rewrite(file, slices);
    return trial;
  }

  /** The run is over: nothing of this is needed any more. */
  forget(): void {
    rmSync(this.#path, { force: true });
  }

  close(): void {
    if (this.#opened) closeSync(this.#opened.file);
  }
}

function open(path: string): Opened {
  mkdirSync(dirname(path), { recursive: true });
  const file = asOutput(() => openOwnSync(path));
  const slices = replay(readFileSync(file, "utf8"));
  // A torn last line must not run into the next one.
  writeSync(file, "\n");
  return { file, slices };
}

/** Slices that are set aside again and again must not make the file grow without bound. */
function rewrite(file: number, slices: Opened["slices"]): void {
  const lines = [...slices].flatMap(([slice, tries]) => [...tries].map(([id, entry]) => lineOf(slice, id, entry)));
  ftruncateSync(file);
  writeSync(file, `${lines.join("\n")}\n`);
}

function lineOf(slice: number, id: string, entry: Attempt): string {
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

/** A line as versions before 1.0 wrote it: their `at` named one item, and each `take` was a process of its own. */
function replayOld(slices: Map<number, Attempts>, line: string, id: string): void {
  const [, verb, slice, index] = /^(take|at|back) (\d+)(?: (\d+))?$/.exec(line) ?? [];
  if (verb === undefined) return;
  const tries = attemptsOf(slices, Number(slice));
  const last = [...tries.values()].at(-1);
  if (verb === "take") tries.set(id, { start: id, at: null, after: 0, through: [] });
  else if (last && verb === "back") last.end = "left";
  else if (last && index !== undefined) {
    if (last.at) last.through.push(last.at);
    last.at = [Number(index), Number(index) + 1];
  }
}

function attemptsOf(slices: Map<number, Attempts>, slice: number): Attempts {
  const tries: Attempts = slices.get(slice) ?? new Map();
  slices.set(slice, tries);
  return tries;
}

/** Who can write to the output may have put a pipe there, which would be waited for. */
function asOutput<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof IrregularFile)) throw error;
    throw new LabelmillError("OUTPUT_FOREIGN", `${error.message}: remove it, or choose another --out`, {
      cause: error,
    });
  }
}
