const WIDTH = 100;

/** Prose as Markdown lines of at most 100 characters. A code span stays on one line. @param bullet of a list item, such as `- ` */
export function wrap(text: string, bullet = ""): string[] {
  const lines: string[] = [];
  let line = bullet.trimEnd();
  for (const word of text.split(/ (?=(?:[^`]*`[^`]*`)*[^`]*$)/)) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (longer.length <= WIDTH) line = longer;
    else {
      lines.push(line);
      line = " ".repeat(bullet.length) + word;
    }
  }
  return [...lines, line];
}
