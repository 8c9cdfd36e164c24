import type { PartLine, Range } from "../../schemas/manifest.ts";
import { RUN_FILE } from "../../schemas/names.ts";
import type { Row } from "../../schemas/row.ts";
import type { Findings } from "./verification.ts";

/** Checks that the planned ranges of each input follow one another from record 0, without gap or overlap. */
export class PlannedRanges {
  /** By input: the record at which its next range must begin. */
  readonly #next: number[];

  /** @param inputs the number of the run's inputs */
  constructor(inputs: number) {
    this.#next = new Array(inputs).fill(0);
  }

  add({ slice, planned }: PartLine, findings: Findings): void {
    for (const { input, first, count } of planned) {
      if (input >= this.#next.length) findings.problem(`slice ${slice}: input ${input} is not in ${RUN_FILE}`);
      else {
        findings.equal(`slice ${slice}: first record of its range of input ${input}`, first, this.#next[input]);
        this.#next[input] = first + count;
      }
    }
  }

  /** The records of an input that the ranges cover. */
  records(input: number): number {
    return this.#next[input] ?? 0;
  }
}

/**
 * Compares rows with the planned ranges: each (source, record) once, in order, and no others.
 * @param uris of the run's inputs
 * @returns the first difference in words, or undefined
 */
export function rowsDiffer(
  rows: readonly Row[],
  planned: readonly Range[],
  uris: readonly string[],
): string | undefined {
  let place = 0;
  for (const { input, first, count, selected = count } of planned) {
    let least = first;
    for (let left = selected; left > 0; left--) {
      const source = rows[place++]?.source;
      // The plan has only the number of items of a range that is sampled or filtered.
      const most = selected === count ? least : first + count - left;
      if (source?.uri !== uris[input] || source!.record < least || source!.record > most) {
        const got = source ? `record ${source.record} of ${source.uri}` : "missing";
        return `row ${place} is ${got}, expected record ${least}${most > least ? ` to ${most}` : ""} of ${uris[input]}`;
      }
      least = source!.record + 1;
    }
  }
  return rows.length > place ? `${rows.length} rows, expected ${place}` : undefined;
}
