import { isDeepStrictEqual } from "node:util";
import { LabelmillError } from "../errors.ts";
import type { RunFile, RunInput } from "../schemas/run.ts";
import type { ReadableStore } from "../storage/store.ts";

/** Why a run cannot be continued by a command that wants `wanted`. @returns undefined if it can */
export function whyNotResumable(store: ReadableStore, runFile: RunFile, wanted: RunFile): LabelmillError | undefined {
  if ([...runFile.inputs, ...wanted.inputs].some((input) => input.uri === "stdin:"))
    return new LabelmillError(
      "OUTPUT_NOT_RESUMABLE",
      `${store.uri} holds a run already, and standard input cannot be compared with the input of that run: choose another --out`,
    );
  const differences = [
    ...differencesIn("spec", runFile.spec, wanted.spec),
    ...inputDifferences(runFile.inputs, wanted.inputs),
  ];
  if (differences.length === 0) return undefined;
  return new LabelmillError(
    "SPEC_DIFFERS",
    `${store.uri} holds the run ${runFile.run}, which differs from this one:\n${differences.map((line) => `  ${line}`).join("\n")}\nChoose another --out, repeat the command of that run, or replace it (--overwrite)`,
  );
}

function inputDifferences(before: RunInput[], now: RunInput[]): string[] {
  if (before.length !== now.length) return [`inputs: ${before.length} then, ${now.length} now`];
  return before.flatMap((input, i) => differencesIn(`input ${input.uri}`, identityOf(input), identityOf(now[i]!)));
}

/**
 * Without what may differ: the name by which an input was opened, and who reads it. The ids of the first command apply.
 */
function identityOf({ from: _from, travels: _travels, columns: _columns, idName: _idName, ...identity }: RunInput) {
  return identity;
}

/** One line for each value that differs: `spec.topK: 5 then, 3 now`. */
function differencesIn(path: string, before: unknown, now: unknown): string[] {
  if (isDeepStrictEqual(before, now)) return [];
  if (isPlain(before) && isPlain(now)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])];
    return keys.flatMap((key) => differencesIn(`${path}.${key}`, before[key], now[key]));
  }
  return [`${path}: ${JSON.stringify(before) ?? "none"} then, ${JSON.stringify(now) ?? "none"} now`];
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
