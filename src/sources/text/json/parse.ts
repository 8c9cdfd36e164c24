/** What may hold a number that a double does not: only then is it looked for. */
const LONG_NUMBER = /\d{16}|[eE]\+?\d{3}/;

/**
 * What a text is as JSON; undefined where it is none. A whole number that a double would round (many ids are such), or one beyond its range,
 * comes as a string: as it is written. NaN and the infinities, which are no JSON but which Python writes, come as null.
 */
export function parseJson(text: string): unknown {
  const value = parseStrict(text);
  return value === undefined && /NaN|Infinity/.test(text) ? parseStrict(withoutNonFinite(text)) : value;
}

function parseStrict(text: string): unknown {
  try {
    return LONG_NUMBER.test(text) ? parseLong(text) : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The text with null in the place of NaN and the infinities outside of strings. One pass: the text may be hostile. */
function withoutNonFinite(text: string): string {
  const parts: string[] = [];
  let from = 0;
  for (let open = text.indexOf('"'); open !== -1; open = text.indexOf('"', from)) {
    let close = open + 1;
    while (close < text.length && text[close] !== '"') close += text[close] === "\\" ? 2 : 1;
    parts.push(nullFor(text.slice(from, open)), text.slice(open, close + 1));
    from = close + 1;
  }
  parts.push(nullFor(text.slice(from)));
  return parts.join("");
}

function nullFor(between: string): string {
  return between.replaceAll(/(?<![\w.-])(?:NaN|-?Infinity)(?![\w.])/g, "null");
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
