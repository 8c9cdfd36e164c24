import { readRunFile } from "../../outputs/output.ts";
import { verifyOutput } from "../../outputs/verify/verify.ts";
import { openExistingOut } from "../../producers/runs/output-location.ts";
import { openToRead } from "../../storage/open.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit.ts";
import { s3Of } from "../s3.ts";
import { showPlace } from "../terminal/report.ts";
import { countRecords } from "./count-records.ts";

/** `labelmill verify`. @param recounted also count the records of the inputs. @returns the exit code: 0 proved, 1 not proved */
export async function verify(out: string, recounted: boolean, { config, terminal }: CommandContext): Promise<number> {
  const s3 = s3Of(config);
  try {
    const store = await openExistingOut(out, s3);
    const runFile = recounted ? await readRunFile(store) : undefined;
    const { ok, run, state, totals, problems } = await verifyOutput(store, {
      openStore: (uri) => openToRead(uri, s3),
      ...(runFile ? { inputs: (input) => countRecords(runFile, input, s3) } : {}),
    });
    if (terminal.json) terminal.printJson({ ok, out: store.uri, run, state, totals, problems });
    else if (ok) {
      const { parts, planned, labeled, errors } = totals;
      terminal.print(`${terminal.style("green", "proved")}: ${showPlace(store.uri)}, run ${run}, ${state}`);
      const counted = `${parts} ${parts === 1 ? "part" : "parts"}`;
      terminal.print(
        `${planned} records planned = ${labeled} labeled + ${errors} in error, each once and in order, in ${counted} with correct hashes`,
      );
      if (recounted) terminal.print("The inputs have as many records as were planned");
    } else {
      terminal.print(`${terminal.style("red", "not proved")}: ${showPlace(store.uri)}`);
      for (const problem of problems) terminal.print(`  ${problem}`);
    }
    return ok ? EXIT.ok : EXIT.failed;
  } finally {
    s3.close();
  }
}
