import { copyFile, link, mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { LabelKind } from "../src/cli/model-choice.ts";
import { LabelmillError } from "../src/errors.ts";
import type { ReadOptions } from "../src/schemas/run.ts";
import { openImageSource } from "../src/sources/images.ts";
import type { Source } from "../src/sources/source.ts";
import { openTextSource } from "../src/sources/text.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
/** The better one first: real inputs that may lie beside the project, then the project's own examples. */
const TEXTS = [join(ROOT, "../shared/data/sst2-dev.tsv"), join(ROOT, "examples/reviews.csv")];
const IMAGES = [join(ROOT, "../shared/data/imagenet-samples"), join(ROOT, "examples/images")];
const READ: ReadOptions = { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] };
const SEED = 20_260_301;
const MOST = { text: 500_000, images: 50_000 } as const satisfies Record<LabelKind, number>;

/** Makes inputs of any size out of few real items, in a folder that the caller removes. */
export type InputMaker = {
  /** Where the items are from, as it is seen from the project. */
  from: string;
  /** A new file of texts or folder of images with `count` items (fewer, if that is very many), in an order that is the same each time. */
  make: (count: number) => Promise<{ path: string; count: number }>;
};

export function openInput(kind: LabelKind, path: string): Promise<Source> {
  return kind === "text" ? openTextSource(path, READ) : openImageSource(path, READ);
}

export async function inputMaker(kind: LabelKind, folder: string): Promise<InputMaker> {
  const from = await firstThere(kind === "text" ? TEXTS : IMAGES);
  const items = kind === "text" ? await readTexts(from) : await copyImages(from, join(folder, "distinct"));
  const order = shuffled(items);
  let made = 0;
  return {
    from: relative(ROOT, from),
    make: async (wanted) => {
      const count = Math.min(Math.max(1, wanted), MOST[kind]);
      const path = join(folder, `input-${made++}${kind === "text" ? ".csv" : ""}`);
      await (kind === "text" ? writeTexts(path, order, count) : linkImages(path, order, count));
      return { path, count };
    },
  };
}

async function firstThere(paths: readonly string[]): Promise<string> {
  for (const path of paths) if (await stat(path).catch(() => undefined)) return path;
  throw new LabelmillError("INPUT_NOT_FOUND", `expected one of ${paths.join(", ")}`);
}

async function readTexts(path: string): Promise<string[]> {
  const source = await openTextSource(path, READ);
  const texts: string[] = [];
  for await (const { text } of source.records()) if (text?.trim()) texts.push(text);
  return texts;
}

/** A number at the end keeps any two from being the same. */
async function writeTexts(path: string, texts: readonly string[], count: number): Promise<void> {
  const rows = Array.from({ length: count }, (_, at) => {
    const text = `${texts[at % texts.length]} ${at}`;
    return `${at},"${text.replaceAll('"', '""')}"\n`;
  });
  await writeFile(path, `id,text\n${rows.join("")}`);
}

async function copyImages(from: string, into: string): Promise<string[]> {
  await mkdir(into);
  const names = (await readdir(from)).filter((name) => /\.(jpe?g|png|webp|gif|tiff?|avif)$/i.test(name)).sort();
  for (const name of names) await copyFile(join(from, name), join(into, name));
  return names.map((name) => join(into, name));
}

/** To a reader a hard link is a file like any other, and thousands of copies would fill the disk. */
async function linkImages(folder: string, images: readonly string[], count: number): Promise<void> {
  await mkdir(folder);
  for (let at = 0; at < count; at++) {
    const image = images[at % images.length]!;
    await link(image, join(folder, `${String(at).padStart(6, "0")}${extname(image)}`));
  }
}

/** Fisher and Yates' shuffle with a linear congruential generator (Numerical Recipes' constants): the same order each time. */
function shuffled<T>(items: readonly T[]): T[] {
  const order = [...items];
  let state = SEED;
  for (let last = order.length - 1; last > 0; last--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const other = Math.floor((state / 2 ** 32) * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}
