import type { Pulled, PullProgress } from "../../models/hub/pull.ts";
import type { HubModel } from "../../models/names.ts";
import type { PullListener } from "../../models/resolve.ts";
import type { Dtype } from "../../schemas/dtype.ts";
import { duration } from "../terminal/progress.ts";
import type { Terminal } from "../terminal/terminal.ts";

const BAR_CELLS = 24;

/** Shows the progress of a pull: a line at its start and at its end. On a terminal, without --json, also a bar. */
export class PullBar implements PullListener {
  readonly #terminal: Terminal;
  #startedAt = 0;
  /** Bytes that an earlier, interrupted pull has downloaded. */
  #before: number | undefined;
  #what = "";

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  began({ name, repo, revision }: HubModel, dtype: Dtype): void {
    this.#startedAt = performance.now();
    this.#before = undefined;
    this.#what = `${name} (${dtype})`;
    this.#terminal.say(`Pulling ${this.#what} from ${repo}@${revision}`);
  }

  progress({ doneBytes, totalBytes, file }: PullProgress): void {
    this.#before ??= doneBytes;
    if (!this.#terminal.progressIsLive || this.#terminal.json) return;
    const rate = (doneBytes - this.#before) / Math.max(this.#seconds(), 0.001);
    const share = totalBytes === 0 ? 0 : Math.min(1, doneBytes / totalBytes);
    const filled = Math.floor(share * BAR_CELLS);
    const bar = `${"█".repeat(filled)}${"░".repeat(BAR_CELLS - filled)}`;
    const left = rate > 0 ? ` · ${duration((totalBytes - doneBytes) / rate)} left` : "";
    this.#terminal.progress(
      `${bar} ${megabytes(doneBytes)}/${megabytes(totalBytes)} · ${megabytes(rate)}/s${left} · ${file}`,
    );
  }

  ended(pulled: Pulled | undefined): void {
    this.#terminal.clearProgress();
    if (!pulled) return;
    const bytes = pulled.lock.files.reduce((sum, { size }) => sum + size, 0);
    const took = duration(this.#seconds());
    this.#terminal.say(
      `Pulled ${this.#what}: ${megabytes(bytes)} in ${took}, commit ${pulled.lock.commit.slice(0, 8)}`,
    );
  }

  say(line: string): void {
    this.#terminal.say(line);
  }

  #seconds(): number {
    return (performance.now() - this.#startedAt) / 1000;
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
