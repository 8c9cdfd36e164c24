import { printable } from "../../printable.ts";
import {
  MAX_PASSED_OVER_NAMES,
  PASSED_OVER_REASONS,
  type PassedOverReason,
  type PassedOverReport,
} from "../../schemas/input.ts";

/** Reports that a file, an object or a member of an archive is passed over. @param name as in PassedOver.add */
export type PassOver = (reason: PassedOverReason, name: string) => void;

/** The longest name in a report, in UTF-16 units. */
const MAX_NAME_LENGTH = 200;

/**
 * Counts what is passed over, by reason, with the first names of each. Memory does not grow with the count. Code that leaves out a file, an
 * object or a member of an archive must call `add`.
 */
export class PassedOver {
  readonly #found = new Map<PassedOverReason, { count: number; names: string[] }>();

  /** @param name as the user knows it: a path, a URI, or a member's name. It is not trusted. If omitted, the name is unknown */
  add(reason: PassedOverReason, name?: string): void {
    const found = this.#found.get(reason) ?? { count: 0, names: [] };
    this.#found.set(reason, found);
    found.count++;
    if (name !== undefined && found.names.length < MAX_PASSED_OVER_NAMES) found.names.push(shownName(name));
  }

  /** The count over all reasons. */
  get count(): number {
    return [...this.#found.values()].reduce((sum, { count }) => sum + count, 0);
  }

  /** As `add`, for paths below a place. @param nameOf makes the user's name of such a path */
  below(nameOf: (path: string) => string): PassOver {
    return (reason, path) => this.add(reason, nameOf(path));
  }

  /** Adds the counts and names of a report. */
  include({ reasons }: PassedOverReport): void {
    for (const { reason, count, names } of reasons) {
      const found = this.#found.get(reason) ?? { count: 0, names: [] };
      this.#found.set(reason, found);
      found.count += count;
      found.names.push(...names.slice(0, MAX_PASSED_OVER_NAMES - found.names.length));
    }
  }

  /** The end of a message: the counts, and the first name of each reason. */
  get inWords(): string {
    const reasons = this.report.reasons.map(
      ({ reason, count, names }) => `${count} ${reason}${names[0] === undefined ? "" : ` (${names[0]})`}`,
    );
    return reasons.length === 0 ? "" : `; passed over: ${reasons.join(", ")}`;
  }

  get report(): PassedOverReport {
    const reasons = PASSED_OVER_REASONS.flatMap((reason) => {
      const found = this.#found.get(reason);
      return found ? [{ reason, count: found.count, names: [...found.names] }] : [];
    });
    return { count: this.count, reasons };
  }
}

/** Safe to print, because people read manifests too. */
function shownName(name: string): string {
  const clean = printable(name);
  return clean.length > MAX_NAME_LENGTH ? `${clean.slice(0, MAX_NAME_LENGTH - 1).toWellFormed()}…` : clean;
}
