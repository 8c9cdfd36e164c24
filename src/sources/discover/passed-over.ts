import { printable } from "../../printable.ts";
import {
  MAX_PASSED_OVER_NAMES,
  PASSED_OVER_REASONS,
  type PassedOverReason,
  type PassedOverReport,
} from "../../schemas/input.ts";

/** Says that a file, an object or a member of an archive is passed over. @param name as PassedOver.add takes it */
export type PassOver = (reason: PassedOverReason, name: string) => void;

/** The longest name in a report, in UTF-16 units. */
const MAX_NAME_LENGTH = 200;

/**
 * Counts what is passed over, by reason, with the first names of each. Memory does not grow with the count. Whoever leaves out a file, an
 * object or a member of an archive calls `add`: nothing is left out in silence.
 */
export class PassedOver {
  readonly #found = new Map<PassedOverReason, { count: number; names: string[] }>();

  /** @param name as the user knows it: a path, a URI, or a member's name; it may hold anything. None where it is not known any more */
  add(reason: PassedOverReason, name?: string): void {
    const found = this.#found.get(reason) ?? { count: 0, names: [] };
    this.#found.set(reason, found);
    found.count++;
    if (name !== undefined && found.names.length < MAX_PASSED_OVER_NAMES) found.names.push(shownName(name));
  }

  /** All that was passed over until now. */
  get count(): number {
    return [...this.#found.values()].reduce((sum, { count }) => sum + count, 0);
  }

  /** As `add`, for names below a place: that of the path below it, as the user would write it. */
  below(nameOf: (path: string) => string): PassOver {
    return (reason, path) => this.add(reason, nameOf(path));
  }

  /** Takes over what another one counted. */
  include({ reasons }: PassedOverReport): void {
    for (const { reason, count, names } of reasons) {
      const found = this.#found.get(reason) ?? { count: 0, names: [] };
      this.#found.set(reason, found);
      found.count += count;
      found.names.push(...names.slice(0, MAX_PASSED_OVER_NAMES - found.names.length));
    }
  }

  /** For the end of a message: the counts, and the first name of each reason. */
  get inWords(): string {
    const parts = this.report.reasons.map(
      ({ reason, count, names }) => `${count} ${reason}${names[0] === undefined ? "" : ` (${names[0]})`}`,
    );
    return parts.length === 0 ? "" : `; passed over: ${parts.join(", ")}`;
  }

  get report(): PassedOverReport {
    const reasons = PASSED_OVER_REASONS.flatMap((reason) => {
      const found = this.#found.get(reason);
      return found ? [{ reason, count: found.count, names: [...found.names] }] : [];
    });
    return { count: this.count, reasons };
  }
}

/** Safe to print: manifests are read by people too. */
function shownName(name: string): string {
  const clean = printable(name);
  return clean.length > MAX_NAME_LENGTH ? `${clean.slice(0, MAX_NAME_LENGTH - 1).toWellFormed()}…` : clean;
}
