import {
  isCallExpression,
  isIdentifier,
  isNoSubstitutionTemplateLiteral,
  isRegularExpressionLiteral,
  isStringLiteral,
  isTemplateExpression,
  type Node,
  type SourceFile,
  SyntaxKind,
} from "typescript/unstable/ast";
import { readSources, type SourceText } from "./modules.ts";

/** A text that a person reads. `line` is the line of its first character, from 1. `\n` separates lines. */
export type Text = { path: string; line: number; text: string; kind: "comment" | "string" | "test name" | "prose" };

/** A name that a file declares. */
export type Name = { path: string; line: number; name: string };

export type CodeTexts = { texts: Text[]; names: Name[] };

/** The comments, the strings and the declared names of TypeScript and JavaScript files. */
export function codeTexts(files: readonly SourceText[]): CodeTexts {
  const found = readSources(files, readTexts);
  return { texts: found.flatMap(({ texts }) => texts), names: found.flatMap(({ names }) => names) };
}

type Literal = { start: number; end: number };

function readTexts({ path, text }: SourceText, source: SourceFile): CodeTexts {
  const lineAt = lineCounter(text);
  const literals: Literal[] = [];
  const texts: Text[] = [];
  const names: Name[] = [];

  const addString = (node: Node, written: string) => {
    const content = written.replace(/\\[nrt]/g, " ");
    const isName = isTestName(node, source);
    // A string without a space is data: a key, a path, a code.
    if (/\s/.test(content)) {
      texts.push({ path, line: lineAt(node.getStart(source)), text: content, kind: isName ? "test name" : "string" });
    }
  };
  const visit = (node: Node): void => {
    if (isStringLiteral(node) || isNoSubstitutionTemplateLiteral(node)) {
      literals.push({ start: node.getStart(source), end: node.end });
      addString(node, text.slice(node.getStart(source) + 1, node.end - 1));
    } else if (isTemplateExpression(node)) {
      // The pieces of a template are one text, with an ellipsis for each computed value.
      const pieces = [node.head, ...node.templateSpans.map(({ literal }) => literal)];
      for (const piece of pieces) literals.push({ start: piece.getStart(source), end: piece.end });
      const contents = pieces.map((piece) => piece.getText(source).replace(/^[`}]|(`|\$\{)$/g, ""));
      // Computed values keep their line breaks, so that the line of a violation is right.
      const between = pieces.slice(1).map((piece, i) => text.slice(pieces[i]!.end, piece.getStart(source)));
      addString(node, contents.map((each, i) => each + (between[i]?.replace(/[^\n]+/g, "…") ?? "")).join(""));
    } else if (isRegularExpressionLiteral(node)) {
      literals.push({ start: node.getStart(source), end: node.end });
    }
    const name = declaredName(node);
    if (name) names.push({ path, line: lineAt(name.getStart(source)), name: name.getText(source) });
    node.forEachChild((child) => visit(child));
  };
  source.forEachChild((child) => visit(child));
  return { texts: [...texts, ...comments(path, text, literals, lineAt)], names };
}

/** The first argument of `test`, `describe`, `it`, `t.test` and the like. */
function isTestName(node: Node, source: SourceFile): boolean {
  const call = node.parent;
  if (!call || !isCallExpression(call) || call.arguments[0] !== node) return false;
  return /^(\w+\.)?(test|describe|it|suite)(\.\w+)?$/.test(call.expression.getText(source));
}

const DECLARATIONS = new Set<SyntaxKind>([
  SyntaxKind.VariableDeclaration,
  SyntaxKind.Parameter,
  SyntaxKind.BindingElement,
  SyntaxKind.FunctionDeclaration,
  SyntaxKind.FunctionExpression,
  SyntaxKind.ClassDeclaration,
  SyntaxKind.MethodDeclaration,
  SyntaxKind.MethodSignature,
  SyntaxKind.PropertyDeclaration,
  SyntaxKind.PropertySignature,
  SyntaxKind.GetAccessor,
  SyntaxKind.SetAccessor,
  SyntaxKind.InterfaceDeclaration,
  SyntaxKind.TypeAliasDeclaration,
  SyntaxKind.TypeParameter,
]);

function declaredName(node: Node): Node | undefined {
  if (!DECLARATIONS.has(node.kind)) return undefined;
  const { name } = node as Node & { name?: Node };
  return name && isIdentifier(name) ? name : undefined;
}

/** The comments outside of `literals`. Line comments on consecutive lines are one text. */
function comments(path: string, text: string, literals: Literal[], lineAt: (at: number) => number): Text[] {
  const found: (Text & { end: number })[] = [];
  literals.sort((a, b) => a.start - b.start);
  const opening = /\/\/|\/\*/g;
  let next = 0;
  for (let match = opening.exec(text); match; match = opening.exec(text)) {
    const at = match.index;
    while (next < literals.length && literals[next]!.end <= at) next++;
    const literal = literals[next];
    if (literal && literal.start <= at) {
      opening.lastIndex = literal.end;
      continue;
    }
    const isBlock = match[0] === "/*";
    const closing = text.indexOf(isBlock ? "*/" : "\n", at + 2);
    const end = closing < 0 ? text.length : closing;
    opening.lastIndex = end;
    const line = lineAt(at);
    const content = text
      .slice(at + 2, end)
      .replace(/^\*/, "")
      .replace(/\n\s*\*?[ \t]*/g, "\n");
    const before = found.at(-1);
    if (!isBlock && before && before.end === line - 1 && /^\s*$/.test(text.slice(text.lastIndexOf("\n", at) + 1, at))) {
      before.text += `\n${content.trim()}`;
      before.end = line;
    } else found.push({ path, line, text: content.trimEnd(), kind: "comment", end: isBlock ? -1 : line });
  }
  return found.map(({ end: _, ...comment }) => comment);
}

/** Returns a function from an offset in the text to its line, from 1. */
function lineCounter(text: string): (at: number) => number {
  const starts = [0, ...Array.from(text.matchAll(/\n/g), ({ index }) => index + 1)];
  return (at) => {
    let [low, high] = [0, starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle]! <= at) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}
