import { readFile, stat } from "node:fs/promises";
import { parse as parseYaml } from "yaml";
import { LabelmillError, messageOf } from "../../errors.ts";
import { checkSpec } from "../../producers/runs/spec.ts";
import { type RunSpec, RunSpecSchema } from "../../schemas/spec.ts";

/** The largest spec: 100,000 inputs of 100 characters. */
const MOST_BYTES = 10_000_000;

/** Flags as commander gives them, by the keys of the spec. OUTPUT_FLAGS has the names of those of `output`. */
export type SpecFlags = Record<string, unknown>;

const OUTPUT_FLAGS = {
  outputFormat: "format",
  compression: "compression",
  targetSize: "targetBytes",
  partitionBy: "partitionBy",
  errors: "errors",
} as const;
const PLAIN_FLAGS = Object.keys(RunSpecSchema.shape).filter(
  (key) => key !== "output" && key !== "kind" && key !== "inputs",
);

const SETTINGS: ReadonlySet<string> = new Set(["dtype", "events", "sliceItems", "sliceBytes"]);

/** Reads a spec from a YAML or JSON file, not validated yet. @throws LabelmillError INPUT_NOT_FOUND, SPEC_INVALID */
export async function readSpecFile(path: string): Promise<Record<string, unknown>> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile())
    throw new LabelmillError("INPUT_NOT_FOUND", `${path}: expected a spec file, but no file exists there`);
  if (found.size > MOST_BYTES) throw invalid(path, `expected at most ${MOST_BYTES} bytes, got ${found.size}`);
  let content: unknown;
  try {
    // Nested aliases must not use up the memory.
    content = parseYaml(await readFile(path, "utf8"), { maxAliasCount: 100, logLevel: "error" });
  } catch (error) {
    throw invalid(path, `expected YAML or JSON: ${messageOf(error).split("\n")[0]}`, error);
  }
  if (typeof content === "object" && content !== null && !Array.isArray(content)) return { ...content };
  throw invalid(path, "expected keys and values, such as `inputs: [reviews.csv]`");
}

/**
 * The spec of a run: the keys of the file, overridden by the flags.
 * @throws LabelmillError SPEC_INVALID (error in the file), USAGE (error in a flag)
 */
export function specOf(
  file: { name: string; content: Record<string, unknown> } | undefined,
  flags: SpecFlags,
  fixed: Partial<Pick<RunSpec, "kind" | "inputs">> = {},
): RunSpec {
  if (file) checkSpec(RunSpecSchema.partial(), file.content, (issue) => invalid(file.name, issue));
  const plain = Object.fromEntries(PLAIN_FLAGS.flatMap((key) => (flags[key] === undefined ? [] : [[key, flags[key]]])));
  const output = Object.entries(OUTPUT_FLAGS).flatMap(([flag, key]) =>
    flags[flag] === undefined ? [] : [[key, flags[flag]]],
  );
  const all = {
    ...file?.content,
    ...plain,
    ...fixed,
    output: { ...(file?.content.output as object | undefined), ...Object.fromEntries(output) },
  };
  const wrong = (issue: string) => (file ? invalid(file.name, issue) : new LabelmillError("USAGE", flagOf(issue)));
  return checkSpec(RunSpecSchema, all, wrong);
}

/** The flags of a run without those that are also settings: the configuration has these already. */
export function runFlags(options: Record<string, unknown>): SpecFlags {
  return Object.fromEntries(Object.entries(options).filter(([key]) => !SETTINGS.has(key)));
}

/** Replaces the key of a spec at the start of a message by its flag: `output.targetBytes` by `--target-size`. */
function flagOf(issue: string): string {
  const [, key, rest] = /^(?:output\.)?([A-Za-z]+)(?:\.\d+)?(: .*)$/s.exec(issue) ?? [];
  if (key === undefined) return issue;
  const [flag] = Object.entries(OUTPUT_FLAGS).find(([, name]) => issue.startsWith(`output.${name}:`)) ?? [key];
  return `--${flag.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}${rest}`;
}

function invalid(name: string, issue: string, cause?: unknown): LabelmillError {
  return new LabelmillError("SPEC_INVALID", `${name}: ${issue}`, { cause });
}
