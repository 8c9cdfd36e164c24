/** An ETag as a header has it. */
export function quotedEtag(etag: string): string {
  return etag.startsWith("W/") ? etag : `"${etag}"`;
}

/** The ETag in a header, without its quotes. Empty if the server sent none. */
export function etagIn(header: string | undefined): string {
  return (header ?? "").replace(/^"(.*)"$/, "$1");
}
