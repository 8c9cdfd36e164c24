import type { Benchmark } from "./figures.ts";
import { GOALS, isMet, showGoal } from "./goals.ts";
import type { Section } from "./section.ts";
import { measureTable, number, render } from "./table.ts";
import { wrap } from "./wrap.ts";

/** A machine with more load than this part of its cores before the start does not measure well. */
const BUSY_SHARE = 0.25;

/** The benchmark as a Markdown page, which reads well on a terminal too: standard output and the file of --docs are the same. */
export function reportOf(benchmark: Benchmark): string {
  const { engine, service, bulk } = benchmark;
  return [
    ...head(benchmark),
    ...engine.flatMap((section) => sectionLines("##", section)),
    ...(service.length > 0 ? SERVICE : []),
    ...service.flatMap((section) => sectionLines("###", section)),
    ...(bulk.length > 0 ? BULK : []),
    ...bulk.flatMap((section) => sectionLines("###", section)),
    "",
  ].join("\n");
}

function head(benchmark: Benchmark): string[] {
  const { quick, rounds, seconds, date, command, machine, versions, missing } = benchmark;
  const { cpu, cores, memoryGiB, system, loadBefore } = machine;
  const busy = loadBefore > BUSY_SHARE * cores ? " (**busy with other work**)" : "";
  const rough = "**Rough and short (`--quick`): it shows that everything runs. Do not quote these numbers.**";
  const software = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    "# Benchmarks",
    "",
    ...(quick ? [rough, ""] : []),
    ...wrap(
      `Measured on ${date.slice(0, 10)} by \`${command}\`: ${rounds} rounds of about ${seconds} s a side; the sides take turns.`,
    ),
    "",
    ...wrap(`machine: ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}; load before: ${loadBefore}${busy}`, "- "),
    ...wrap(`versions: ${software.join(", ")}`, "- "),
    "",
    ...goalTable(benchmark),
    ...missing.flatMap((line) => ["", `**Left out:** ${line}`]),
    ...CONDITIONS,
  ];
}

function goalTable({ engine, service, bulk }: Benchmark): string[] {
  const measures = [...engine, ...service, ...bulk].flatMap((section) => section.measures);
  const rows = GOALS.map((goal) => {
    const found = measures.find(({ figure }) => figure === goal.figure);
    const name = `${goal.what} (\`${goal.figure}\`)`;
    if (!found) return [name, "not measured", "", "", showGoal(goal), ""];
    const { median, min, max } = found.value;
    const state = [isMet(goal, median) ? "met" : "**missed**", ...(found.unstable ? ["unstable"] : [])].join(", ");
    return [name, number(median), number(min), number(max), showGoal(goal), state];
  });
  return render({ head: ["", "median", "min", "max", "goal", ""], rows });
}

const CONDITIONS = [
  "",
  ...wrap(
    "Each ratio compares two sides of one round, which ran one right after the other on the same machine and cores. " +
      "The median of the rounds counts; min and max are beside it. `unstable` marks a side whose rounds differ by more than " +
      "10 % of their median, and a ratio with such a side.",
  ),
  "",
  ...[
    "**Pipeline**: a real run, from opening the input to the manifest, with the embedded Redis server, planner, worker, and parts in a folder. Settings are the defaults. One process runs all rounds. It is warmed up until the engine has found its budget.",
    "**onnxruntime-node alone**: the same items in a separate process, prepared and in memory before the clock starts. It neither tokenizes nor decodes, and all texts are sorted by length. The best of its sweep counts.",
    "**Bare sharp, bare tokenizer pool**: the decoding and tokenizing of the pipeline in a separate process, with input in memory and results dropped, at the best concurrency.",
    "**transformers.js**: its `text-classification` pipeline (fp32, the same files, its default of one intra-op thread per core) in the processor of a BullMQ worker, in a separate process with a Redis server like that of the pipeline. The texts of a job are one array, and its results return to the queue.",
    "DistilBERT and ResNet-50 have the real architecture and random weights: right for speed, meaningless as labels.",
  ].flatMap((text) => wrap(text, "- ")),
];

const SERVICE = [
  "",
  "## The service",
  "",
  ...wrap(
    "Producer, worker, Redis (TCP on 127.0.0.1, without persistence) and S3 are separate processes with default settings on this one machine. They share its cores.",
  ),
];

const BULK = [
  "",
  "## Data sets",
  "",
  ...wrap(
    "Runs of files that workers can read, as `label` plans them: in splits, which are addresses. Redis (TCP on 127.0.0.1), planner and worker are separate processes on this one machine.",
  ),
];

function sectionLines(level: string, { title, about, measures, details }: Section): string[] {
  return [
    "",
    `${level} ${title}`,
    "",
    ...wrap(about.join(" ")),
    "",
    ...render(measureTable(measures)),
    ...details.flatMap((detail) => ["", ...wrap(detail.about), "", ...render(detail.table)]),
  ];
}
