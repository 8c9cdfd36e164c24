import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { BUILT_IN } from "../../models/built-in.ts";
import type { LabelWorld } from "../context.ts";
import { EXIT } from "../exit.ts";
import { showPlace } from "../terminal/report.ts";
import { label } from "./label.ts";
import type { LabelKind } from "./model-choice.ts";
import type { LabelRequest } from "./request.ts";

const EXAMPLES = fileURLToPath(new URL("../../../examples/", import.meta.url));

/** Labels the examples with the built-in models, by the same path as any other run, into a folder of this time's own. */
export async function demo(world: LabelWorld, out: string | undefined, signal: AbortSignal): Promise<number> {
  const folder = resolve(out ?? join("demo-output", new Date().toISOString().replaceAll(/[:.]/g, "-")));
  const { terminal } = world;
  const show = async (kind: LabelKind, title: string, input: string, keep: string[]) => {
    terminal.print(terminal.style("bold", title));
    const read: LabelRequest["read"] = { format: "auto", delimiter: null, column: null, idColumn: null, keep };
    const request: LabelRequest = {
      kind,
      inputs: [join(EXAMPLES, input)],
      read,
      model: BUILT_IN[kind],
      out: join(folder, kind),
      topK: 5,
      show: 6,
      lane: "bulk",
    };
    if (kind === "text") request.read = { ...read, column: "review", idColumn: "id" };
    // Small slices, so that there is some progress to see.
    const config = { ...world.config, redisUrl: undefined, sliceItems: kind === "text" ? 30 : 4 };
    const labeled = await label(request, { ...world, config }, signal);
    terminal.print();
    return labeled;
  };
  const text = await show("text", "1. Reviews: positive or negative?", "reviews.csv", ["product", "review"]);
  const images = await show("images", "2. Pictures: what is in them?", "images", []);
  const worst = Math.max(text.code, images.code);
  if (terminal.json) terminal.printJson({ text: text.summary, images: images.summary });
  if (worst === EXIT.labeled)
    terminal.print(
      `All is in ${showPlace(pathToFileURL(`${folder}/`).href)}. Now your own: npm run labelmill -- label text FILE`,
    );
  return worst;
}
