import { basename } from "node:path";

/** `reviews.csv` → `reviews-labels` in the current folder. */
export function defaultOut(input: string): string {
  const name = input === "-" ? "stdin" : basename(input).replace(/(\.[A-Za-z0-9]{1,5}){1,2}$/, "");
  const clean = name.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-").replaceAll(/^[.-]+|-+$/g, "");
  return `${clean || "output"}-labels`;
}
