import { join } from "node:path";
import type { BenchOptions, Part } from "../options.ts";
import type { Collected } from "../report/collected.ts";
import { measureKills } from "./kills.ts";
import { measurePlanning } from "./planning.ts";
import { measureRows } from "./rows.ts";
import { measureScale } from "./scale.ts";
import { measureStraggler } from "./straggler.ts";

const MEASURED = [
  ["scale", measureScale],
  ["planning", measurePlanning],
  ["rows", measureRows],
  ["kills", measureKills],
  ["straggler", measureStraggler],
] as const satisfies readonly (readonly [Part, unknown])[];

/** Runs over data sets: each requested part, in its own folder. */
export async function measureBulk(
  collected: Collected,
  folder: string,
  options: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  for (const [name, measure] of MEASURED)
    if (options.parts.has(name))
      await collected.add("bulk", name, () => measure(join(folder, name), options, say, signal));
}
