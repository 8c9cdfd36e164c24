import { z } from "zod";

/** A schema, as plain data that is fast to check against. */
type Rule = {
  type: "string" | "number" | "integer" | "literal" | "array" | "object" | "union" | "custom" | "unknown";
  optional: boolean;
  /** Bounds of a number, or of the length of a text or array. */
  min: number;
  max: number;
  pattern: RegExp | undefined;
  literal: unknown;
  isValid: ((value: unknown) => unknown) | undefined;
  /** The keys of an object. */
  names: readonly string[];
  /** The rules of the values of an object, of the elements of an array, or of the options of a union. */
  rules: readonly Rule[];
};

/**
 * Compiles a schema to a check that takes a small part of zod's time. If it returns true, zod accepts the value and
 * would return it unchanged, keys in the schema's order included. If it returns false, nothing is known: ask zod.
 */
export function compileCheck(schema: z.core.$ZodType): (value: unknown) => boolean {
  const rule = ruleOf(schema);
  return (value) => accepts(rule, value);
}

function accepts(rule: Rule, value: unknown): boolean {
  if (value === undefined) return rule.optional;
  switch (rule.type) {
    case "string":
      if (typeof value !== "string" || value.length < rule.min || value.length > rule.max) return false;
      return rule.pattern === undefined || rule.pattern.test(value);
    case "number":
      return typeof value === "number" && value >= rule.min && value <= rule.max;
    case "integer":
      return Number.isSafeInteger(value) && (value as number) >= rule.min && (value as number) <= rule.max;
    case "literal":
      return value === rule.literal;
    case "array":
      return acceptsArray(rule, value);
    case "object":
      return acceptsObject(rule, value);
    case "union":
      for (const option of rule.rules) if (accepts(option, value)) return true;
      return false;
    case "custom":
      return Boolean(rule.isValid!(value));
    case "unknown":
      return false;
  }
}

function acceptsArray({ rules, min, max }: Rule, value: unknown): boolean {
  if (!Array.isArray(value) || value.length < min || value.length > max) return false;
  for (const element of value) if (!accepts(rules[0]!, element)) return false;
  return true;
}

function acceptsObject({ names, rules }: Rule, value: unknown): boolean {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return false;
  let at = 0;
  for (const name in value) {
    while (names[at] !== name) {
      if (at === names.length || !rules[at]!.optional) return false;
      at++;
    }
    if (!accepts(rules[at]!, (value as Record<string, unknown>)[name])) return false;
    at++;
  }
  for (; at < names.length; at++) if (!rules[at]!.optional) return false;
  return true;
}

function ruleOf(schema: z.core.$ZodType): Rule {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  switch (def.type) {
    case "string":
      return "format" in def || def.coerce
        ? rule({ type: "unknown" })
        : refined(rule({ type: "string", min: 0 }), def.checks);
    case "number":
      if (def.coerce) return rule({ type: "unknown" });
      // zod refuses infinite numbers.
      if (!("format" in def))
        return refined(rule({ type: "number", min: -Number.MAX_VALUE, max: Number.MAX_VALUE }), def.checks);
      return def.format === "safeint" ? refined(rule({ type: "integer" }), def.checks) : rule({ type: "unknown" });
    case "array":
      return refined(rule({ type: "array", min: 0, rules: [ruleOf(def.element)] }), def.checks);
    case "literal":
      return def.values.length === 1
        ? refined(rule({ type: "literal", literal: def.values[0] }), def.checks)
        : rule({ type: "unknown" });
    case "object": {
      if (def.catchall?._zod.def.type !== "never") return rule({ type: "unknown" });
      const rules = Object.values(def.shape).map(ruleOf);
      return refined(rule({ type: "object", names: Object.keys(def.shape), rules }), def.checks);
    }
    case "union":
      return refined(rule({ type: "union", rules: def.options.map(ruleOf) }), def.checks);
    case "custom":
      return refined(rule({ type: "custom", isValid: (def as z.core.$ZodCustomDef).fn }), def.checks);
    case "optional": {
      const optional = z.core.safeParse(schema, undefined).success;
      return refined(rule({ ...ruleOf(def.innerType), optional }), def.checks);
    }
    default:
      return rule({ type: "unknown" });
  }
}

/** Rules are made only here, so that they have one hidden class. A rule that contains an unknown rule is unknown. */
function rule({
  type,
  optional = false,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
  ...rest
}: Partial<Rule> & Pick<Rule, "type">): Rule {
  const { pattern, literal, isValid, names = [], rules = [] } = rest;
  if (rules.some((each) => each.type === "unknown")) type = "unknown";
  return { type, optional, min, max, pattern, literal, isValid, names, rules };
}

/** Adds the requirements of `.min()`, `.regex()` and the like. */
function refined(base: Rule, checks: readonly z.core.$ZodCheck<never>[] = []): Rule {
  let { min, max, pattern } = base;
  // The next integer within an exclusive bound.
  const step = base.type === "integer" ? 1 : Number.NaN;
  for (const check of checks) {
    const { def } = (check as unknown as z.core.$ZodChecks)._zod;
    if (def.check === "greater_than") min = Math.max(min, Number(def.value) + (def.inclusive ? 0 : step));
    else if (def.check === "less_than") max = Math.min(max, Number(def.value) - (def.inclusive ? 0 : step));
    else if (def.check === "min_length") min = Math.max(min, def.minimum);
    else if (def.check === "max_length") max = Math.min(max, def.maximum);
    else if (def.check === "string_format" && def.format === "regex" && !pattern) pattern = def.pattern;
    else return rule({ type: "unknown" });
  }
  // A global or sticky pattern has a state.
  const isUnknown = Number.isNaN(min) || Number.isNaN(max) || pattern?.global || pattern?.sticky;
  return isUnknown ? rule({ type: "unknown" }) : rule({ ...base, min, max, pattern });
}
