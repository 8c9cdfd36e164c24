import { fits, typeOfKinds } from "../rows/kept-column-kinds.ts";
import type { Compactions } from "../runs/compactions.ts";
import type { ColumnType } from "../schemas/input.ts";
import type { RunFile } from "../schemas/run.ts";

/**
 * The types of the kept columns, the same for all files of a run. If all inputs declare the same type of a column and
 * its values fit, it has that type. Otherwise its type follows from its values.
 */
export async function columnTypes(
  { run, spec, inputs }: RunFile,
  compactions: Compactions,
): Promise<Map<string, ColumnType>> {
  const kinds = await compactions.columns(run);
  const names = new Set([...spec.read.keep, ...[...kinds.keys()].sort()]);
  return new Map(
    [...names].map((name) => {
      const found = kinds.get(name) ?? new Set();
      const [declared, ...others] = new Set(inputs.map(({ columns }) => columns?.[name]));
      return [name, declared && others.length === 0 && fits(declared, found) ? declared : typeOfKinds(found)];
    }),
  );
}
