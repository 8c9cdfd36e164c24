import { join } from "node:path";
import { kindOf, openModel, trueModel } from "../inputs/models.ts";
import { installPeers } from "../inputs/peers.ts";
import type { BenchOptions, Part } from "../options.ts";
import type { Collected } from "../report/collected.ts";
import type { Section } from "../report/section.ts";
import { measureFree, measureRss } from "./free.ts";
import { measureImages } from "./images.ts";
import { measureStartup } from "./startup.ts";
import { measureTexts, type TextCase } from "./texts.ts";

/** Used if the real architectures cannot be made: with a free model only the preparation counts. */
const BUILT_IN = { text: "tiny-sentiment", images: "tiny-image" } as const;
const TEXTS = [
  { name: "text_short", title: "DistilBERT, short reviews", lengths: "short", perJob: 1 },
  { name: "text_mixed", title: "DistilBERT, mixed lengths", lengths: "mixed", perJob: 32 },
] as const;
const KINDS = ["text", "images"] as const;

/** The pipeline and what it is compared with: each requested part, in its own folder. */
export async function measureEngine(
  collected: Collected,
  folder: string,
  options: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { parts, models, starts } = options;
  const { missing } = collected;
  const rest = [options, say, signal] as const;
  const wants = (...some: Part[]) => some.some((part) => parts.has(part));
  const add = (name: string, part: (folder: string) => Promise<Section>) =>
    collected.add("engine", name, () => part(join(folder, name)));
  const text = wants("text_short", "text_mixed", "free_text", "rss") ? await trueModel("text", say) : undefined;
  const images = wants("images", "free_images") ? await trueModel("images", say) : undefined;
  if ((!text && wants("text_short", "text_mixed")) || (!images && wants("images")))
    missing.push(
      "DistilBERT and ResNet-50, which `../shared/tools/make-model.mjs` would make: it is not beside the project",
    );

  if (text && wants("text_short", "text_mixed")) {
    const peers = await installPeers(say, signal);
    if ("missing" in peers) missing.push(peers.missing);
    for (const { perJob, ...texts } of TEXTS) {
      const peer = "folder" in peers ? { packages: peers.folder, perJob } : undefined;
      if (wants(texts.name)) await add(texts.name, (at) => measureTexts({ ...texts, model: text, peer }, at, ...rest));
    }
  }
  if (images && wants("images")) {
    const title = "ResNet-50, photographs";
    const resnet = { name: "images", title, model: images, delay: "event_loop_delay_ms.p99" };
    await add("images", (at) => measureImages(resnet, at, ...rest));
  }
  for (const kind of KINDS) {
    const model = { text, images }[kind] ?? BUILT_IN[kind];
    if (wants(`free_${kind}`)) await add(`free_${kind}`, (at) => measureFree(kind, model, at, ...rest));
  }
  if (wants("rss")) await add("rss", (at) => measureRss(text ?? BUILT_IN.text, at, ...rest));
  if (wants("startup")) await add("startup", (at) => measureStartup(at, starts, say, signal));
  for (const [index, model] of models.entries()) await add(`model-${index}`, (at) => measureModel(model, at, ...rest));
}

async function measureModel(
  model: string,
  folder: string,
  options: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  const opened = await openModel(model);
  const { id } = opened;
  const rest = [folder, options, say, signal] as const;
  if (kindOf(opened) === "images")
    return measureImages({ name: id, title: id, model, delay: `event_loop_delay_ms.${id}.p99` }, ...rest);
  const texts: TextCase = { name: id, title: id, model, lengths: "short" };
  return measureTexts(texts, ...rest);
}
