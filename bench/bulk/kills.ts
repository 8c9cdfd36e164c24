import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { jsonOf, type RunningCommand, Workspace } from "../../test/helpers/cli.ts";
import { writeTexts } from "../../test/helpers/runs/pipeline.ts";
import { randomFrom, SEED } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { DurableRedis } from "../processes/durable-redis.ts";
import { unmarked } from "../report/measure.ts";
import { summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";

/** Used in turn; the last one kills all of them. */
const VICTIMS = ["planner", "worker", "Redis", "all three"] as const;
type Victim = (typeof VICTIMS)[number];
type Death = { victim: Victim; atMs: number };
type Outcome = { verified: boolean; why: string };

const MODEL = "tiny-sentiment";
const MOMENTS = 20;
const QUICK_MOMENTS = 4;
const TEXTS = 4_000;
const SLICE_ITEMS = 50;
/** A command that lost Redis or was killed is run again, as a user or a supervisor does. */
const MOST_COMMANDS = 5;
/** Shorter than the default, so that twenty runs do not wait twenty times. */
const LOCKS = { LABELMILL_LOCK_MS: "1000", LABELMILL_STALL_CHECK_MS: "500", LABELMILL_BACKOFF_MS: "100" };

/** Runs in which planner, worker or Redis is killed at a random moment; what was killed is started again, and the output is verified. */
export async function measureKills(
  _folder: string,
  { quick }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  const moments = quick ? QUICK_MOMENTS : MOMENTS;
  const random = randomFrom(SEED);
  say(`kills: a run without a kill (seed of the moments: ${SEED})`);
  const first = await oneRun(undefined, signal);
  if (!first.outcome.verified) throw new Error(`the run without a kill: ${first.outcome.why}`);
  const rows: string[][] = [];
  let verified = 0;
  while (rows.length < moments) {
    signal.throwIfAborted();
    const victim = VICTIMS[rows.length % VICTIMS.length]!;
    const atMs = random() * first.ms;
    const { hit, outcome } = await oneRun({ victim, atMs }, signal);
    // It was faster than the first one and ended before the kill.
    if (!hit) continue;
    if (outcome.verified) verified += 1;
    rows.push([
      String(rows.length + 1),
      victim,
      number(atMs / 1000),
      outcome.verified ? "verified" : `**${outcome.why}**`,
    ]);
    say(`kills: ${rows.length} of ${moments}: ${victim} after ${(atMs / 1000).toFixed(2)} s: ${outcome.why}`);
  }
  return {
    title: "Runs under `kill -9`",
    about: [
      `Runs of ${number(TEXTS)} texts in slices of ${SLICE_ITEMS} with ${MODEL}. The command \`label text\` plans, a \`labelmill worker\` labels, and Redis keeps an append-only file (\`everysec\`).`,
      `A run without a kill takes ${number(first.ms / 1000)} s. At a random moment of that time (seed ${SEED}), one of the three processes, or all of them, gets \`SIGKILL\`.`,
      "It is started again (Redis with its file), and the command is run again if it ended. Then `labelmill verify` has to prove the complete output.",
      "The job lock duration is 1 s, so that other workers take over soon.",
    ],
    measures: [
      unmarked(
        `verified runs, of ${moments}`,
        summarize([verified]),
        moments === MOMENTS ? `runs_verified.of_${MOMENTS}` : undefined,
      ),
    ],
    details: [
      {
        about: "Which process was killed, and when, in seconds from the start of the run:",
        table: { head: ["", "killed", "after, s", ""], rows },
      },
    ],
  };
}

/** @returns how long the run took, from its first output to its end, and whether the kill came before that end */
async function oneRun(
  death: Death | undefined,
  signal: AbortSignal,
): Promise<{ ms: number; hit: boolean; outcome: Outcome }> {
  await using work = await Workspace.open();
  await using redis = await DurableRedis.start(work.file("redis"));
  const env = { ...LOCKS, REDIS_URL: redis.url, LABELMILL_FILE_ROOTS: work.path };
  const input = await writeTexts(work.file("texts.csv"), TEXTS);
  const out = join(work.path, "out");
  const startWorker = async () => {
    const worker = work.start(["worker", "--models", MODEL], { env });
    await worker.says("Serving");
    return worker;
  };
  const args = ["label", "text", "--model", MODEL, input, "--out", out, "--shared-files"];
  const startCommand = () => work.start([...args, "--slice-items", String(SLICE_ITEMS), "--queue-anyway"], { env });
  const worker = await startWorker();
  let command = startCommand();
  const stop = () => void command.child.kill("SIGKILL");
  signal.addEventListener("abort", stop, { once: true });
  await command.says("Run ");
  const startedAt = performance.now();
  let hit = false;
  if (death) {
    const early = await Promise.race([command.ended.then(() => true), delay(death.atMs, false)]);
    hit = !early;
  }
  if (death && hit) await killAndRestart(death.victim, { command, worker, redis, startWorker });
  for (let commands = 1; (await command.ended).code !== 0; commands++) {
    signal.throwIfAborted();
    const { code, stderr } = await command.ended;
    if (commands === MOST_COMMANDS)
      return { ms: 0, hit, outcome: { verified: false, why: `the command ended with ${code}: ${lastLine(stderr)}` } };
    command = startCommand();
  }
  const ms = performance.now() - startedAt;
  signal.removeEventListener("abort", stop);
  return { ms, hit, outcome: await verify(work, out) };
}

type Living = {
  command: RunningCommand;
  worker: RunningCommand;
  redis: DurableRedis;
  startWorker: () => Promise<RunningCommand>;
};

async function killAndRestart(victim: Victim, { command, worker, redis, startWorker }: Living): Promise<void> {
  const dies = (one: Victim) => victim === one || victim === "all three";
  if (dies("planner")) command.child.kill("SIGKILL");
  if (dies("worker")) worker.child.kill("SIGKILL");
  if (dies("Redis")) await redis.kill();
  if (dies("Redis")) await redis.start();
  if (dies("worker")) await startWorker();
}

async function verify(work: Workspace, out: string): Promise<Outcome> {
  const ended = await work.run(["verify", out, "--json"]);
  if (ended.code !== 0) return { verified: false, why: `verify ended with ${ended.code}: ${lastLine(ended.stderr)}` };
  const { ok, totals } = jsonOf(ended) as { ok: boolean; totals: { labeled: number } };
  if (ok && totals.labeled === TEXTS) return { verified: true, why: "verified" };
  return { verified: false, why: `expected ${TEXTS} labeled texts, got ${totals.labeled}` };
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
