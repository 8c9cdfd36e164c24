/** What may hold a number that a double does not: only then is it looked for. */
const LONG_NUMBER = /\d{16}|[eE]\+?\d{3}/;

/**
 * What a text is as JSON; undefined where it is none. A whole number that a double would round (many ids are such), or one beyond its range,
 * comes as a string: as it is written.
 */
export function parseJson(text: string): unknown {
  try {
    return LONG_NUMBER.test(text) ? parseLong(text) : JSON.parse(text);
  } catch {
    return undefined;
  }
}

function parseLong(text: string): unknown {
  try {
    return JSON.parse(text, (_key, value: unknown, context?: { source?: string }) => {
      if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
      const source = context?.source ?? String(value);
      return /^-?\d+$/.test(source) || !Number.isFinite(value) ? source : value;
    });
  } catch {
    // No JSON, or it nests too deep to be walked, which whoever keeps it will say.
    return JSON.parse(text);
  }
}
