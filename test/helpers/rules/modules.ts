import { posix } from "node:path";
import {
  isCallExpression,
  isElementAccessExpression,
  isExportAssignment,
  isExportDeclaration,
  isIdentifier,
  isImportDeclaration,
  isImportTypeNode,
  isLiteralTypeNode,
  isPropertyAccessExpression,
  isStringLiteral,
  isVariableDeclaration,
  type Node,
  type SourceFile,
  SyntaxKind,
} from "typescript/unstable/ast";
import { createVirtualFileSystem } from "typescript/unstable/fs";
import { API } from "typescript/unstable/sync";

export type SourceText = { path: string; text: string };

/** An import, or a re-export, as the compiler reads it. Imports with `type` do not exist at run time. */
export type Import = {
  specifier: string;
  kind: "value" | "type" | "dynamic";
  line: number;
  /** The imported names without types, such as `Redis` and `Queue`. `*` is the whole module. */
  names: string[];
};

/** The facts about one file that the rules check. Lines count from 1. */
export type Module = SourceText & {
  imports: Import[];
  /** Whether the file only imports and re-exports, with at least one re-export. */
  isBarrel: boolean;
  defaultExports: number[];
  /** Lines of an `import()` or `require` whose target is computed. */
  hiddenImports: number[];
  /** Uses of `process.NAME`, in any notation. */
  processUses: { name: string; line: number }[];
};

/** Parses TypeScript and JavaScript files with the compiler's parser. It resolves and checks nothing. */
export function parseModules(files: readonly SourceText[]): Module[] {
  return readSources(files, ({ path, text }, source) => readModule(path, text, source));
}

/** The result of `read` for the syntax tree of each file. */
export function readSources<T>(files: readonly SourceText[], read: (file: SourceText, source: SourceFile) => T): T[] {
  const root = "/virtual";
  const config = {
    compilerOptions: { allowJs: true, noLib: true, noResolve: true, types: [] },
    files: files.map(({ path }) => `${root}/${path}`),
  };
  const texts = Object.fromEntries(files.map(({ path, text }) => [`${root}/${path}`, text]));
  const fs = createVirtualFileSystem({ ...texts, [`${root}/tsconfig.json`]: JSON.stringify(config) });
  const api = new API({ cwd: root, fs });
  try {
    const { program } = api.updateSnapshot({ openProjects: [`${root}/tsconfig.json`] }).getProjects()[0]!;
    return files.map((file) => {
      const source = program.getSourceFile(`${root}/${file.path}`);
      if (!source) throw new Error(`the compiler did not read ${file.path}`);
      return read(file, source);
    });
  } finally {
    api.close();
  }
}

function readModule(path: string, text: string, source: SourceFile): Module {
  const module: Module = {
    path,
    text,
    imports: [],
    isBarrel: false,
    defaultExports: [],
    hiddenImports: [],
    processUses: [],
  };
  const lineOf = (node: Node) => text.slice(0, node.getStart(source)).split("\n").length;
  const add = (specifier: Node, kind: Import["kind"], names: string[] = ["*"]) => {
    if (isStringLiteral(specifier) || specifier.kind === SyntaxKind.NoSubstitutionTemplateLiteral) {
      const text = (specifier as { text?: string }).text ?? "";
      module.imports.push({ specifier: text, kind, line: lineOf(specifier), names });
    } else module.hiddenImports.push(lineOf(specifier));
  };
  const useProcess = (name: string, node: Node) => module.processUses.push({ name, line: lineOf(node) });

  const visit = (node: Node): void => {
    if (isImportDeclaration(node)) {
      const isType = node.importClause?.phaseModifier === SyntaxKind.TypeKeyword;
      add(node.moduleSpecifier, isType ? "type" : "value", importedNames(node.importClause?.getText(source) ?? ""));
      // `import { env } from "node:process"` is a use of process.env.
      if (/"(node:)?process"/.test(node.moduleSpecifier.getText(source))) {
        for (const [name] of (node.importClause?.getText(source) ?? "").matchAll(/\b(env|exit)\b/g))
          useProcess(name, node);
      }
    } else if (isExportDeclaration(node)) {
      if (node.moduleSpecifier) add(node.moduleSpecifier, node.isTypeOnly ? "type" : "value");
      if (/\bas default\b|\{\s*default\b(?!\s+as)/.test(node.exportClause?.getText(source) ?? "")) {
        module.defaultExports.push(lineOf(node));
      }
    } else if (isExportAssignment(node)) {
      module.defaultExports.push(lineOf(node));
    } else if (node.kind === SyntaxKind.DefaultKeyword && node.parent?.kind !== SyntaxKind.DefaultClause) {
      module.defaultExports.push(lineOf(node));
    } else if (isImportTypeNode(node)) {
      if (isLiteralTypeNode(node.argument)) add(node.argument.literal, "type");
    } else if (isCallExpression(node)) {
      if (node.expression.kind === SyntaxKind.ImportKeyword) add(node.arguments[0] ?? node, "dynamic");
      else if (isIdentifier(node.expression) && /^(require|createRequire)$/.test(node.expression.text)) {
        module.hiddenImports.push(lineOf(node));
      }
    } else if (isPropertyAccessExpression(node) && isProcess(node.expression, source)) {
      useProcess(node.name.text, node);
    } else if (isElementAccessExpression(node) && isProcess(node.expression, source)) {
      const name = node.argumentExpression;
      useProcess(isStringLiteral(name) ? name.text : "[…]", node);
    } else if (isVariableDeclaration(node) && node.initializer && isProcess(node.initializer, source)) {
      for (const [name] of node.name.getText(source).matchAll(/\b(env|exit)\b/g)) useProcess(name, node);
    }
    node.forEachChild((child) => visit(child));
  };
  source.forEachChild((child) => visit(child));

  const others = source.statements.filter((statement) => !isImportDeclaration(statement));
  module.isBarrel = others.length > 0 && others.every(isExportDeclaration);
  return module;
}

/** The names in `{ type A, B as C, D }` are B and D. A default or namespace import is `*`. */
function importedNames(clause: string): string[] {
  const braces = /^\{(.*)\}$/s.exec(clause.trim());
  if (!braces) return ["*"];
  const each = braces[1]!.split(",").map((name) => name.trim());
  return each.flatMap((name) => (name === "" || name.startsWith("type ") ? [] : [name.split(/\s/)[0]!]));
}

function isProcess(node: Node, source: SourceFile): boolean {
  return /^(globalThis\.)?process$/.test(node.getText(source));
}

/** The path of the file that a relative import names. Undefined for a package. */
export function targetOf(path: string, specifier: string): string | undefined {
  return specifier.startsWith(".") ? posix.join(posix.dirname(path), specifier) : undefined;
}

/** The package of an import: `zod` for `zod/v4`, `@scope/name` for `@scope/name/part`. */
export function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}
