import { isObject, type Json, show } from "./json.ts";

/**
 * How a field of a model's files is handled that transformers (Python) or transformers.js uses. `honoured`: it has the same effect as
 * there. `refused`: the model is MODEL_INVALID if the field would change answers. `no effect`: it changes no answer of a classifier.
 */
export type Effect = "honoured" | "refused" | "no effect";

/** A row of a table in docs/models.md. A test compares the tables with these rules. */
export type FieldRule = {
  /** One field, or several that are handled alike. A dot separates the keys of nested objects. */
  fields: readonly string[];
  effect: Effect;
  /** Description for the documentation and for error messages. */
  what: string;
  /** Whether a value is accepted. Default: every value is. An absent field is always accepted. */
  allows?: (value: unknown) => boolean;
};

export function honoured(fields: string, what: string): FieldRule {
  return { fields: fields.split(" "), effect: "honoured", what };
}

/** @param what begins with the accepted values */
export function refusedUnless(fields: string, what: string, allows: (value: unknown) => boolean): FieldRule {
  return { fields: fields.split(" "), effect: "refused", what, allows };
}

export function noEffect(fields: string, what: string): FieldRule {
  return { fields: fields.split(" "), effect: "no effect", what };
}

/** The last row of a file's table: all other fields. */
export function noEffectOfOthers(what: string): FieldRule {
  return { fields: ["(any other)"], effect: "no effect", what };
}

/** A field with a value that is not accepted. */
export type RefusedField = { field: string; problem: string };

/** @returns the first field of a file whose value is not accepted */
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
