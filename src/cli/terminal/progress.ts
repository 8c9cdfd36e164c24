import type { Progress } from "../../runs/ledger/progress.ts";
import { isEnded } from "../../runs/state.ts";
import type { Terminal } from "./terminal.ts";

const BAR_CELLS = 24;
/** Off a terminal a line is written this often at most: a log is read later, by somebody who scrolls. */
const LINE_EVERY_MS = 10_000;

const STATE_WORDS: Partial<Record<Progress["state"], string>> = { finalizing: " · closing", paused: " · paused" };

/** Shows how far a run is: a bar on a terminal, a line now and then elsewhere. */
export class ProgressBar {
  readonly #terminal: Terminal;
  readonly #startedAt = performance.now();
  #lastLineAt = performance.now();
  /** Rows that stood before this command began. */
  #rowsBefore: number | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** @param labels the labels given so far, in words */
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

/** In words; "" where nothing can be said of it: a run that is not planned to its end, paused, or over. */
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
