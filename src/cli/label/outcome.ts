import type { RunState } from "../../schemas/run.ts";
import { EXIT } from "../exit.ts";
import { errorLines, showPlace } from "../terminal/report.ts";
import type { Terminal } from "../terminal/terminal.ts";
import type { Stopped } from "./run-session.ts";

/** The exit code of `label`, and what --json prints. */
export type Labeled = { code: number; summary: Record<string, unknown> };

export function cancelled(terminal: Terminal, run: string, out: string): Labeled {
  terminal.print(`Run ${run} was cancelled. Its parts stay in ${showPlace(out)}, and the same command resumes it`);
  return { code: EXIT.failed, summary: { run, state: "cancelled", out } };
}

/**
 * Reports a run that was stopped, and its first rows in error. It had too many rows in error, too many slices failed in a row, or it
 * could not be planned.
 */
export function stopped(
  terminal: Terminal,
  run: string,
  out: string,
  { reason, failure, failed, firstErrors }: Stopped,
): Labeled {
  terminal.print(terminal.style("red", `Run ${run} was stopped: ${reason}`));
  for (const line of errorLines(firstErrors)) terminal.print(line);
  const fix = reason.startsWith("TOO_MANY_ERRORS: ") ? " with a higher --max-errors" : "";
  // For an input that has changed or is missing, the reason contains the fix.
  const resumes = /\b(INPUT_(CHANGED|NOT_FOUND)|MODEL_INVALID): /.test(reason)
    ? ""
    : `; the same command${fix} resumes the run`;
  terminal.print(`The finished parts stay in ${showPlace(out)}${resumes}`);
  return {
    code: EXIT.failed,
    summary: { run, state: "failed", out, reason, failure, failedSlices: failed, firstErrors },
  };
}

export function exitCode(state: RunState): number {
  if (state === "succeeded") return EXIT.ok;
  return state === "finished_with_errors" ? EXIT.someInError : EXIT.failed;
}
