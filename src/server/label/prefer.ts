/** The longest wait that a request may ask for, in seconds. */
export const MAX_WAIT_SECONDS = 60;

/** The preferences of a request that the routes honor (RFC 7240). */
export type Preferences = {
  /** Seconds to wait for the result, from 0 to 60. 0: the request does not ask for it. */
  waitSeconds: number;
  /** The header `preference-applied` of the answer. Omitted if no preference is applied. */
  applied?: string;
};

/**
 * Parses the `Prefer` header: `wait=5`, or `wait=5, respond-async`. A longer wait than 60 seconds is cut to that. As the RFC asks, the
 * first of several equal preferences counts, and what is unknown or invalid is ignored. `respond-async` beside `wait` changes nothing:
 * an answer that is not ready in time is asynchronous anyway.
 * @param header one header, or the headers of this name in their order
 */
export function parsePrefer(header: string | readonly string[] | undefined): Preferences {
  const text = typeof header === "string" ? header : (header ?? []).join(",");
  for (const [name, value] of preferencesIn(text)) {
    if (name !== "wait") continue;
    if (!/^\d{1,9}$/.test(value)) break;
    const waitSeconds = Math.min(Number(value), MAX_WAIT_SECONDS);
    return waitSeconds === 0 ? { waitSeconds } : { waitSeconds, applied: `wait=${waitSeconds}` };
  }
  return { waitSeconds: 0 };
}

/** The names, in lower case, and the values of the preferences, without their parameters. */
function preferencesIn(text: string): [name: string, value: string][] {
  return splitOutsideQuotes(text, ",").map((preference) => {
    const [first = ""] = splitOutsideQuotes(preference, ";");
    const at = first.indexOf("=");
    const name = (at === -1 ? first : first.slice(0, at)).trim().toLowerCase();
    return [name, at === -1 ? "" : unquoted(first.slice(at + 1).trim())];
  });
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const pieces: string[] = [];
  let start = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (quoted && character === "\\") at++;
    else if (character === '"') quoted = !quoted;
    else if (character === separator && !quoted) {
      pieces.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...pieces, text.slice(start)];
}

function unquoted(word: string): string {
  return /^".*"$/s.test(word) ? word.slice(1, -1).replaceAll(/\\(.)/gs, "$1") : word;
}
