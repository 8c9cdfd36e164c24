import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import { LabelmillError, messageOf } from "../src/errors.ts";

/** What can be measured by itself: the engine's, then the service's, then that of runs over whole data sets. */
export const PARTS = [
  "text_short",
  "text_mixed",
  "images",
  "free_text",
  "free_images",
  "rss",
  "startup",
  "latency",
  "throughput",
  "beside_bulk",
  "slices",
  "memory",
  "scale",
  "planning",
  "rows",
  "kills",
  "straggler",
] as const;
export type Part = (typeof PARTS)[number];

export type BenchOptions = {
  /** What is measured: all of it, unless some is named. */
  parts: ReadonlySet<Part>;
  /** Folders of models to measure too. */
  models: string[];
  /** Rough and short: to see that all runs, not to be quoted. */
  quick: boolean;
  /** Times that each side runs, in turn. */
  rounds: number;
  /** How long each side takes in a round, about. */
  seconds: number;
  /** How long each measurement of a sweep takes, about. */
  sweepSeconds: number;
  /** Starts of the command. */
  starts: number;
  /** Where the figures go as JSON. */
  json?: string;
  /** Where the report goes besides. */
  docs?: string;
  /** As typed, for whoever wants to do the same. */
  command: string;
};

export const USAGE = `npm run bench -- [options]

The whole pipeline beside onnxruntime-node alone, sharp, the tokenizer and transformers.js on the same items; then the service,
over a Redis and an S3 server of the benchmark's own; then runs over data sets: how large they may be, and what they survive.

  --model DIR    a model folder to measure beside onnxruntime-node too; may be given again
  --only PART    measure only this; may be given again:
                 ${PARTS.join(", ")}
  --json FILE    write the figures as JSON
  --docs FILE    write the report to a file too, such as docs/benchmarks-models.md
  --quick        rough and short: 2 rounds of 3 s, small inputs
  --rounds N     rounds (default 5)
  --seconds S    seconds of each side in a round, about (default 20)
  --help
`;

/** @returns undefined where only the usage is asked for; throws USAGE */
export function readOptions(args: readonly string[]): BenchOptions | undefined {
  const values = parse(args);
  if (values.help) return undefined;
  const quick = values.quick === true;
  const models = (values.model ?? []).map((dir) => resolve(dir));
  const names = models.map((model) => basename(model));
  const twice = names.find((name, at) => names.indexOf(name) < at);
  if (twice) throw new LabelmillError("USAGE", `expected models with different names, got ${twice} twice`);
  const parts = (values.only ?? PARTS).map(partOf);
  return {
    models,
    parts: new Set(parts),
    quick,
    rounds: wholeNumber("--rounds", values.rounds, quick ? 2 : 5, 100),
    seconds: wholeNumber("--seconds", values.seconds, quick ? 3 : 20, 600),
    sweepSeconds: quick ? 1 : 4,
    starts: quick ? 1 : 7,
    command: ["npm run bench", ...(args.length > 0 ? ["--", ...args] : [])].join(" "),
    ...(values.json === undefined ? {} : { json: resolve(values.json) }),
    ...(values.docs === undefined ? {} : { docs: resolve(values.docs) }),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        model: { type: "string", multiple: true },
        only: { type: "string", multiple: true },
        json: { type: "string" },
        docs: { type: "string" },
        quick: { type: "boolean" },
        rounds: { type: "string" },
        seconds: { type: "string" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    throw new LabelmillError("USAGE", messageOf(error), { cause: error });
  }
}

function partOf(name: string): Part {
  const part = PARTS.find((each) => each === name);
  if (part) return part;
  throw new LabelmillError("USAGE", `--only: expected one of ${PARTS.join(", ")}, got ${name}`);
}

function wholeNumber(name: string, value: string | undefined, otherwise: number, most: number): number {
  if (value === undefined) return otherwise;
  const number = Number(value);
  if (Number.isInteger(number) && number >= 1 && number <= most) return number;
  throw new LabelmillError("USAGE", `${name}: expected a whole number from 1 to ${most}, got ${value}`);
}
