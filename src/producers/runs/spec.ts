import type { z } from "zod";
import type { LabelmillError } from "../../errors.ts";
import { OutputOptionsSchema } from "../../schemas/output.ts";
import { type RunSpec, RunSpecSchema } from "../../schemas/spec.ts";
import { nearest } from "../../sources/item/resolve-columns.ts";
import type { RunRequest } from "./request.ts";

/** The settings that a spec may set for its run. */
export type SpecSettings = Partial<Pick<RunSpec, "dtype" | "events" | "sliceItems" | "sliceBytes">>;

/** Splits a spec into the request for `label` and `run submit`, and its settings. */
export function requestOf(spec: RunSpec): { request: RunRequest; settings: SpecSettings } {
  const { kind, inputs, format, delimiter, column, idColumn, keep, where, topK, lane, output } = spec;
  const { model, out, sample, limit, maxErrors, sliceTimeout, pricePerHour } = spec;
  const { dtype, events, sliceItems, sliceBytes } = spec;
  const read = {
    ...{ format, delimiter: delimiter ?? null, column: column ?? null, idColumn: idColumn ?? null, keep },
    ...(where.length > 0 ? { where } : {}),
  };
  return {
    request: {
      ...{ kind, inputs, read, topK, lane, output },
      ...given({ model, out, share: sample, limit, maxErrors, pricePerHour }),
      ...(sliceTimeout === undefined ? {} : { sliceTimeoutMs: Math.round(sliceTimeout * 1000) }),
    },
    settings: given({ dtype, events, sliceItems, sliceBytes }),
  };
}

/** The object without its undefined values. */
function given<T extends Record<string, unknown>>(all: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

/**
 * Checks the whole of a spec, or a part of it (`RunSpecSchema.partial()`).
 * @param wrong makes the error of an issue, which names its key: `output.format: expected …, got …`
 */
export function checkSpec<T extends z.ZodType>(
  schema: T,
  value: unknown,
  wrong: (issue: string) => LabelmillError,
): z.infer<T> {
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
  const known = place === "output" ? Object.keys(OutputOptionsSchema.shape) : Object.keys(RunSpecSchema.shape);
  const near = nearest(key, known);
  const named = place === "" ? key : `${place}.${key}`;
  return `unknown key ${JSON.stringify(named)}${near ? `; did you mean ${JSON.stringify(near)}?` : `: expected ${known.join(", ")}`}`;
}
