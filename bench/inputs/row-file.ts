/** How the rows of a made input are written. */
export type RowFormat = "csv" | "jsonl";

/** Rows that are written at a time. */
const CHUNK = 10_000;

/** Numbered rows, written in blocks, so that few are in memory. */
export function* rowsOf(format: RowFormat, texts: Iterable<string>): Generator<string> {
  const row = format === "csv" ? csvRow : jsonRow;
  let rows = format === "csv" ? ["id,text\n"] : [];
  let id = 0;
  for (const text of texts) {
    rows.push(row(id++, text));
    if (rows.length < CHUNK) continue;
    yield rows.join("");
    rows = [];
  }
  yield rows.join("");
}

function csvRow(id: number, text: string): string {
  return /[",\r\n]/.test(text) ? `${id},"${text.replaceAll('"', '""')}"\n` : `${id},${text}\n`;
}

function jsonRow(id: number, text: string): string {
  return `${JSON.stringify({ id: String(id), text })}\n`;
}
