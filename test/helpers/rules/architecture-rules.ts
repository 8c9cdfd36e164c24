/**
 * The rules of imports. Each function returns its violations, as sentences. An area is a folder of `src/`, or a file beside these
 * folders without its extension.
 */
import { type Module, packageOf, targetOf } from "./modules.ts";
import type { Manifest } from "./package-rules.ts";

export type Area = string;
/** The areas that each area may import. `name:type` allows types only. Each area may import itself. */
export const MATRIX: Record<Area, { value: Area[]; type: Area[] }> = parseMatrix({
  schemas: "",
  printable: "",
  errors: "printable",
  logger: "errors printable",
  metrics: "",
  software: "",
  "node-version": "",
  abortable: "",
  settings: "schemas",
  config: "schemas errors settings",
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
  producers: "sources fetch fleet rows runs outputs schemas storage redis errors logger retry",
  workers:
    "abortable sources fetch fleet rows runs outputs inference schemas storage redis errors logger software config:type regular-file",
  health: "errors",
  server:
    "abortable schemas producers fleet rows runs outputs fetch storage redis errors logger retry software config:type printable events webhooks health",
  events: "schemas producers runs fleet fetch storage redis errors logger retry config:type printable",
  webhooks: "schemas producers rows runs fetch storage redis errors logger retry config:type printable",
  // The entry point of the package. No area may import it.
  index: "node-version errors schemas producers",
  cli: "node-version printable schemas errors logger metrics software config redis storage fetch sources inference models fleet rows runs outputs producers workers retry server events webhooks health",
});

function parseMatrix(rows: Record<Area, string>) {
  const entries = Object.entries(rows).map(([area, row]) => {
    const words = row.split(" ").filter((word) => word !== "");
    const type = words.filter((word) => word.endsWith(":type")).map((word) => word.replace(":type", ""));
    return [area, { value: words.filter((word) => !word.endsWith(":type")), type }] as const;
  });
  return Object.fromEntries(entries);
}

/** The folders and files that may import each package. Null: all of them. */
const VENDORS: Record<string, string[] | null> = {
  zod: null,
  "@aws-sdk/client-s3": ["src/storage/s3/client.ts"],
  "@aws-sdk/client-sqs": ["src/events/"],
  fastify: ["src/server/"],
  "fastify-type-provider-zod": ["src/server/"],
  "@fastify/swagger": ["src/server/"],
  "@fastify/rate-limit": ["src/server/"],
  "@fastify/multipart": ["src/server/"],
  // The peer of @fastify/swagger and fastify-type-provider-zod.
  "openapi-types": ["src/server/"],
  bullmq: ["src/redis/", "src/runs/", "src/producers/", "src/workers/", "src/webhooks/"],
  ioredis: [
    ...["src/redis/", "src/fleet/", "src/runs/", "src/producers/", "src/workers/"],
    ...["src/server/", "src/events/", "src/webhooks/"],
  ],
  "onnxruntime-node": ["src/inference/onnx/session.ts", "src/inference/onnx/execution-providers.ts"],
  "@bufbuild/protobuf": ["src/inference/onnx/protobuf.ts"],
  sharp: ["src/inference/preprocess/image/decode-image.ts", "src/inference/preprocess/image/image-header.ts"],
  "@huggingface/tokenizers": ["src/inference/preprocess/text/tokenizer.ts"],
  // Both sides of two kinds of threads.
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

export function importMatrix(modules: readonly Module[]): string[] {
  return modules.flatMap(({ path, imports, hiddenImports }) => {
    const area = areaOf(path);
    const may = MATRIX[area];
    if (!may) return [`${path}: ${area} is not in the matrix: add the areas that it may import`];
    const hidden = hiddenImports.map(
      (line) => `${path}:${line}: the target of this import is computed: write it as a string`,
    );
    const found = imports.flatMap(({ specifier, kind, line }) => {
      const target = targetOf(path, specifier);
      if (target === undefined) return [];
      if (!target.startsWith("src/")) return `${path}:${line}: ${specifier} is outside src`;
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
  return [...misplaced, ...unknown.map((name) => `${name} is not in VENDORS: add the files that may import it`)];
}

/** Threads that are terminated while running. Terminating one with an ONNX session aborts the process. */
const TERMINATED_THREADS = ["src/inference/preprocess/prepare-thread.ts"];

/** Packages whose native code must not run in a terminated thread. */
const NOT_IN_TERMINATED = ["onnxruntime-node"];

/** Imports, also indirect ones, of a package that a terminated thread must not have. */
export function terminatedThreads(modules: readonly Module[]): string[] {
  const byPath = new Map(modules.map((module) => [module.path, module]));
  return TERMINATED_THREADS.flatMap((thread) => {
    const found: string[] = [];
    const seen = new Set<string>();
    const visit = (path: string): void => {
      if (seen.has(path)) return;
      seen.add(path);
      for (const { specifier, kind, line } of byPath.get(path)?.imports ?? []) {
        if (kind === "type") continue;
        const target = targetOf(path, specifier);
        if (target !== undefined) visit(target);
        else if (NOT_IN_TERMINATED.includes(packageOf(specifier)))
          found.push(
            `${path}:${line}: ${specifier} is reached from ${thread}, a thread that is terminated while running`,
          );
      }
    };
    visit(thread);
    return found;
  });
}

/** Files that only some files may import, except for types. */
const RESTRICTED: Record<string, { by: string[]; why: string }> = {
  "src/inference/preprocess/text/tokenizer.ts": {
    by: ["src/inference/preprocess/prepare-thread.ts"],
    why: "a regular expression of a model may never end: use the prepare pool, or encodeOnce",
  },
};

export function restrictedFiles(modules: readonly Module[]): string[] {
  return modules.flatMap(({ path, imports }) =>
    imports.flatMap(({ specifier, kind, line }) => {
      const target = targetOf(path, specifier);
      const restricted = target === undefined ? undefined : RESTRICTED[target];
      if (kind === "type" || !restricted || restricted.by.includes(path)) return [];
      return `${path}:${line}: ${target} is only for ${restricted.by.join(", ")}: ${restricted.why}`;
    }),
  );
}

/** Names of packages that only one file may import, except for types. `*` is any name. */
const ONE_PLACE: { package: string; names: string[]; place: string; why: string }[] = [
  {
    package: "ioredis",
    names: ["*"],
    place: "src/redis/connect.ts",
    why: "ioredis prints an `error` without a listener: use connectRedis or openRedis",
  },
  {
    package: "bullmq",
    names: ["Worker", "QueueEvents", "FlowProducer"],
    place: "src/runs/queues/queue-worker.ts",
    why: "an `error` without a listener ends the process: use QueueWorker",
  },
  {
    package: "bullmq",
    names: ["Queue"],
    place: "src/runs/queues/queue.ts",
    why: "an `error` without a listener ends the process: use openQueue",
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
      // A computed name may be any name.
      const place = name === "[…]" ? "nowhere" : allowed[name];
      return place === undefined || place === path ? [] : `${path}:${line}: process.${name} belongs in ${place}`;
    }),
  );
}

/** Import cycles, each once. Imports of types and `import()` count too, since code in a cycle can only be understood as a whole. */
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
