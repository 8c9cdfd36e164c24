import type { LabelKind } from "../src/cli/model-choice.ts";
import type { BareWay } from "./bare-process.ts";
import type { Tried } from "./bare-side.ts";
import { type Benchmark, ratioOf } from "./figures.ts";
import type { Measured } from "./measure.ts";
import { isUnstable, STABLE_SPREAD } from "./rounds.ts";
import { serviceSections } from "./service-report.ts";
import type { Startup } from "./startup.ts";
import { number, ratioRow, render, SUMMARY_HEAD, summaryRow, type Table } from "./table.ts";

export const UNITS = { text: "texts", images: "images" } as const satisfies Record<LabelKind, string>;

/** A machine with more load than this part of its cores before the start does not measure well. */
const BUSY_SHARE = 0.25;

/** The benchmark as a Markdown page, which reads well on a terminal too: standard output and docs/benchmarks.md are the same. */
export function reportOf(benchmark: Benchmark): string {
  const { models, startup } = benchmark;
  const service = serviceSections(benchmark);
  return [
    ...head(benchmark),
    ...models.flatMap((model) => ["", ...modelSection(model)]),
    ...(startup ? ["", ...startupSection(startup)] : []),
    ...(service.length > 0 ? ["", ...service] : []),
    "",
  ].join("\n");
}

function head({ quick, rounds, seconds, date, command, machine, versions }: Benchmark): string[] {
  const { cpu, cores, memoryGiB, system, loadBefore } = machine;
  const busy = loadBefore > BUSY_SHARE * cores ? " (**busy with something else**)" : "";
  const rough = "**Rough and short (`--quick`): it shows that all runs; no number here is to be quoted.**";
  const software = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    "# Benchmarks",
    "",
    ...(quick ? [rough, ""] : []),
    `Measured on ${date.slice(0, 10)} by \`${command}\`: ${rounds} rounds of about ${seconds} s a side, the sides in turn.`,
    "",
    `- machine: ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}; load before: ${loadBefore}${busy}`,
    `- versions: ${software.join(", ")}`,
    "",
    "**Pipeline** is a real run, from opening the input to the manifest: the embedded Redis server, planner, worker, and parts in",
    "a folder, with default settings. **onnxruntime-node alone** gets the same items, prepared and in memory before the clock",
    "starts, in a process of its own: it neither tokenizes nor decodes, and all texts are sorted by length. The best of its sweep",
    "counts. Figures are medians of the rounds; `unstable` marks rounds that lie further apart than 10 % of their median, and",
    "a ratio with such a side, or whose second side was over 10 % faster in its sweep.",
  ];
}

function modelSection(measured: Measured): string[] {
  const { id, kind, from, input, setup, sweep, best, pipeline, bare, loopDelayMs, paddingEfficiency, errors } =
    measured;
  const lengths = kind === "text" ? `, ${input.meanLength.toFixed(1)} tokens on average, ${input.longest} at most` : "";
  const threads = layoutOf({ sessions: setup.threads, threads: setup.intraOpThreads });
  const rows = [
    summaryRow("pipeline, items/s", pipeline),
    summaryRow("onnxruntime-node alone, items/s", bare),
    ratioRow("pipeline ÷ onnxruntime-node", ratioOf(measured), isUnstableRatio(measured)),
    summaryRow("event-loop delay at p99, ms", loopDelayMs, { mark: false }),
  ];
  if (kind === "text") rows.push(["padding efficiency", paddingEfficiency.toFixed(3), "", "", ""]);
  return [
    `## ${id}`,
    "",
    `${number(input.items)} ${UNITS[kind]} a round${lengths}; from \`${from}\`, repeated. The pipeline runs ${threads} with batches`,
    `of ${sizeOf(kind, setup.budget)}; onnxruntime-node alone is the fastest with ${layoutOf(best.way)} and ${sizeOf(kind, best.way.budget)}.`,
    ...(errors > 0 ? ["", `**${errors} items of a round ended in an error row.**`] : []),
    "",
    ...render({ head: SUMMARY_HEAD, rows }),
    "",
    `The sweep of onnxruntime-node alone, items/s by ${kind === "text" ? "padded tokens" : "images"} of a batch:`,
    "",
    ...render(sweepTable(sweep)),
  ];
}

/** A ratio is worth what its two sides are; and a side that did better in the sweep was held up later, or lucky then. */
function isUnstableRatio({ pipeline, bare, best }: Measured): boolean {
  const belowSweep = bare.median < (1 - STABLE_SPREAD) * best.rate;
  return belowSweep || isUnstable(pipeline) || isUnstable(bare);
}

function startupSection({ firstBatchMs, totalMs }: Startup): string[] {
  const rows = [
    summaryRow("first batch labeled and in the output, ms", firstBatchMs, { mark: false }),
    summaryRow("ended, ms", totalMs, { mark: false }),
  ];
  return [
    "## Start of the command",
    "",
    "`labelmill label text` with three texts and the built-in model, from the start of the process:",
    "",
    ...render({ head: SUMMARY_HEAD, rows }),
  ];
}

function sweepTable(tried: readonly Tried[]): Table {
  const budgets = [...new Set(tried.map(({ way }) => way.budget))];
  const byLayout = Map.groupBy(tried, ({ way }) => layoutOf(way));
  const rateAt = (ways: readonly Tried[], budget: number) => ways.find(({ way }) => way.budget === budget)!.rate;
  return {
    head: ["sessions × threads", ...budgets.map(String)],
    rows: [...byLayout].map(([layout, ways]) => [layout, ...budgets.map((budget) => number(rateAt(ways, budget)))]),
  };
}

function layoutOf({ sessions, threads }: Omit<BareWay, "budget">): string {
  return `${sessions} × ${threads}`;
}

function sizeOf(kind: LabelKind, budget: number): string {
  return kind === "text" ? `${budget} padded tokens` : `${budget} image${budget === 1 ? "" : "s"}`;
}
