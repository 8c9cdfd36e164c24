/** The longest URL or path in a message. */
const MAX_SHOWN = 300;

/** A URL for a message: without credentials, query (it may contain a signature) and fragment. */
export function showUrl(url: URL): string {
  return show(`${url.protocol}//${url.host}${url.pathname}`);
}

/** A path or another text from a caller, for a message: cut after 300 characters. */
export function show(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
