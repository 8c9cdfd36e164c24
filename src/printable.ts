/**
 * Characters that control a terminal or are invisible: control characters (C0, DEL, C1), format characters (bidirectional marks,
 * zero-width spaces), line and paragraph separators, and unpaired surrogates. Not the two joiners, which emoji, Persian and Indic scripts
 * need.
 */
const HIDDEN = /[[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]--[\u200c\u200d]]/gv;
const LINE_BREAKS = /\r?\n/;
const BLANKS = /[\t\n\v\f\r]/g;

/** The text on one line, safe to print. Blanks such as tabs and line breaks become spaces; any other hidden character becomes U+FFFD. */
export function printable(text: string): string {
  return text.replaceAll(BLANKS, " ").replaceAll(HIDDEN, "\uFFFD");
}

/** As `printable`, but keeps line breaks. */
export function printableLines(text: string): string {
  return text.split(LINE_BREAKS).map(printable).join("\n");
}

/** Escapes hidden characters in JSON. Its parsed value does not change. Line breaks between values stay. */
export function printableJson(json: string): string {
  return json.replaceAll(HIDDEN, (hidden) => (hidden === "\n" ? hidden : escaped(hidden)));
}

function escaped(character: string): string {
  const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}
