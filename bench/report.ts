import type { Benchmark } from "./figures.ts";
import { GOALS, isMet, showGoal } from "./goals.ts";
import type { Section } from "./section.ts";
import { measureTable, number, render } from "./table.ts";

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
  return render({ head: ["", "median", "least", "most", "goal", ""], rows });
}

const CONDITIONS = [
  "",
  "Each ratio is that of one round, whose sides ran one right after the other on the same machine and cores; the median of the",
  "rounds counts, with the least and the most beside it. `unstable` marks a side whose rounds lie further apart than 10 % of their median,",
  "and a ratio with such a side.",
  "",
  "- **Pipeline**: a real run, from opening the input to the manifest: the embedded Redis server, planner, worker, and parts in a folder,",
  "  with default settings, in one process that is kept from round to round, warmed up until the engine has found its budget.",
  "- **onnxruntime-node alone**: the same items, prepared and in memory before the clock starts, in a process of its own: it neither",
  "  tokenizes nor decodes, and all texts are sorted by length. The best of its sweep counts.",
  "- **Bare sharp, bare tokenizer pool**: the pipeline's own decoding and tokenizing in a process of its own, its input in memory, its results",
  "  dropped, at the concurrency that was the best.",
  "- **transformers.js**: its `text-classification` pipeline (fp32, the same files, its default of intra-op threads: one a core) in the",
  "  processor of a BullMQ worker, in a process of its own with a Redis server as the pipeline's; the texts of a job are one array, and its",
  "  results go back to the queue.",
  "- DistilBERT and ResNet-50 are of the true architecture with random weights: right for speed, meaningless as labels.",
];

const SERVICE = [
  "",
  "## The service",
  "",
  "Producer, worker, Redis (TCP on 127.0.0.1, nothing saved) and S3 are processes of their own with default settings, on this one machine,",
  "whose cores they share.",
];

const BULK = [
  "",
  "## Data sets",
  "",
  "Runs as `label` makes them of files that workers can read: planned as splits, which are addresses; a Redis (TCP on 127.0.0.1) and",
  "processes of their own, on this one machine.",
];

function sectionLines(level: string, { title, about, measures, details }: Section): string[] {
  return [
    "",
    `${level} ${title}`,
    "",
    ...about,
    "",
    ...render(measureTable(measures)),
    ...details.flatMap((detail) => ["", detail.about, "", ...render(detail.table)]),
  ];
}
