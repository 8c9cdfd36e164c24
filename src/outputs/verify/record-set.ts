import type { Range } from "../../schemas/manifest.ts";

type Place = { uri: string | undefined; first: number; count: number; selected: number; at: number; taken: number };

/** Which records of planned ranges were met: a bit each. */
export class RecordSet {
  /** By URI, in the order of the plan. */
  readonly #places = new Map<string | undefined, Place[]>();
  readonly #met: Uint8Array;
  #last = -1;

  /** @param uris the run's inputs */
  constructor(planned: readonly Range[], uris: readonly string[]) {
    let at = 0;
    for (const { input, first, count, selected = count } of planned) {
      const uri = uris[input];
      const known = this.#places.get(uri);
      const place = { uri, first, count, selected, at, taken: 0 };
      if (known) known.push(place);
      else this.#places.set(uri, [place]);
      at += count;
    }
    this.#met = new Uint8Array(Math.ceil(at / 8));
  }

  /** A file begins: its rows must be in the order of the plan, from wherever in it. */
  begin(): void {
    this.#last = -1;
  }

  /** @returns what is wrong with this record, or undefined */
  take({ uri, record }: { uri: string; record: number }): string | undefined {
    const name = `record ${record} of ${uri}`;
    const place = this.#find(uri, record);
    if (!place) return `${name} is not in the plan of its slices`;
    const at = place.at + record - place.first;
    const bit = 1 << (at & 7);
    if (this.#met[at >> 3]! & bit) return `${name} is there twice`;
    this.#met[at >> 3]! |= bit;
    place.taken += 1;
    if (at <= this.#last) return `${name} is not in its order`;
    this.#last = at;
    return undefined;
  }

  /** The ranges of which not as many records were met as were planned, in words. */
  *missing(): Generator<string> {
    for (const places of this.#places.values())
      for (const { uri, first, count, selected, taken } of places)
        if (taken !== selected)
          yield `${taken} of records ${first} to ${first + count - 1} of ${uri}, expected ${selected}`;
  }

  /** The ranges of an input follow one another. */
  #find(uri: string, record: number): Place | undefined {
    const places = this.#places.get(uri) ?? [];
    let [low, high] = [0, places.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (places[middle]!.first <= record) low = middle + 1;
      else high = middle;
    }
    const place = places[low - 1];
    return place && record < place.first + place.count ? place : undefined;
  }
}
