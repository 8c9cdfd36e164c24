/** The goal of a figure: one inclusive bound. */
export type Goal = { figure: string; what: string; atLeast?: number; atMost?: number };

/** The goals on a machine of two cores, in the page's order. */
export const GOALS: readonly Goal[] = [
  { figure: "pipeline_vs_ort.text_short", what: "pipeline ÷ onnxruntime alone, short reviews", atLeast: 0.97 },
  { figure: "pipeline_vs_ort.text_mixed", what: "pipeline ÷ onnxruntime alone, mixed lengths", atLeast: 0.97 },
  { figure: "pipeline_vs_limit.images_files", what: "pipeline ÷ limit, photographs from files", atLeast: 0.95 },
  { figure: "pipeline_vs_limit.images_http", what: "pipeline ÷ limit, photographs over HTTP", atLeast: 0.92 },
  {
    figure: "pipeline_vs_transformersjs32.text_mixed",
    what: "pipeline ÷ transformers.js in arrays of 32, mixed lengths",
    atLeast: 4,
  },
  {
    figure: "pipeline_vs_transformersjs1.text_short",
    what: "pipeline ÷ transformers.js one by one, short reviews",
    atLeast: 1.5,
  },
  { figure: "free_model_vs_tokenizer.text", what: "free model: pipeline ÷ bare tokenizer pool", atLeast: 0.85 },
  { figure: "free_model_vs_sharp.images", what: "free model: pipeline ÷ bare sharp", atLeast: 0.9 },
  { figure: "single_text_overhead_ms.p50", what: "one text, beyond the model: p50, ms", atMost: 15 },
  { figure: "single_text_overhead_ms.p99", what: "one text, beyond the model: p99, ms", atMost: 40 },
  { figure: "single_beside_bulk_ms.p50", what: "one text during a run, 20 at a time: p50, ms", atMost: 120 },
  { figure: "single_beside_bulk_ms.p99", what: "one text during a run, 20 at a time: p99, ms", atMost: 400 },
  { figure: "bulk_beside_singles_vs_alone", what: "a run with 20 texts at a time beside it ÷ alone", atLeast: 0.6 },
  { figure: "arriving_beside_bulk_ms.p50", what: "one text during a run, 20 a second: p50, ms", atMost: 120 },
  { figure: "arriving_beside_bulk_ms.p99", what: "one text during a run, 20 a second: p99, ms", atMost: 400 },
  { figure: "bulk_beside_arriving_vs_alone", what: "a run with 20 texts a second beside it ÷ alone", atLeast: 0.6 },
  { figure: "http_beyond_library_ms.p50", what: "one text by HTTP, beyond the library: median, ms", atMost: 3 },
  { figure: "http_late_percent", what: "requests 10 ms over the library's p99, %", atMost: 1 },
  { figure: "http_vs_command.memory", what: "64 connections, folder in memory ÷ `label text`", atLeast: 0.8 },
  { figure: "upload_ms.p99", what: "an upload during a run, from event to sidecar: p99, ms", atMost: 2000 },
  { figure: "bulk_beside_uploads_vs_alone", what: "a run with uploads beside it ÷ alone", atLeast: 0.5 },
  { figure: "http_vs_transformersjs", what: "64 connections ÷ Fastify around transformers.js", atLeast: 1 },
  { figure: "padding_efficiency.text_mixed", what: "real ÷ padded tokens, mixed lengths", atLeast: 0.95 },
  { figure: "rss_growth.text_1m", what: "memory over a million texts: last quarter ÷ second", atMost: 1.1 },
  { figure: "event_loop_delay_ms.p99", what: "main thread's event-loop delay under ResNet-50: p99, ms", atMost: 50 },
  { figure: "redis_mb.rows_10m", what: "Redis's memory over 10,000,000 rows, highest, MB", atMost: 64 },
  {
    figure: "rss_growth.planner_10m",
    what: "planner's memory over 10,000,000 rows: last quarter ÷ second",
    atMost: 1.1,
  },
  { figure: "rss_growth.worker_10m", what: "worker's memory over 10,000,000 rows: last quarter ÷ second", atMost: 1.1 },
  { figure: "planning_gb_per_minute.csv", what: "planning CSV, GB a minute", atLeast: 5 },
  { figure: "planning_gb_per_minute.jsonl", what: "planning JSONL, GB a minute", atLeast: 5 },
  { figure: "free_model_vs_stages.jsonl", what: "free model: pipeline ÷ its stages alone", atLeast: 0.85 },
  { figure: "runs_verified.of_20", what: "verified runs with a `kill -9`, of 20", atLeast: 20 },
  {
    figure: "straggler_slices",
    what: "from the first idle worker to the end of the run, slice times",
    atMost: 1.2,
  },
  { figure: "straggler_slices.worst", what: "the same, in the worst round", atMost: 1.5 },
];

export function isMet({ atLeast, atMost }: Goal, value: number): boolean {
  return (atLeast === undefined || value >= atLeast) && (atMost === undefined || value <= atMost);
}

export function showGoal({ atLeast, atMost }: Goal): string {
  return atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`;
}
