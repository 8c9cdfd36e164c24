import { join } from "node:path";
import type { z } from "zod";
import { LabelmillError, messageOf, systemCode } from "../../errors.ts";
import { readRegularText } from "../../regular-file.ts";

/** An object of a model's JSON files. */
export type Json = Record<string, unknown>;

/**
 * Reads a JSON file of a model's folder: an object, without the keys whose value is null. In these files null means absent, as in
 * transformers, which often writes nulls.
 * @throws LabelmillError MODEL_INVALID, naming the file, if it is missing or not an object
 */
export async function readModelJson(dir: string, name: string): Promise<Json> {
  const path = join(dir, name);
  let json: unknown;
  try {
    json = withoutNulls(JSON.parse(await readRegularText(path)));
  } catch (error) {
    if (systemCode(error) === "ENOENT") throw invalidFile(path, "expected this file, but it is missing", error);
    throw invalidFile(path, `expected a JSON file, got: ${messageOf(error)}`, error);
  }
  if (isObject(json)) return json;
  throw invalidFile(path, `expected a JSON object, got ${show(json)}`);
}

/** @throws LabelmillError MODEL_INVALID, naming the file at `path` and the field */
export function parsed<T extends z.ZodType>(json: Json, path: string, schema: T): z.infer<T> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const value = issue.path.reduce<unknown>(
    (part, key) => (part as Record<PropertyKey, unknown> | undefined)?.[key],
    json,
  );
  throw invalidFile(path, `${issue.path.join(".") || "the file"}: ${issue.message}, got ${show(value)}`);
}

/** Removes the keys whose value is null from a value's objects, also from objects within arrays. Changes the value. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) {
    // The longest arrays, vocabularies and merges, contain strings or pairs, which need no visit.
    if (isObject(value[0])) for (const each of value) withoutNulls(each);
    return value;
  }
  if (!isObject(value)) return value;
  for (const key of Object.keys(value)) {
    if (value[key] === null) delete value[key];
    else withoutNulls(value[key]);
  }
  return value;
}

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** JSON with sorted keys: equal values have equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    isObject(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part,
  );
}

export function invalidFile(path: string, problem: string, cause?: unknown): LabelmillError {
  return new LabelmillError("MODEL_INVALID", `${path}: ${problem}`, { cause });
}

/** A value as text for an error message. */
export function show(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 200);
}
