/** Sequences that move the cursor, set the window title, write to the clipboard, set colours by C1, reverse the text direction or hide text. */
export const HOSTILE =
  "\u001b[2J\u001b]0;owned\u0007\u001b]52;c;YQ==\u001b\\\u009b31m\u0090q\u009c\u202eevil\u2066\u200b\u2028\ufeff\u007f\b";

const HIDDEN: readonly (readonly [from: number, to: number])[] = [
  [0x00, 0x1f],
  [0x7f, 0x9f],
  [0x61c, 0x61c],
  [0x200b, 0x200b],
  [0x200e, 0x200f],
  [0x2028, 0x202e],
  [0x2060, 0x206f],
  [0xfeff, 0xfeff],
];

/** The code points of a text that a terminal would interpret or a reader would not see. */
export function hidden(text: string): string[] {
  const found = [...text].map((character) => character.codePointAt(0)!);
  return found
    .filter((code) => HIDDEN.some(([from, to]) => code >= from && code <= to))
    .map((code) => code.toString(16));
}
