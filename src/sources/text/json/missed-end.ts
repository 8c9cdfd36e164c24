const LF = 0x0a;
const COMMA = 0x2c;
const COLON = 0x3a;

/**
 * The end of a record of a JSON array that is not closed, if the object that begins at `at`, nested in an object of the record, is the next
 * record: it begins a line with the record's indentation, and there is no colon before it. `breaks`: the line breaks between them.
 * @param bytes contain the record, which begins before `at` and not with white space
 * @param indent indentation of the record in bytes; -1 if it is not the first on its line
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
