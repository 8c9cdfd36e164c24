import { hash } from "node:crypto";
import { LabelmillError } from "../../errors.ts";
import type { PassedOverReport } from "../../schemas/input.ts";
import type { PassedOver } from "../discover/passed-over.ts";
import { isDecodableName, isImageName } from "../item/image-formats.ts";
import { isHiddenMember, keyOf, shownMember, stemBefore, stemsOf } from "./member-name.ts";
import type { TarMember } from "./members.ts";

/** The most images of one archive, and the most members beside them that are kept: each takes some 100 bytes of memory while it is planned. */
const MAX_MEMBERS = 5_000_000;
/** How far what is kept may lie from its image: a worker reads the headers of all that lies between. */
const NEAR_BYTES = 32 << 20;
/** Names of members beside images that are held until all images are known, so that those without one can be told. */
const MAX_HELD_NAMES = 1000;

/** A record of an archive: the member that is its image, and what is kept with it, lie from `offset` to `end`. */
export type TarEntry = {
  /** Where the header of the image begins, and where its bytes end. */
  image: { start: number; end: number };
  offset: number;
  end: number;
  /** Bytes of all of them, headers included. */
  bytes: number;
  /** Another image has its key: its whole name is its id. */
  byName: boolean;
  /** Where the headers of images begin, behind the record before this one, that later members of the same names replace. */
  replaced: number[];
};

type Beside = { start: number; end: number; name: string | undefined; isTaken: boolean };

/** Whether a member is an image that is a record, unless a later one of its name replaces it. */
export function isImageMember({ name }: TarMember): boolean {
  return !isHiddenMember(name) && isDecodableName(name);
}

/**
 * The directory of an archive, which is read once: which members are records, what lies beside them, what is passed over. Every image by its
 * last extension is a record. Of members of one name the last counts, as when the archive is unpacked. Memory: numbers alone.
 */
export class TarIndex {
  readonly #label: string;
  readonly #keep: readonly string[];
  readonly #nameOf: (member: string) => string;
  readonly #passedOver: PassedOver;
  // Of each image, in the order of the archive.
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #keys: number[] = [];
  readonly #names: [number[], number[]] = [[], []];
  /** For each extension that is kept two hashes, of both stems with it. */
  readonly #wanted: number[] = [];
  /** The first image of a key, by its hash. */
  readonly #ofKey = new Map<number, number>();
  /** Of keys that have several images: how many have different names; and these images by the first hashes of their names. */
  readonly #several = new Map<number, number>();
  readonly #ofName = new Map<number, number>();
  readonly #replaced = new Set<number>();
  readonly #beside = new Map<number, Beside>();

  private constructor(label: string, archive: string, keep: readonly string[], passedOver: PassedOver) {
    this.#label = label;
    this.#keep = keep;
    this.#nameOf = (member) => `${archive}:${member}`;
    this.#passedOver = passedOver;
  }

  /**
   * @param members of the whole archive
   * @param archive its name, for what is passed over in it
   * @param passedOver what was passed over while the members were read, to which is added
   * @throws LabelmillError INPUT_UNREADABLE where there are too many members, or what is kept lies far from its image
   */
  static async of(
    members: AsyncIterable<TarMember>,
    { label, archive, keep }: { label: string; archive: string; keep: readonly string[] },
    passedOver: PassedOver,
  ): Promise<TarIndex> {
    const index = new TarIndex(label, archive, keep, passedOver);
    for await (const member of members) index.#add(member);
    index.#finish();
    return index;
  }

  /** What is passed over in the archive. */
  get report(): PassedOverReport {
    return this.#passedOver.report;
  }

  /** The records, from number `first` on. */
  *entries(first = 0): Generator<TarEntry> {
    let replaced: number[] = [];
    let record = 0;
    for (const [at, start] of this.#starts.entries()) {
      if (this.#replaced.has(at)) replaced.push(start);
      else if (record++ >= first) yield this.#entry(at, replaced);
      if (!this.#replaced.has(at)) replaced = [];
    }
  }

  /** Notes what no record takes. */
  #finish(): void {
    for (const entry of this.entries()) void entry;
    for (const { name, isTaken } of this.#beside.values()) if (!isTaken) this.#passedOver.add("not-an-image", name);
  }

  #entry(at: number, replaced: number[]): TarEntry {
    const image = { start: this.#starts[at]!, end: this.#ends[at]! };
    const entry = { image, offset: image.start, end: image.end, bytes: image.end - image.start };
    for (let extension = 0; extension < this.#keep.length; extension++) {
      const from = 2 * (at * this.#keep.length + extension);
      const found = this.#beside.get(this.#wanted[from]!) ?? this.#beside.get(this.#wanted[from + 1]!);
      if (found === undefined) continue;
      found.isTaken = true;
      if (Math.abs(found.start - image.start) > NEAR_BYTES) throw this.#far(this.#keep[extension]!, image.start, found);
      entry.offset = Math.min(entry.offset, found.start);
      entry.end = Math.max(entry.end, found.end);
      entry.bytes += found.end - found.start;
    }
    return { ...entry, byName: (this.#several.get(this.#keys[at]!) ?? 1) > 1, replaced };
  }

  #add(member: TarMember): void {
    const { name } = member;
    if (isImageMember(member)) this.#addImage(member);
    else if (isHiddenMember(name)) this.#pass("hidden", name);
    else if (isImageName(name)) this.#pass("image-not-decodable", name);
    else if (!this.#addBeside(member)) this.#pass("not-an-image", name);
    if (Math.max(this.#starts.length, this.#beside.size) <= MAX_MEMBERS) return;
    const expected = `expected at most ${MAX_MEMBERS} images, and as many members beside them that are kept, in an archive`;
    throw new LabelmillError("INPUT_UNREADABLE", `${this.#label}: ${expected}; split it into several`);
  }

  #addImage({ name, start, end }: TarMember): void {
    const at = this.#starts.length;
    const [key] = hashesOf(keyOf(name)!);
    const [one, other] = hashesOf(name);
    this.#starts.push(start);
    this.#ends.push(end);
    this.#keys.push(key);
    this.#names[0].push(one);
    this.#names[1].push(other);
    for (const extension of this.#keep) {
      const [closest, next = closest] = stemsOf(name).map((stem) => besideHash(stem, extension));
      this.#wanted.push(closest!, next!);
    }
    const first = this.#ofKey.get(key);
    if (first === undefined) {
      this.#ofKey.set(key, at);
      return;
    }
    if (!this.#several.has(key)) {
      this.#several.set(key, 1);
      this.#ofName.set(this.#names[0][first]!, first);
    }
    const before = this.#ofName.get(one);
    this.#ofName.set(one, at);
    if (before !== undefined && this.#names[1][before] === other) {
      this.#replaced.add(before);
      this.#pass("replaced", name);
    } else this.#several.set(key, this.#several.get(key)! + 1);
  }

  #addBeside({ name, start, end }: TarMember): boolean {
    let isKept = false;
    for (const extension of this.#keep) {
      const stem = stemBefore(name, extension);
      if (stem === undefined) continue;
      isKept = true;
      const key = besideHash(stem, extension);
      if (this.#beside.has(key)) this.#pass("replaced", name);
      const held = this.#beside.size < MAX_HELD_NAMES ? this.#nameOf(shownMember(name)) : undefined;
      this.#beside.set(key, { start, end, name: held, isTaken: false });
    }
    return isKept;
  }

  #pass(reason: Parameters<PassedOver["add"]>[0], name: string): void {
    this.#passedOver.add(reason, this.#nameOf(shownMember(name)));
  }

  #far(extension: string, image: number, { start }: Beside): LabelmillError {
    const where = `${this.#label}: what --keep ${extension} takes for the image at byte ${image} lies at byte ${start}`;
    const fix = "pack the archive anew with its members sorted by name (tar --sort=name)";
    return new LabelmillError("INPUT_UNREADABLE", `${where}: expected it within ${NEAR_BYTES} bytes; ${fix}`);
  }
}

function besideHash(stem: string, extension: string): number {
  return hashesOf(`${stem}\0${extension.toLowerCase()}`)[0];
}

/** Two numbers of 52 bits. */
function hashesOf(text: string): [number, number] {
  const digest = hash("sha256", text);
  return [Number.parseInt(digest.slice(0, 13), 16), Number.parseInt(digest.slice(13, 26), 16)];
}
