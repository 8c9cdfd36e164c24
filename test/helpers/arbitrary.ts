import fc from "fast-check";
import { z } from "zod";

/** Derives from a schema an arbitrary of values that the schema accepts. @throws Error for an unsupported type of schema */
export function arbitraryOf(schema: z.core.$ZodType): fc.Arbitrary<unknown> {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  switch (def.type) {
    case "string":
      return stringOf(schema as z.ZodString);
    case "number":
      return numberOf(schema as z.ZodNumber);
    case "literal":
      return fc.constantFrom(...def.values);
    case "array":
      return fc.array(arbitraryOf(def.element), { minLength: 1, maxLength: 4 });
    case "custom":
      return fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue(), { noNullPrototype: true }).map(throughJson);
    case "object":
      return objectOf(def.shape);
    default:
      throw new Error(`expected a schema of a supported type, got ${def.type}: add it to arbitrary.ts`);
  }
}

function objectOf(shape: z.core.$ZodShape): fc.Arbitrary<object> {
  const entries = Object.entries(shape).map(([name, schema]) => {
    const isOptional = schema instanceof z.ZodOptional;
    const values = arbitraryOf(isOptional ? schema.unwrap() : schema).map((value) => [[name, value]]);
    return isOptional ? fc.oneof(fc.constant([]), values) : values;
  });
  return fc.tuple(...entries).map((found) => Object.fromEntries(found.flat()));
}

function stringOf({ def, maxLength }: z.ZodString): fc.Arbitrary<string> {
  const pattern = def.checks?.map(({ _zod }) => (_zod.def as { pattern?: RegExp }).pattern).find((each) => each);
  if (pattern) return fc.stringMatching(pattern);
  return fc.string({ unit: "binary", ...(maxLength === null ? {} : { maxLength: Math.min(maxLength, 50) }) });
}

function numberOf(schema: z.ZodNumber): fc.Arbitrary<number> {
  const [min, max] = [schema.minValue ?? -1e9, Math.min(schema.maxValue ?? 1e9, 1e9)];
  if (!schema.isInt) return fc.double({ min, max, noNaN: true });
  // A bound may be exclusive.
  return fc.integer({ min: Math.max(min, -1e9), max }).filter((value) => schema.safeParse(value).success);
}

/** The value after a round trip through JSON, which has no -0. */
function throughJson<T>(value: T): T {
  return JSON.parse(JSON.stringify(value));
}
