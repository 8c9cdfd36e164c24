import type { EmptySide, EmptySlices } from "./empty-slices.ts";
import type { Benchmark } from "./figures.ts";
import type { Latency, Percentiles } from "./latency.ts";
import type { QueuedItems, QueueMemory } from "./memory.ts";
import { isUnstable, type Summary } from "./rounds.ts";
import { number, ratioRow, render, SUMMARY_HEAD, summaryRow } from "./table.ts";
import type { Throughput } from "./throughput.ts";

/** What was measured of the service, as sections of the page. */
export function serviceSections({ latency, throughput, emptySlices, memory }: Benchmark): string[] {
  const sections = [
    latency && latencySection(latency),
    throughput && throughputSection(throughput),
    emptySlices && emptySlicesSection(emptySlices),
    memory && memorySection(memory),
  ].filter((section) => section !== undefined);
  if (sections.length === 0) return [];
  return [
    "## The service",
    "",
    "Producer, worker, Redis (TCP on 127.0.0.1, nothing saved) and S3 are processes of their own with default settings, on this one machine,",
    "whose cores they share. All with tiny-sentiment.",
    ...sections.flatMap((section) => ["", ...section]),
  ];
}

function latencySection({ texts, from, meanLength, intraOpThreads, s3, folder, model }: Latency): string[] {
  const session = `a session of ${intraOpThreads} thread${intraOpThreads === 1 ? "" : "s"}, as the worker's are`;
  return [
    "### One text in an idle service",
    "",
    "Milliseconds from `producer.submit` to its end being heard (`run.wait()`), when its rows stand in the store and in the results",
    `queue: ${number(texts)} texts a round, one after the other; ${meanLength.toFixed(1)} tokens on average, from \`${from}\`. **The model alone** is one run of`,
    `onnxruntime-node for the same text, tokenized before the clock starts, one run after the other in a process of its own with ${session}.`,
    "**Beyond the model** is the difference, text by text: queueing, tokenizing, the ways between processes and threads, the put, the event.",
    "",
    ...render({
      head: SUMMARY_HEAD,
      rows: [
        ...percentileRows("model alone", model),
        ...percentileRows("S3, in all", s3.total),
        ...percentileRows("S3, beyond the model", s3.beyond),
        ...percentileRows("folder, in all", folder.total),
        ...percentileRows("folder, beyond the model", folder.beyond),
      ],
    }),
  ];
}

function percentileRows(name: string, { p50, p99 }: Percentiles): string[][] {
  return [summaryRow(`${name}, p50, ms`, p50), summaryRow(`${name}, p99, ms`, p99)];
}

function throughputSection({ items, from, service, embedded }: Throughput): string[] {
  const rows = [
    summaryRow("service: one worker over Redis and S3, items/s", service),
    summaryRow("embedded command, items/s", embedded),
    ratioOf("service ÷ embedded command", service, embedded),
  ];
  return [
    "### Items/s of one worker over Redis and S3",
    "",
    `The same ${number(items)} texts a round (from \`${from}\`, repeated), from opening the input, a local file, to the manifest. A producer plans and`,
    "waits as `label` does with `REDIS_URL`: the texts travel in the jobs, the parts go to S3. The embedded command is the pipeline of the",
    "models' figures: planner and worker in one process, a Redis of its own on a unix socket, a folder.",
    "",
    ...render({ head: SUMMARY_HEAD, rows }),
  ];
}

function emptySlicesSection({ slices, runs, parallel, labelmill, bullmq }: EmptySlices): string[] {
  const redisRows = (name: string, { redisMicroseconds, redisBusy }: EmptySide) => [
    summaryRow(`${name}: Redis's processor time for one, µs`, redisMicroseconds),
    summaryRow(`${name}: share of the time that Redis was at work`, redisBusy, { mark: false }),
  ];
  const rows = [
    summaryRow("labelmill, slices/s", labelmill.perSecond),
    summaryRow("BullMQ alone, jobs/s", bullmq.perSecond),
    ratioOf("labelmill ÷ BullMQ alone", labelmill.perSecond, bullmq.perSecond),
    ...redisRows("labelmill", labelmill),
    ...redisRows("BullMQ alone", bullmq),
  ];
  return [
    "### Slices/s that one Redis carries",
    "",
    `${number(slices)} slices of one item a round, in ${runs} runs that one process plans at a time, to the last manifest; one worker. Planning, queueing,`,
    "taking, committing, telling the watchers and closing the runs are real. **Left out** are fetching, tokenizing and the model (every item has its",
    "label at once), and the store (parts go into the worker's memory; the runs' own files are in a folder). **BullMQ alone** is one process that adds",
    `as many jobs of that size, ${runs} at a time, and one that takes up to ${parallel} at a time and does nothing. Redis's processor time is that of its main`,
    "thread: where its share is far below 1, it is the other processes that have no more cores to run on, and 1 s ÷ its time for",
    "one is about the most that one Redis carries.",
    "",
    ...render({ head: SUMMARY_HEAD, rows }),
  ];
}

function memorySection({ from, sliceItems, slices, singles }: QueueMemory): string[] {
  const rowsOf = (name: string, { used, dataset, textBytes }: QueuedItems) => [
    summaryRow(`${name}, all of Redis's memory`, used),
    summaryRow(`${name}, data alone`, dataset),
    ratioRow(`${name}, all ÷ bytes of the text`, used.median / textBytes, isUnstable(used)),
  ];
  const rows = [...rowsOf(`slices of ${sliceItems}`, slices), ...rowsOf("single submissions", singles)];
  return [
    "### Bytes in Redis of a queued item",
    "",
    `By how much \`used_memory\` and \`used_memory_dataset\` grow when nobody takes from the queue, ÷ items: ${number(slices.items)} texts in slices (the run's plan`,
    `included), ${number(singles.items)} single submissions; the producer's connections are gone by then. The texts travel in the jobs (from \`${from}\`; ${slices.textBytes.toFixed(1)} bytes`,
    "of UTF-8 on average), with id, record and line.",
    "",
    ...render({ head: SUMMARY_HEAD, rows }),
  ];
}

function ratioOf(name: string, one: Summary, other: Summary): string[] {
  return ratioRow(name, one.median / other.median, isUnstable(one) || isUnstable(other));
}
