/**
 * Runs all checks of the project, or some: `npm test`, `npm test -- unit`, `npm test -- test/unit/errors.test.ts`.
 * Each group gets its own temporary folder and environment. A process or file that it leaves behind fails the group.
 * The last line is `N passed, N failed, N skipped`. The type check and the lint count as one check each.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { canSeeProcesses, kill, leftFiles, markedProcesses, sweepProcesses } from "./leaks.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const MINUTE = 60_000;

/** `testMs`: time limit of one test. `groupMs`: time limit of the group, reached only if it hangs. `s3`: it may start an S3 server. */
const GROUPS = [
  { name: "types", command: ["node_modules/typescript/bin/tsc", "--noEmit"], groupMs: 2 * MINUTE },
  { name: "lint", command: ["node_modules/@biomejs/biome/bin/biome", "check"], groupMs: MINUTE },
  {
    name: "architecture",
    paths: ["test/architecture.test.ts", "test/prose.test.ts"],
    concurrency: 1,
    testMs: 30_000,
    groupMs: MINUTE,
  },
  { name: "unit", paths: ["test/unit"], concurrency: 2, testMs: MINUTE, groupMs: 4 * MINUTE },
  {
    name: "integration",
    paths: ["test/integration"],
    concurrency: 2,
    testMs: 4 * MINUTE,
    groupMs: 25 * MINUTE,
    s3: true,
  },
  { name: "e2e", paths: ["test/e2e"], concurrency: 2, testMs: 4 * MINUTE, groupMs: 25 * MINUTE, s3: true },
];

/** The path of a unix socket has at most 108 bytes, so its folder must have a short path. */
const temporaryBase = tmpdir().length <= 20 ? tmpdir() : "/tmp";

/** The process of the running group. Signals are passed on to it. */
let running;
let interrupted;

/** The test files of a group. */
function filesOf({ paths }) {
  return paths.flatMap((path) => {
    const full = join(root, path);
    if (!existsSync(full)) return [];
    if (path.endsWith(".ts")) return [path];
    const names = readdirSync(full, { recursive: true }).filter((name) => name.endsWith(".test.ts"));
    return names.sort().map((name) => join(path, name));
  });
}

/** The groups to run: all, or the named groups and the groups of the named files. */
function select(names) {
  const all = GROUPS.map((group) => (group.paths ? { ...group, files: filesOf(group) } : group));
  if (names.length === 0) return all;
  const wanted = new Map();
  for (const name of names) {
    const file = relative(root, resolve(name));
    const group = all.find((each) => each.name === name) ?? all.find((each) => each.files?.includes(file));
    if (!group) {
      throw new Error(`expected a group (${all.map((each) => each.name).join(", ")}) or a test file, got ${name}`);
    }
    const files = group.name === name ? group.files : [...(wanted.get(group.name)?.files ?? []), file];
    wanted.set(group.name, { ...group, files });
  }
  return all.flatMap((group) => wanted.get(group.name) ?? []);
}

/** The environment of a group, without variables that would point tests to the caller's Redis or settings. */
function environment(marker, temporary, s3) {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("LABELMILL_") && name !== "REDIS_URL" && name !== "NODE_TEST_CONTEXT",
  );
  return {
    ...Object.fromEntries(kept),
    PATH: [join(root, "node_modules", ".bin"), process.env.PATH].join(delimiter),
    TMPDIR: temporary,
    LABELMILL_TEST_RUN: marker,
    ...(s3 ? { LABELMILL_TEST_S3: JSON.stringify(s3) } : {}),
    // For tests that load the inference library without our configuration. The package's test does not set it.
    ORT_DISABLE_TELEMETRY: "1",
    // Tests start hundreds of short commands, which spend half of their time on compiling modules.
    NODE_COMPILE_CACHE: join(root, "node_modules", ".cache", "tests"),
  };
}

function argumentsOf(group, report) {
  if (group.command) return group.command;
  return [
    "--test",
    `--test-concurrency=${group.concurrency}`,
    `--test-timeout=${group.testMs}`,
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    "--test-reporter=tap",
    `--test-reporter-destination=${report}`,
    ...group.files,
  ];
}

/** Runs node with `args`. Resolves to whether it succeeded, and why it had to be stopped. */
function runNode(args, env, group) {
  return new Promise((done, reject) => {
    const problems = [];
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ["ignore", "inherit", "inherit"] });
    running = child;
    // node:test limits the time of a test, but not of a file whose process does not end. End that process, and node:test continues.
    const timer = setTimeout(() => {
      const minutes = group.groupMs / MINUTE;
      const files = markedProcesses(env.LABELMILL_TEST_RUN).filter(({ parent }) => group.files && parent === child.pid);
      for (const { pid, command } of files) {
        problems.push(`did not end within ${minutes} min: ${command.split(" ").at(-1)}`);
        kill(pid);
      }
      if (files.length === 0) {
        problems.push(`did not end within ${minutes} min`);
        child.kill("SIGKILL");
      }
    }, group.groupMs);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      running = undefined;
      done({ ok: code === 0, problems });
    });
  });
}

/** The counts at the end of a TAP report; undefined if the run ended before it wrote them. */
function readCounts(report) {
  const text = existsSync(report) ? readFileSync(report, "utf8") : "";
  const found =
    /^# tests (\d+)\n# suites \d+\n# pass (\d+)\n# fail (\d+)\n# cancelled (\d+)\n# skipped (\d+)\n# todo (\d+)\n# duration_ms [\d.]+\s*$/m;
  const [, tests, pass, fail, cancelled, skipped, todo] = (found.exec(text) ?? []).map(Number);
  if (tests === undefined) return undefined;
  return { tests, passed: pass, failed: fail + cancelled, skipped: skipped + todo };
}

/** Runs one group and removes what it left behind. */
async function runGroup(group, s3) {
  const began = Date.now();
  console.log(`\n── ${group.name}${group.files ? ` (${group.files.length} files)` : ""} ──`);
  if (group.files?.length === 0) {
    return {
      name: group.name,
      passed: 0,
      failed: 1,
      skipped: 0,
      ms: 0,
      problems: [`no test in ${group.paths.join(", ")}`],
    };
  }
  const marker = randomBytes(12).toString("hex");
  const temporary = mkdtempSync(join(temporaryBase, "lm-"));
  const reports = mkdtempSync(join(temporaryBase, "lm-"));
  const report = join(reports, "report.tap");
  try {
    const { ok, problems } = await runNode(argumentsOf(group, report), environment(marker, temporary, s3), group);
    problems.push(...(await sweepProcesses(marker)), ...leftFiles(temporary));
    const counts = group.files ? readCounts(report) : { tests: 1, passed: Number(ok), failed: Number(!ok), skipped: 0 };
    if (counts === undefined) problems.push("ended before its report was complete");
    else if (counts.tests === 0) problems.push("ran no test");
    else if (!ok && counts.failed === 0) problems.push("failed outside of its tests");
    const { passed = 0, failed = 0, skipped = 0 } = counts ?? {};
    return { name: group.name, passed, failed: failed + problems.length, skipped, ms: Date.now() - began, problems };
  } finally {
    rmSync(temporary, { recursive: true, force: true });
    rmSync(reports, { recursive: true, force: true });
  }
}

/** Chooses or starts the S3 server before the tests, so that no test waits for it and all tests use the same one. */
async function chooseS3() {
  const { chooseS3Server } = await import("../test/helpers/servers/s3-choice.ts");
  const choice = await chooseS3Server(process.env, console.log);
  console.log(`S3 for the tests: ${choice.name}`);
  if (choice.kind === "fauxqs") {
    console.log("TESTS OF CONDITIONAL WRITES ARE SKIPPED: install Python 3 with venv, or SeaweedFS (weed on the PATH)");
    if (process.env.LABELMILL_TEST_S3_NEEDED)
      throw new Error("LABELMILL_TEST_S3_NEEDED: expected an S3 server with conditional writes, found none");
  }
  return choice;
}

function summarize(results) {
  console.log("\n── summary ──");
  for (const { name, passed, failed, skipped, ms, problems } of results) {
    const state = failed === 0 ? "ok    " : "FAILED";
    console.log(`${state} ${name.padEnd(13)}${countsIn({ passed, failed, skipped })} in ${(ms / 1000).toFixed(1)} s`);
    for (const problem of problems) console.log(`         ${problem}`);
  }
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  const totals = { passed: sum("passed"), failed: sum("failed"), skipped: sum("skipped") };
  console.log(`\n${countsIn(totals)}`);
  return totals.failed === 0;
}

function countsIn({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

async function main() {
  if (Number(process.versions.node.split(".")[0]) < 24)
    throw new Error("run it with `npm test`, which installs and uses Node 24");
  const groups = select(process.argv.slice(2));
  console.log(`node ${process.version}, ${process.platform} ${process.arch}`);
  console.log(
    existsSync(join(root, "..", "shared"))
      ? "../shared exists: tests that need its data run"
      : "../shared does not exist beside the project: tests that need its data are skipped",
  );
  const s3 = groups.some((group) => group.s3) ? await chooseS3() : undefined;
  if (!canSeeProcesses) console.log("processes left behind are detected on Linux only");
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.on(signal, () => {
      interrupted = signal;
      running?.kill(signal);
    });
  }
  const results = [];
  for (const group of groups) {
    results.push(await runGroup(group, group.s3 ? s3 : undefined));
    if (interrupted) break;
  }
  const ok = summarize(results);
  process.exitCode = interrupted === "SIGINT" ? 130 : interrupted ? 143 : ok ? 0 : 1;
}

main().catch((error) => {
  console.error(`test: ${error.message}`);
  process.exitCode = 2;
});
