import type { Source } from "../source.ts";
import { idNameOf } from "./record.ts";

/** An input, and its path below the argument by which it was found; none where it was named itself. */
type NamedInput = Pick<Source, "input" | "ids"> & { path?: string };

/**
 * What the made ids of each input begin with, before `#`: undefined where that is what its source makes by itself. It is the path below the
 * argument, of a file that was named itself its name; of archives that were named themselves and of images nothing. So an id comes from its
 * argument and path alone, but where two inputs of a run would make the same ids: then those of both begin with the input's URI.
 */
export function idNames(inputs: readonly NamedInput[]): (string | undefined)[] {
  const names = inputs.map(nameOf);
  const counts = new Map<string, number>();
  for (const name of names) if (name) counts.set(name, (counts.get(name) ?? 0) + 1);
  const alike = filesAlike(inputs);
  // The names of members are not known before an archive is read.
  const bare = names.filter((name) => name === "").length;
  return inputs.map(({ input: { uri }, ids = "numbers" }, at) => {
    const name = names[at];
    // Standard input is opened once and has no other name; a file of that name gives way.
    if (name === undefined || uri === "stdin:") return undefined;
    if (name === "") return alike.has(at) || (ids === "members" && bare > 1) ? uri : undefined;
    if (counts.get(name)! > 1) return uri;
    return ids === "numbers" && name === idNameOf(uri) ? undefined : name;
  });
}

/** Undefined where ids are the data's own. */
function nameOf({ input: { uri }, ids = "numbers", path }: NamedInput): string | undefined {
  if (ids === "data") return undefined;
  if (ids === "numbers") return path ?? idNameOf(uri);
  return ids === "members" ? (path ?? "") : "";
}

/** The places of those inputs of images that have the path of an image in common with another one. */
function filesAlike(inputs: readonly NamedInput[]): Set<number> {
  const ofFiles = [...inputs.entries()].flatMap(([at, { ids }]) => (typeof ids === "object" ? [{ at, ids }] : []));
  const alike = new Set<number>();
  if (ofFiles.length < 2) return alike;
  const first = new Map<string, number>();
  for (const { at, ids } of ofFiles) {
    for (const path of ids.paths()) {
      const other = first.get(path);
      if (other === undefined) first.set(path, at);
      else if (other !== at) alike.add(at).add(other);
    }
  }
  return alike;
}
