import { createHash } from "node:crypto";
import { LabelmillError } from "../errors.ts";
import type { RunLedger } from "../runs/ledger/ledger.ts";
import type { FailedSlice, Manifest, PartLine, Range } from "../schemas/manifest.ts";
import { partKey } from "../schemas/names.ts";
import { isCompacted } from "../schemas/output.ts";
import type { RunFile } from "../schemas/run.ts";

const MAX_LISTED_FAILURES = 100;

/**
 * Adds up a run while the lines of `_parts.jsonl` pass through, so that memory does not grow with the number of parts.
 */
export class PartTally {
  readonly #runFile: RunFile;
  readonly #hash = createHash("sha256");
  /** By input: its planned records. */
  readonly #records: number[];
  readonly #failed: FailedSlice[] = [];
  readonly #totals = { slices: 0, planned: 0, labeled: 0, errors: 0, bytes: 0 };
  #failedSlices = 0;

  constructor(runFile: RunFile) {
    this.#runFile = runFile;
    this.#records = runFile.inputs.map(() => 0);
  }

  async *lines(slices: ReturnType<RunLedger["slices"]>): AsyncGenerator<Uint8Array> {
    const { run, spec } = this.#runFile;
    for await (const { slice, planned, receipt, failed } of slices) {
      this.#addPlanned(planned);
      if (receipt) {
        this.#totals.labeled += receipt.rows - receipt.errors;
        this.#totals.errors += receipt.errors;
        this.#totals.bytes += receipt.bytes;
        const line: PartLine = { slice, key: partKey(run, slice, isCompacted(spec.output)), planned, ...receipt };
        const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
        this.#hash.update(bytes);
        yield bytes;
      } else if (failed) {
        this.#failedSlices += 1;
        if (this.#failed.length < MAX_LISTED_FAILURES) this.#failed.push({ slice, planned, ...failed });
      } else {
        throw new LabelmillError("INTERNAL", `slice ${slice} of run ${run} has not ended`);
      }
    }
  }

  /** The sums, after the last line. */
  sums(): Pick<Manifest, "inputs" | "totals" | "failed" | "failedSlices" | "failure" | "partsSha256"> {
    const [first] = this.#failed;
    return {
      inputs: this.#runFile.inputs.map(({ uri, size, modifiedAt, hash }, i) => ({
        uri,
        size,
        modifiedAt,
        hash,
        records: this.#records[i]!,
      })),
      totals: this.#totals,
      failed: this.#failed,
      failedSlices: this.#failedSlices,
      ...(first ? { failure: { code: first.code, message: first.message } } : {}),
      partsSha256: this.#hash.digest("hex"),
    };
  }

  #addPlanned(planned: readonly Range[]): void {
    this.#totals.slices += 1;
    for (const { input, count, selected = count } of planned) {
      this.#totals.planned += selected;
      this.#records[input] = (this.#records[input] ?? 0) + count;
    }
  }
}
