import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { prepareProcess, readEnvironment } from "../src/config.ts";
import { LabelmillError, messageOf } from "../src/errors.ts";
import { measureBulk } from "./bulk/bulk.ts";
import { measureEngine } from "./engine/engine.ts";
import { openModel } from "./inputs/models.ts";
import { type BenchOptions, readOptions, USAGE } from "./options.ts";
import { redisVersion } from "./processes/redis.ts";
import { Collected } from "./report/collected.ts";
import { type Benchmark, figuresOf } from "./report/figures.ts";
import { describeMachine, describeVersions } from "./report/machine.ts";
import { reportOf } from "./report/report.ts";
import { measureService } from "./service/service.ts";

const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

// The processes that this one starts inherit its environment.
prepareProcess();

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
  if (options.quick) say("--quick: rough and short, to see that everything runs");
  // A model that cannot be loaded is reported before the first one is measured.
  for (const model of options.models) await openModel(model);
  const folder = await realpath(await mkdtemp(join(readEnvironment().temporaryDir, "labelmill-bench-")));
  try {
    const redis = await redisVersion();
    const collected = new Collected(signal);
    await measureEngine(collected, folder, options, say, signal);
    const servers = { redis, ...(await measureService(collected, folder, options, say, signal)) };
    await measureBulk(collected, folder, options, say, signal);
    const { command, quick, rounds, seconds } = options;
    const { engine, service, bulk, missing, failed } = collected;
    const about = { date: new Date().toISOString(), command, quick, rounds, seconds };
    await publish({ ...about, machine, versions: describeVersions(servers), engine, service, bulk, missing }, options);
    if (failed) process.exitCode = EXIT.failed;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function publish(benchmark: Benchmark, { json, docs }: BenchOptions): Promise<void> {
  const { date, command, quick, machine, versions } = benchmark;
  const report = reportOf(benchmark);
  process.stdout.write(report);
  if (docs) await writeFile(docs, report);
  const figures = figuresOf(benchmark);
  const all = { date, command, quick, machine, versions, figures };
  if (json) await writeFile(json, `${JSON.stringify(all, undefined, 2)}\n`);
}
