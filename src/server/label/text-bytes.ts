import { Problem } from "../problems.ts";

/** The most bytes of the texts of a request: they are one slice. */
const MAX_TEXT_BYTES = 1_000_000;

/** @throws Problem 413 if the texts of a request are too many bytes of JSON */
export function checkTextBytes(items: readonly unknown[]): void {
  const bytes = Buffer.byteLength(JSON.stringify(items));
  if (bytes <= MAX_TEXT_BYTES) return;
  throw new Problem(
    413,
    "BODY_TOO_LARGE",
    `expected items of at most ${MAX_TEXT_BYTES} bytes of JSON, got ${bytes}: send fewer at a time, or POST /v1/runs`,
  );
}
