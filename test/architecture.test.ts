import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  type Area,
  cycles,
  importMatrix,
  MATRIX,
  onePlace,
  processAccess,
  restrictedFiles,
  terminatedThreads,
  vendors,
} from "./helpers/rules/architecture-rules.ts";
import { absolutePaths, fileForm, fileOpenings, folderSizes } from "./helpers/rules/file-rules.ts";
import { parseModules } from "./helpers/rules/modules.ts";
import {
  inexactVersions,
  lockAddresses,
  type Manifest,
  undeclaredImports,
  unusedDependencies,
} from "./helpers/rules/package-rules.ts";
import { trackedFiles } from "./helpers/rules/tracked-files.ts";

const root = join(import.meta.dirname, "..");

const tracked = trackedFiles(root);
/** Without declaration files, which are generated. */
const code = tracked.filter(({ path }) => /(?<!\.d)\.ts$|\.mjs$/.test(path));
const modules = parseModules(code);
const sources = modules.filter(({ path }) => path.startsWith("src/"));
const manifest: Manifest = JSON.parse(read("package.json"));

function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** Parsed sample files, as texts by path, to show that a rule finds violations. */
function sample(files: Record<string, string>) {
  return parseModules(Object.entries(files).map(([path, text]) => ({ path, text })));
}

/** Checks that a rule finds nothing in this tree, and exactly `expected` in samples that break it. */
function checkRule(
  name: string,
  violations: string[],
  samples: () => [found: string[], expected: (string | RegExp)[]][],
) {
  test(name, () => {
    assert.deepEqual(violations, [], `\n${violations.join("\n")}`);
  });
  test(`${name}: samples that break this rule fail`, () => {
    for (const [found, expected] of samples()) {
      assert.equal(found.length, expected.length, found.join("\n"));
      for (const [i, pattern] of expected.entries()) assert.match(found[i]!, new RegExp(pattern));
    }
  });
}

test("the checks read sources and tests", () => {
  assert.ok(sources.length > 20);
  assert.ok(modules.some(({ path }) => path.startsWith("test/")));
});

checkRule("each area imports only the areas that the matrix allows", importMatrix(sources), () => [
  [
    importMatrix(
      sample({
        "src/workers/a.ts": `import { plan } from "../producers/planner.ts";`,
        "src/producers/a.ts": `export * from "../workers/worker.ts";`,
        "src/schemas/a.ts": `type T = import("../errors.ts").T;`,
        "src/sources/a.ts": `const { a } = await import("../cli/a.ts");`,
        "src/redis/a.ts": `import { type Config } from "../config.ts";`,
        "src/drawer/a.ts": `import { LabelmillError } from "../errors.ts";`,
        "src/storage/a.ts": `import { a } from "../../scripts/setup.mjs";`,
        "src/storage/b.ts": `const name = "./a.ts"; await import(name); require("./a.ts");`,
        "src/cli/b.ts": `import { createProducer } from "../index.ts"; import type { Row } from "../index.ts";`,
        "src/index.ts": `export { startWorker } from "./workers/worker.ts";`,
      }),
    ),
    [
      "src/workers/a.ts:1: workers may not import producers",
      "src/producers/a.ts:1: producers may not import workers",
      "src/schemas/a.ts:1: schemas may not import errors",
      "src/sources/a.ts:1: sources may not import cli",
      "src/redis/a.ts:1: redis may import only types of config",
      "src/drawer/a.ts: drawer is not in the matrix",
      "src/storage/a.ts:1: .* is outside src",
      "src/storage/b.ts:1: .* is computed",
      "src/storage/b.ts:1: .* is computed",
      "src/cli/b.ts:1: cli may not import index",
      "src/cli/b.ts:1: cli may not import index",
      "src/index.ts:1: index may not import workers",
    ],
  ],
  [
    importMatrix(
      sample({
        "src/redis/a.ts": `// import { plan } from "../producers/planner.ts";
          import type { Config } from "../config.ts"; const text = \`\nimport { a } from "../cli/a.ts";\`;`,
        "src/cli/a.ts": `import { a } from "../workers/a.ts"; import { b } from "./b.ts"; import c from "node:fs";`,
      }),
    ),
    [],
  ],
]);

checkRule("each package is imported only in its files", vendors(sources, manifest), () => [
  [
    vendors(
      sample({
        "src/cli/a.ts": `import { Queue } from "bullmq"; import { Command } from "commander";`,
        "src/storage/a.ts": `import type { Redis } from "ioredis";`,
        "src/inference/preprocess/image/decode-image.ts": `import sharp from "sharp"; import { parse } from "commander/esm.mjs";`,
        "src/inference/b.ts": `const sharp = await import("sharp");`,
        "src/runs/a.ts": `import pino from "pino";`,
        "src/logger.ts": `import pino from "pino";`,
      }),
      { dependencies: { "left-pad": "1.0.0" } },
    ),
    [
      "src/cli/a.ts:1: bullmq belongs in src/redis/, src/runs/, src/producers/, src/workers/",
      "src/storage/a.ts:1: ioredis belongs in",
      "src/inference/preprocess/image/decode-image.ts:1: commander belongs in src/cli.ts, src/cli/",
      "src/inference/b.ts:1: sharp belongs in src/inference/preprocess/image/decode-image.ts",
      "src/runs/a.ts:1: pino belongs in src/logger.ts",
      "left-pad is not in VENDORS",
    ],
  ],
]);

checkRule("a thread that is terminated while running never has an ONNX session", terminatedThreads(sources), () => [
  [
    terminatedThreads(
      sample({
        "src/inference/preprocess/prepare-thread.ts": `import { a } from "../a.ts"; import type { B } from "./b.ts";`,
        "src/inference/a.ts": `import { prepare } from "./preprocess/prepare-thread.ts"; const c = await import("./c.ts");`,
        "src/inference/b.ts": `import { InferenceSession } from "onnxruntime-node";`,
        "src/inference/c.ts": `import { InferenceSession } from "onnxruntime-node";`,
      }),
    ),
    ["src/inference/c.ts:1: onnxruntime-node is reached from src/inference/preprocess/prepare-thread.ts"],
  ],
]);

checkRule("tokenizers run in threads that can be terminated", restrictedFiles(sources), () => [
  [
    restrictedFiles(
      sample({
        "src/inference/preprocess/prepare-thread.ts": `import { loadTokenizer } from "./text/tokenizer.ts";`,
        "src/inference/a.ts": `import type { EncodedTexts } from "./preprocess/text/tokenizer.ts";`,
        "src/cli/a.ts": `import { loadTokenizer } from "../inference/preprocess/text/tokenizer.ts";`,
      }),
    ),
    ["src/cli/a.ts:1: src/inference/preprocess/text/tokenizer.ts is only for"],
  ],
]);

checkRule("every connection and queue has an error listener", onePlace(sources), () => [
  [
    onePlace(
      sample({
        "src/redis/connect.ts": `import { Redis } from "ioredis";`,
        "src/redis/a.ts": `import type { Redis } from "ioredis"; import { type Redis as B } from "ioredis";`,
        "src/runs/a.ts": `import { Redis } from "ioredis"; import { type Job, Queue as Q } from "bullmq";`,
        "src/workers/a.ts": `import { Worker } from "bullmq"; import { type Worker as W, UnrecoverableError } from "bullmq";`,
        "src/workers/b.ts": `const { Queue } = await import("bullmq");`,
      }),
    ),
    [
      "src/runs/a.ts:1: .* of ioredis belongs in src/redis/connect.ts",
      "src/runs/a.ts:1: Queue of bullmq belongs in src/runs/queues/queue.ts",
      "src/workers/a.ts:1: Worker, .* of bullmq belongs in src/runs/queues/queue-worker.ts",
      "src/workers/b.ts:1: Worker, .* of bullmq belongs in src/runs/queues/queue-worker.ts",
      "src/workers/b.ts:1: Queue of bullmq belongs in src/runs/queues/queue.ts",
    ],
  ],
]);

checkRule("only config.ts reads the environment, and only cli.ts ends the process", processAccess(sources), () => [
  [
    processAccess(
      sample({
        "src/cli.ts": `process.exit(1); const home = process.env.HOME;`,
        "src/config.ts": `process.exit(1); const home = process.env.HOME;`,
        "src/a.ts": `const { env } = process; globalThis.process["exit"]; "process.env"; process.exitCode = 1;`,
        "src/b.ts": `import { env } from "node:process";`,
      }),
    ),
    [
      "src/cli.ts:1: process.env",
      "src/config.ts:1: process.exit",
      "src/a.ts:1: process.env",
      "src/a.ts:1: process.exit",
      "src/b.ts:1: process.env",
    ],
  ],
]);

checkRule("files that other programs can replace are opened with regular-file.ts", fileOpenings(sources), () => [
  [
    fileOpenings([
      { path: "src/sources/a.ts", text: `import { type Stats, open, stat } from "node:fs/promises";` },
      { path: "src/workers/a.ts", text: `import { readFileSync as read } from "node:fs"; import fs from "node:fs";` },
      { path: "src/storage/fs/atomic-write.ts", text: `import {\n  createReadStream,\n  open,\n} from "node:fs";` },
      { path: "src/fetch/a.ts", text: `import * as fs from "fs/promises";` },
      {
        path: "src/fetch/b.ts",
        text: `import { constants, realpath } from "node:fs"; import type { open } from "node:fs";`,
      },
      { path: "src/cli/a.ts", text: `import { readFile } from "node:fs/promises";` },
    ]),
    [
      "src/sources/a.ts: open of node:fs",
      "src/workers/a.ts: readFileSync of",
      "src/workers/a.ts: node:fs as a whole",
      "src/storage/fs/atomic-write.ts: createReadStream",
      "src/fetch/a.ts: node:fs as a whole",
    ],
  ],
]);

checkRule("there are no import cycles", cycles(sources), () => [
  [
    cycles(
      sample({
        "src/a/a.ts": `import { b } from "./b.ts";`,
        "src/a/b.ts": `import { c } from "../c.ts";`,
        "src/c.ts": `const { a } = await import("./a/a.ts");`,
        "src/d.ts": `import { a } from "./a/a.ts"; import type { E } from "./e.ts";`,
        "src/e.ts": `export { D } from "./d.ts";`,
        "src/self.ts": `import { x } from "./self.ts";`,
      }),
    ),
    ["src/a/a.ts → src/a/b.ts → src/c.ts → src/a/a.ts", "src/d.ts → src/e.ts → src/d.ts", "src/self.ts → src/self.ts"],
  ],
]);

checkRule("no folder has more than 15 source files", folderSizes(code), () => [
  [
    folderSizes([
      ...sample(Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`src/big/${i}.ts`, "export {};"]))),
      ...sample(Object.fromEntries(Array.from({ length: 15 }, (_, i) => [`src/big/sub/${i}.ts`, "export {};"]))),
    ]),
    ["src/big: 16 files"],
  ],
]);

checkRule(
  "there are no barrels except src/index.ts, no default exports and no files over 300 lines",
  fileForm(sources),
  () => [
    [
      fileForm(
        sample({
          "src/a.ts": `import { a } from "./b.ts"; export { a }; export * from "./c.ts";`,
          "src/b.ts": `export default function b() {}`,
          "src/c.ts": `function c() { switch (1) { default: } }\nexport { c as default };`,
          "src/d.ts": "\n".repeat(301),
          "src/e.ts": `${"\n".repeat(299)}export const e = 1;\n`,
          "src/f.ts": `export type { A } from "./a.ts"; export const f = 1;`,
          "src/f/index.ts": `export { a } from "../a.ts";`,
          "src/index.ts": `export { a } from "./a.ts"; export const b = 1;`,
        }),
      ),
      [
        ...["src/a.ts: .*barrel", "src/b.ts:1: .*default", "src/c.ts:2: .*default", "src/d.ts: 301 lines"],
        ...["src/f/index.ts: .*barrel", "src/index.ts: has code"],
      ],
    ],
    [fileForm(sample({ "src/index.ts": `import "./a.ts"; export { b, type C } from "./b.ts";` })), []],
  ],
);

const workspaces = Object.fromEntries(
  (manifest.workspaces ?? []).map((path): [string, Manifest] => [path, JSON.parse(read(`${path}/package.json`))]),
);
checkRule("every import is declared", undeclaredImports(modules, manifest, workspaces), () => [
  [
    undeclaredImports(
      sample({
        "src/a.ts": `import fc from "fast-check"; import fs from "fs"; import a from "zod/v4"; import b from "@scope/x/y";`,
        "test/a.ts": `import fc from "fast-check"; import type { C } from "left-pad"; import os from "node:os";`,
      }),
      { dependencies: { zod: "4.0.0" }, devDependencies: { "fast-check": "4.0.0" } },
    ),
    ["src/a.ts:1: fast-check .*dependencies", "src/a.ts:1: fs", "src/a.ts:1: @scope/x ", "test/a.ts:1: left-pad"],
  ],
  [
    undeclaredImports(
      sample({
        "scripts/docs/a.ts": `import { Application } from "typedoc"; import { z } from "zod";`,
        "scripts/a.ts": `import { Application } from "typedoc";`,
      }),
      { dependencies: { zod: "4.0.0" } },
      { "scripts/docs": { devDependencies: { typedoc: "0.28.0" } } },
    ),
    ["scripts/docs/a.ts:1: zod", "scripts/a.ts:1: typedoc"],
  ],
]);

checkRule("every dependency is used", unusedDependencies(modules, manifest, read("tsconfig.json")), () => [
  [
    unusedDependencies(
      sample({ "src/a.ts": `import { z } from "zod";`, "test/a.ts": `import sharp from "sharp";` }),
      { dependencies: { zod: "4.0.0", sharp: "1.0.0" }, devDependencies: { tap: "1.0.0", "@types/node": "24.0.0" } },
      `{"compilerOptions": {"types": []}}`,
    ),
    ["sharp", "tap", "@types/node"],
  ],
]);

checkRule("versions are exact", [manifest, ...Object.values(workspaces)].flatMap(inexactVersions), () => [
  [
    inexactVersions({
      dependencies: { a: "^1.0.0", b: "1.0.0", c: "1.0" },
      devDependencies: { d: "latest" },
      optionalDependencies: { e: "1.2.3-rc.1" },
      overrides: { f: ">=2.0.0" },
    }),
    ["a", "c", "d", "f"],
  ],
]);

checkRule(
  "the lock file names no host and has a hash for every package",
  lockAddresses(read("package-lock.json")),
  () => [
    [
      lockAddresses(
        JSON.stringify({
          packages: {
            "": {},
            "node_modules/a": { resolved: "https://registry.example/a.tgz", integrity: "sha512-x" },
            "node_modules/b": { version: "1.0.0" },
            "node_modules/c": { version: "1.0.0", integrity: "sha512-x" },
            "node_modules/d": { resolved: "scripts/d", link: true },
            "node_modules/e": { resolved: "../elsewhere", link: true },
            "scripts/d": { version: "0.0.0" },
          },
        }),
      ),
      ["node_modules/a: .*resolved", "node_modules/b: .*integrity", "node_modules/e: .*resolved"],
    ],
  ],
);

// Written in pieces, since these samples would otherwise violate the rule themselves.
const [home, users, drive] = [["", "home", "ann", "x"].join("/"), ["", "Users", "ann"].join("/"), "C:\\"];
checkRule("no file has a path of a developer's machine", absolutePaths(tracked, root), () => [
  [
    absolutePaths(
      [
        { path: "a.md", text: `one\nsee ${home}` },
        { path: "b.ts", text: `"${users}/x"; "${drive}Users\\ann"; ` },
        { path: "c.sh", text: "cd /check/out/here/src" },
        { path: "d.md", text: "https://example.org/home/ann ./home/x /check/out/hereafter" },
      ],
      "/check/out/here",
    ),
    ["a.md:2", "b.ts:1", "c.sh:1"],
  ],
]);

test("the matrix has no cycle, except for types", () => {
  const seen = new Set<Area>();
  const visit = (area: Area, path: Area[]) => {
    assert.ok(!path.includes(area), [...path, area].join(" → "));
    if (seen.has(area)) return;
    for (const next of MATRIX[area]!.value) visit(next, [...path, area]);
    seen.add(area);
  };
  for (const area of Object.keys(MATRIX)) if (area !== "cli") visit(area, []);
});
