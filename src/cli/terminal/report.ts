import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { readPart } from "../../rows/part.ts";
import type { RowError } from "../../runs/ledger/ledger.ts";
import type { Manifest } from "../../schemas/manifest.ts";
import { FILES_FILE, PARTS_FILE, partKey } from "../../schemas/names.ts";
import type { Row } from "../../schemas/row.ts";
import type { ReadableStore } from "../../storage/store.ts";
import { NOTHING_PASSED_OVER, passedOverLines } from "./passed-over.ts";
import { duration } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

const BAR_CELLS = 30;
const MOST_LABELS = 10;

export type Report = { store: ReadableStore; manifest: Manifest; seconds: number | undefined; show: number };

/** What --json prints about a run. */
export function summarize({ store, manifest, seconds }: Report) {
  const { run, state, model, devices = {}, totals, labels, errorCodes, failedSlices } = manifest;
  const { passedOver = NOTHING_PASSED_OVER, failure } = manifest;
  const base = { run, state, out: store.uri, model, devices, totals, labels, errorCodes, failedSlices };
  return { ...base, ...(failure ? { failure } : {}), passedOver, seconds };
}

/** Prints the result of a run: some rows, the labels as bars, and where the results are. */
export async function report(terminal: Terminal, { store, manifest, seconds, show }: Report): Promise<void> {
  const { totals, model } = manifest;
  const place = showPlace(store.uri);
  for (const line of sampleTable(await firstRows(store, manifest, show), terminal)) terminal.print(line);
  for (const line of bars(manifest.labels, terminal)) terminal.print(line);
  for (const [code, count] of Object.entries(manifest.errorCodes).sort((a, b) => b[1] - a[1]))
    terminal.print(`${terminal.style("red", code)}: ${count}`);
  for (const { slice, code, message } of manifest.failed.slice(0, 3))
    terminal.print(`${terminal.style("red", code)} in slice ${slice}: ${message}`);
  terminal.print();
  const took = seconds === undefined ? "" : ` in ${duration(seconds)}`;
  const devices = Object.keys(manifest.devices ?? {});
  const on = devices.length > 0 ? ` on ${devices.join(", ")}` : "";
  const failed =
    manifest.failedSlices > 0 ? `, ${manifest.failedSlices} slices failed permanently: run the same command again` : "";
  terminal.print(
    `${terminal.style("bold", `${totals.labeled} labeled, ${totals.errors} in error`)} of ${totals.planned}${took} with ${model.id}${on}${failed}`,
  );
  for (const line of passedOverLines(manifest.passedOver)) terminal.print(line);
  const { files } = manifest;
  const what = files
    ? `${files.count} files; ${FILES_FILE}`
    : `${partKey(manifest.run, 0)}${totals.slices > 1 ? ", …" : ""}; ${PARTS_FILE}`;
  terminal.print(`Results: ${place} (${what} lists them)`);
  terminal.print(`Proof:   labelmill verify ${place}`);
}

/** One line for each of the first rows in error. */
export function errorLines(errors: readonly RowError[]): string[] {
  return errors.map(({ uri, record, code, message }) => `  ${code} in record ${record} of ${uri}: ${oneLine(message)}`);
}

/** A folder as a user would type it. */
export function showPlace(uri: string): string {
  return uri.startsWith("file:") ? showPath(fileURLToPath(uri)) : uri;
}

export function showPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near === "" ? "." : near.startsWith("..") ? path : near;
}

async function firstRows(store: ReadableStore, manifest: Manifest, count: number): Promise<Row[]> {
  const failed = new Set(manifest.failed.map(({ slice }) => slice));
  const rows: Row[] = [];
  // The parts are deleted, and the files may be in any format.
  if (manifest.files) return rows;
  for (let slice = 0; slice < manifest.totals.slices && rows.length < count; slice++)
    if (!failed.has(slice))
      rows.push(...readPart(await store.get(partKey(manifest.run, slice))).rows.slice(0, count - rows.length));
  return rows;
}

function sampleTable(rows: readonly Row[], terminal: Terminal): string[] {
  if (rows.length === 0) return [];
  const cells = rows.map((row) => {
    const verdict =
      "error" in row ? { label: row.error.code, score: "" } : { label: row.label, score: row.score.toFixed(3) };
    const kept = Object.entries(row.input ?? {}).filter(([key]) => key !== "image");
    const aside = "error" in row ? row.error.message : kept.map(([, value]) => oneLine(String(value))).join(" · ");
    return {
      id: row.id,
      ...verdict,
      aside,
      bad: "error" in row,
    };
  });
  const idWidth = Math.min(28, Math.max(2, ...cells.map(({ id }) => id.length)));
  const labelWidth = Math.min(24, Math.max(5, ...cells.map(({ label }) => label.length)));
  const rest = Math.max(0, terminal.width - idWidth - labelWidth - 11);
  const header = `${"id".padEnd(idWidth)}  ${"label".padEnd(labelWidth)}  score`;
  return [
    terminal.style("dim", header),
    ...cells.map(({ id, label, score, aside, bad }) => {
      const shown = cut(label, labelWidth).padEnd(labelWidth);
      return `${cut(id, idWidth).padEnd(idWidth)}  ${terminal.style(bad ? "red" : "green", shown)}  ${score.padEnd(5)}  ${cut(aside, rest)}`.trimEnd();
    }),
    "",
  ];
}

function bars(labels: Record<string, number>, terminal: Terminal): string[] {
  const counts = Object.entries(labels).sort((a, b) => b[1] - a[1]);
  const most = counts[0]?.[1] ?? 0;
  const width = Math.min(24, Math.max(0, ...counts.map(([label]) => label.length)));
  const lines = counts.slice(0, MOST_LABELS).map(([label, count]) => {
    const bar = "█".repeat(Math.max(1, Math.round((count / most) * BAR_CELLS)));
    return `${cut(label, width).padEnd(width)}  ${terminal.style("cyan", bar)} ${count}`;
  });
  return counts.length > MOST_LABELS ? [...lines, `and ${counts.length - MOST_LABELS} more labels`] : lines;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}

function cut(text: string, width: number): string {
  const line = oneLine(text);
  return line.length <= width ? line : `${line.slice(0, Math.max(0, width - 1))}…`;
}
