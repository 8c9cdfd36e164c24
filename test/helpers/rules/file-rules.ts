/** The rules of single files and folders. Each function returns its violations, as sentences. */
import { posix } from "node:path";
import { areaOf } from "./architecture-rules.ts";
import type { Module, SourceText } from "./modules.ts";

const MAX_LINES = 300;
const MAX_FILES = 15;

/** The functions of `node:fs` that open a file for reading. */
const OPENERS = ["open", "openSync", "openAsBlob", "createReadStream", "readFile", "readFileSync"];

/** Areas that open files which other programs can replace. */
const HOSTILE_AREAS = [
  "sources",
  "fetch",
  "workers",
  "storage",
  "rows",
  "inference",
  "models",
  "runs",
  "outputs",
  "producers",
];
/** Functions that files of these areas may use: for labelmill's own files, for writing, and for files of the system. */
const ALLOWED_OPENERS: Record<string, string[]> = {
  "src/storage/fs/atomic-write.ts": ["open"],
  "src/storage/lease/output-lock.ts": ["open"],
  "src/storage/lease/lock-holder.ts": ["readFile"],
  "src/models/hub/pull-partial.ts": ["open"],
  "src/workers/crashes/crash-journal.ts": ["readFileSync"],
  "src/inference/tuning/tuning-file.ts": ["readFile"],
  "src/inference/onnx/node-placement.ts": ["readFile"],
};

/** Uses of `node:fs` instead of `src/regular-file.ts`: if a FIFO replaced such a file, the open would never return. */
export function fileOpenings(modules: readonly SourceText[]): string[] {
  return modules.flatMap(({ path, text }) => {
    if (!HOSTILE_AREAS.includes(areaOf(path))) return [];
    const imports = text.matchAll(/import\s+(?!type\b)([^;]*?)\s+from\s+"(?:node:)?fs(?:\/promises)?"/g);
    return [...imports].flatMap(([, names]) => {
      if (!names!.startsWith("{")) return `${path}: node:fs as a whole: import the functions by name`;
      const imported = names!.match(/[\w$]+(?=\s*(?:as\s+\w+\s*)?[,}])/g) ?? [];
      const opening = imported.filter((name) => OPENERS.includes(name) && !ALLOWED_OPENERS[path]?.includes(name));
      return opening.map((name) => `${path}: ${name} of node:fs: open files with src/regular-file.ts`);
    });
  });
}

/** Folders with too many source files to see at a glance. */
export function folderSizes(files: readonly SourceText[]): string[] {
  const sizes = new Map<string, number>();
  for (const { path } of files) sizes.set(posix.dirname(path), (sizes.get(posix.dirname(path)) ?? 0) + 1);
  return [...sizes]
    .filter(([, count]) => count > MAX_FILES)
    .map(([folder, count]) => `${folder}: ${count} files, at most ${MAX_FILES}: give one of its subjects a folder`);
}

/** The entry point of the package: the only file that re-exports. */
const PACKAGE_INDEX = "src/index.ts";

export function fileForm(modules: readonly Module[]): string[] {
  return modules.flatMap(({ path, text, isBarrel, defaultExports }) => {
    const isIndex = path === PACKAGE_INDEX;
    const lines = text.replace(/\n$/, "").split("\n").length;
    return [
      ...(isBarrel && !isIndex ? [`${path}: a barrel: import names from the files that define them`] : []),
      ...(isIndex && !isBarrel ? [`${path}: has code: it may only re-export`] : []),
      ...defaultExports.map((line) => `${path}:${line}: a default export: use a named export`),
      ...(lines > MAX_LINES ? [`${path}: ${lines} lines, at most ${MAX_LINES}: split it, one noun per file`] : []),
    ];
  });
}

/** Absolute paths of home folders and of the checkout. */
export function absolutePaths(files: readonly SourceText[], checkout: string): string[] {
  const homes = /(?<![\w.:~/-])(\/home\/\w|\/Users\/\w|\/root\/\w)|\b[A-Z]:\\Users\\/;
  const here = new RegExp(`(?<![\\w./-])${checkout.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?![\\w-])`);
  return files.flatMap(({ path, text }) => {
    // Most files match neither, so the line is only searched after a match.
    if (!homes.test(text) && !here.test(text)) return [];
    const line = text.split("\n").findIndex((each) => homes.test(each) || here.test(each)) + 1;
    return [`${path}:${line}: a path of one machine`];
  });
}
