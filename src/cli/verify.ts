import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { LabelmillError } from "../errors.ts";
import { verifyOutput } from "../runs/verify.ts";
import { FsStore } from "../storage/fs.ts";
import { EXIT } from "./label.ts";
import { showPlace } from "./report.ts";
import type { Terminal } from "./terminal.ts";

/** @returns the exit code: 0 proved, 1 not */
export async function verify(out: string, terminal: Terminal): Promise<number> {
  const folder = resolve(out);
  const found = await stat(folder).catch(() => undefined);
  if (!found?.isDirectory())
    throw new LabelmillError("INPUT_NOT_FOUND", `${out}: expected the folder of an output, found none`);
  const store = await FsStore.open(folder);
  const { ok, run, state, totals, problems } = await verifyOutput(store);
  if (terminal.json) terminal.printJson({ ok, out: store.uri, run, state, totals, problems });
  else if (ok) {
    const { parts, planned, labeled, errors } = totals;
    terminal.print(`${terminal.style("green", "proved")}: ${showPlace(store.uri)}, run ${run}, ${state}`);
    terminal.print(
      `${planned} records planned = ${labeled} labeled + ${errors} in error, each once and in order, in ${parts} parts whose hashes are true`,
    );
  } else {
    terminal.print(`${terminal.style("red", "not proved")}: ${showPlace(store.uri)}`);
    for (const problem of problems) terminal.print(`  ${problem}`);
  }
  return ok ? EXIT.labeled : EXIT.failed;
}
