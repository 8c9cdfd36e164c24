import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import { LabelmillError, messageOf } from "../src/errors.ts";

/** What can be measured by itself; `latency` to `memory` are the service's. */
export const PARTS = ["models", "startup", "latency", "throughput", "slices", "memory"] as const;
export type Part = (typeof PARTS)[number];

export type BenchOptions = {
  /** What is measured: all of it, unless some is named. */
  parts: ReadonlySet<Part>;
  /** The built-in models' names, then the folders that were given. */
  models: string[];
  /** Rough and short: to see that all runs, not to be quoted. */
  quick: boolean;
  /** Times that each side runs, in turn. */
  rounds: number;
  /** How long each side takes in a round, about. */
  seconds: number;
  /** How long the warm-up of the pipeline and each measurement of the sweep take, about. */
  sweepSeconds: number;
  /** Starts of the command. */
  starts: number;
  /** Where the figures go as JSON. */
  json?: string;
  /** Whether docs/benchmarks.md is written. */
  docs: boolean;
  /** As typed, for whoever wants to do the same. */
  command: string;
};

export const USAGE = `npm run bench -- [options]

Items/s of the whole pipeline and of onnxruntime-node alone on the same items, side by side, for the built-in models; then the
service, over a Redis and an S3 server of the benchmark's own.

  --model DIR    a model folder to measure too; may be given again
  --only PART    measure only ${PARTS.join(", ")}; may be given again
  --json FILE    write the figures as JSON
  --docs         write docs/benchmarks.md; of all parts
  --quick        rough and short: 2 rounds of 4 s
  --rounds N     rounds (default 5)
  --seconds S    seconds of each side in a round, about (default 20)
  --help
`;

const BUILT_IN = ["tiny-sentiment", "tiny-image"];

/** @returns undefined where only the usage is asked for; throws USAGE */
export function readOptions(args: readonly string[]): BenchOptions | undefined {
  const values = parse(args);
  if (values.help) return undefined;
  const quick = values.quick === true;
  const models = [...BUILT_IN, ...(values.model ?? []).map((dir) => resolve(dir))];
  const names = models.map((model) => basename(model));
  const twice = names.find((name, at) => names.indexOf(name) < at);
  if (twice) throw new LabelmillError("USAGE", `expected models with different names, got ${twice} twice`);
  const parts = (values.only ?? PARTS).map(partOf);
  if (values.docs && values.only)
    throw new LabelmillError("USAGE", "--docs: expected all parts to be measured, got --only");
  return {
    models,
    parts: new Set(parts),
    quick,
    rounds: wholeNumber("--rounds", values.rounds, quick ? 2 : 5, 100),
    seconds: wholeNumber("--seconds", values.seconds, quick ? 4 : 20, 600),
    sweepSeconds: quick ? 1 : 4,
    starts: quick ? 2 : 7,
    docs: values.docs === true,
    command: ["npm run bench", ...(args.length > 0 ? ["--", ...args] : [])].join(" "),
    ...(values.json === undefined ? {} : { json: resolve(values.json) }),
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
        docs: { type: "boolean" },
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
