import { mkdir } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { KEEP_COMING_MS } from "../../src/inference/interactive-flow.ts";
import { openRedis } from "../../src/redis/connect.ts";
import { RunLedger } from "../../src/runs/ledger/ledger.ts";
import { shortTexts } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { openService } from "../processes/own-service.ts";
import { type Measure, measure, ratio, unmarked } from "../report/measure.ts";
import { inTurn, MARGIN, percentile, type Rate, rateOf, shown, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";
import { untilSettled } from "../sides/pipeline-side.ts";

const MODEL = "tiny-sentiment";
/** Small slices: the rate is counted in whole slices, so it stays current. */
const SLICE_ITEMS = 250;
/** Concurrent single texts. */
const AT_A_TIME = 20;
const SINGLES = 200;
/** Single texts at random moments, on average. */
const ARRIVALS_PER_SECOND = 20;
const WINDOW_SLICES = 10_000;

/** Single texts that are submitted during a run, and what that costs the run. */
export async function measureBesideBulk(
  folder: string,
  { rounds, seconds, quick }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  await mkdir(folder);
  const maker = await shortTexts(folder);
  await using open = new AsyncDisposableStack();
  const { redis, producer, worker, outputs } = await openService(open, { folder, model: MODEL }, signal);
  await worker.call("start", { redis, model: MODEL, s3: {}, cacheDir: folder, roots: { files: [folder], s3: [] } });
  // Everything is queued at once: a planner that waits for room would run as long as the run.
  const bulk = {
    output: outputs.folder,
    settings: { sliceItems: SLICE_ITEMS, windowSlices: WINDOW_SLICES },
    splits: true,
  };

  say("beside bulk: warm-up");
  let rate = 100;
  await untilSettled(quick, async () => {
    const { path } = await maker.make(Math.ceil(rate * seconds));
    rate = rateOf(await producer.call("label", { ...bulk, input: path }));
    return worker.call("settled", {});
  });
  const singles = await maker.make(SINGLES);
  // Enough for all rounds, even if each side takes twice its time.
  const big = await maker.make(Math.ceil(rate * seconds * MARGIN * rounds * 8));
  const { run } = await producer.call("queue", { ...bulk, input: big.path });
  const connection = await openRedis({ url: redis }, "producer");
  open.defer(() => connection.disconnect());
  const ledger = new RunLedger(connection);
  const runs = await inTurn(
    rounds,
    {
      alone: async () => {
        // Batches are short for a while after the last interactive item.
        await setTimeout(KEEP_COMING_MS);
        return during(ledger, run, () => setTimeout(seconds * 1000));
      },
      beside: () =>
        during(ledger, run, async () => {
          const until = performance.now() + seconds * 1000;
          const order = { input: singles.path, output: outputs.folder, atATime: AT_A_TIME };
          const times: number[] = [];
          while (performance.now() < until) times.push(...(await producer.call("submit", order)));
          return times;
        }),
      arriving: () => {
        const order = { input: singles.path, output: outputs.folder, perSecond: ARRIVALS_PER_SECOND, seconds };
        return during(ledger, run, () => producer.call("arrive", order));
      },
    },
    (round, { alone, beside, arriving }) =>
      say(
        `beside bulk: round ${round} of ${rounds}: ${shown(alone)} rows/s alone, ${shownBeside(beside)}, ${shownBeside(arriving)} arriving`,
      ),
  );
  return {
    title: "Single texts during a run",
    about: [
      `A run in slices of ${SLICE_ITEMS} texts with ${MODEL} on one worker, and beside it single texts (all from \`${maker.from}\`): ${AT_A_TIME} at a time, at least`,
      `${number(SINGLES)} a side, each followed by the next one at once; and ${ARRIVALS_PER_SECOND} a second at random moments. The table has the milliseconds from \`producer.submit\` until its end is reported, and the share of its rate that the run keeps.`,
    ],
    measures: besideMeasures(runs),
    details: [],
  };
}

/** Does work during a run. @returns the rows of the run in that time, and the result of the work */
export async function during<T>(ledger: RunLedger, run: string, work: () => Promise<T>): Promise<Rate & { result: T }> {
  const [before, at] = [await ledger.progress(run), performance.now()];
  const result = await work();
  const after = await ledger.progress(run);
  if (after?.state !== "running") throw new Error(`expected a running run until the last round, got ${after?.state}`);
  return { items: after.rows - before!.rows, seconds: (performance.now() - at) / 1000, result };
}

type Beside = Rate & { result: number[] };
type BesideRound = { alone: Rate; beside: Beside; arriving: Beside };

function shownBeside(side: Beside): string {
  const [p50, p99] = [0.5, 0.99].map((share) => percentile(side.result, share).toFixed(0));
  return `${shown(side)} beside ${side.result.length} singles, p50 ${p50} ms, p99 ${p99} ms`;
}

function besideMeasures(runs: readonly BesideRound[]): Measure[] {
  const over = (figure: (round: BesideRound) => number) => summarize(runs.map(figure));
  const alone = measure(
    "the run alone, rows/s",
    over((round) => rateOf(round.alone)),
    "beside_bulk.alone",
  );
  const beside = measure(
    "beside single texts, rows/s",
    over((round) => rateOf(round.beside)),
    "beside_bulk.beside",
  );
  const arriving = measure(
    `beside ${ARRIVALS_PER_SECOND} arriving a second, rows/s`,
    over((round) => rateOf(round.arriving)),
    "beside_bulk.arriving",
  );
  const waited = (side: "beside" | "arriving", share: number, what: string, figure: string) =>
    unmarked(
      what,
      over((round) => percentile(round[side].result, share)),
      figure,
    );
  const kept = (side: "beside" | "arriving") => over((round) => rateOf(round[side]) / rateOf(round.alone));
  return [
    waited("beside", 0.5, `one of ${AT_A_TIME} texts at a time, p50, ms`, "single_beside_bulk_ms.p50"),
    waited("beside", 0.99, `one of ${AT_A_TIME} texts at a time, p99, ms`, "single_beside_bulk_ms.p99"),
    waited("arriving", 0.5, "one of the arriving texts, p50, ms", "arriving_beside_bulk_ms.p50"),
    waited("arriving", 0.99, "one of the arriving texts, p99, ms", "arriving_beside_bulk_ms.p99"),
    alone,
    beside,
    arriving,
    ratio(
      `the run with ${AT_A_TIME} texts at a time ÷ alone`,
      kept("beside"),
      [alone, beside],
      "bulk_beside_singles_vs_alone",
    ),
    ratio("the run with arriving texts ÷ alone", kept("arriving"), [alone, arriving], "bulk_beside_arriving_vs_alone"),
  ];
}
