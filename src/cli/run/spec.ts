import { readFile, stat } from "node:fs/promises";
import { parse as parseYaml } from "yaml";
import type { z } from "zod";
import type { Config } from "../../config.ts";
import { LabelmillError, messageOf } from "../../errors.ts";
import { type RunSpec, RunSpecSchema } from "../../schemas/spec.ts";
import { nearest } from "../../sources/item/resolve-columns.ts";
import type { LabelRequest } from "../label/request.ts";

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
  if (file) check(RunSpecSchema.partial(), file.content, (issue) => invalid(file.name, issue));
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
  return check(RunSpecSchema, all, wrong);
}

/** Splits a spec into the request for `label` and `run submit`, and its settings. */
export function requestOf(spec: RunSpec): { request: LabelRequest; settings: Partial<Config> } {
  const { kind, inputs, format, delimiter, column, idColumn, keep, where, topK, lane, output } = spec;
  const { model, out, sample, limit, maxErrors, sliceTimeout, pricePerHour } = spec;
  const { dtype, events, sliceItems, sliceBytes } = spec;
  const read = {
    ...{ format, delimiter: delimiter ?? null, column: column ?? null, idColumn: idColumn ?? null, keep },
    ...(where.length > 0 ? { where } : {}),
  };
  return {
    request: {
      ...{ kind, inputs, read, topK, lane, output, show: 0 },
      ...given({ model, out, share: sample, limit, maxErrors, pricePerHour }),
      ...(sliceTimeout === undefined ? {} : { sliceTimeoutMs: Math.round(sliceTimeout * 1000) }),
    },
    settings: given({ dtype, events, sliceItems, sliceBytes }),
  };
}

/** The flags of a run without those that are also settings: the configuration has these already. */
export function runFlags(options: Record<string, unknown>): SpecFlags {
  return Object.fromEntries(Object.entries(options).filter(([key]) => !SETTINGS.has(key)));
}

/** The object without its undefined values. */
function given<T extends Record<string, unknown>>(all: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function check<T extends z.ZodType>(schema: T, value: unknown, wrong: (issue: string) => LabelmillError): z.infer<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw wrong(parsed.error.issues.map((issue) => describe(issue, value)).join("; "));
}

function describe(issue: z.core.$ZodIssue, value: unknown): string {
  const place = issue.path.join(".");
  if (issue.code !== "unrecognized_keys") {
    const got = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], value);
    // The kind of mistake, which zod puts first, adds nothing to what was expected and what was got.
    const expected = issue.message.replace(/^[A-Z][^:]*: /, "").replace(/, received .*$/, "");
    return `${place}: ${expected}, got ${JSON.stringify(got)?.slice(0, 100) ?? "nothing"}`;
  }
  const [key] = issue.keys as [string];
  const known = place === "output" ? Object.values(OUTPUT_FLAGS) : Object.keys(RunSpecSchema.shape);
  const near = nearest(key, known);
  const named = place === "" ? key : `${place}.${key}`;
  return `unknown key ${JSON.stringify(named)}${near ? `; did you mean ${JSON.stringify(near)}?` : `: expected ${known.join(", ")}`}`;
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
