/** Texts that may contain a number that a double cannot represent. Only these are checked for such numbers. */
const LONG_NUMBER = /\d{16}|[eE]\+?\d{3}/;

/**
 * Parses JSON. Undefined if the text is invalid. An integer that a double would round (many ids are such), and a number out of its range, become
 * strings as they are written. NaN and the infinities, which are not JSON but which Python writes, become null.
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

/** Replaces NaN and the infinities outside of strings by null. It needs one pass, because the text may be hostile. */
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
    // The text is invalid, or it nests too deep for a reviver. The code that keeps the value reports that.
    return JSON.parse(text);
  }
}
