import type { Progress } from "../../runs/ledger/progress.ts";
import { isEnded } from "../../runs/state.ts";
import type { Terminal } from "./terminal.ts";

const BAR_CELLS = 24;
/** The shortest time between two lines if standard error is not a terminal, to keep logs short. */
const LINE_EVERY_MS = 10_000;

const STATE_WORDS: Partial<Record<Progress["state"], string>> = { finalizing: " · finalizing", paused: " · paused" };

/** Shows the progress of a run: a bar on a terminal, otherwise a line every ten seconds. */
export class ProgressBar {
  readonly #terminal: Terminal;
  readonly #startedAt = performance.now();
  #lastLineAt = performance.now();
  /** Rows of the run when this command started. */
  #rowsBefore: number | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** @param labels a text about the labels so far */
  show(progress: Progress, labels = ""): void {
    this.#rowsBefore ??= progress.rows;
    const seconds = (performance.now() - this.#startedAt) / 1000;
    const rate = (progress.rows - this.#rowsBefore) / Math.max(seconds, 0.001);
    if (this.#terminal.progressIsLive) this.#terminal.progress(describe(progress, rate, labels));
    else if (performance.now() - this.#lastLineAt >= LINE_EVERY_MS && !isComplete(progress)) {
      this.#lastLineAt = performance.now();
      this.#terminal.say(describe(progress, rate, labels));
    }
  }

  end(): void {
    this.#terminal.clearProgress();
  }
}

function describe(progress: Progress, rate: number, labels: string): string {
  const { rows, items, errors, slices, state } = progress;
  const total = slices === undefined ? `${items}+` : String(items);
  const share = items === 0 ? 0 : rows / items;
  const filled = slices === undefined ? 0 : Math.floor(share * BAR_CELLS);
  const bar = `${"█".repeat(filled)}${"░".repeat(BAR_CELLS - filled)}`;
  const left = timeLeft(progress, rate);
  const wrong = errors > 0 ? ` · ${errors} in error` : "";
  return `${bar} ${rows}/${total} · ${rate.toFixed(rate < 10 ? 1 : 0)}/s${left && ` · ${left}`}${wrong}${STATE_WORDS[state] ?? ""}${labels && ` · ${labels}`}`;
}

/** The estimated time left, as text. Empty if it is unknown: the planning is not complete, or the run is paused or has ended. */
export function timeLeft({ state, slices, items, rows }: Progress, rowsPerSecond: number): string {
  const moves = slices !== undefined && state !== "paused" && !isEnded(state);
  return moves && rowsPerSecond > 0 && rows < items ? `${duration((items - rows) / rowsPerSecond)} left` : "";
}

function isComplete(progress: Progress): boolean {
  return progress.slices !== undefined && progress.committed + progress.failed === progress.slices;
}

export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}
