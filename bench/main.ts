import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readEnvironment } from "../src/config.ts";
import { LabelmillError, messageOf } from "../src/errors.ts";
import { startTestS3 } from "../test/helpers/s3-server.ts";
import { measureEmptySlices } from "./empty-slices.ts";
import { type Benchmark, figuresOf } from "./figures.ts";
import { measureLatency } from "./latency.ts";
import { describeMachine, describeVersions, type Machine } from "./machine.ts";
import { type Measured, measure } from "./measure.ts";
import { measureMemory } from "./memory.ts";
import { openModel } from "./models.ts";
import { type BenchOptions, readOptions, USAGE } from "./options.ts";
import { redisVersion } from "./redis.ts";
import { reportOf } from "./report.ts";
import { measureStartup } from "./startup.ts";
import { measureThroughput } from "./throughput.ts";

const DOCS = fileURLToPath(new URL("../docs/benchmarks.md", import.meta.url));
const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

// The first signal ends the processes of the two sides and cleans up; the second ends this one at once.
const interrupted = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.once(name, () => interrupted.abort(new Error(`interrupted by ${name}`)));
}

try {
  const options = readOptions(process.argv.slice(2));
  if (options) await bench(options, interrupted.signal);
  else process.stdout.write(USAGE);
} catch (error) {
  const { signal } = interrupted;
  const code = error instanceof LabelmillError ? error.code : undefined;
  process.stderr.write(`bench: ${messageOf(signal.aborted ? signal.reason : error)}\n`);
  if (code === "USAGE") process.stderr.write(`\n${USAGE}`);
  const asked = code === "USAGE" || code === "MODEL_NOT_FOUND" || code === "MODEL_INVALID";
  process.exitCode = signal.aborted ? EXIT.interrupted : asked ? EXIT.usage : EXIT.failed;
}

async function bench(options: BenchOptions, signal: AbortSignal): Promise<void> {
  const machine = describeMachine();
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  if (options.quick) say("--quick: rough and short, to see that all runs");
  // A model that cannot be loaded is told before the first one is measured.
  for (const model of options.models) await openModel(model);
  const folder = await realpath(await mkdtemp(join(readEnvironment().temporaryDir, "labelmill-bench-")));
  try {
    await tell(await measureParts(machine, folder, options, say, signal), options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measureParts(
  machine: Machine,
  folder: string,
  options: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Benchmark> {
  const { parts, command, quick, rounds, seconds } = options;
  const at = (name: string) => join(folder, name);
  const rest = [options, say, signal] as const;
  const redis = await redisVersion();
  const models: Measured[] = [];
  for (const [index, model] of options.models.entries())
    if (parts.has("models")) models.push(await measure(model, at(String(index)), ...rest));
  if (parts.has("startup")) say("start of the command");
  const startup = parts.has("startup") ? await measureStartup(folder, options.starts, signal) : undefined;

  await using open = new AsyncDisposableStack();
  // Not before it is needed, and before the processes that need it: they find its keys in the environment.
  const s3 = parts.has("latency") || parts.has("throughput") ? open.use(await startTestS3()) : undefined;
  const place = s3 && { settings: s3.settings, bucket: await s3.makeBucket() };
  const latency = parts.has("latency") ? await measureLatency(at("latency"), place!, ...rest) : undefined;
  const throughput = parts.has("throughput") ? await measureThroughput(at("throughput"), place!, ...rest) : undefined;
  await open.disposeAsync();
  const emptySlices = parts.has("slices") ? await measureEmptySlices(at("slices"), ...rest) : undefined;
  const memory = parts.has("memory") ? await measureMemory(at("memory"), ...rest) : undefined;
  const date = new Date().toISOString();
  const versions = describeVersions({ redis, ...(s3 ? { s3: s3.name.replace(/[ ,] ?[(w].*/, "") } : {}) });
  const service = { latency, throughput, emptySlices, memory };
  return { date, command, quick, rounds, seconds, machine, versions, models, startup, ...service };
}

async function tell(benchmark: Benchmark, { json, docs }: BenchOptions): Promise<void> {
  const { date, command, machine, versions } = benchmark;
  const report = reportOf(benchmark);
  process.stdout.write(report);
  if (docs) await mkdir(join(DOCS, ".."), { recursive: true });
  if (docs) await writeFile(DOCS, report);
  const figures = figuresOf(benchmark);
  if (json) await writeFile(json, `${JSON.stringify({ date, command, machine, versions, figures }, undefined, 2)}\n`);
}
