import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import { LabelmillError, messageOf } from "../src/errors.ts";

/** Parts that can be measured alone: of the engine, of the service, of runs over data sets. */
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
  "http_one_text",
  "http_connections",
  "uploads",
  "scale",
  "planning",
  "rows",
  "kills",
  "straggler",
] as const;
export type Part = (typeof PARTS)[number];

export type BenchOptions = {
  /** The parts to measure. Default: all. */
  parts: ReadonlySet<Part>;
  /** Folders of models to measure too. */
  models: string[];
  /** Rough and short: it shows that everything runs. Its figures must not be quoted. */
  quick: boolean;
  /** How often each side runs; the sides take turns. */
  rounds: number;
  /** Approximate duration of each side in a round. */
  seconds: number;
  /** Approximate duration of each measurement of a sweep. */
  sweepSeconds: number;
  /** Starts of the command. */
  starts: number;
  /** Where the figures go as JSON. */
  json?: string;
  /** Where the report is also written. */
  docs?: string;
  /** As typed, so that a reader can repeat it. */
  command: string;
};

export const USAGE = `npm run bench -- [options]

Compares the whole pipeline with onnxruntime-node alone, sharp, the tokenizer and transformers.js on the same items. Then
measures the service, with the benchmark's own Redis and S3 servers, and runs over data sets: memory, speed, and runs under kill -9.

  --model DIR    a model folder to measure beside onnxruntime-node too; may be given again
  --only PART    measure only this; may be given again:
                 ${PARTS.join(", ")}
  --json FILE    write the figures as JSON
  --docs FILE    write the report to a file too, such as docs/benchmarks-models.md
  --quick        rough and short: 2 rounds of 3 s, small inputs
  --rounds N     rounds (default 5)
  --seconds S    approximate seconds of each side in a round (default 20)
  --help
`;

/** @returns undefined if only the usage is requested; throws USAGE */
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
