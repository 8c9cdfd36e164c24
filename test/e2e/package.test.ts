import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";
import { after, before, test } from "node:test";

const root = join(import.meta.dirname, "..", "..");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

const folder = mkdtempSync(join(tmpdir(), "package-"));
const project = join(folder, "project");
const bin = join(project, "node_modules", ".bin");
const temporary = join(folder, "tmp");
after(() => rmSync(folder, { recursive: true, force: true }));

/** The caller's environment without the variables that npm sets for scripts of a project. */
const env: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_(package|lifecycle|command|config_(local_)?prefix)/.test(name)),
);
// The command must disable telemetry itself.
delete env.ORT_DISABLE_TELEMETRY;
// The package runs with the host's Node, not with the one in the checkout's `.bin`.
env.PATH = [bin, dirname(process.execPath), env.PATH].join(delimiter);

function run(
  command: string,
  args: string[],
  { cwd, input = "", tmp = tmpdir() }: { cwd: string; input?: string; tmp?: string },
) {
  const options = { cwd, input, env: { ...env, TMPDIR: tmp }, encoding: "utf8" } as const;
  const { status, stdout, stderr, error } = spawnSync(command, args, options);
  if (error) throw error;
  return { status, stdout, stderr };
}

function npm(args: string[], cwd: string): string {
  const { status, stdout, stderr } = run("npm", args, { cwd });
  assert.equal(status, 0, stderr);
  return stdout;
}

// The tests pack a copy, so that no dist/ is built in the checkout.
before(() => {
  const checkout = join(folder, "checkout");
  const left = new Set(["node_modules", ".git", "dist", ".labelmill"]);
  cpSync(root, checkout, { recursive: true, filter: (path) => !left.has(basename(path)) });
  symlinkSync(join(root, "node_modules"), join(checkout, "node_modules"));
  // .npmrc disables scripts, also the package's own prepack, so the command enables them.
  npm(["pack", "--ignore-scripts=false", "--pack-destination", folder], checkout);
  mkdirSync(project);
  mkdirSync(temporary);
  const tarball = join(folder, `labelmill-${version}.tgz`);
  npm(
    ["install", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", project, tarball],
    project,
  );
});

test("the package has the files to run, and none of the development", () => {
  const installed = join(project, "node_modules", "labelmill");
  const entries = readdirSync(installed);
  for (const name of [
    "bin",
    "dist",
    "models",
    "examples",
    "infra",
    "docs",
    "LICENSE",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
  ]) {
    assert.ok(entries.includes(name), `${name} is missing`);
  }
  for (const name of ["src", "test", "scripts", "bench"]) assert.ok(!entries.includes(name), `${name} is packed`);
  const dist = readdirSync(join(installed, "dist"), { recursive: true, encoding: "utf8" });
  assert.ok(dist.includes("cli.js") && dist.includes("cli.d.ts"));
  assert.deepEqual(
    dist.filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts")),
    [],
  );
});

test("the package installs no Node", () => {
  assert.deepEqual(
    readdirSync(bin).filter((name) => /^(node|npm|npx)$/.test(name)),
    [],
  );
  assert.deepEqual(
    readdirSync(join(project, "node_modules")).filter((name) => name.startsWith("node-linux")),
    [],
  );
});

test("the package has every file that its pages link to", () => {
  const installed = join(project, "node_modules", "labelmill");
  const pages = readdirSync(installed, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".md"));
  const links = pages.flatMap((page) =>
    [...readFileSync(join(installed, page), "utf8").matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
      .map(([, link]) => link!)
      .filter((link) => !/^[a-z]+:/.test(link))
      .map((link) => ({ page, link, target: join(installed, dirname(page), link) })),
  );
  assert.ok(links.length > 20, `${links.length} links in ${pages.length} pages`);
  assert.deepEqual(
    links.filter(({ target }) => !target.startsWith(installed) || !existsSync(target)),
    [],
  );
  // The pages use this file in a command, without a link.
  assert.ok(existsSync(join(installed, "docker-compose.yml")));
});

test("labelmill --version prints the version of the package", () => {
  const { status, stdout, stderr } = run(join(bin, "labelmill"), ["--version"], { cwd: project });
  assert.equal(status, 0, stderr);
  assert.match(stdout, new RegExp(`^(labelmill )?${version.replaceAll(".", "\\.")}\n$`));
});

test("the package labels three texts from standard input", () => {
  const texts = [
    "I love this kettle, it is wonderful.",
    "Broke after a day, a terrible waste of money.",
    "Great value!",
  ];
  const { status, stderr } = run(
    join(bin, "labelmill"),
    ["label", "text", "--model", "tiny-sentiment", "-", "--out", "out", "--json"],
    {
      cwd: project,
      tmp: temporary,
      input: `${texts.join("\n")}\n`,
    },
  );
  assert.equal(status, 0, stderr);
  const out = join(project, "out");
  const files = readdirSync(out);
  for (const name of ["_run.json", "_parts.jsonl", "_manifest.json", "_SUCCESS"]) assert.ok(files.includes(name), name);
  const rows = files
    .filter((name) => name.startsWith("part-"))
    .sort()
    .flatMap((name) => readFileSync(join(out, name), "utf8").trimEnd().split("\n"))
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    rows.map(({ label, source }) => [source.record, label]),
    [
      [0, "POSITIVE"],
      [1, "NEGATIVE"],
      [2, "POSITIVE"],
    ],
  );
  assert.deepEqual(readdirSync(temporary), [], "nothing is left in the temporary folder");
  for (const { score } of rows) assert.ok(score > 0.5 && score <= 1);
  assert.equal(run(join(bin, "labelmill"), ["verify", "out"], { cwd: project }).status, 0);
});

test("the declared types and schemas can be imported", () => {
  const code = `import { RowSchema } from "labelmill/schemas/row"; console.log(typeof RowSchema.parse);`;
  const { stdout, stderr } = run(process.execPath, ["--input-type=module", "-e", code], { cwd: project });
  assert.equal(stdout, "function\n", stderr);
});

test("the library can be imported", () => {
  const code = `import { createProducer, ERROR_CODES, LabelmillError, parseEvent } from "labelmill";
    const options = { redisUrl: "redis://127.0.0.1:1", output: "s3://bucket/" };
    const error = await createProducer(options).catch((error) => error);
    console.log(error instanceof LabelmillError, error.code, ERROR_CODES.includes(error.code), parseEvent("{}"));`;
  const { stdout, stderr } = run(process.execPath, ["--input-type=module", "-e", code], { cwd: project });
  assert.equal(stdout, "true REDIS_UNREACHABLE true undefined\n", stderr);
});

test("the library has types, and its users need no other import", () => {
  const files = {
    "right.mts": `import { createProducer, LabelmillError } from "labelmill";
      import type { ErrorCode, LabelEvent, Producer, ProducerOptions, Row, Run, RunResult, Submission } from "labelmill";
      const options: ProducerOptions = { redisUrl: "redis://127.0.0.1", output: "s3://bucket/", sliceItems: 10 };
      const submission: Submission = { model: "m", texts: ["a", { text: "b", id: "7", input: { sku: 12 } }], topK: 2 };
      export async function label(): Promise<[RunResult, Row[]]> {
        await using producer: Producer = await createProducer(options);
        const stop = await producer.subscribe(({ id, items = [] }: LabelEvent) => [id, ...items.map(labelOf)].join());
        const run: Run = await producer.submit(submission);
        const rows: Row[] = [];
        for await (const row of run.rows()) rows.push(row);
        stop();
        return [await run.wait(), rows];
      }
      export const labelOf = (row: Row): string => ("error" in row ? row.error.code : row.labels[0]!.label);
      export const codeOf = (e: unknown): ErrorCode | undefined => (e instanceof LabelmillError ? e.code : undefined);`,
    // If a type were `any`, its line would compile.
    "wrong.mts": `import { createProducer, LabelmillError, type Row } from "labelmill";
      const producer = await createProducer({ output: "s3://bucket/" });
      const run = await producer.submit({ model: "m" });
      export const state: "unknown" = (await run.wait()).state;
      export const label = (row: Row) => row.label;
      export const code: "UNKNOWN" = new LabelmillError("USAGE", "m").code;`,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(project, name), text);
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const flags = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2024", "--types", ""];
  const check = (name: string) => {
    const lib = ["--lib", "es2024,esnext.disposable"];
    return run(process.execPath, [tsc, ...flags, ...lib, "--pretty", "false", name], { cwd: project }).stdout;
  };
  assert.equal(check("right.mts"), "");
  const lines = [...check("wrong.mts").matchAll(/^wrong\.mts\((\d+),/gm)].map(([, line]) => Number(line));
  assert.deepEqual(lines, [2, 3, 4, 5, 6]);
});

const fakeOldNode = `data:text/javascript,${encodeURIComponent(
  `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.20.2" } })`,
)}`;

test("an old Node gets a one-line error", () => {
  const { status, stderr } = run(process.execPath, ["--import", fakeOldNode, join(bin, "labelmill"), "--version"], {
    cwd: project,
  });
  assert.equal(status, 1);
  assert.equal(stderr, "labelmill needs Node 24 or newer, got Node 20.20.2: install a newer version.\n");
});

test("an old Node gets the same error from the library, before any of its code runs", () => {
  const code = `await import("labelmill").catch(({ message }) => console.log(message));`;
  const args = ["--import", fakeOldNode, "--input-type=module", "-e", code];
  const { stdout, stderr } = run(process.execPath, args, { cwd: project });
  assert.equal(stdout, "labelmill needs Node 24 or newer, got Node 20.20.2: install a newer version.\n", stderr);
});
