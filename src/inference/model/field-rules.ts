import { isObject, type Json, show } from "./json.ts";

/**
 * What becomes of the fields of a model's files that transformers (Python) or transformers.js obeys. `honoured`: it decides answers as
 * it does there. `refused`: a model whose answers it would change is MODEL_INVALID. `no effect`: it changes no answer of a classifier.
 */
export type Effect = "honoured" | "refused" | "no effect";

/** A row of the table in docs/models.md, which a test holds against these. */
export type FieldRule = {
  /** One field, or several with the same fate; a dot leads into an object. */
  fields: readonly string[];
  effect: Effect;
  /** For people. */
  what: string;
  /** The values with which a model is taken; any where this is missing. A field that is absent is always right. */
  allows?: (value: unknown) => boolean;
};

export function honoured(fields: string, what: string): FieldRule {
  return { fields: fields.split(" "), effect: "honoured", what };
}

/** @param what begins with the values that are taken */
export function refusedUnless(fields: string, what: string, allows: (value: unknown) => boolean): FieldRule {
  return { fields: fields.split(" "), effect: "refused", what, allows };
}

export function noEffect(fields: string, what: string): FieldRule {
  return { fields: fields.split(" "), effect: "no effect", what };
}

/** The last row of a file's table. */
export function noEffectOfOthers(what: string): FieldRule {
  return { fields: ["(any other)"], effect: "no effect", what };
}

/** A field with a value that is not taken. */
export type RefusedField = { field: string; problem: string };

/** @returns the first field of a file whose value is not taken */
export function refusedField(json: Json, rules: readonly FieldRule[]): RefusedField | undefined {
  for (const { fields, what, allows } of rules)
    for (const field of allows ? fields : []) {
      const value = valueAt(json, field);
      if (value !== undefined && !allows!(value)) return { field, problem: `expected ${what}, got ${show(value)}` };
    }
  return undefined;
}

function valueAt(json: Json, field: string): unknown {
  let value: unknown = json;
  for (const key of field.split(".")) value = isObject(value) ? value[key] : undefined;
  return value;
}

export const only =
  (...values: readonly unknown[]) =>
  (value: unknown): boolean =>
    values.includes(value);
