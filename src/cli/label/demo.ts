import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { BUILT_IN } from "../../models/built-in.ts";
import type { LabelKind } from "../../producers/runs/request.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit.ts";
import { RUN_DEFAULTS } from "../options.ts";
import { showPlace } from "../terminal/report.ts";
import { label } from "./label.ts";
import type { LabelRequest } from "./request.ts";

const EXAMPLES_DIR = fileURLToPath(new URL("../../../examples/", import.meta.url));

type Example = { title: string; input: string; sliceItems: number; read: Partial<LabelRequest["read"]> };

/** Slices are small, so that the demo shows some progress. */
const DEMO_EXAMPLES: Record<LabelKind, Example> = {
  text: {
    title: "1. Reviews: positive or negative?",
    input: "reviews.csv",
    sliceItems: 30,
    read: { column: "review", idColumn: "id", keep: ["product", "review"] },
  },
  images: { title: "2. Pictures: what is in them?", input: "images", sliceItems: 4, read: {} },
};

/** Labels the examples with the built-in models, in the same way as any other run. By default, each demo has a new folder. */
export async function demo(context: CommandContext, out: string | undefined, signal: AbortSignal): Promise<number> {
  const folder = resolve(out ?? join("demo-output", new Date().toISOString().replaceAll(/[:.]/g, "-")));
  const { terminal } = context;
  const show = async (kind: LabelKind) => {
    const { title, input, sliceItems, read } = DEMO_EXAMPLES[kind];
    terminal.print(terminal.style("bold", title));
    const request: LabelRequest = {
      kind,
      inputs: [join(EXAMPLES_DIR, input)],
      read: { format: "auto", delimiter: null, column: null, idColumn: null, keep: [], ...read },
      model: BUILT_IN[kind],
      out: join(folder, kind),
      topK: RUN_DEFAULTS.topK,
      show: 6,
      lane: RUN_DEFAULTS.lane,
    };
    const config = { ...context.config, redisUrl: undefined, sliceItems };
    const labeled = await label(request, { ...context, config }, signal);
    terminal.print();
    return labeled;
  };
  const text = await show("text");
  const images = await show("images");
  const worst = Math.max(text.code, images.code);
  if (terminal.json) terminal.printJson({ text: text.summary, images: images.summary });
  if (worst === EXIT.ok)
    terminal.print(
      `All results are in ${showPlace(pathToFileURL(`${folder}/`).href)}. To label your own data: npm run labelmill -- label text FILE`,
    );
  return worst;
}
