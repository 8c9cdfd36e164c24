import type { RunState } from "../../schemas/run.ts";
import { EXIT } from "../exit.ts";
import { errorLines, showPlace } from "../terminal/report.ts";
import type { Terminal } from "../terminal/terminal.ts";
import type { Stopped } from "./session.ts";

export type Labeled = { code: number; summary: Record<string, unknown> };

export function cancelled(terminal: Terminal, run: string, out: string): Labeled {
  terminal.print(
    `Run ${run} was cancelled: the parts in ${showPlace(out)} stand, and the same command takes it up again`,
  );
  return { code: EXIT.failed, summary: { run, state: "cancelled", out } };
}

/** A run that was stopped, having more rows in error than it may have, slices that fail one after the other, or a plan that cannot be, and the first rows in error. */
export function stopped(
  terminal: Terminal,
  run: string,
  out: string,
  { reason, failure, failed, firstErrors }: Stopped,
): Labeled {
  terminal.print(terminal.style("red", `Run ${run} was stopped: ${reason}`));
  for (const line of errorLines(firstErrors)) terminal.print(line);
  const mend = reason.startsWith("TOO_MANY_ERRORS: ") ? "with a higher --max-errors " : "";
  // Of an input that is another now, or gone, the reason says what to do.
  const goesOn = /\b(INPUT_(CHANGED|NOT_FOUND)|MODEL_INVALID): /.test(reason)
    ? ""
    : `; the same command ${mend}goes on`;
  terminal.print(`The parts in ${showPlace(out)} stand${goesOn}`);
  return {
    code: EXIT.failed,
    summary: { run, state: "failed", out, reason, failure, failedSlices: failed, firstErrors },
  };
}

export function exitCode(state: RunState): number {
  if (state === "succeeded") return EXIT.labeled;
  return state === "finished_with_errors" ? EXIT.someInError : EXIT.failed;
}
