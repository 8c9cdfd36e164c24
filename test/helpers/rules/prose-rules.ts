/** The rules of prose. Each function returns its violations, as sentences. */
import { posix } from "node:path";
import { type Markdown, proseOf, readMarkdown } from "../markdown.ts";
import type { SourceText } from "./modules.ts";
import { codeTexts, type Name, type Text } from "./prose-texts.ts";
import { NAME_WORDS, WORDS } from "./prose-words.ts";

const MAX_COLUMNS = 100;
const MAX_README_LINES = 130;
const GLOSSARY_TERMS = { least: 20, most: 30 };

const README = "README.md";
const GLOSSARY = "docs/glossary.md";
const INDEX = "docs/README.md";
const CHANGELOG = "CHANGELOG.md";

/** The violations of all rules in a tree. @param files all text files of the tree */
export function proseViolations(files: readonly SourceText[]): string[] {
  const { texts, names } = codeTexts(files.filter(({ path }) => /\.(ts|mjs)$/.test(path)));
  const pages = files.filter(({ path }) => path.endsWith(".md")).map(readMarkdown);
  return [
    ...words([...texts.filter(isRead), ...pages.map(pageText), ...files.filter(isCommented).map(wholeText)]),
    ...nameWords(names, files),
    ...lineWidths(pages),
    ...pageForms(pages),
    ...brokenLinks(pages, files),
    ...unknownPaths(pages, files),
  ];
}

/** Strings of a test are data and are not checked. Strings of the helpers may be messages. */
function isRead({ path, kind }: Text): boolean {
  return kind !== "string" || !path.startsWith("test/") || path.startsWith("test/helpers/");
}

/** Files of other languages with comments. All of their text is checked. */
function isCommented({ path }: SourceText): boolean {
  return /\.(py|ya?ml|conf|sh)$/.test(path) || path === ".ci/run";
}

function wholeText({ path, text }: SourceText): Text {
  return { path, line: 1, text: text.replace(/\n[ #]+/g, "\n"), kind: "prose" };
}

function pageText(page: Markdown): Text {
  return { path: page.path, line: 1, text: proseOf(page), kind: "prose" };
}

type Table = readonly { pattern: RegExp; instead: string }[];
type Matcher = { any: RegExp; each: Table };

/** Compiles a table to one expression per entry, and one for all entries, since most texts match none. */
export function matcher(table: Table): Matcher {
  const whole = (source: string) => new RegExp(`(?<![\\w-])(?:${source.replaceAll(" ", "\\s")})(?![\\w-])`, "gi");
  return {
    any: whole(table.map(({ pattern }) => `(?:${pattern.source})`).join("|")),
    each: table.map(({ pattern, instead }) => ({ pattern: whole(pattern.source), instead })),
  };
}

const ALL_WORDS = matcher(WORDS);

/** Finds words of the table in texts. Code in backticks is skipped. */
export function words(texts: readonly Text[], { any, each } = ALL_WORDS): string[] {
  return texts.flatMap(({ path, line, text }) => {
    const plain = text.replace(/`[^`\n]*`/g, "`…`").replace(/[^\S\n]*\n[^\S\n]*/g, "\n");
    if (plain.search(any) < 0) return [];
    const found = each.flatMap(({ pattern, instead }) =>
      Array.from(plain.matchAll(pattern), (match) => ({ match, instead })),
    );
    return found
      .sort((a, b) => a.match.index - b.match.index)
      .map(({ match, instead }) => {
        const at = line + plain.slice(0, match.index).split("\n").length - 1;
        return `${path}:${at}: "${match[0].replace(/\s+/g, " ").trim()}": write ${instead}`;
      });
  });
}

/** Finds words of the table in names of declarations and files. */
export function nameWords(names: readonly Name[], files: readonly { path: string }[]): string[] {
  const check = (name: string, place: string) => {
    const found = NAME_WORDS.find(({ word }) => word.test(spaced(name)));
    return found ? [`${place}: the name "${name}": ${found.instead}`] : [];
  };
  return [
    ...names.flatMap(({ path, line, name }) => check(name, `${path}:${line}`)),
    ...files.flatMap(({ path }) => check(posix.basename(path), path)),
  ];
}

/** Converts `labelItems`, `label-items` and `LABEL_ITEMS` to `label items`. */
function spaced(name: string): string {
  return name
    .replace(/([a-z\d])([A-Z])/g, "$1 $2")
    .replace(/[_\W]+/g, " ")
    .trim()
    .toLowerCase();
}

/** Lines of prose over the width, except tables, code, headings and lines that cannot be broken. */
export function lineWidths(pages: readonly Markdown[]): string[] {
  return pages.flatMap(({ path, lines }) =>
    lines.flatMap((line, i) => {
      if (line.length <= MAX_COLUMNS || /^ *(\||#{1,6} |<|\[[^\]]+\]: )/.test(line)) return [];
      // Code spans are not broken.
      const pieces = line.replace(/^[ >]*([-*+]|\d+[.)])? */, "").match(/(?:`[^`]*`|\S)+/g) ?? [];
      return pieces.length > 1 ? [`${path}:${i + 1}: ${line.length} columns, at most ${MAX_COLUMNS}`] : [];
    }),
  );
}

/** Checks the length of the README, the number of terms in the glossary's table, and that the index links every page of docs. */
export function pageForms(pages: readonly Markdown[]): string[] {
  const found: string[] = [];
  const page = (path: string) => {
    const one = pages.find((each) => each.path === path);
    if (!one) found.push(`${path}: expected this page, it does not exist`);
    return one;
  };
  const readme = page(README);
  const length = readme?.text.replace(/\n$/, "").split("\n").length ?? 0;
  if (length > MAX_README_LINES) found.push(`${README}: ${length} lines, at most ${MAX_README_LINES}`);

  const rows = page(GLOSSARY)?.lines.filter((line) => /^\|[^|]+\|[^|]+\|\s*$/.test(line));
  // The header and the line below it are not terms.
  const terms = Math.max((rows?.length ?? 0) - 2, 0);
  const { least, most } = GLOSSARY_TERMS;
  if (rows && (terms < least || terms > most)) {
    found.push(`${GLOSSARY}: expected ${least} to ${most} terms, a row of a table with two columns each, got ${terms}`);
  }

  const index = page(INDEX);
  const linked = new Set(index?.links.map(({ target }) => resolved(INDEX, target).path));
  for (const { path } of index ? pages : []) {
    if (/^docs\/[^/]+$/.test(path) && path !== INDEX && !linked.has(path)) found.push(`${INDEX}: no link to ${path}`);
  }
  return found;
}

/** Relative links to a file or heading that does not exist. */
export function brokenLinks(pages: readonly Markdown[], files: readonly { path: string }[]): string[] {
  const paths = new Set(files.map(({ path }) => path));
  const folders = new Set(files.flatMap(({ path }) => parents(path)));
  return pages.flatMap(({ path, links }) =>
    links.flatMap(({ target, line }) => {
      if (/^[a-z][a-z\d+.-]*:/i.test(target)) return [];
      const to = resolved(path, target);
      if (!paths.has(to.path) && !folders.has(to.path.replace(/\/$/, ""))) {
        return [`${path}:${line}: the link ${target}: the file does not exist`];
      }
      const page = pages.find((each) => each.path === to.path);
      if (to.anchor === undefined || !page || page.anchors.has(to.anchor)) return [];
      return [`${path}:${line}: the link ${target}: ${to.path} has no such heading`];
    }),
  );
}

/** Paths of the source tree in code spans, such as `src/cli.ts` and `src/cli/`, that do not exist. Patterns and the changelog are skipped. */
export function unknownPaths(pages: readonly Markdown[], files: readonly { path: string }[]): string[] {
  const known = new Set(files.flatMap(({ path }) => [path, ...parents(path)]));
  return pages.flatMap(({ path, lines }) =>
    path === CHANGELOG
      ? []
      : lines.flatMap((line, i) =>
          Array.from(line.matchAll(/`((?:src|test|bench|scripts)\/[\w./-]*)`/g), ([, named]) => named!)
            .filter((named) => !known.has(named.replace(/\/$/, "")))
            .map((named) => `${path}:${i + 1}: ${named} does not exist`),
        ),
  );
}

function resolved(from: string, target: string): { path: string; anchor: string | undefined } {
  const [path, anchor] = target.split("#", 2);
  return { path: path ? posix.normalize(posix.join(posix.dirname(from), decodeURI(path))) : from, anchor };
}

/** The folders above a path: `a/b`, `a` and `.` for `a/b/c.md`. */
function parents(path: string): string[] {
  const parent = posix.dirname(path);
  return parent === path ? [] : [parent, ...parents(parent)];
}
