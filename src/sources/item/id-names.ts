import type { Source } from "../source.ts";
import { idNameOf } from "./record.ts";

/** An input. `path`: below the argument that covers it; omitted if the argument names the input itself. */
type NamedInput = Pick<Source, "input" | "ids"> & { path?: string };

/**
 * The prefix of the made ids of each input, before `#`. Undefined: the source's default. The prefix is the path below the argument, or the
 * name of a file that the argument names itself. Images, and archives that an argument names themselves, have none. So an id depends only on its
 * argument and path, unless two inputs of a run would make the same ids: then both have the input's URI as their prefix.
 */
export function idNames(inputs: readonly NamedInput[]): (string | undefined)[] {
  const names = inputs.map(nameOf);
  const counts = new Map<string, number>();
  for (const name of names) if (name) counts.set(name, (counts.get(name) ?? 0) + 1);
  const shared = inputsWithSharedPaths(inputs);
  // The names of members are unknown until an archive is read.
  const bare = names.filter((name) => name === "").length;
  return inputs.map(({ input: { uri }, ids = "numbers" }, at) => {
    const name = names[at];
    // Standard input occurs once and has no other name. A file called stdin gets its URI instead.
    if (name === undefined || uri === "stdin:") return undefined;
    if (name === "") return shared.has(at) || (ids === "members" && bare > 1) ? uri : undefined;
    if (counts.get(name)! > 1) return uri;
    return ids === "numbers" && name === idNameOf(uri) ? undefined : name;
  });
}

/** Undefined if ids come from the data. */
function nameOf({ input: { uri }, ids = "numbers", path }: NamedInput): string | undefined {
  if (ids === "data") return undefined;
  if (ids === "numbers") return path ?? idNameOf(uri);
  return ids === "members" ? (path ?? "") : "";
}

/** The indices of inputs of images that share the path of an image with another input. */
function inputsWithSharedPaths(inputs: readonly NamedInput[]): Set<number> {
  const ofFiles = [...inputs.entries()].flatMap(([at, { ids }]) => (typeof ids === "object" ? [{ at, ids }] : []));
  const shared = new Set<number>();
  if (ofFiles.length < 2) return shared;
  const first = new Map<string, number>();
  for (const { at, ids } of ofFiles) {
    for (const path of ids.paths()) {
      const other = first.get(path);
      if (other === undefined) first.set(path, at);
      else if (other !== at) shared.add(at).add(other);
    }
  }
  return shared;
}
