import type { Range, Receipt } from "../../schemas/manifest.ts";
import type { RunFile } from "../../schemas/run.ts";
import type { Split, TarPlace } from "../../schemas/split.ts";

/** A planned slice in Redis: its ranges, and the addresses of the ranges with items if workers read them. */
export type PlannedSlice = { planned: Range[]; places?: Split["at"][] };

type Address = readonly unknown[];
/** `[input, first, count, selected, address]`. `selected` is null or omitted if all records are items; `address` is omitted if unknown. */
type Entry = [number, number, number, (number | null)?, Address?];

/**
 * About 70 bytes per slice. Splits that select single records (`only`) have no address: it could be as long as the list of records.
 * @param splits the splits of the ranges with items, in the order of the ranges
 */
export function encodePlanned({ ranges, splits }: { ranges: readonly Range[]; splits?: readonly Split[] }): string {
  const addressed = splits?.every(({ only }) => only === undefined) ? splits.values() : undefined;
  const entries = ranges.map(({ input, first, count, selected = count }): Entry => {
    const split = selected > 0 ? addressed?.next().value : undefined;
    const part: Entry = [input, first, count];
    if (selected !== count || split) part.push(selected === count ? null : selected);
    if (split) part.push(encodePlace(split.at));
    return part;
  });
  return JSON.stringify(entries);
}

export function decodePlanned(text: string): PlannedSlice {
  const entries = JSON.parse(text) as Entry[];
  const planned = entries.map(([input, first, count, selected]) => ({
    ...{ input, first, count },
    ...(selected === undefined || selected === null ? {} : { selected }),
  }));
  const places = entries.flatMap(([, , , , address]) => (address ? [decodePlace(address)] : []));
  return places.length > 0 ? { planned, places } : { planned };
}

/** The splits of a planned slice, as they were queued. Undefined if its items travel in the job. */
export function splitsOf({ planned, places }: PlannedSlice, { spec, inputs }: RunFile): Split[] | undefined {
  if (!places) return undefined;
  const { sample, read: wanted } = spec;
  const withItems = planned.filter(({ count, selected = count }) => selected > 0);
  return withItems.map(({ input: number, first, count, selected }, i) => {
    const { uri, size, modifiedAt, hash, read, idName } = inputs[number]!;
    return {
      ...{ input: { uri, size, modifiedAt, hash }, first, count },
      ...(selected === undefined ? {} : { selected }),
      at: places[i]!,
      read: { ...wanted, ...read },
      ...(sample === undefined ? {} : { sample }),
      ...(idName === undefined ? {} : { idName }),
    };
  });
}

function encodePlace(at: Split["at"]): Address {
  if (at.kind === "parquet") return at.pictures ? ["p", 1] : ["p"];
  if (at.kind === "arrow") return ["a", at.batches, at.dictionaries, at.skip ?? 0, ...(at.pictures ? [1] : [])];
  if (at.kind === "tar") return ["r", at.offset, at.bytes, at.images ?? 0, at.byName ?? 0, at.replaced ?? 0];
  const { kind, offset, bytes, line, width = 0, places = 0, ...rare } = at;
  return ["t", offset, bytes, line, width, places, ...(Object.keys(rare).length > 0 ? [rare] : [])];
}

function decodePlace([kind, ...parts]: Address): Split["at"] {
  if (kind === "p") return { kind: "parquet", ...(parts[0] === 1 ? { pictures: true } : {}) };
  if (kind === "a") {
    const [batches, dictionaries, skip, pictures] = parts as [number[], number[], number, number?];
    return { kind: "arrow", batches, dictionaries, ...(skip ? { skip } : {}), ...(pictures ? { pictures: true } : {}) };
  }
  if (kind === "r") return decodeTarPlace(parts);
  const [offset, bytes, line, width, places, rare] = parts as [number, number, number, number, number[] | 0, object?];
  const columns = { ...(width ? { width } : {}), ...(places ? { places } : {}) };
  return { kind: "text", offset, bytes, line, ...columns, ...rare };
}

function decodeTarPlace(parts: readonly unknown[]): TarPlace {
  const [offset, bytes, images, byName, replaced] = parts as [number, number, ...unknown[]];
  const rest = { images, byName, replaced };
  const given = Object.entries(rest).filter(([, value]) => Array.isArray(value));
  return { kind: "tar", offset, bytes, ...(Object.fromEntries(given) as Partial<TarPlace>) };
}

/** `rows,errors,bytes,sha256` with the hash in base64url: about 55 bytes per slice. */
export function encodeReceipt({ rows, errors, bytes, sha256 }: Receipt): string {
  return [rows, errors, bytes, Buffer.from(sha256, "hex").toString("base64url")].join(",");
}

export function decodeReceipt(text: string): Receipt {
  const [rows, errors, bytes, hash] = text.split(",");
  return {
    rows: Number(rows),
    errors: Number(errors),
    bytes: Number(bytes),
    sha256: Buffer.from(hash!, "base64url").toString("hex"),
  };
}
