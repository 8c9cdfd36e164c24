import { copyFile, link, mkdir, readdir, writeFile } from "node:fs/promises";
import { basename, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { LabelmillError } from "../../src/errors.ts";
import type { TextTokenizer } from "../../src/inference/preprocess/text/tokenizer.ts";
import type { LabelKind } from "../../src/producers/runs/request.ts";
import type { ReadOptions } from "../../src/schemas/input.ts";
import { openImageSource } from "../../src/sources/open-images.ts";
import { openTextSource } from "../../src/sources/open-texts.ts";
import type { Source } from "../../src/sources/source.ts";
import { composeMixed } from "./mixed-texts.ts";
import { isThere } from "./models.ts";
import { type RowFormat, rowsOf } from "./row-file.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** In order of preference: real inputs that may be beside the project, then the project's examples. */
const TEXTS = [join(ROOT, "../shared/data/sst2-dev.tsv"), join(ROOT, "examples/reviews.csv")];
const IMAGES = [join(ROOT, "../shared/data/imagenet-samples"), join(ROOT, "examples/images")];
const READ: ReadOptions = { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] };
export const SEED = 20_260_301;
const MOST = { text: 2_000_000, images: 50_000 } as const satisfies Record<LabelKind, number>;
export type MadeInput = { path: string; count: number };

/** Makes inputs of any size from few real items, in a folder that the caller removes. */
export type InputMaker = {
  /** Where the items are from, relative to the project. */
  from: string;
  /** Items that must be taken together for a fair share of each kind: 1 if they differ little. */
  block: number;
  /** A new input with `count` items (bounded), in the same order each time, or with whole blocks. */
  make: (count: number) => Promise<MadeInput>;
};

export function openInput(kind: LabelKind, path: string): Promise<Source> {
  return kind === "text" ? openTextSource(path, READ) : openImageSource(path, READ);
}

export type TextOptions = {
  /** By default a CSV file. */
  format?: RowFormat;
  /** About how long a text is, in characters; by default as it is. */
  length?: number;
  /** Texts that an input may have. */
  most?: number;
};

/** Reviews of one sentence each, or joined to texts of one length. */
export async function shortTexts(folder: string, { length, ...how }: TextOptions = {}): Promise<InputMaker> {
  const from = await firstThere(TEXTS);
  const texts = await readTexts(from);
  return textMaker(folder, from, length === undefined ? texts : strung(texts, length), 1, how);
}

/** Texts of mixed lengths out of such sentences: a CSV file. */
export async function mixedTexts(folder: string, tokenizer: TextTokenizer): Promise<InputMaker> {
  const from = await firstThere(TEXTS);
  const texts = composeMixed(inOrder(await readTexts(from), 0), tokenizer);
  return textMaker(folder, from, texts, texts.length);
}

/** Photographs: a folder of hard links to the copies in `pictures`. */
export function imageFiles(folder: string, pictures: Pictures): InputMaker {
  return maker({ ...pictureItems(pictures), name: join(folder, "images") }, async (path, items) => {
    await mkdir(path);
    let at = 0;
    // To a reader a hard link is a file like any other, and thousands of copies would fill the disk.
    for (const image of items) await link(image, join(path, `${String(at++).padStart(6, "0")}${extname(image)}`));
  });
}

/** A list of the same photographs by URL, without duplicates. */
export function imageUrls(folder: string, pictures: Pictures, server: string): InputMaker {
  return maker({ ...pictureItems(pictures), name: join(folder, "urls"), extension: ".txt" }, async (path, items) => {
    const lines = [...items].map((image, at) => `${server}${at}/${encodeURIComponent(basename(image))}\n`);
    await writeFile(path, lines.join(""));
  });
}

export type Pictures = { from: string; folder: string; files: string[] };

/** Copies of the photographs, on the file system of the links to them. */
export async function copyPictures(into: string): Promise<Pictures> {
  const from = await firstThere(IMAGES);
  await mkdir(into);
  const names = (await readdir(from)).filter((name) => /\.(jpe?g|png|webp|gif|tiff?|avif)$/i.test(name)).sort();
  for (const name of names) await copyFile(join(from, name), join(into, name));
  return { from, folder: into, files: names.map((name) => join(into, name)) };
}

function textMaker(
  folder: string,
  from: string,
  items: readonly string[],
  block: number,
  { format = "csv", most = MOST.text }: Omit<TextOptions, "length"> = {},
): InputMaker {
  const made = { from, items, block, most, name: join(folder, "texts"), extension: `.${format}` };
  return maker(made, (path, texts) => writeFile(path, rowsOf(format, numbered(texts))));
}

/** A number at the end keeps any two from being the same. */
function* numbered(texts: Iterable<string>): Generator<string> {
  let at = 0;
  for (const text of texts) yield `${text} ${at++}`;
}

/** As many texts, each joined with the following ones and cut at the length. */
function strung(texts: readonly string[], length: number): string[] {
  return texts.map((_, at) => {
    let text = "";
    for (let next = at; text.length < length; next++) text += `${texts[next % texts.length]} `;
    return text.slice(0, length).trimEnd();
  });
}

function pictureItems({ from, files }: Pictures) {
  return { from, items: files, block: files.length, most: MOST.images };
}

type Made<T> = {
  from: string;
  items: readonly T[];
  /** Counts above it are rounded up to whole ones of it. */
  block: number;
  most: number;
  /** What the paths begin with. */
  name: string;
  extension?: string;
};

function maker<T>(
  { from, items, block, most, name, extension = "" }: Made<T>,
  write: (path: string, items: Iterable<T>) => Promise<void>,
): InputMaker {
  let made = 0;
  return {
    from: relative(ROOT, from),
    block,
    make: async (wanted) => {
      const asked = Math.min(Math.max(1, wanted), most);
      const count = wholePasses(asked, block);
      const path = `${name}-${made++}${extension}`;
      await write(path, repeated(items, count));
      return { path, count };
    },
  };
}

/** `count` items, rounded up to whole blocks if there is at least one. */
export function wholePasses(count: number, block: number): number {
  return count > block ? Math.ceil(count / block) * block : count;
}

function* repeated<T>(items: readonly T[], count: number): Generator<T> {
  for (let at = 0, order: T[] = []; at < count; at++) {
    if (at % items.length === 0) order = inOrder(items, at);
    yield order[at % items.length]!;
  }
}

async function firstThere(paths: readonly string[]): Promise<string> {
  for (const path of paths) if (await isThere(path)) return path;
  throw new LabelmillError("INPUT_NOT_FOUND", `expected one of ${paths.join(", ")}`);
}

async function readTexts(path: string): Promise<string[]> {
  const source = await openTextSource(path, READ);
  const texts: string[] = [];
  for await (const { text } of source.records()) if (text?.trim()) texts.push(text);
  return texts;
}

/** Fisher and Yates' shuffle: the same order for the same seed. */
function inOrder<T>(items: readonly T[], seed: number): T[] {
  const order = [...items];
  const random = randomFrom(SEED + seed);
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}

/** A linear congruential generator (Numerical Recipes' constants): numbers from 0 to below 1, the same ones for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
