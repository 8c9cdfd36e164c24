import { join } from "node:path";
import type { z } from "zod";
import { LabelmillError, messageOf, systemCode } from "../../errors.ts";
import { readRegularText } from "../../regular-file.ts";

/** An object of a model's JSON files. */
export type Json = Record<string, unknown>;

/**
 * A JSON file of a model's folder: an object, without the keys whose value is null. In all these files null means absent, as it does to
 * transformers, which writes nulls freely.
 * @throws LabelmillError MODEL_INVALID, naming the file, for one that is missing or no object
 */
export async function readModelJson(dir: string, name: string): Promise<Json> {
  const path = join(dir, name);
  let json: unknown;
  try {
    json = withoutNulls(JSON.parse(await readRegularText(path)));
  } catch (error) {
    if (systemCode(error) === "ENOENT")
      throw invalidFile(path, "expected this file, got no such file: it is missing", error);
    throw invalidFile(path, `expected a JSON file, got: ${messageOf(error)}`, error);
  }
  if (isObject(json)) return json;
  throw invalidFile(path, `the whole: expected a JSON object, got ${show(json)}`);
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
  throw invalidFile(path, `${issue.path.join(".") || "the whole"}: ${issue.message}, got ${show(value)}`);
}

/** Takes the keys whose value is null out of a value's objects. What is in arrays stays, but for objects within. Changes the value. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) {
    // The longest arrays, vocabularies and merges, hold strings or pairs, and need no look at each.
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

export function invalidFile(path: string, problem: string, cause?: unknown): LabelmillError {
  return new LabelmillError("MODEL_INVALID", `${path}: ${problem}`, { cause });
}

/** A value for a message. */
export function show(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 200);
}
