import { hash } from "node:crypto";
import { LabelmillError } from "../../errors.ts";
import type { PassedOverReport } from "../../schemas/input.ts";
import type { PassedOver } from "../discover/passed-over.ts";
import { isDecodableName, isImageName } from "../item/image-formats.ts";
import { isHiddenMember, keyOf, shownMember, stemBefore, stemsOf } from "./member-name.ts";
import type { TarMember } from "./members.ts";

/** The most images and the most kept members of one archive: each takes about 100 bytes of memory during planning. */
const MAX_MEMBERS = 5_000_000;
/** The largest distance between an image and its kept members: a worker reads all headers between them. */
const NEAR_BYTES = 32 << 20;
/** Names of kept members in memory. Those that belong to no image are reported when all images are known. */
const MAX_NAMES = 1000;

/** A record of an archive. Its image and its kept members are between `offset` and `end`. */
export type TarEntry = {
  /** Offsets of the image's header and of its end. */
  image: { start: number; end: number };
  offset: number;
  end: number;
  /** Bytes of these members, including their headers. */
  bytes: number;
  /** Its id is its whole name, because another image has the same key. */
  byName: boolean;
  /** Offsets of images after the previous record that later members of the same names replace. */
  replaced: number[];
};

type Sidecar = { start: number; end: number; name: string | undefined; isTaken: boolean };

/** Whether a member is an image. It is a record unless a later member of the same name replaces it. */
export function isImageMember({ name }: TarMember): boolean {
  return !isHiddenMember(name) && isDecodableName(name);
}

/**
 * The directory of an archive: which members are records, which are kept with them, and which are passed over. Every member with the last
 * extension of an image is a record. If several members have one name, the last one counts, as when the archive is unpacked. To save memory,
 * names are stored as hashes.
 */
export class TarIndex {
  readonly #label: string;
  readonly #keep: readonly string[];
  readonly #nameOf: (member: string) => string;
  readonly #passedOver: PassedOver;
  // One entry for each image, in the order of the archive.
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #keys: number[] = [];
  readonly #names: [number[], number[]] = [[], []];
  /** For each image and kept extension: the hashes of both stems with the extension. */
  readonly #wanted: number[] = [];
  /** The first image of a key, by its hash. */
  readonly #ofKey = new Map<number, number>();
  /** For keys with several images: the number of different names, and these images by the first hash of their names. */
  readonly #several = new Map<number, number>();
  readonly #ofName = new Map<number, number>();
  readonly #replaced = new Set<number>();
  readonly #sidecars = new Map<number, Sidecar>();

  private constructor(label: string, archive: string, keep: readonly string[], passedOver: PassedOver) {
    this.#label = label;
    this.#keep = keep;
    this.#nameOf = (member) => `${archive}:${member}`;
    this.#passedOver = passedOver;
  }

  /**
   * @param members of the whole archive
   * @param archive its name, for the report of what is passed over
   * @param passedOver receives what is passed over
   * @throws LabelmillError INPUT_UNREADABLE if there are too many members, or a kept member is far from its image
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

  /** Reports the kept members that belong to no record. */
  #finish(): void {
    for (const entry of this.entries()) void entry;
    for (const { name, isTaken } of this.#sidecars.values()) if (!isTaken) this.#passedOver.add("not-an-image", name);
  }

  #entry(at: number, replaced: number[]): TarEntry {
    const image = { start: this.#starts[at]!, end: this.#ends[at]! };
    const entry = { image, offset: image.start, end: image.end, bytes: image.end - image.start };
    for (let extension = 0; extension < this.#keep.length; extension++) {
      const from = 2 * (at * this.#keep.length + extension);
      const found = this.#sidecars.get(this.#wanted[from]!) ?? this.#sidecars.get(this.#wanted[from + 1]!);
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
    else if (!this.#addSidecar(member)) this.#pass("not-an-image", name);
    if (Math.max(this.#starts.length, this.#sidecars.size) <= MAX_MEMBERS) return;
    const expected = `expected at most ${MAX_MEMBERS} images and as many kept members in an archive`;
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
      const [closest, next = closest] = stemsOf(name).map((stem) => sidecarHash(stem, extension));
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

  #addSidecar({ name, start, end }: TarMember): boolean {
    let isKept = false;
    for (const extension of this.#keep) {
      const stem = stemBefore(name, extension);
      if (stem === undefined) continue;
      isKept = true;
      const key = sidecarHash(stem, extension);
      if (this.#sidecars.has(key)) this.#pass("replaced", name);
      const shown = this.#sidecars.size < MAX_NAMES ? this.#nameOf(shownMember(name)) : undefined;
      this.#sidecars.set(key, { start, end, name: shown, isTaken: false });
    }
    return isKept;
  }

  #pass(reason: Parameters<PassedOver["add"]>[0], name: string): void {
    this.#passedOver.add(reason, this.#nameOf(shownMember(name)));
  }

  #far(extension: string, image: number, { start }: Sidecar): LabelmillError {
    const where = `${this.#label}: the member of --keep ${extension} for the image at byte ${image} is at byte ${start}`;
    const fix = "create the archive again with its members sorted by name (tar --sort=name)";
    return new LabelmillError("INPUT_UNREADABLE", `${where}: expected it within ${NEAR_BYTES} bytes; ${fix}`);
  }
}

function sidecarHash(stem: string, extension: string): number {
  return hashesOf(`${stem}\0${extension.toLowerCase()}`)[0];
}

/** Two hashes of 52 bits. */
function hashesOf(text: string): [number, number] {
  const digest = hash("sha256", text);
  return [Number.parseInt(digest.slice(0, 13), 16), Number.parseInt(digest.slice(13, 26), 16)];
}
