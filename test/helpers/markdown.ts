import type { SourceText } from "./rules/modules.ts";

/** A Markdown file, read line by line: its prose, headings and links. Lines count from 1. */
export type Markdown = SourceText & {
  /** The lines, empty where they are part of a code block or an HTML comment. */
  lines: string[];
  /** The anchors of the headings, as GitHub forms them. */
  anchors: Set<string>;
  links: { target: string; line: number }[];
};

export function readMarkdown({ path, text }: SourceText): Markdown {
  const lines = withoutCode(text);
  const anchors = new Set<string>();
  const links: Markdown["links"] = [];
  for (const [i, line] of lines.entries()) {
    const heading = /^#{1,6} +(.*?) *#*$/.exec(line)?.[1];
    if (heading !== undefined) addAnchor(anchors, heading);
    for (const [, anchor] of line.matchAll(/<a (?:id|name)="([^"]+)"/g)) anchors.add(anchor!);
    const plain = withoutSpans(line);
    for (const [, target] of plain.matchAll(/\]\(<?([^\s)>]+)[^)]*\)/g)) links.push({ target: target!, line: i + 1 });
    for (const [, target] of plain.matchAll(/^ *\[[^\]]+\]: +<?([^\s>]+)/g))
      links.push({ target: target!, line: i + 1 });
    for (const [, target] of plain.matchAll(/<(?:a|img)\b[^>]*? (?:href|src)="([^"]+)"/g)) {
      links.push({ target: target!, line: i + 1 });
    }
  }
  return { path, text, lines, anchors, links };
}

/** The prose, line by line: without code, link targets, quote marks and indents. */
export function proseOf({ lines }: Markdown): string {
  return lines
    .map((line) =>
      withoutSpans(line)
        .replace(/\]\([^)]*\)/g, "]")
        .replace(/[*_]{2}/g, "")
        .replace(/^[ >]+/, ""),
    )
    .join("\n");
}

/** Code in a line becomes `…`. */
function withoutSpans(line: string): string {
  return line.replace(/(`+)(?!`).*?[^`]\1(?!`)/g, "`…`");
}

function withoutCode(text: string): string[] {
  let fence: string | undefined;
  const comments = text.replace(/<!--.*?-->/gs, (comment) => comment.replace(/[^\n]/g, ""));
  return comments.split("\n").map((line) => {
    const mark = /^ *(```+|~~~+)/.exec(line)?.[1];
    if (fence === undefined) {
      fence = mark;
      return mark === undefined ? line : "";
    }
    if (mark?.startsWith(fence)) fence = undefined;
    return "";
  });
}

/** The second and later headings with the same text get a number. */
function addAnchor(anchors: Set<string>, heading: string): void {
  const base = heading
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
    .replaceAll(" ", "-");
  let anchor = base;
  for (let i = 1; anchors.has(anchor); i++) anchor = `${base}-${i}`;
  anchors.add(anchor);
}
