import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { systemCode } from "../errors.ts";
import type { Losses, LossRecord, SliceRef } from "./losses.ts";

type Trace = { open: boolean; times: number; at: number | undefined; crashedOn: Set<number> };

/**
 * The loss record of a command whose Redis server dies with it: a file to which a line is added when a slice is taken, and
 * when it ends. A slice taken and never ended lost its worker. A line is one synchronous append of some bytes: it survives the
 * process, not the machine, and that is what it is for.
 */
export class LossJournal implements LossRecord {
  readonly #path: string;
  readonly #slices: Map<number, Trace>;
  readonly #file: number;

  constructor(path: string) {
    this.#path = path;
    mkdirSync(dirname(path), { recursive: true });
    this.#slices = replay(readIfThere(path));
    this.#file = openSync(path, "a", 0o600);
    // A torn last line must not run into the next one.
    writeSync(this.#file, "\n");
  }

  async take({ slice }: SliceRef): Promise<Losses> {
    const trace = take(this.#slices, slice);
    this.#append(`take ${slice}`);
    return { times: trace.times, crashedOn: new Set(trace.crashedOn) };
  }

  async at({ slice }: SliceRef, index: number): Promise<void> {
    this.#append(`at ${slice} ${index}`);
  }

  async giveBack({ slice }: SliceRef): Promise<void> {
    giveBack(this.#slices, slice);
    this.#append(`back ${slice}`);
  }

  /** The slice stays open: whoever takes it next, here or in another process, counts it. */
  async lost(): Promise<void> {}

  async end({ slice }: SliceRef): Promise<void> {
    this.#slices.delete(slice);
    this.#append(`end ${slice}`);
  }

  /** The run is over: nothing of this is needed any more. */
  forget(): void {
    rmSync(this.#path, { force: true });
  }

  close(): void {
    closeSync(this.#file);
  }

  #append(line: string): void {
    writeSync(this.#file, `${line}\n`);
  }
}

function replay(text: string): Map<number, Trace> {
  const slices = new Map<number, Trace>();
  for (const line of text.split("\n")) {
    const [, verb, slice, index] = /^(take|at|back|end) (\d+)(?: (\d+))?$/.exec(line) ?? [];
    if (verb === "take") take(slices, Number(slice));
    else if (verb === "at") slices.get(Number(slice))!.at = Number(index);
    else if (verb === "back") giveBack(slices, Number(slice));
    else if (verb === "end") slices.delete(Number(slice));
  }
  return slices;
}

/** A slice that is taken while it is still open has lost the worker that took it before. */
function take(slices: Map<number, Trace>, slice: number): Trace {
  const trace = slices.get(slice) ?? { open: false, times: 0, at: undefined, crashedOn: new Set() };
  if (trace.open) {
    trace.times += 1;
    if (trace.at !== undefined) trace.crashedOn.add(trace.at);
  }
  trace.open = true;
  trace.at = undefined;
  slices.set(slice, trace);
  return trace;
}

function giveBack(slices: Map<number, Trace>, slice: number): void {
  const trace = slices.get(slice);
  if (trace) Object.assign(trace, { open: false, at: undefined });
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return "";
    throw error;
  }
}
