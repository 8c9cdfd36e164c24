import type { Row } from "../schemas/row.ts";

const ERROR_CODE = /^[A-Z][A-Z_]*$/;

/** Whether `RowSchema` takes a value as it stands. True is certain; false may be a row of an unusual form, that the schema takes. */
export function isRow(value: unknown): value is Row {
  if (!isPlain(value) || typeof value.id !== "string" || !isSource(value.source)) return false;
  if (value.input !== undefined && !isPlain(value.input)) return false;
  return "error" in value ? isErrorRow(value) : isLabeledRow(value);
}

function isLabeledRow(row: Record<string, unknown>): boolean {
  for (const key in row)
    switch (key) {
      case "id":
      case "input":
      case "source":
      case "label":
      case "score":
      case "labels":
        break;
      case "truncated":
      case "repaired":
        if (row[key] !== true && row[key] !== undefined) return false;
        break;
      default:
        return false;
    }
  const { label, score, labels } = row;
  if (typeof label !== "string" || !isScore(score) || !Array.isArray(labels) || labels.length === 0) return false;
  for (const each of labels) if (!isLabelScore(each)) return false;
  return true;
}

function isErrorRow(row: Record<string, unknown>): boolean {
  for (const key in row) if (key !== "id" && key !== "input" && key !== "source" && key !== "error") return false;
  const { error } = row;
  if (!isPlain(error)) return false;
  for (const key in error) if (key !== "code" && key !== "message" && key !== "retryable") return false;
  const { code, message, retryable } = error;
  if (typeof code !== "string" || !ERROR_CODE.test(code)) return false;
  return typeof message === "string" && message.length <= 4096 && (retryable === true || retryable === undefined);
}

function isSource(value: unknown): boolean {
  if (!isPlain(value)) return false;
  for (const key in value) if (key !== "uri" && key !== "record" && key !== "line") return false;
  const { uri, record, line } = value;
  if (typeof uri !== "string" || !Number.isSafeInteger(record) || (record as number) < 0) return false;
  return line === undefined || (Number.isSafeInteger(line) && (line as number) > 0);
}

function isLabelScore(value: unknown): boolean {
  if (!isPlain(value)) return false;
  for (const key in value) if (key !== "label" && key !== "score") return false;
  return typeof value.label === "string" && isScore(value.score);
}

function isScore(value: unknown): boolean {
  return typeof value === "number" && value >= 0 && value <= 1;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
