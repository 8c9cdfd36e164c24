// The command `label text` in a process that kills itself at a step, or on a poisoned text. The first argument is a
// LabelMainOptions as JSON. The process prints "serving" on standard error when its worker begins.
import { label } from "../../../src/cli/label/label.ts";
import { Terminal } from "../../../src/cli/terminal/terminal.ts";
import { loadConfig, prepareProcess, readEnvironment } from "../../../src/config.ts";
import { createLogger } from "../../../src/logger.ts";
import type { WrappableSteps } from "../../../src/workers/model-service.ts";
import { type KillPoint, killAround } from "../runs/kill-points.ts";
import { SCRIPTED_THREAD } from "../threads/scripted-session.ts";

export type LabelMainOptions = {
  input: string;
  out: string;
  settings: Record<string, unknown>;
  kills: KillPoint[];
  evidence: string;
  /** Folder of a scripted model (scripted-session.ts). Default: the model `tiny-sentiment`. */
  scripted?: string;
  /** A text that kills the process when it reaches the labeler. */
  poison?: string;
};

const { input, out, settings, kills, evidence, scripted, poison } = JSON.parse(process.argv[2]!) as LabelMainOptions;
prepareProcess();
// Answered items of the running slice. After the first answer, the slice has been prepared.
let answered = 0;
const killed = killAround(kills, evidence, () => answered);

function around(real: WrappableSteps): WrappableSteps {
  process.stderr.write("serving\n");
  const { steps, label: labelItems } = killed(real);
  return {
    steps: {
      ...steps,
      adopt: (store, job) => {
        answered = 0;
        return steps.adopt(store, job);
      },
    },
    label: (items, topK, signal, onAnswers) => {
      if (items.some(({ text }) => text === poison)) process.kill(process.pid, "SIGKILL");
      return labelItems(items, topK, signal, (count) => {
        answered += count;
        onAnswers?.(count);
      });
    },
  };
}

const { code } = await label(
  {
    kind: "text",
    inputs: [input],
    model: scripted ?? "tiny-sentiment",
    read: { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] },
    out,
    topK: 5,
    show: 0,
    lane: "bulk",
  },
  {
    config: loadConfig({ flags: settings }),
    environment: readEnvironment(),
    stdin: process.stdin,
    terminal: new Terminal(false),
    log: createLogger("silent", false),
    around,
    ...(scripted === undefined ? {} : { thread: SCRIPTED_THREAD }),
  },
  new AbortController().signal,
);
process.exitCode = code;
process.stdin.destroy();
