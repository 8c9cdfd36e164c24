const LF = 0x0a;
const COMMA = 0x2c;
const COLON = 0x3a;

/**
 * Where a record of a JSON array ends that is not closed, if the object that begins at `at`, within one of the record's own, is the next
 * record: it begins a line as the record does, and no colon stands before it. `breaks`: the line breaks between them.
 * @param bytes hold the record, which begins before `at` with what is no white space
 * @param indent bytes before the record on its line; -1: it is not the first there
 */
export function missedEnd(bytes: Buffer, at: number, indent: number): { stop: number; breaks: number } | undefined {
  let line = at;
  while (isSpace(bytes[line - 1]!) && bytes[line - 1] !== LF) line--;
  const isIndented = indent === -1 ? at - line <= 1 : at - line === indent;
  if (bytes[line - 1] !== LF || !isIndented) return undefined;
  let breaks = 0;
  let stop = line;
  for (; isSpace(bytes[stop - 1]!); stop--) if (bytes[stop - 1] === LF) breaks++;
  if (bytes[stop - 1] === COLON) return undefined;
  return { stop: bytes[stop - 1] === COMMA ? stop - 1 : stop, breaks };
}

export function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}
