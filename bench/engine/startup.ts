import { spawn } from "node:child_process";
import { once } from "node:events";
import { watch } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { readEnvironment } from "../../src/config.ts";
import { unmarked } from "../report/measure.ts";
import { summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";

const CLI = fileURLToPath(new URL("../../src/cli.ts", import.meta.url));
const MODEL = "tiny-sentiment";
const PART = /^part-\d{7}-[0-9a-f]{8}\.jsonl$/;

/** Starts the command `starts` times, one after the other, after one start that is not counted. */
export async function measureStartup(
  folder: string,
  starts: number,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  say("start of the command");
  await mkdir(folder);
  const input = join(folder, "three.csv");
  await writeFile(input, "text\nA joy from the first page to the last.\nNever again.\nIt does what it says.\n");
  const times: { firstBatchMs: number; totalMs: number }[] = [];
  for (let start = 0; start <= starts; start++)
    times.push(await startOnce(input, join(folder, `started-${start}`), signal));
  const counted = times.slice(1);
  const firstBatch = summarize(counted.map((time) => time.firstBatchMs));
  const total = summarize(counted.map((time) => time.totalMs));
  return {
    title: "Start of the command",
    about: ["`labelmill label text` with three texts and the built-in model, from the start of the process."],
    measures: [
      unmarked("first batch labeled and in the output, ms", firstBatch, "startup_ms.first_batch"),
      unmarked("command ended, ms", total, "startup_ms.total"),
    ],
    details: [],
  };
}

async function startOnce(
  input: string,
  out: string,
  signal: AbortSignal,
): Promise<{ firstBatchMs: number; totalMs: number }> {
  await mkdir(out);
  const part = Promise.withResolvers<number>();
  const watcher = watch(out, (_event, name) => {
    if (PART.test(name ?? "")) part.resolve(performance.now());
  });
  try {
    const startedAt = performance.now();
    const command = spawn(process.execPath, [CLI, "label", "text", input, "--model", MODEL, "--out", out, "--json"], {
      stdio: ["ignore", "pipe", "pipe"],
      env: ownEnvironment(),
      signal,
    });
    let said = "";
    for (const stream of [command.stdout, command.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
    }
    const [code] = await once(command, "close");
    const endedAt = performance.now();
    if (code !== 0 || !(await readdir(out)).some((name) => PART.test(name))) {
      throw new Error(`label text: expected exit code 0 and a part, got ${code}: ${said}`);
    }
    return { firstBatchMs: (await part.promise) - startedAt, totalMs: endedAt - startedAt };
  } finally {
    watcher.close();
  }
}

/** The caller's environment without settings of ours: the command starts as it does on a fresh machine. */
function ownEnvironment(): Record<string, string | undefined> {
  const { variables } = readEnvironment();
  const ours = (name: string) =>
    name === "REDIS_URL" || (name.startsWith("LABELMILL_") && name !== "LABELMILL_CACHE_DIR");
  return Object.fromEntries(Object.entries(variables).filter(([name]) => !ours(name)));
}
