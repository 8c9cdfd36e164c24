import { WorkerRegistry } from "../../fleet/registry.ts";
import { unknownRun } from "../../producers/runs/unknown-run.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import type { RunOverview } from "../../runs/ledger/progress.ts";
import { openQueue } from "../../runs/queues/queue.ts";
import { droppedEvents } from "../../runs/queues/results-queue.ts";
import {
  DEAD_LETTER_QUEUE,
  JOB_VERSION,
  LANES,
  queueName,
  RESULTS_QUEUE,
  runsQueue,
  SERVED_JOB_VERSIONS,
} from "../../schemas/names.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { timeLeft } from "../terminal/progress.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { workerLines } from "./worker-lines.ts";

type Redis = Parameters<Parameters<typeof withRedis>[1]>[0];

const MOST_RUNS = 20;
/** Length of the reason of a failed run in a list, in UTF-16 code units. `run status` shows all of it. */
const MOST_REASON = 160;
const COUNTED = ["waiting", "prioritized", "active", "delayed", "failed"] as const;

/** Numbers of jobs in a queue. `waiting` counts all jobs that a worker can take. */
type QueueState = { queue: string; waiting: number; active: number; delayed: number; failed: number };

/** `labelmill status [RUN]`. @throws LabelmillError RUN_UNKNOWN */
export async function status(run: string | undefined, { config, terminal }: CommandContext): Promise<number> {
  await withRedis(lastingRedis(config), (redis) =>
    run === undefined ? showAll(redis, terminal) : showRun(run, new RunLedger(redis), terminal),
  );
  return EXIT.ok;
}

async function showAll(redis: Redis, terminal: Terminal): Promise<void> {
  const workers = await new WorkerRegistry(redis).workers();
  const runs = await new RunLedger(redis).runs(MOST_RUNS);
  const queues = await readQueues(redis, workers, runs);
  const events = { waiting: (await readQueue(redis, RESULTS_QUEUE)).waiting, dropped: await droppedEvents(redis) };
  const { waiting: deadLetters } = await readQueue(redis, DEAD_LETTER_QUEUE);
  if (terminal.json) return terminal.printJson({ workers, queues, runs, events, deadLetters });

  heading(terminal, "Workers", workers.length);
  for (const worker of workers) for (const line of workerLines(worker)) terminal.print(`  ${line}`);
  heading(terminal, "Queues", queues.length);
  for (const { queue, waiting, active, delayed, failed } of queues) {
    const more = [delayed > 0 ? `${delayed} delayed` : "", failed > 0 ? `${failed} failed` : ""].filter(Boolean);
    terminal.print(`  ${queue}: ${[`${waiting} waiting`, `${active} active`, ...more].join(", ")}`);
  }
  terminal.print(`  ${RESULTS_QUEUE}: ${events.waiting} events unread, ${events.dropped} dropped`);
  if (deadLetters > 0)
    terminal.print(terminal.style("red", `  ${DEAD_LETTER_QUEUE}: ${deadLetters} jobs that no worker could read`));
  heading(terminal, "Runs", runs.length);
  for (const each of runs) terminal.print(`  ${runLine(each, terminal)}`);
}

async function showRun(run: string, ledger: RunLedger, terminal: Terminal): Promise<void> {
  const overview = await ledger.overview(run);
  if (!overview) throw unknownRun(run);
  const [{ labels, errorCodes }, devices] = await Promise.all([ledger.counts(run), ledger.devices(run)]);
  if (terminal.json) return terminal.printJson({ ...overview, devices, labels, errorCodes });
  terminal.print(runLine(overview, terminal));
  terminal.print(`${overview.model.id}@${overview.model.digest.slice(0, 8)}, ${overview.lane}, to ${overview.output}`);
  for (const [device, why] of Object.entries(devices)) terminal.print(`on ${device}: ${why}`);
  if (overview.reason) terminal.print(terminal.style("red", overview.reason));
  const first = overview.reason ? "" : failureText(overview);
  if (overview.failed > 0)
    terminal.print(
      terminal.style("red", `${overview.failed} slices failed permanently${first && `, the first with ${first}`}`),
    );
  for (const [label, count] of byCount(labels)) terminal.print(`  ${label}: ${count}`);
  for (const [code, count] of byCount(errorCodes)) terminal.print(terminal.style("red", `  ${code}: ${count}`));
}

function failureText({ failure }: RunOverview): string {
  return failure ? `${failure.code}: ${failure.message}` : "";
}

export function runLine(run: RunOverview, terminal: Terminal): string {
  const { state, rows, items, slices, errors, rowsPerSecond } = run;
  const total = slices === undefined ? `${items}+` : String(items);
  const parts = [
    `${rows}/${total} rows`,
    rowsPerSecond > 0 ? `${rowsPerSecond.toFixed(rowsPerSecond < 10 ? 1 : 0)}/s` : "",
    timeLeft(run, rowsPerSecond),
    errors > 0 ? `${errors} in error` : "",
    run.failed > 0 ? `${run.failed} slices failed` : "",
    state === "failed" ? failureText(run).slice(0, MOST_REASON) : "",
  ];
  return `${run.run}  ${terminal.style("bold", state)}  ${parts.filter(Boolean).join(" · ")}  ${run.model.id}`;
}

async function readQueues(
  redis: Redis,
  workers: readonly WorkerInfo[],
  runs: readonly RunOverview[],
): Promise<QueueState[]> {
  const models = [...workers.flatMap((worker) => worker.models), ...runs.map(({ model }) => model)];
  const queues = await Promise.all(
    SERVED_JOB_VERSIONS.map(async (version) => {
      const names = models.flatMap((model) => LANES.map((lane) => queueName(model, lane, version)));
      const all = [...new Set([...names, runsQueue(version)])].sort();
      const found = await Promise.all(all.map((name) => readQueue(redis, name)));
      // Older queues are mentioned only while they have jobs.
      return version === JOB_VERSION ? found : found.filter((queue) => hasJobs(queue));
    }),
  );
  return queues.flat();
}

async function readQueue(redis: Redis, name: string): Promise<QueueState> {
  const queue = openQueue(redis, name);
  const counts = await queue.getJobCounts(...COUNTED);
  await queue.close();
  const number = (key: (typeof COUNTED)[number]) => counts[key] ?? 0;
  return {
    queue: name,
    waiting: number("waiting") + number("prioritized"),
    active: number("active"),
    delayed: number("delayed"),
    failed: number("failed"),
  };
}

function hasJobs({ waiting, active, delayed, failed }: QueueState): boolean {
  return waiting + active + delayed + failed > 0;
}

function heading(terminal: Terminal, title: string, count: number): void {
  terminal.print(terminal.style("bold", count === 0 ? `${title}: none` : `${title}:`));
}

function byCount(counts: Record<string, number>): [string, number][] {
  return Object.entries(counts).sort((a, b) => b[1] - a[1]);
}
