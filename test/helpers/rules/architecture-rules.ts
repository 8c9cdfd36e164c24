/** The rules of the tree, each a function from what it looks at to its violations, in words. `src/` is cut into areas:
 * its folders, and the files beside them by their names. */
import { isBuiltin } from "node:module";
import { posix } from "node:path";
import type { Module, SourceText } from "./modules.ts";

export type Area = string;
export type Manifest = { name?: string; workspaces?: string[] } & Partial<
  Record<"dependencies" | "devDependencies" | "optionalDependencies" | "overrides", Record<string, string>>
>;

const MAX_LINES = 300;
const MAX_FILES = 15;

/** Who may import whom; `name:type` for types only. Everything may import itself. */
export const MATRIX: Record<Area, { value: Area[]; type: Area[] }> = parseMatrix({
  schemas: "",
  printable: "",
  errors: "printable",
  logger: "errors printable",
  metrics: "",
  software: "",
  "node-version": "",
  abortable: "",
  config: "schemas errors",
  "regular-file": "errors",
  retry: "errors",
  redis: "errors config:type retry",
  storage: "errors schemas retry regular-file",
  rows: "schemas errors",
  fetch: "abortable schemas storage errors retry regular-file",
  sources: "printable schemas storage fetch errors regular-file",
  inference: "abortable errors schemas:type regular-file",
  models: "errors schemas inference storage retry regular-file",
  runs: "schemas storage redis errors logger rows",
  outputs: "schemas storage rows runs errors software",
  fleet: "schemas errors",
  producers: "sources fleet rows runs outputs schemas storage redis errors logger retry",
  workers:
    "abortable sources fetch fleet rows runs outputs inference schemas storage redis errors logger metrics software config:type regular-file",
  server: "metrics schemas",
  // What users import. No area may import it.
  index: "node-version errors schemas producers",
  cli: "node-version printable schemas errors logger metrics software config redis storage fetch sources inference models fleet rows runs outputs producers workers retry server",
});

function parseMatrix(rows: Record<Area, string>) {
  const entries = Object.entries(rows).map(([area, row]) => {
    const words = row.split(" ").filter((word) => word !== "");
    const type = words.filter((word) => word.endsWith(":type")).map((word) => word.replace(":type", ""));
    return [area, { value: words.filter((word) => !word.endsWith(":type")), type }] as const;
  });
  return Object.fromEntries(entries);
}

/** Where each package may be imported: folders and files. Null: wherever it is needed. */
const VENDORS: Record<string, string[] | null> = {
  zod: null,
  "@aws-sdk/client-s3": ["src/storage/s3/client.ts"],
  bullmq: ["src/redis/", "src/runs/", "src/producers/", "src/workers/"],
  ioredis: ["src/redis/", "src/fleet/", "src/runs/", "src/producers/", "src/workers/"],
  "onnxruntime-node": ["src/inference/onnx/session.ts", "src/inference/onnx/execution-providers.ts"],
  "@bufbuild/protobuf": ["src/inference/onnx/protobuf.ts"],
  sharp: ["src/inference/preprocess/image/decode-image.ts", "src/inference/preprocess/image/image-header.ts"],
  "@huggingface/tokenizers": ["src/inference/preprocess/text/tokenizer.ts"],
  // The two sides of two kinds of threads.
  piscina: [
    ...["src/inference/preprocess/prepare-pool.ts", "src/inference/preprocess/prepare-thread.ts"],
    ...["src/rows/file-encoder.ts", "src/rows/encode-thread.ts"],
  ],
  hyparquet: ["src/sources/", "src/rows/"],
  "hyparquet-writer": ["src/rows/parquet-writer.ts"],
  "hyparquet-compressors": ["src/sources/parquet/codecs.ts"],
  "apache-arrow": ["src/sources/arrow/"],
  undici: ["src/fetch/"],
  "ipaddr.js": ["src/fetch/"],
  commander: ["src/cli.ts", "src/cli/"],
  yaml: ["src/cli/run/spec.ts"],
  pino: ["src/logger.ts"],
  "p-limit": null,
};

export function areaOf(path: string): Area {
  return path.split("/")[1]!.replace(/\.ts$/, "");
}

/** The path of the file that a relative import means, undefined for a package. */
function targetOf(path: string, specifier: string): string | undefined {
  return specifier.startsWith(".") ? posix.join(posix.dirname(path), specifier) : undefined;
}

/** `zod` of `zod/v4`, `@scope/name` of `@scope/name/part`. */
function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

export function importMatrix(modules: readonly Module[]): string[] {
  return modules.flatMap(({ path, imports, hiddenImports }) => {
    const area = areaOf(path);
    const may = MATRIX[area];
    if (!may) return [`${path}: ${area} is not in the matrix: say in it what it may import`];
    const hidden = hiddenImports.map((line) => `${path}:${line}: what is imported here cannot be read from the source`);
    const found = imports.flatMap(({ specifier, kind, line }) => {
      const target = targetOf(path, specifier);
      if (target === undefined) return [];
      if (!target.startsWith("src/")) return `${path}:${line}: ${specifier} leads out of src`;
      const other = areaOf(target);
      if (other === area || may.value.includes(other)) return [];
      if (!may.type.includes(other)) return `${path}:${line}: ${area} may not import ${other}`;
      return kind === "type" ? [] : `${path}:${line}: ${area} may import only types of ${other} (\`import type\`)`;
    });
    return [...found, ...hidden];
  });
}

export function vendors(modules: readonly Module[], { dependencies = {} }: Manifest): string[] {
  const misplaced = modules.flatMap(({ path, imports }) =>
    imports.flatMap(({ specifier, line }) => {
      const name = packageOf(specifier);
      const places = VENDORS[name];
      if (!places || places.some((place) => path === place || (place.endsWith("/") && path.startsWith(place))))
        return [];
      return `${path}:${line}: ${name} belongs in ${places.join(", ")}`;
    }),
  );
  const unknown = Object.keys(dependencies).filter((name) => !(name in VENDORS));
  return [...misplaced, ...unknown.map((name) => `${name} has no place: say which files may import it`)];
}

/** The ways of `node:fs` to open a file for reading. */
const OPENERS = ["open", "openSync", "openAsBlob", "createReadStream", "readFile", "readFileSync"];

/**
 * Areas that meet files which others may have put there, and what in them opens files of another kind: its own, for writing, and
 * those of the system.
 */
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
const OPENED_OTHERWISE: Record<string, string[]> = {
  "src/storage/fs/aside.ts": ["open"],
  "src/storage/lease/output-lock.ts": ["open"],
  "src/storage/lease/lock-holder.ts": ["readFile"],
  "src/models/hub/pull-partial.ts": ["open"],
  "src/workers/crashes/crash-journal.ts": ["readFileSync"],
  "src/inference/tuning/tuning-file.ts": ["readFile"],
  "src/inference/onnx/node-placement.ts": ["readFile"],
};

/** Files that are opened otherwise than by `src/regular-file.ts`: a FIFO in their place would be waited for, without end. */
export function fileOpenings(modules: readonly SourceText[]): string[] {
  return modules.flatMap(({ path, text }) => {
    if (!HOSTILE_AREAS.includes(areaOf(path))) return [];
    const imports = text.matchAll(/import\s+(?!type\b)([^;]*?)\s+from\s+"(?:node:)?fs(?:\/promises)?"/g);
    return [...imports].flatMap(([, names]) => {
      if (!names!.startsWith("{")) return `${path}: node:fs as a whole: import the functions that are used by name`;
      const imported = names!.match(/[\w$]+(?=\s*(?:as\s+\w+\s*)?[,}])/g) ?? [];
      const opening = imported.filter((name) => OPENERS.includes(name) && !OPENED_OTHERWISE[path]?.includes(name));
      return opening.map((name) => `${path}: ${name} of node:fs: open files by src/regular-file.ts`);
    });
  });
}

/** Threads that are ended at work: ending one that has an ONNX session would abort the process. */
const ENDED_AT_WORK = ["src/inference/preprocess/prepare-thread.ts"];

/** Packages whose native code must not be under way in a thread that is ended. */
const NEVER_ENDED = ["onnxruntime-node"];

/** Threads that are ended at work and can reach, by whatever imports, a package whose code must not be under way then. */
export function endedThreads(modules: readonly Module[]): string[] {
  const byPath = new Map(modules.map((module) => [module.path, module]));
  return ENDED_AT_WORK.flatMap((thread) => {
    const found: string[] = [];
    const seen = new Set<string>();
    const visit = (path: string): void => {
      if (seen.has(path)) return;
      seen.add(path);
      for (const { specifier, kind, line } of byPath.get(path)?.imports ?? []) {
        if (kind === "type") continue;
        const target = targetOf(path, specifier);
        if (target !== undefined) visit(target);
        else if (NEVER_ENDED.includes(packageOf(specifier)))
          found.push(`${path}:${line}: ${specifier} is reached from ${thread}, a thread that is ended at work`);
      }
    };
    visit(thread);
    return found;
  });
}

/** Files that only some others may import, but for types. */
const KEPT_TO: Record<string, { by: string[]; why: string }> = {
  "src/inference/preprocess/text/tokenizer.ts": {
    by: ["src/inference/preprocess/prepare-thread.ts"],
    why: "a model's regular expression may spin: use the prepare pool, or encodeOnce",
  },
};

export function keptFiles(modules: readonly Module[]): string[] {
  return modules.flatMap(({ path, imports }) =>
    imports.flatMap(({ specifier, kind, line }) => {
      const target = targetOf(path, specifier);
      const kept = target === undefined ? undefined : KEPT_TO[target];
      if (kind === "type" || !kept || kept.by.includes(path)) return [];
      return `${path}:${line}: ${target} is only for ${kept.by.join(", ")}: ${kept.why}`;
    }),
  );
}

/** Names of packages that only one file may import, but for types. `*` is any name. */
const ONE_PLACE: { package: string; names: string[]; place: string; why: string }[] = [
  {
    package: "ioredis",
    names: ["*"],
    place: "src/redis/connect.ts",
    why: "a connection whose `error` nobody hears is printed by ioredis: use connectRedis or openRedis",
  },
  {
    package: "bullmq",
    names: ["Worker", "QueueEvents", "FlowProducer"],
    place: "src/workers/queue/queue-worker.ts",
    why: "an `error` that nobody hears ends the process: use QueueWorker",
  },
  {
    package: "bullmq",
    names: ["Queue"],
    place: "src/runs/queues/queue.ts",
    why: "an `error` that nobody hears ends the process: use openQueue",
  },
];

export function onePlace(modules: readonly Module[]): string[] {
  return modules.flatMap(({ path, imports }) =>
    imports.flatMap(({ specifier, kind, line, names }) =>
      ONE_PLACE.filter((rule) => {
        if (kind === "type" || packageOf(specifier) !== rule.package || path === rule.place) return false;
        return names.some((name) => name === "*" || rule.names.includes("*") || rule.names.includes(name));
      }).map(
        (rule) => `${path}:${line}: ${rule.names.join(", ")} of ${specifier} belongs in ${rule.place}: ${rule.why}`,
      ),
    ),
  );
}

export function processAccess(modules: readonly Module[]): string[] {
  const allowed: Record<string, string> = { env: "src/config.ts", exit: "src/cli.ts" };
  return modules.flatMap(({ path, processUses }) =>
    processUses.flatMap(({ name, line }) => {
      // A computed name may be any.
      const place = name === "[…]" ? "nowhere" : allowed[name];
      return place === undefined || place === path ? [] : `${path}:${line}: process.${name} belongs in ${place}`;
    }),
  );
}

/** Cycles of imports, those of types and `import()` included: code in a cycle can only be understood as a whole. Each cycle once. */
export function cycles(modules: readonly Module[]): string[] {
  const graph = new Map(
    modules.map(({ path, imports }) => {
      const targets = imports.map(({ specifier }) => targetOf(path, specifier));
      return [path, targets.filter((target) => target !== undefined)];
    }),
  );
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: string[]): void => {
    const start = trail.indexOf(path);
    if (start >= 0) found.push([...trail.slice(start), path].join(" → "));
    if (start >= 0 || done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return found;
}

/** Folders with more source files than a reader takes in at a glance. */
export function folderSizes(files: readonly SourceText[]): string[] {
  const sizes = new Map<string, number>();
  for (const { path } of files) sizes.set(posix.dirname(path), (sizes.get(posix.dirname(path)) ?? 0) + 1);
  return [...sizes]
    .filter(([, count]) => count > MAX_FILES)
    .map(([folder, count]) => `${folder}: ${count} files, at most ${MAX_FILES}: give one of its subjects a folder`);
}

/** The one file that exports the names of other files: what users of the package import. */
const PACKAGE_INDEX = "src/index.ts";

export function fileForm(modules: readonly Module[]): string[] {
  return modules.flatMap(({ path, text, isBarrel, defaultExports }) => {
    const isIndex = path === PACKAGE_INDEX;
    const lines = text.replace(/\n$/, "").split("\n").length;
    return [
      ...(isBarrel && !isIndex ? [`${path}: a barrel: import from where the names are defined`] : []),
      ...(isIndex && !isBarrel ? [`${path}: has code: it only exports the names of other files`] : []),
      ...defaultExports.map((line) => `${path}:${line}: a default export: name it`),
      ...(lines > MAX_LINES ? [`${path}: ${lines} lines, of ${MAX_LINES} at most: one noun a file`] : []),
    ];
  });
}

/**
 * What `src/` and `bin/` import is needed by users, so a devDependency is not enough. The files of a workspace import what its own
 * manifest declares.
 * @param workspaces manifests by their folders
 */
export function undeclaredImports(
  modules: readonly Module[],
  manifest: Manifest,
  workspaces: Record<string, Manifest> = {},
): string[] {
  return modules.flatMap(({ path, imports }) => {
    const shipped = path.startsWith("src/") || path.startsWith("bin/");
    const workspace = Object.keys(workspaces).find((folder) => path.startsWith(`${folder}/`));
    const { dependencies, devDependencies } = workspace === undefined ? manifest : workspaces[workspace]!;
    const declared = { ...dependencies, ...(shipped ? {} : devDependencies) };
    return imports.flatMap(({ specifier, line }) => {
      if (specifier.startsWith(".") || specifier.startsWith("node:")) return [];
      const name = packageOf(specifier);
      // The examples import the package as its users do.
      if (name === manifest.name) return [];
      if (isBuiltin(name)) return `${path}:${line}: ${name} is Node's own: node:${name}`;
      return name in declared ? [] : `${path}:${line}: ${name} is not in the ${shipped ? "" : "dev"}dependencies`;
    });
  });
}

/** A development tool may also be used by its path in a script, or, for types, by its name in tsconfig.json. */
export function unusedDependencies(modules: readonly Module[], manifest: Manifest, tsconfig: string): string[] {
  const importedBy = (prefix: string) =>
    new Set(
      modules
        .filter(({ path }) => path.startsWith(prefix))
        .flatMap((m) => m.imports.map((i) => packageOf(i.specifier))),
    );
  const [bySources, byAll] = [importedBy("src/"), importedBy("")];
  const scripts = modules.filter(({ path }) => path.startsWith("scripts/")).map(({ text }) => text);
  const types: string[] = JSON.parse(tsconfig).compilerOptions.types;
  const isUsedTool = (name: string) =>
    byAll.has(name) ||
    scripts.some((text) => text.includes(`node_modules/${name}/`)) ||
    types.some((type) => `@types/${type}` === name);
  return [
    ...Object.keys(manifest.dependencies ?? {}).filter((name) => !bySources.has(name)),
    ...Object.keys(manifest.devDependencies ?? {}).filter((name) => !isUsedTool(name)),
  ];
}

export function inexactVersions(manifest: Manifest): string[] {
  const all = [manifest.dependencies, manifest.devDependencies, manifest.optionalDependencies, manifest.overrides];
  return all
    .flatMap((group) => Object.entries(group ?? {}))
    .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
    .map(([name, version]) => `${name}: ${version} is not an exact version`);
}

export function lockAddresses(lock: string): string[] {
  type Locked = { resolved?: string; integrity?: string; link?: boolean };
  const { packages } = JSON.parse(lock) as { packages: Record<string, Locked> };
  return Object.entries(packages).flatMap(([path, { resolved, integrity, link }]) => {
    // The checkout itself, and its workspaces: they come from no registry.
    if (!path.includes("node_modules/")) return [];
    if (link === true && resolved !== undefined && resolved in packages) return [];
    if (resolved !== undefined) return `${path}: resolved: ${resolved}`;
    return integrity === undefined ? `${path}: no integrity` : [];
  });
}

/** Paths of somebody's home, and of the checkout itself. */
export function absolutePaths(files: readonly SourceText[], checkout: string): string[] {
  const homes = /(?<![\w.:~/-])(\/home\/\w|\/Users\/\w|\/root\/\w)|\b[A-Z]:\\Users\\/;
  const here = new RegExp(`(?<![\\w./-])${checkout.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?![\\w-])`);
  return files.flatMap(({ path, text }) => {
    // Most files have none: only then is the line looked for.
    if (!homes.test(text) && !here.test(text)) return [];
    const line = text.split("\n").findIndex((each) => homes.test(each) || here.test(each)) + 1;
    return [`${path}:${line}: a path of one machine`];
  });
}
