/** The longest URL or path in a message. */
const MAX_SHOWN = 300;

/** A URL as a message may show it: no credentials, no query (it may hold a signature), no fragment. */
export function showUrl(url: URL): string {
  return show(`${url.protocol}//${url.host}${url.pathname}`);
}

/** A path or other text of a caller, for a message: not longer than 300 characters. */
export function show(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
